//! Tokenizers of SentencePiece (arXiv 1808.06226) that merge the pair with the highest score first: those of LLaMA,
//! Mistral, Phi-3 and Gemma.
//!
//! [`Pieces`] is what a file says, `tokenizer.model` ([`Pieces::read`]) or GGUF; [`Pieces::build`] makes of it the same
//! tokenizer as the converter of `transformers`, merges in the order of their scores.
//!
//! ```text
//! piece   an entry of a vocabulary
//! merges  which pairs of pieces become one, in which order
//! model   `tokenizer.model`, a message of protobuf
//! ```

mod merges;
mod model;
mod piece;
#[cfg(test)]
pub(super) mod tests;

use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::{AddedToken, Tokenizer};

pub(super) use piece::{Kind, Piece};

/// What stands for a space within pieces.
const SPACE: char = '\u{2581}';

/// The special tokens of Phi-3 that leave the spaces behind them.
const KEEP_SPACES: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

/// Whether a space is put before a text, as if a word began there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SpacePrefix {
    /// Before a text, and behind each special token in it: SentencePiece, llama.cpp, and `legacy` in `transformers`.
    Always,
    /// Before a text only.
    First,
    /// Nowhere.
    Never,
}

/// A vocabulary with scores; the place of a piece is its token.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    pub(super) pieces: Vec<Piece>,
    pub(super) prefix: SpacePrefix,
    /// The token at the beginning of texts, where the file names one.
    pub(super) bos: Option<u32>,
    /// The token at their end.
    pub(super) eos: Option<u32>,
    /// Whether special tokens take the spaces behind them, as those of Phi-3 do.
    pub(super) takes_spaces: bool,
}

impl Pieces {
    /// The tokenizer; control pieces are special in it, and it puts nothing around a text.
    ///
    /// # Errors
    ///
    /// What is wrong: pieces that are there twice, and a vocabulary that leaves characters without a token.
    pub(super) fn build(&self) -> Result<Tokenizer, String> {
        let vocabulary = self.vocabulary()?;
        let merges = merges::merges(&self.pieces, &vocabulary)?;
        let unknown = self.pieces.iter().find(|piece| piece.kind == Kind::Unknown);
        let bytes = self.pieces.iter().filter(|piece| piece.kind == Kind::Byte).count();
        if bytes != 256 && (bytes > 0 || unknown.is_none()) {
            return Err(format!(
                "expected pieces for all 256 bytes, or none and one for what is unknown, found {bytes}"
            ));
        }
        let mut bpe =
            BPE::builder().vocab_and_merges(vocabulary, merges).fuse_unk(true).byte_fallback(bytes > 0);
        if let Some(unknown) = unknown {
            bpe = bpe.unk_token(unknown.text.clone());
        }
        let failed = |source: tokenizers::Error| source.to_string();
        let mut tokenizer = Tokenizer::new(bpe.build().map_err(failed)?);
        let spaces = || Replace::new(" ", SPACE.to_string()).map_err(failed);
        match self.prefix {
            SpacePrefix::Always => {
                let steps: Vec<NormalizerWrapper> =
                    vec![Prepend::new(SPACE.to_string()).into(), spaces()?.into()];
                tokenizer.with_normalizer(Some(Normalizers::new(steps)));
            }
            SpacePrefix::First => {
                tokenizer.with_pre_tokenizer(Some(Metaspace::new(SPACE, PrependScheme::First, false)));
            }
            SpacePrefix::Never => {
                tokenizer.with_normalizer(Some(spaces()?));
            }
        }
        let mut steps: Vec<DecoderWrapper> = vec![
            Replace::new(SPACE.to_string(), " ").map_err(failed)?.into(),
            ByteFallback::new().into(),
            Fuse::new().into(),
        ];
        if self.prefix != SpacePrefix::Never {
            steps.push(Strip::new(' ', 1, 0).into());
        }
        tokenizer.with_decoder(Some(Decoders::new(steps)));
        tokenizer.add_tokens(&self.added_tokens());
        Ok(tokenizer)
    }

    fn vocabulary(&self) -> Result<Vocab, String> {
        let mut vocabulary = Vocab::default();
        for (id, piece) in (0u32..).zip(&self.pieces) {
            if let Some(first) = vocabulary.insert(piece.text.clone(), id) {
                let text: String = piece.text.chars().take(60).collect();
                return Err(format!("expected different pieces, found {text:?} as {first} and {id}"));
            }
        }
        Ok(vocabulary)
    }

    /// Pieces that are matched in a text before it is cut.
    fn added_tokens(&self) -> Vec<AddedToken> {
        let added = |piece: &Piece| {
            let is_special = match piece.kind {
                Kind::Control | Kind::Unknown => true,
                Kind::UserDefined => false,
                Kind::Normal | Kind::Unused | Kind::Byte => return None,
            };
            let takes_spaces = self.takes_spaces && !KEEP_SPACES.contains(&piece.text.as_str());
            let token = AddedToken::from(piece.text.clone(), is_special);
            // Gemma has such pieces of several spaces, which are found where spaces are replaced already.
            let is_normalized = piece.kind == Kind::UserDefined && self.prefix == SpacePrefix::Never;
            Some(token.normalized(is_normalized).rstrip(takes_spaces))
        };
        self.pieces.iter().filter_map(added).collect()
    }
}
