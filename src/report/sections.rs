//! The sections of a [`GapReport`](super::GapReport), a struct for each object of `report.json`.

use serde::{Deserialize, Serialize};

use crate::geometry::{Coupling, KnnMixing, PhantomDrift, PowerLaw, ResidualGeometry, SupportScore};

/// Where rows came from and what became of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// The number of dimensions.
    pub dim: usize,
    /// The text rows.
    pub text: SetReport,
    /// The image rows.
    pub image: SetReport,
    /// Pairs in both halves; `None` where the sets are not paired.
    pub pairs: Option<PairCounts>,
}

/// The rows of one set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetReport {
    /// The file, folder or pattern; `text table` or `image table` for a table in memory.
    pub place: String,
    /// Rows in the store or table.
    pub stored: usize,
    /// Rows that were read: all, or a seeded sample.
    pub read: usize,
    /// Rows that the policy left out.
    pub left_out: usize,
    /// Rows of the fit half.
    pub fit: usize,
    /// Rows of the held-out half.
    pub held_out: usize,
    /// Held-out rows that neighbours and cosines are measured on.
    pub probe: usize,
}

/// Pairs, by half; one text may have several images, and a pair is an image with its text.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairCounts {
    /// In the fit half.
    pub fit: usize,
    /// In the held-out half.
    pub held_out: usize,
}

/// The two modalities as they are, and the frame; fit half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Geometry {
    /// The text rows.
    pub text: ModalityGeometry,
    /// The image rows.
    pub image: ModalityGeometry,
    /// `G_mu = ||mu_x - mu_y||`, in-sample.
    pub mean_gap: f64,
    /// `G_Sigma = ||Sigma_x - Sigma_y||_F / ||Sigma_x||_F`.
    pub covariance_gap: f64,
    /// `C_lambda`, the correlation of the logarithms of both sorted spectra over the eigenvalues that both have; `None`
    /// where fewer than three are left.
    pub spectral_correlation: Option<f64>,
    /// `O_q` of the leading subspaces of both covariances.
    pub overlap: Overlap,
    /// The fixed frame.
    pub frame: FrameReport,
}

/// One modality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModalityGeometry {
    /// Rows that it was measured on.
    pub rows: usize,
    /// `||mu||`.
    pub mean_norm: f64,
    /// `tr Sigma`; `1 - ||mu||^2` for unit rows.
    pub trace: f64,
    /// The eigenvalues of the covariance.
    pub spectrum: SpectrumReport,
}

/// What a spectrum says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpectrumReport {
    /// Descending; those that rounding alone has made are left as they were found.
    pub eigenvalues: Vec<f64>,
    /// How many are above rounding.
    pub rank: usize,
    /// The exponent of `lambda_k ~ k^-alpha`; `None` where too few eigenvalues are left.
    pub power_law: Option<PowerLaw>,
    /// `exp` of the entropy of the normalised eigenvalues.
    pub effective_rank: f64,
    /// `tr(Sigma)^2 / tr(Sigma^2)`.
    pub participation_ratio: f64,
    /// Two readings of the condition number.
    pub condition: Condition,
    /// How many eigenvalues hold which share of the trace.
    pub energy: Vec<EnergyRank>,
}

/// Two readings of the condition number of a covariance, which arXiv 2602.07026 leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// `lambda_1 / lambda_n` over the `retained_rank` eigenvalues above rounding.
    pub retained: f64,
    /// The number of eigenvalues above rounding.
    pub retained_rank: usize,
    /// `lambda_1 / lambda_r` over the leading `leading_rank` eigenvalues.
    pub leading: f64,
    /// The number of leading eigenvalues: the dimensions of the frame, at most `retained_rank`.
    pub leading_rank: usize,
}

/// How many eigenvalues hold a share of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyRank {
    /// The share.
    pub share: f64,
    /// The fewest eigenvalues that hold it.
    pub rank: usize,
}

/// The subspace overlap `O_q = ||U^T V||_F^2 / q` and what random subspaces would have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// The dimensions of the subspaces.
    pub q: usize,
    /// `O_q`.
    pub value: f64,
    /// `q / d`.
    pub random: f64,
}

/// The fixed frame, and how well the other half agrees with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameReport {
    /// The dimensions of `U`.
    pub rank: usize,
    /// The share of `tr(Sigma_text + Sigma_image)` that `U` holds.
    pub energy: f64,
    /// The principal angles, in radians and ascending, between `U` of the fit half and `U` of the held-out half.
    pub angles: Vec<f64>,
    /// The sine of the largest of them; `None` where the held-out half does not vary.
    pub sin_theta: Option<f64>,
}

