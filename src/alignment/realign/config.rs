use burn::config::Config;

/// How to fit [`ReAlign`](super::ReAlign).
#[derive(Config, Debug)]
pub struct ReAlignConfig {
    /// Added to the spread of the text rows, so that identical rows do not divide by zero.
    #[config(default = 1e-10)]
    pub eps: f64,
    /// How often the centroid step is done. Once, in the paper; each further pass shrinks the gap that is left by
    /// about the largest eigenvalue of `E[e' e'^T]`.
    #[config(default = 1)]
    pub centroid_passes: usize,
    /// The least number of rows in each set. One row has no spread, so 1 must be asked for.
    #[config(default = 2)]
    pub min_rows: usize,
}
