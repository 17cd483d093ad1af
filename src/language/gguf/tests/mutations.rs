use proptest::prelude::*;

use burn::tensor::{Device, FloatDType};

use super::small::{model, with_sentencepiece};
use crate::Result;
use crate::language::gguf::LlamaGguf;
use crate::weights::Pages;
use crate::weights::gguf::testing::{Saved, cases};

const ARCHITECTURES: [&str; 7] = ["llama", "qwen2", "qwen3", "smollm3", "phi3", "gemma2", "gemma3"];

/// A file of any of the architectures, with either kind of tokenizer.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(&ARCHITECTURES[..]), any::<bool>()).prop_map(|(architecture, is_sentencepiece)| {
        let writer = if is_sentencepiece { with_sentencepiece(architecture) } else { model(architecture) };
        writer.bytes()
    })
}

/// Does all that can be done with a file. An error is fine, a panic is not.
fn use_all(bytes: &[u8]) -> Result<()> {
    let saved = Saved::new(bytes);
    let gguf = LlamaGguf::open(&saved.path)?;
    for weight in gguf.weights() {
        let values = gguf.read(weight)?;
        assert_eq!(values.len(), weight.shape().iter().product::<usize>());
    }
    gguf.frequency_factors()?;
    gguf.notices();
    gguf.init(FloatDType::F32, &Device::default(), Pages::Usual)?;
    let tokenizer = gguf.tokenizer_parts()?.tokenizer;
    if let Ok(tokens) = tokenizer.encode("A cat <end> 12", true) {
        let _ = tokenizer.decode(tokens.get_ids(), true);
    }
    Ok(())
}

/// The part of the file where a change matters most: all but the tensors.
fn header_length(bytes: &[u8]) -> usize {
    let name = b"blk.1.ffn_down.weight";
    bytes.windows(name.len()).position(|window| window == name).unwrap() + 64
}

#[test]
fn an_unchanged_file_is_read() {
    for architecture in ARCHITECTURES {
        use_all(&model(architecture).bytes()).unwrap();
        use_all(&with_sentencepiece(architecture).bytes()).unwrap();
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = model("llama").bytes();
    let header = header_length(&bytes);
    for end in (0..header).step_by(41).chain([bytes.len() - 1]) {
        let error = use_all(&bytes[..end]).unwrap_err().to_string();
        assert!(error.contains("small.gguf"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(400)))]

    #[test]
    fn changed_bytes_never_panic(
        mut bytes in any_file(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let header = header_length(&bytes);
        for (place, value) in changes {
            bytes[place.index(header)] = value;
        }
        let _ = use_all(&bytes);
    }

    #[test]
    fn changed_numbers_never_panic(
        mut bytes in any_file(),
        place in any::<prop::sample::Index>(),
        value in prop_oneof![Just(0u64), Just(1), Just(u64::MAX), Just(1 << 63), Just(1 << 32), 0..1000u64],
    ) {
        let place = place.index(header_length(&bytes) - 8);
        bytes[place..place + 8].copy_from_slice(&value.to_le_bytes());
        let _ = use_all(&bytes);
    }

    #[test]
    fn moved_bytes_never_panic(
        mut bytes in any_file(),
        place in any::<prop::sample::Index>(),
        removed in 0..20usize,
        inserted in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let place = place.index(header_length(&bytes));
        bytes.splice(place..(place + removed).min(bytes.len()), inserted);
        let _ = use_all(&bytes);
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        file.extend(bytes);
        let _ = use_all(&file);
    }
}