/// The gap in the frame; held-out half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapSection {
    /// `||m||`, `m = mu_x - mu_y`.
    pub norm: f64,
    /// `||beta|| = ||P_U m||`, the principal modality bias.
    pub beta: f64,
    /// `||gamma|| = ||P_V m||`, the passive orthogonal bias.
    pub gamma: f64,
    /// What needs pairs; `None` without them.
    pub residual: Option<ResidualSection>,
    /// The drift of the centroid that the projection onto the sphere causes; fit half.
    pub phantom_drift: Option<PhantomDrift>,
}

/// The residual of pairs, `r = (x - mu_x) - (y - mu_y)`; held-out half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResidualSection {
    /// Pairs that it was measured on. Means are over pairs here: a text counts once for each of its images.
    pub pairs: usize,
    /// `||beta||` of these means.
    pub beta: f64,
    /// `||gamma||` of these means.
    pub gamma: f64,
    /// The mean cosine of pairs.
    pub paired_cosine: f64,
    /// Energies, anisotropy and dimension.
    pub geometry: ResidualGeometry,
    /// The spectrum of its covariance.
    pub spectrum: SpectrumReport,
    /// `tr Cov(delta)`: its energy in U.
    pub delta_trace: f64,
    /// `tr Cov(zeta)`: its energy in V.
    pub zeta_trace: f64,
    /// The condition numbers of `Cov(delta)` within U.
    pub kappa_u: Condition,
    /// The condition numbers of `Cov(zeta)` within V.
    pub kappa_v: Condition,
    /// The angle of `gamma` to the first principal direction of `zeta`, in degrees, 0 to 90; `None` where one of them
    /// is zero.
    pub gamma_angle: Option<f64>,
    /// How much of `zeta` follows linearly from `delta`.
    pub coupling: Coupling,
}

/// What a method makes of the held-out text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodReport {
    /// The name.
    pub name: String,
    /// Where it was published.
    pub source: String,
    /// Whether it moves the images as well; all measures then compare with the moved images.
    pub moves_images: bool,
    /// The standard deviation of its noise, for each coordinate.
    pub noise: f64,
    /// The gap on the fit half, in-sample.
    pub fit_gap: f64,
    /// The gap on the held-out half.
    pub gap: f64,
    /// The gap that sampling of the held-out rows would leave if the true means were equal: `sqrt(sum_c ||u_c||^2)` over
    /// texts `c` with their images, `u_c = sum_i (x_i - mu_x) / n_x - (z_c - mu_z) / n_z`. Without pairs every row is by
    /// itself, and it is `sqrt(T_x / n_x + T_z / n_z)`. Rows that resemble each other across texts make it too small.
    pub sampling_floor: f64,
    /// The same with the error of the statistics, which were made of the fit half: `sqrt(floor^2 + floor_fit^2)`. Gaps
    /// near it cannot be ranked.
    pub expected_gap: f64,
    /// `tr Sigma` of the aligned text.
    pub trace: f64,
    /// `exp` of the entropy of its normalised spectrum.
    pub effective_rank: f64,
    /// The exponent of its spectrum.
    pub power_law: Option<PowerLaw>,
    /// `||Sigma_x - Sigma_z||_F / ||Sigma_x||_F` against the images.
    pub covariance_gap: f64,
    /// The eigenvalues of the covariance of the aligned text.
    pub eigenvalues: Vec<f64>,
    /// How the aligned text mixes with the images among the `k` nearest neighbours.
    pub mixing: KnnMixing,
    /// The entropy score of the local support, penetration and coverage.
    pub support: SupportScore,
    /// `Omega_k`, the share of a text's nearest neighbours that it keeps.
    pub omega: f64,
    /// `Phi`, the mean cosine of a text to itself before.
    pub phi: f64,
    /// `Psi`, the correlation of cosines of pairs of texts with those before.
    pub psi: f64,
    /// The Jensen-Shannon divergence, in bits, of the cosines within the aligned text from those within the images (as
    /// the method leaves them).
    pub js_within: f64,
    /// The same of the cosines between aligned text and images from those within the images.
    pub js_across: f64,
    /// What needs pairs; `None` without them.
    pub pairs: Option<MethodPairs>,
}

