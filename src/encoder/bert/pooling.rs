use burn::config::Config;

/// How the states of a text's tokens become one vector.
#[derive(Config, Debug, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens that are not padding.
    Mean,
    /// The state of the first token.
    Cls,
}
