use burn::config::Config;

use crate::{Error, Result};

/// How text is generated.
///
/// The default is greedy; a temperature above zero samples, from the `top_k` best tokens and of these from the smallest
/// set whose probability reaches `top_p` (nucleus sampling, arXiv 1904.09751).
///
/// # Example
///
/// ```
/// use burn_revision::language::GenerationConfig;
/// let config = GenerationConfig::new().with_temperature(0.7).with_top_p(0.9).with_seed(1);
/// assert_eq!(config.max_new_tokens, 64);
/// ```
#[derive(Config, Debug)]
pub struct GenerationConfig {
    /// The largest number of tokens to generate.
    #[config(default = 64)]
    pub max_new_tokens: usize,
    /// What scores are divided by before sampling; 0 always takes the best token.
    #[config(default = 0.0)]
    pub temperature: f64,
    /// The probability mass to sample from.
    #[config(default = 1.0)]
    pub top_p: f64,
    /// The number of best tokens to sample from; all where absent.
    pub top_k: Option<usize>,
    /// The seed of the samples.
    #[config(default = 0)]
    pub seed: u64,
    /// The number of the first sequence: each draws from the seed and its own number, so that texts do not depend on how
    /// sequences are divided into batches.
    #[config(default = 0)]
    pub first_sequence: u64,
    /// Sequences that go through the model together where there are more: see [`ReVision::generate`](crate::revision::ReVision::generate).
    #[config(default = 8)]
    pub batch_size: usize,
}

impl GenerationConfig {
    /// Refuses settings that nothing can be generated with.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], naming the setting and its value.
    pub fn validate(&self) -> Result<()> {
        for (name, value) in [("temperature", self.temperature), ("top_p", self.top_p)] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::config(name, format!("must be finite and at least 0, found {value}")));
            }
        }
        match (self.batch_size, self.top_k) {
            (0, _) => Err(Error::config("batch_size", "must be at least 1, found 0")),
            (_, Some(0)) => Err(Error::config("top_k", "must be at least 1, found 0")),
            _ => Ok(()),
        }
    }
}