/// What a method makes of pairs; held-out half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MethodPairs {
    /// The mean cosine of an image and its aligned text.
    pub cosine: f64,
    /// The [distribution gap](crate::geometry::distribution_gap), beside the centroid gap `gap`; centred on the means over pairs.
    /// `None` in reports that were written before it was measured.
    #[serde(default)]
    pub distribution_gap: Option<f64>,
    /// `A_r(T)`, the anisotropy of the second moment of `x - z`.
    pub anisotropy: f64,
    /// The share of pairs of the probe whose text is the nearest of all texts of the probe to the image.
    pub recall_at_1: f64,
    /// The same for the nearest ten.
    pub recall_at_10: f64,
}

/// Densities of cosines, held-out half, by Gaussian kernels on one grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CosineSection {
    /// Pairs of rows drawn for each density.
    pub pairs: usize,
    /// The standard deviation of the kernel: Scott's rule for the cosines within the images, used for all.
    pub bandwidth: f64,
    /// The points of the grid.
    pub grid: Vec<f64>,
    /// Within the images; what the divergences compare with.
    pub image: Vec<f64>,
    /// The densities of each method.
    pub methods: Vec<CosineDensity>,
}

/// The densities of one method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CosineDensity {
    /// The name of the method.
    pub method: String,
    /// Within the aligned text.
    pub within: Vec<f64>,
    /// Between aligned text and images.
    pub across: Vec<f64>,
    /// Within the images as the method leaves them, where it moves them: what its divergences compare with.
    pub prior: Option<Vec<f64>>,
}

/// Rows of the held-out half in the plane of two directions: that of the gap and the first principal component of
/// all rows across it, both of the fit half before alignment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    /// The share of the variance of both sets together that each axis holds, fit half.
    pub explained: [f64; 2],
    /// The images.
    pub image: Vec<[f32; 2]>,
    /// The texts by method.
    pub methods: Vec<ProjectedMethod>,
}

/// The texts of one method in the plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectedMethod {
    /// The name of the method.
    pub method: String,
    /// The aligned texts.
    pub text: Vec<[f32; 2]>,
    /// The images, where the method moves them.
    pub image: Option<Vec<[f32; 2]>>,
}

/// The gap on all held-out rows by the number of rows of which the statistics were made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EfficiencyCurve {
    /// The name of the method.
    pub method: String,
    /// From few rows to as many as the smaller set of the fit half has.
    pub points: Vec<EfficiencyPoint>,
}

/// One number of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EfficiencyPoint {
    /// Rows of each modality.
    pub rows: usize,
    /// The gap of each draw; one, where all rows of both sets are drawn. Draws of more than half of the rows overlap.
    pub gaps: Vec<f64>,
    /// What sampling predicts for a method that matches means: `sqrt((T_x + T_z) / N + floor^2)`, with the traces of the
    /// fit half, as if rows were drawn independently.
    pub predicted: f64,
}

/// The gap on held-out rows of one domain after alignment with statistics of another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DomainMatrix {
    /// The field of the records that names the domain.
    pub field: String,
    /// The name of the method.
    pub method: String,
    /// The domains.
    pub names: Vec<String>,
    /// Rows of text and of images by domain, fit half.
    pub fit_rows: Vec<[usize; 2]>,
    /// Rows of text and of images by domain, held-out half.
    pub held_out_rows: Vec<[usize; 2]>,
    /// The gap without alignment, by domain.
    pub raw: Vec<f64>,
    /// `gap[i][j]`: statistics of domain `i`, measured on domain `j`.
    pub gap: Vec<Vec<f64>>,
}

/// Captions by length, held-out half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LengthSection {
    /// The field of the records that holds the caption.
    pub field: String,
    /// The name of the method after which the gap is given as well.
    pub method: String,
    /// From short to long.
    pub slices: Vec<LengthSlice>,
}

/// Captions of some lengths; all slices are measured on the same number of rows, drawn from those that they have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LengthSlice {
    /// The fewest words.
    pub shortest: usize,
    /// The most words.
    pub longest: usize,
    /// Captions of these lengths.
    pub captions: usize,
    /// Rows that the numbers were measured on.
    pub rows: usize,
    /// The gap to all images without alignment.
    pub raw_gap: f64,
    /// The gap to all images after alignment.
    pub gap: f64,
    /// Of the captions of these lengths as they are: `exp` of the entropy of the normalised spectrum.
    pub effective_rank: f64,
    /// Of the same: `tr Sigma`.
    pub trace: f64,
    /// The mean cosine of a caption and its images; `None` without pairs.
    pub paired_cosine: Option<f64>,
}
