use super::{Cloud, Spectrum, linalg};
use crate::{Error, Result};

/// How the number of dimensions of a [`FixedFrame`] is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FrameRank {
    /// A fixed number of dimensions.
    Rank(usize),
    /// The fewest dimensions with at least this share of the trace, in `(0, 1]`: the energy threshold of arXiv
    /// 2602.07026, which does not state its value.
    Energy(f64),
}

/// The fixed frame of the modality gap: the subspace `U` in which the embeddings of both modalities vary most, and its
/// complement `V` (arXiv 2602.07026, Sec. 3.1).
///
/// `U` is spanned by the leading eigenvectors of `Sigma_image + Sigma_text` at a reference time, and kept from then on.
/// Projections use the `[r, d]` basis; no `[d, d]` matrix is formed.
///
/// # Example
///
/// ```
/// use burn_revision::geometry::{FixedFrame, FrameRank};
///
/// # fn main() -> burn_revision::Result<()> {
/// let frame = FixedFrame::of_covariance(&[2.0, 0.0, 0.0, 1.0], 2, 100, FrameRank::Rank(1))?;
/// let (in_u, in_v) = frame.split(&[3.0, 4.0]);
/// assert_eq!((in_u, in_v), (vec![3.0, 0.0], vec![0.0, 4.0]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FixedFrame {
    basis: Vec<f64>,
    dim: usize,
    energy: f64,
}

impl FixedFrame {
    /// Fits the frame of two clouds: that of the sum of their covariances.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for different numbers of dimensions, [`Error::TooFewRows`] for an empty cloud, and those of
    /// [`FixedFrame::of_spectrum`].
    pub fn fit(text: &Cloud, image: &Cloud, rank: FrameRank) -> Result<Self> {
        if text.dim() != image.dim() {
            return Err(Error::mismatch("dimensions of text and image rows", image.dim(), text.dim()));
        }
        for (cloud, what) in [(text, "text rows"), (image, "image rows")] {
            if cloud.is_empty() {
                return Err(Error::TooFewRows { what: what.to_string(), needed: 1, actual: 0 });
            }
        }
        let sum: Vec<f64> =
            text.covariance().iter().zip(image.covariance()).map(|(text, image)| text + image).collect();
        Self::of_covariance(&sum, text.dim(), text.len().max(image.len()), rank)
    }

    /// The frame of a covariance, `[d, d]` row-major, estimated from `rows` rows.
    ///
    /// # Errors
    ///
    /// Those of [`Spectrum::of`] and [`FixedFrame::of_spectrum`].
    pub fn of_covariance(covariance: &[f64], dim: usize, rows: usize, rank: FrameRank) -> Result<Self> {
        Self::of_spectrum(&Spectrum::of(covariance, dim, rows)?, rank)
    }

    /// The frame of a spectrum with eigenvectors.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a rank of 0 or above that of the spectrum, a share that is not in `(0, 1]`, a spectrum of
    /// rank 0 or one without eigenvectors.
    pub fn of_spectrum(spectrum: &Spectrum, rank: FrameRank) -> Result<Self> {
        let wrong = |detail: String| Err(Error::config("frame", detail));
        if spectrum.rank() == 0 {
            return wrong("the rows do not vary: no direction to span a frame".to_string());
        }
        let rank = match rank {
            FrameRank::Rank(rank) if rank == 0 || rank > spectrum.rank() => {
                return wrong(format!("expected a rank of 1 to {}, found {rank}", spectrum.rank()));
            }
            FrameRank::Rank(rank) => rank,
            FrameRank::Energy(share) if !(share > 0.0 && share <= 1.0) => {
                return wrong(format!("expected a share of the energy above 0 and up to 1, found {share}"));
            }
            FrameRank::Energy(share) => spectrum.energy_rank(share),
        };
        let basis = spectrum.eigenvectors(rank).to_vec();
        if basis.len() != rank * spectrum.dim() {
            return wrong("the decomposition has no eigenvectors".to_string());
        }
        Ok(Self { basis, dim: spectrum.dim(), energy: spectrum.cumulative_energy(rank) })
    }

    /// The frame spanned by orthonormal rows, `[r, d]`; its [`energy`](Self::energy) is unknown and set to 0.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if the values do not form whole rows, [`Error::Config`] if the rows are not orthonormal to
    /// `1e-9`.
    pub fn from_basis(basis: Vec<f64>, dim: usize) -> Result<Self> {
        let rank = basis.len().checked_div(dim).unwrap_or(0);
        if rank == 0 || basis.len() != rank * dim {
            return Err(Error::mismatch("values in a basis", rank.max(1) * dim, basis.len()));
        }
        let gram = linalg::matmul_transposed_b(&basis, [rank, dim], &basis, [rank, dim]);
        for (at, value) in gram.iter().enumerate() {
            let expected = f64::from(u8::from(at / rank == at % rank));
            // Also false for NaN.
            let close = (value - expected).abs() < 1e-9;
            if !close {
                let (i, j) = (at / rank, at % rank);
                let detail = format!("rows {i} and {j}: expected the product {expected}, found {value}");
                return Err(Error::config("basis", detail));
            }
        }
        Ok(Self { basis, dim, energy: 0.0 })
    }

