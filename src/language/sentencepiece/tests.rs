//! Against SentencePiece and the converter of `transformers`, on what `tests/reference/make_sentencepiece_fixtures.py` made.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tokenizers::Tokenizer;

use super::{Kind, Piece, Pieces, SpacePrefix};
use crate::weights::gguf::testing::cases;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sentencepiece").join(name)
}

#[derive(serde::Deserialize)]
pub(in crate::language) struct Case {
    pub(in crate::language) text: String,
    pub(in crate::language) tokens: Vec<u32>,
    pub(in crate::language) decoded: Option<String>,
}

#[derive(serde::Deserialize)]
pub(in crate::language) struct Reference {
    pub(in crate::language) texts: Vec<Case>,
    pub(in crate::language) special: Vec<Case>,
    pub(in crate::language) first: Vec<Case>,
    pub(in crate::language) bare: Vec<Case>,
}

pub(in crate::language) fn reference() -> Reference {
    serde_json::from_slice(&std::fs::read(fixture("reference.json")).unwrap()).unwrap()
}

#[track_caller]
pub(in crate::language) fn assert_tokens(tokenizer: &Tokenizer, cases: &[Case]) {
    assert!(!cases.is_empty());
    for Case { text, tokens, decoded } in cases {
        let found = tokenizer.encode_fast(text.as_str(), false).unwrap();
        assert_eq!(found.get_ids(), tokens, "{text:?}");
        if let Some(decoded) = decoded {
            assert_eq!(tokenizer.decode(tokens, true).unwrap(), *decoded, "{text:?}");
        }
    }
}

fn pieces() -> Pieces {
    Pieces::read(&fixture("tokenizer.model")).unwrap()
}

fn with_prefix(prefix: SpacePrefix) -> Tokenizer {
    Pieces { prefix, ..pieces() }.build().unwrap()
}

#[test]
fn tokens_are_those_of_sentencepiece() {
    let pieces = pieces();
    assert_eq!((pieces.prefix, pieces.bos, pieces.eos), (SpacePrefix::Always, Some(1), Some(2)));
    assert_tokens(&pieces.build().unwrap(), &reference().texts);
}

#[test]
fn spaces_at_special_tokens_are_those_of_transformers() {
    let reference = reference();
    assert_tokens(&with_prefix(SpacePrefix::Always), &reference.special);
    assert_tokens(&with_prefix(SpacePrefix::First), &reference.first);
    assert_tokens(&with_prefix(SpacePrefix::Never), &reference.bare);
}

#[test]
fn pieces_of_several_spaces_are_found() {
    let mut pieces = Pieces { prefix: SpacePrefix::Never, ..pieces() };
    let id = pieces.pieces.len() as u32;
    pieces.pieces.push(Piece { text: "\u{2581}\u{2581}".into(), score: 0.0, kind: Kind::UserDefined });
    let tokenizer = pieces.build().unwrap();
    let tokens = tokenizer.encode_fast("cat  cat<image>", false).unwrap();
    assert!(tokens.get_ids().contains(&id), "{:?}", tokens.get_ids());
    assert_eq!(tokenizer.decode(tokens.get_ids(), true).unwrap(), "cat  cat<image>");
}

#[test]
fn what_is_no_bpe_is_refused_with_a_way_out() {
    let error = Pieces::read(&fixture("unigram.model")).unwrap_err().to_string();
    for part in ["unigram.model", "model_type", "BPE", "UNIGRAM", "save_pretrained"] {
        assert!(error.contains(part), "{error}");
    }
    let error = Pieces::read(&fixture("reference.json")).unwrap_err().to_string();
    assert!(error.contains("reference.json: not a model of SentencePiece"), "{error}");
}

#[test]
fn vocabularies_that_cannot_be_are_refused() {
    let refused = |edit: &dyn Fn(&mut Vec<Piece>)| {
        let mut pieces = pieces();
        edit(&mut pieces.pieces);
        pieces.build().unwrap_err()
    };
    let twice = refused(&|pieces| pieces[300].text = pieces[299].text.clone());
    assert!(twice.contains("as 299 and 300"), "{twice}");
    let bytes = refused(&|pieces| pieces[100].kind = Kind::Unused);
    assert!(bytes.contains("all 256 bytes") && bytes.contains("255"), "{bytes}");
    let long = refused(&|pieces| pieces[300].text = "x".repeat(1025));
    assert!(long.contains("piece 300") && long.contains("1025"), "{long}");
    let score = refused(&|pieces| pieces[300].score = f32::NAN);
    assert!(score.contains("piece 300") && score.contains("NaN"), "{score}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(256)))]

    #[test]
    fn any_text_comes_back(text in "\\PC{0,40}") {
        let tokenizer = with_prefix(SpacePrefix::Always);
        prop_assume!(!["<s>", "</s>", "<unk>", "<image>", "\u{2581}"].iter().any(|special| text.contains(special)));
        let tokens = tokenizer.encode_fast(text.as_str(), false).unwrap();
        prop_assert_eq!(tokenizer.decode(tokens.get_ids(), true).unwrap(), text);
    }

    #[test]
    fn changed_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = std::fs::read(fixture("tokenizer.model")).unwrap();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.model");
        std::fs::write(&path, bytes).unwrap();
        match Pieces::read(&path) {
            Ok(pieces) => {
                if let Ok(tokenizer) = pieces.build() {
                    let tokens = tokenizer.encode_fast("A red <image> apple", false).unwrap();
                    let _ = tokenizer.decode(tokens.get_ids(), true);
                }
            }
            Err(error) => prop_assert!(error.to_string().contains("tokenizer.model")),
        }
    }
}
