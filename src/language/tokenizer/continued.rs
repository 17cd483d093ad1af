use tokenizers::Tokenizer;
use tokenizers::normalizers::{NormalizerWrapper, Sequence as Normalizers};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;

/// A tokenizer that puts a space before texts, without that space.
#[derive(Clone, Debug)]
pub(super) struct Continued {
    inner: Box<Tokenizer>,
    /// Whether a space is also put behind each added token.
    behind_added: bool,
}

impl Continued {
    /// `None` where the tokenizer puts nothing before a text.
    pub(super) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let (normalizer, prepends) = match tokenizer.get_normalizer() {
            Some(normalizer) => without_prepend(normalizer),
            None => (None, false),
        };
        let (pre_tokenizer, scheme) = match tokenizer.get_pre_tokenizer() {
            Some(pre_tokenizer) => without_prefix(pre_tokenizer),
            None => (None, PrependScheme::Never),
        };
        if !prepends && scheme == PrependScheme::Never {
            return None;
        }
        let mut inner = tokenizer.clone();
        inner.with_normalizer(normalizer);
        inner.with_pre_tokenizer(pre_tokenizer);
        let behind_added = prepends || scheme == PrependScheme::Always;
        Some(Self { inner: Box::new(inner), behind_added })
    }

    /// The tokens of a text behind the token `last`; `whole` is the tokenizer with the space.
    pub(super) fn encode(&self, whole: &Tokenizer, last: u32, text: &str) -> Vec<u32> {
        let is_added = |id: &u32| whole.get_added_vocabulary().get_added_tokens_decoder().contains_key(id);
        let encode = |tokenizer: &Tokenizer, text: &str| {
            let tokens = tokenizer.encode(text, false).expect("the tokenizer covers any text");
            (tokens.get_ids().to_vec(), tokens.get_offsets().to_vec())
        };
        if self.behind_added && is_added(&last) {
            return encode(whole, text).0;
        }
        let (mut tokens, offsets) = encode(&self.inner, text);
        // From the first added token on, the spaces are those of any text.
        if self.behind_added
            && let Some(at) = tokens.iter().position(is_added)
        {
            tokens.truncate(at);
            tokens.extend(encode(whole, &text[offsets[at].0..]).0);
        }
        tokens
    }
}

/// A normalizer without the step that puts something before a text, and whether it has one.
fn without_prepend(normalizer: &NormalizerWrapper) -> (Option<NormalizerWrapper>, bool) {
    match normalizer {
        NormalizerWrapper::Prepend(_) => (None, true),
        NormalizerWrapper::Sequence(steps) => {
            let parts: Vec<_> = steps.as_ref().iter().map(without_prepend).collect();
            let prepends = parts.iter().any(|(_, prepends)| *prepends);
            let steps = parts.into_iter().filter_map(|(step, _)| step).collect();
            (Some(Normalizers::new(steps).into()), prepends)
        }
        other => (Some(other.clone()), false),
    }
}

/// The same of a pre-tokenizer, and where it puts a space.
fn without_prefix(pre_tokenizer: &PreTokenizerWrapper) -> (Option<PreTokenizerWrapper>, PrependScheme) {
    match pre_tokenizer {
        PreTokenizerWrapper::Metaspace(metaspace) => {
            let bare = Metaspace::new(metaspace.get_replacement(), PrependScheme::Never, metaspace.split);
            (Some(bare.into()), metaspace.prepend_scheme)
        }
        PreTokenizerWrapper::ByteLevel(bytes) if bytes.add_prefix_space => {
            let mut bare = *bytes;
            bare.add_prefix_space = false;
            (Some(bare.into()), PrependScheme::Always)
        }
        PreTokenizerWrapper::Sequence(steps) => {
            let parts: Vec<_> = steps.as_ref().iter().map(without_prefix).collect();
            let scheme =
                parts.iter().map(|(_, scheme)| *scheme).find(|scheme| *scheme != PrependScheme::Never);
            let steps = parts.into_iter().filter_map(|(step, _)| step).collect();
            (Some(PreTokenizers::new(steps).into()), scheme.unwrap_or(PrependScheme::Never))
        }
        other => (Some(other.clone()), PrependScheme::Never),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::language::sentencepiece::{Pieces, SpacePrefix};

    fn tokenizer(prefix: SpacePrefix) -> Tokenizer {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sentencepiece/tokenizer.model");
        Pieces { prefix, ..Pieces::read(&path).unwrap() }.build().unwrap()
    }

    /// Wherever a text is cut between words, its parts give the tokens of the whole.
    #[test]
    fn parts_of_a_text_have_its_tokens() {
        let text = "<s>A red apple: the cat</s>The cat</s><s>What is in the picture? Two people</s> a";
        for prefix in [SpacePrefix::Always, SpacePrefix::First] {
            let tokenizer = tokenizer(prefix);
            let continued = Continued::of(&tokenizer).unwrap();
            let tokens = |text: &str| tokenizer.encode_fast(text, false).unwrap().get_ids().to_vec();
            let cuts = text.match_indices([' ', '<']).map(|(at, _)| at).filter(|at| *at > 0);
            let mut found = 0;
            for cut in cuts {
                let first = tokens(&text[..cut]);
                let rest = continued.encode(&tokenizer, *first.last().unwrap(), &text[cut..]);
                assert_eq!([first, rest].concat(), tokens(text), "{prefix:?}, cut before {:?}", &text[cut..]);
                found += 1;
            }
            assert!(found > 10);
            let whole = tokens("The cat:the cat");
            assert_ne!([tokens("The cat:"), tokens("the cat")].concat(), whole, "the space matters");
            let last = *tokens("The cat:").last().unwrap();
            assert_eq!([tokens("The cat:"), continued.encode(&tokenizer, last, "the cat")].concat(), whole);
        }
        assert!(Continued::of(&tokenizer(SpacePrefix::Never)).is_none());
    }
}
