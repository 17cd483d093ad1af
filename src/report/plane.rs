//! Rows in a plane.

use super::sections::{ProjectedMethod, Projection};
use crate::Result;
use crate::geometry::{Cloud, Spectrum, difference, dot, linalg, norm};

/// Points of a set in the plane.
const POINTS: usize = 800;

/// The plane of the gap and of the first principal component across it, both of the fit half.
pub(super) struct Plane {
    origin: Vec<f64>,
    axes: [Vec<f64>; 2],
    explained: [f64; 2],
}

impl Plane {
    /// The plane of the two clouds of the fit half.
    pub fn new(text: &Cloud, image: &Cloud) -> Result<Self> {
        let all = Cloud::union(text, image)?;
        let (dim, rows) = (all.dim(), all.len());
        let (origin, covariance, trace) = (all.mean(), all.covariance(), all.trace());
        drop(all);
        let mut first = difference(&image.mean(), &text.mean());
        if !scale_to_unit(&mut first) {
            let spectrum = Spectrum::of(&covariance, dim, rows)?;
            first = spectrum.eigenvector(0).expect("eigenvectors were asked for").to_vec();
        }
        // The covariance across the first axis: (I - a a^T) C (I - a a^T).
        let moved = linalg::matmul(&covariance, [dim, dim], &first, [dim, 1]);
        let along = dot(&moved, &first);
        let mut across = covariance;
        for (i, row) in across.chunks_exact_mut(dim).enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                *value += first[i] * first[j] * along - moved[i] * first[j] - first[i] * moved[j];
            }
        }
        let spectrum = Spectrum::of(&across, dim, rows)?;
        let mut second = spectrum.eigenvector(0).expect("eigenvectors were asked for").to_vec();
        // Where nothing varies across the gap, the eigenvector may be the gap itself.
        let overlap = dot(&first, &second);
        second.iter_mut().zip(&first).for_each(|(second, first)| *second -= overlap * first);
        if norm(&second) < 0.5 || !scale_to_unit(&mut second) {
            second.fill(0.0);
        }
        let share = |variance: f64| if trace > 0.0 { (variance / trace).clamp(0.0, 1.0) } else { 0.0 };
        let explained = [share(along), share(spectrum.eigenvalues()[0])];
        Ok(Self { origin, axes: [first, second], explained })
    }

    /// Where the first rows of a cloud lie.
    pub fn places(&self, cloud: &Cloud) -> Vec<[f32; 2]> {
        let place = |row: &[f64]| {
            let centred = difference(row, &self.origin);
            [0, 1].map(|axis| dot(&centred, &self.axes[axis]) as f32)
        };
        cloud.rows().take(POINTS).map(place).collect()
    }

    /// The images, and the texts of all methods.
    pub fn projection(&self, image: &Cloud, methods: Vec<ProjectedMethod>) -> Projection {
        Projection { explained: self.explained, image: self.places(image), methods }
    }
}

/// Whether there was a direction to keep.
fn scale_to_unit(vector: &mut [f64]) -> bool {
    let length = norm(vector);
    if length < 1e-12 {
        return false;
    }
    vector.iter_mut().for_each(|value| *value /= length);
    true
}
