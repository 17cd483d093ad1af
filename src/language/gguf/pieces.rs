use tokenizers::Tokenizer;

use super::token_types::{TYPES, token_types};
use crate::Result;
use crate::language::sentencepiece::{Kind, Piece, Pieces, SpacePrefix};
use crate::weights::gguf::{Metadata, Strings};

const SCORES: &str = "tokenizer.ggml.scores";
const REPLACEMENTS: &str = "tokenizer.ggml.precompiled_charsmap";
const REMOVES_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";

/// The tokenizer of a file whose vocabulary is that of SentencePiece: `tokens`, and a score and a type for each.
///
/// # Errors
///
/// [`Error::Format`](crate::Error::Format) where these contradict each other, and for texts that are changed before they
/// are cut.
pub(super) fn build(metadata: &Metadata, tokens: &Strings) -> Result<Tokenizer> {
    let scores = metadata.required(SCORES, metadata.floats(SCORES)?)?;
    if scores.len() != tokens.len() {
        return Err(metadata.wrong(format!(
            "key {SCORES:?}: expected a score for each of {} tokens, found {}",
            tokens.len(),
            scores.len()
        )));
    }
    let types = metadata.required(TYPES, token_types(metadata, tokens)?)?;
    if metadata.has(REPLACEMENTS) {
        return Err(metadata.wrong(format!(
            "key {REPLACEMENTS:?}: expected texts that are cut unchanged, found replacements"
        )));
    }
    if metadata.boolean(REMOVES_SPACES)? == Some(true) {
        return Err(metadata.wrong(format!("key {REMOVES_SPACES:?}: expected false, found true")));
    }
    let piece = |(id, ((text, score), number)): (usize, ((&str, &f32), &i32))| {
        let kind = Kind::of(*number).ok_or_else(|| {
            metadata.wrong(format!("key {TYPES:?}: token {id}: expected a type from 1 to 6, found {number}"))
        })?;
        Ok(Piece { text: text.to_string(), score: *score, kind })
    };
    let pieces = tokens.iter().zip(scores).zip(types).enumerate().map(piece).collect::<Result<_>>()?;
    let prefix = match metadata.boolean("tokenizer.ggml.add_space_prefix")? {
        Some(false) => SpacePrefix::Never,
        Some(true) | None => SpacePrefix::Always,
    };
    // Files do not say so; llama.cpp goes by the name of the model.
    let takes_spaces = metadata.text("general.architecture")? == Some("phi3");
    let pieces = Pieces { pieces, prefix, bos: None, eos: None, takes_spaces };
    pieces.build().map_err(|detail| metadata.wrong(format!("the tokenizer: {detail}")))
}