    /// The number of dimensions of the space.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of dimensions of `U`.
    pub fn rank(&self) -> usize {
        self.basis.len() / self.dim
    }

    /// The share of the trace within `U`.
    pub fn energy(&self) -> f64 {
        self.energy
    }

    /// The orthonormal rows that span `U`, `[r, d]`.
    pub fn basis(&self) -> &[f64] {
        &self.basis
    }

    /// The coordinates of rows in `U`, `[n, d]` to `[n, r]`.
    ///
    /// # Panics
    ///
    /// If the rows and the frame have different numbers of dimensions.
    pub fn coordinates(&self, rows: &Cloud) -> Vec<f64> {
        assert_eq!(rows.dim(), self.dim, "fixed frame: dimensions of the rows");
        self.coordinates_of(rows.values())
    }

    fn coordinates_of(&self, rows: &[f64]) -> Vec<f64> {
        let shape = [rows.len() / self.dim, self.dim];
        linalg::matmul_transposed_b(rows, shape, &self.basis, [self.rank(), self.dim])
    }

    /// `P_U x` and `P_V x` of one vector `[d]`; their sum is the vector.
    ///
    /// # Panics
    ///
    /// If the vector and the frame have different numbers of dimensions.
    pub fn split(&self, vector: &[f64]) -> (Vec<f64>, Vec<f64>) {
        assert_eq!(vector.len(), self.dim, "fixed frame: dimensions of the vector");
        let in_u = self.project_values(vector);
        let in_v = vector.iter().zip(&in_u).map(|(value, u)| value - u).collect();
        (in_u, in_v)
    }

    /// `P_U x` for rows `[n, d]`.
    ///
    /// # Panics
    ///
    /// If the rows and the frame have different numbers of dimensions.
    pub fn project_u(&self, rows: &Cloud) -> Cloud {
        assert_eq!(rows.dim(), self.dim, "fixed frame: dimensions of the rows");
        Cloud::computed(self.project_values(rows.values()), self.dim)
    }

    /// `P_V x = x - P_U x` for rows `[n, d]`.
    ///
    /// # Panics
    ///
    /// If the rows and the frame have different numbers of dimensions.
    pub fn project_v(&self, rows: &Cloud) -> Cloud {
        rows.difference(&self.project_u(rows)).expect("a projection has the shape of its rows")
    }

    fn project_values(&self, rows: &[f64]) -> Vec<f64> {
        let shape = [rows.len() / self.dim, self.rank()];
        linalg::matmul(&self.coordinates_of(rows), shape, &self.basis, [self.rank(), self.dim])
    }

    /// `P_U`, `[d, d]` row-major.
    pub(crate) fn projector(&self) -> Vec<f64> {
        let shape = [self.rank(), self.dim];
        linalg::matmul_transposed_a(&self.basis, shape, &self.basis, shape)
    }

    /// `P_V = I - P_U`, `[d, d]` row-major.
    pub(crate) fn complement(&self) -> Vec<f64> {
        let mut projector = self.projector();
        projector.iter_mut().for_each(|value| *value = -*value);
        projector.iter_mut().step_by(self.dim + 1).for_each(|value| *value += 1.0);
        projector
    }

    /// The principal angles between two subspaces, in radians and ascending; as many as the smaller one has dimensions.
    /// Small angles are computed from sines, without loss of digits (Björck and Golub, 1973).
    ///
    /// # Errors
    ///
    /// [`Error::Config`] if the singular value decomposition does not converge.
    ///
    /// # Panics
    ///
    /// If the frames are of different spaces.
    pub fn principal_angles(&self, other: &Self) -> Result<Vec<f64>> {
        assert_eq!(other.dim, self.dim, "fixed frame: dimensions of the other frame");
        Ok(linalg::principal_angles(&self.basis, &other.basis, self.dim)?)
    }

    /// `sin theta(U_t, U) = ||P_V P_{U_t}||_2`: how far the subspace `other` (`U_t`) reaches out of this one, the most
    /// that a gradient in it can leak into `V` (arXiv 2602.07026, Lemma B.7). 1 where it has more dimensions.
    ///
    /// # Errors
    ///
    /// Those of [`FixedFrame::principal_angles`].
    ///
    /// # Panics
    ///
    /// If the frames are of different spaces.
    pub fn sin_theta(&self, other: &Self) -> Result<f64> {
        if other.rank() > self.rank() {
            return Ok(1.0);
        }
        Ok(self.principal_angles(other)?.last().map_or(0.0, |angle| angle.sin()))
    }

    /// `O_q = ||U^T V||_F^2 / q` for frames of `q` dimensions, 1 for equal ones; random subspaces have `q / d` on average
    /// (arXiv 2605.07825, Sec. 3). For frames of different ranks, `q` is the smaller one.
    ///
    /// # Panics
    ///
    /// If the frames are of different spaces.
    pub fn overlap(&self, other: &Self) -> f64 {
        assert_eq!(other.dim, self.dim, "fixed frame: dimensions of the other frame");
        let shape = |frame: &Self| [frame.rank(), frame.dim];
        let products = linalg::matmul_transposed_b(&self.basis, shape(self), &other.basis, shape(other));
        products.iter().map(|value| value * value).sum::<f64>() / self.rank().min(other.rank()) as f64
    }
}
