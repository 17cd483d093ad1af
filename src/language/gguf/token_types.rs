use crate::Result;
use crate::weights::gguf::{Metadata, Strings};

pub(super) const TYPES: &str = "tokenizer.ggml.token_type";

/// The type of each token.
pub(super) fn token_types<'a>(metadata: &'a Metadata, tokens: &Strings) -> Result<Option<&'a [i32]>> {
    match metadata.integers(TYPES)? {
        Some(types) if types.len() != tokens.len() => Err(metadata.wrong(format!(
            "key {TYPES:?}: expected a type for each of {} tokens, found {}",
            tokens.len(),
            types.len()
        ))),
        types => Ok(types),
    }
}
