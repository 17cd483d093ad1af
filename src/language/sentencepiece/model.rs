//! `tokenizer.model`: field numbers are those of `sentencepiece_model.proto` of
//! <https://github.com/google/sentencepiece>.

use std::path::Path;

use prost::Message;

use super::piece::{Kind, Piece};
use super::{Pieces, SpacePrefix};
use crate::{Error, Result};

/// The vocabulary of Gemma, the largest that is published, has 4 MB.
const MAX_BYTES: u64 = 1 << 24;

#[derive(Clone, PartialEq, Message)]
struct ModelFile {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<StoredPiece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredPiece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Trainer {
    /// 1 unigram, 2 BPE, 3 words, 4 characters.
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    space_is_suffix: Option<bool>,
    #[prost(int32, optional, tag = "41")]
    bos: Option<i32>,
    #[prost(int32, optional, tag = "42")]
    eos: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", optional, tag = "2")]
    replacements: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

impl Pieces {
    /// Reads a `tokenizer.model`, a space before texts as SentencePiece puts it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is damaged, and for what is not BPE on
    /// unchanged text: another algorithm, replaced characters, or spaces that are left out.
    pub(in crate::language) fn read(path: &Path) -> Result<Self> {
        let io = |source| Error::io(path, source);
        let length = std::fs::metadata(path).map_err(io)?.len();
        let wrong = |detail: String| Error::format(path, detail);
        if length > MAX_BYTES {
            return Err(wrong(format!("expected at most {MAX_BYTES} bytes, found {length}")));
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let file = ModelFile::decode(bytes.as_slice())
            .map_err(|error| wrong(format!("not a model of SentencePiece: {error}")))?;
        file.pieces().map_err(wrong)
    }
}

impl ModelFile {
    fn pieces(self) -> Result<Pieces, String> {
        let trainer = self.trainer.unwrap_or_default();
        let normalizer = self.normalizer.unwrap_or_default();
        match trainer.model_type.unwrap_or(1) {
            2 => {}
            1 => return Err(refused("trainer_spec.model_type", "BPE", "UNIGRAM")),
            other => return Err(refused("trainer_spec.model_type", "BPE (2)", other)),
        }
        if trainer.space_is_suffix == Some(true) {
            return Err(refused("trainer_spec.treat_whitespace_as_suffix", false, true));
        }
        if normalizer.replacements.is_some_and(|replacements| !replacements.is_empty()) {
            return Err(refused("normalizer_spec", "the rule \"identity\"", "one that replaces characters"));
        }
        if normalizer.remove_extra_whitespaces != Some(false) {
            return Err(refused("normalizer_spec.remove_extra_whitespaces", false, true));
        }
        if normalizer.escape_whitespaces == Some(false) {
            return Err(refused("normalizer_spec.escape_whitespaces", true, false));
        }
        let count = self.pieces.len();
        let token = |name: &str, id: i32| match usize::try_from(id) {
            // SentencePiece says -1 where there is no such token.
            Err(_) => Ok(None),
            Ok(id) if id < count => Ok(u32::try_from(id).ok()),
            Ok(id) => Err(format!("trainer_spec.{name}: expected one of {count} pieces, found {id}")),
        };
        Ok(Pieces {
            bos: token("bos_id", trainer.bos.unwrap_or(1))?,
            eos: token("eos_id", trainer.eos.unwrap_or(2))?,
            prefix: match normalizer.add_dummy_prefix {
                Some(false) => SpacePrefix::Never,
                Some(true) | None => SpacePrefix::Always,
            },
            takes_spaces: false,
            pieces: self.pieces.into_iter().enumerate().map(piece).collect::<Result<_, _>>()?,
        })
    }
}

fn piece((id, stored): (usize, StoredPiece)) -> Result<Piece, String> {
    let number = stored.kind.unwrap_or(Kind::Normal as i32);
    let kind =
        Kind::of(number).ok_or_else(|| format!("piece {id}: expected a type from 1 to 6, found {number}"))?;
    match stored.piece {
        Some(text) if !text.is_empty() => Ok(Piece { text, score: stored.score.unwrap_or(0.0), kind }),
        _ => Err(format!("piece {id}: expected text, found none")),
    }
}

fn refused(key: &str, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> String {
    format!(
        "{key}: expected {expected}, found {found}; `save_pretrained` of `transformers` writes a tokenizer.json"
    )
}
