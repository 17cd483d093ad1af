//! Against `transformers` and open_clip: `tests/reference/make_encoder_fixtures.py` made the fixtures.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData, Tolerance};
use serde_json::Value;

use super::image::ImageTower;
use super::text::TextTower;
use super::*;
use crate::weights::safetensors::SafetensorsFile;

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoder").join(name)
}

/// A copy of a fixture that may be changed.
pub(super) fn copy(name: &str) -> tempfile::TempDir {
    fn copy_all(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let path = file.unwrap().path();
            let place = to.join(path.file_name().unwrap());
            if path.is_dir() {
                copy_all(&path, &place)
            } else {
                std::fs::copy(&path, place).unwrap();
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    copy_all(&fixture(name), folder.path());
    folder
}

/// What the reference computed.
pub(super) struct Reference(safetensors::SafeTensors<'static>);

impl Reference {
    pub(super) fn of(name: &str) -> Self {
        let bytes = std::fs::read(fixture(name).join("reference.safetensors")).unwrap();
        Self(safetensors::SafeTensors::deserialize(bytes.leak()).unwrap())
    }

    pub(super) fn data(&self, name: &str) -> Option<TensorData> {
        let view = self.0.tensor(name).ok()?;
        let shape = view.shape().to_vec();
        Some(match view.dtype() {
            safetensors::Dtype::I64 => {
                let values = view.data().as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
                TensorData::new(values.collect(), shape)
            }
            _ => {
                let values = view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                TensorData::new(values.collect(), shape)
            }
        })
    }

    fn pixels(&self) -> Tensor<4> {
        Tensor::from_data(self.data("pixels").unwrap(), (&Device::default(), DType::F32))
    }

    pub(super) fn tokens(&self) -> Tensor<2, Int> {
        Tensor::from_data(self.data("tokens").unwrap(), &Device::default())
    }

    #[track_caller]
    pub(super) fn compare<const D: usize>(&self, name: &str, found: Tensor<D>) {
        let expected = self.data(name).unwrap_or_else(|| panic!("no {name}"));
        found.into_data().assert_approx_eq::<f32>(&expected, Tolerance::absolute(1e-5).set_relative(1e-5));
    }

    /// The states before and after each layer; the last one of the reference may have gone through the norm behind.
    #[track_caller]
    fn compare_states(&self, tower: &str, found: Vec<Tensor<3>>) {
        let count = found.len();
        for (layer, state) in found.into_iter().enumerate().take(count - 1) {
            self.compare(&format!("{tower}_hidden_{layer}"), state);
        }
        assert!(self.data(&format!("{tower}_hidden_{}", count - 1)).is_some());
        assert!(self.data(&format!("{tower}_hidden_{count}")).is_none());
    }
}

const WITH_IMAGES: [&str; 6] = ["clip", "clip-eos2", "clip-vision", "siglip", "siglip-vision", "open-clip"];
const WITH_TEXTS: [&str; 5] = ["clip", "clip-eos2", "clip-text", "siglip", "open-clip"];

fn image(path: &Path) -> Result<ImageEncoder> {
    PretrainedEncoder::open(path)?.image(FloatDType::F32, &Device::default())
}

/// A text tower, with a tokenizer where the fixture has none.
fn text(name: &str) -> TextEncoder {
    let folder = copy(name);
    std::fs::copy(fixture("tokenizer").join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let encoder = PretrainedEncoder::open(folder.path()).unwrap();
    encoder.text(FloatDType::F32, &Device::default()).unwrap()
}

#[test]
fn pictures_have_the_embeddings_and_hidden_states_of_the_reference() {
    for name in WITH_IMAGES {
        let (encoder, reference) = (image(&fixture(name)).unwrap(), Reference::of(name));
        let rows = encoder.forward(reference.pixels());
        assert_eq!(rows.dims()[1], encoder.dim());
        reference.compare("image_embeds", rows);
        if name != "open-clip" {
            let states = match &encoder.tower {
                ImageTower::Clip(tower) => tower.hidden_states(reference.pixels()),
                ImageTower::Siglip(tower) => tower.hidden_states(reference.pixels()),
                ImageTower::EfficientNet(_) | ImageTower::Dual(_) => unreachable!("it has no hidden states"),
            };
            reference.compare_states("image", states);
        }
    }
}

/// A file of LLM2CLIP is one of CLIP in which the text tower is another and nothing says how pictures are processed.
#[test]
fn pictures_of_llm2clip_are_those_of_its_clip_tower() {
    let folder = copy("clip");
    let path = folder.path().join("config.json");
    let config = std::fs::read_to_string(&path).unwrap().replace("\"CLIPModel\"", "\"LLM2CLIPModel\"");
    std::fs::write(&path, config).unwrap();
    std::fs::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    let encoder = PretrainedEncoder::open(folder.path()).unwrap();
    assert!(encoder.has_images() && !encoder.has_texts());
    let error = encoder.text(FloatDType::F32, &Device::default()).unwrap_err().to_string();
    assert!(error.contains("language model"), "{error}");
    let (found, clip) = (image(folder.path()).unwrap(), image(&fixture("clip")).unwrap());
    assert_eq!(found.dim(), clip.dim());
    Reference::of("clip").compare("image_embeds", found.forward(Reference::of("clip").pixels()));
    #[cfg(feature = "image")]
    {
        let name = fixture("pictures").join("plain.jpg");
        let picture = crate::encoder::decode_picture(&std::fs::read(&name).unwrap(), &name, 1 << 20).unwrap();
        assert_eq!(found.processor().process(&picture), clip.processor().process(&picture));
    }
}

#[test]
fn texts_have_the_embeddings_and_hidden_states_of_the_reference() {
    for name in WITH_TEXTS {
        let (encoder, reference) = (text(name), Reference::of(name));
        let rows = encoder.forward(reference.tokens());
        assert_eq!(rows.dims()[1], encoder.dim());
        reference.compare("text_embeds", rows);
        if name != "open-clip" {
            let states = match &encoder.tower {
                TextTower::Clip(tower) => tower.hidden_states(reference.tokens()),
                TextTower::Siglip(tower) => tower.hidden_states(reference.tokens()),
                TextTower::Bert(_) | TextTower::Dual(_) => unreachable!("their tests are elsewhere"),
            };
            reference.compare_states("text", states);
        }
    }
}

#[test]
fn logits_are_those_of_the_whole_model() {
    let device = Device::default();
    for name in ["clip", "clip-eos2", "siglip"] {
        let (folder, reference) = (fixture(name), Reference::of(name));
        let names = HuggingFaceNames { prefix: "", others: &[] };
        let weights = WithScalars(Shards::open(&folder).unwrap());
        let logits = match Architecture::read(&folder).unwrap() {
            Architecture::Clip(config) => {
                let model = config.init(&device).unwrap();
                let model = fill(model, &names, &weights, FloatDType::F32, &device).unwrap();
                model.forward(reference.pixels(), reference.tokens())
            }
            Architecture::Siglip(config) => {
                let model = config.init(&device).unwrap();
                let model = fill(model, &names, &weights, FloatDType::F32, &device).unwrap();
                model.forward(reference.pixels(), reference.tokens())
            }
            other => panic!("{other:?}"),
        };
        reference.compare("logits", logits);
    }
}

#[test]
fn half_precision_is_close() {
    if !Device::default().supports_dtype(DType::BF16) {
        return;
    }
    let encoder = PretrainedEncoder::open(fixture("clip")).unwrap();
    let encoder = encoder.image(FloatDType::BF16, &Device::default()).unwrap();
    let reference = Reference::of("clip");
    let rows = encoder.forward(reference.pixels());
    let expected = reference.data("image_embeds").unwrap();
    rows.into_data().assert_approx_eq::<f32>(&expected, Tolerance::absolute(0.1).set_relative(0.1));
}

#[test]
fn rows_for_the_host_have_unit_length() {
    let encoder = image(&fixture("siglip")).unwrap();
    let pixels = Reference::of("siglip").data("pixels").unwrap().try_into_vec::<f32>().unwrap();
    let rows = encoder.embed(pixels);
    assert_eq!(rows.len(), 3 * encoder.dim());
    for row in rows.chunks(encoder.dim()) {
        assert!((row.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    assert!(encoder.embed(Vec::new()).is_empty());
}

#[test]
fn texts_become_the_tokens_of_transformers() {
    let texts: Value =
        serde_json::from_slice(&std::fs::read(fixture("tokenizer").join("texts.json")).unwrap()).unwrap();
    let length = texts["length"].as_u64().unwrap() as usize;
    let whole = TextTokenizer::read(&fixture("tokenizer"), length).unwrap();
    // As the first published folders have it.
    let older = copy("tokenizer");
    std::fs::remove_file(older.path().join("tokenizer.json")).unwrap();
    let older = TextTokenizer::read(older.path(), length).unwrap();
    for tokenizer in [&whole, &older] {
        assert_eq!(tokenizer.vocab_size() as u64, texts["vocab_size"].as_u64().unwrap());
        let mut cut = 0;
        for case in texts["texts"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let (tokens, more) = tokenizer.encode(text).unwrap();
            assert_eq!(serde_json::json!(tokens), case["tokens"], "{text:?}");
            cut += usize::from(more > 0);
        }
        assert!(cut > 0, "one text is too long");
    }
}

#[test]
fn texts_are_cut_and_counted_and_empty_ones_refused() {
    let encoder = text("clip");
    let long = "a very long caption of many words that does not fit into so few tokens as there are";
    let (rows, cut) = encoder.embed(&["a cat", long]).unwrap();
    assert_eq!((rows.len(), cut), (2 * encoder.dim(), 1));
    for empty in ["", " \t\n"] {
        let error = encoder.embed(&["a cat", empty]).unwrap_err().to_string();
        assert!(error.contains(&format!("{empty:?}")), "{error}");
    }
}

/// Texts that are pooled at a token which none of them has would all be the same.
#[test]
fn a_tokenizer_that_ends_texts_otherwise_is_refused() {
    let encoder = text("clip");
    let (rows, _) = encoder.embed(&["a cat", "two dogs"]).unwrap();
    let (one, other) = rows.split_at(encoder.dim());
    assert!(one.iter().zip(other).any(|(a, b)| (a - b).abs() > 0.01), "{rows:?}");
    let folder = copy("clip");
    std::fs::copy(fixture("tokenizer").join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["text_config"]["eos_token_id"] = 5.into();
    std::fs::write(&path, config.to_string()).unwrap();
    let encoder = PretrainedEncoder::open(folder.path()).unwrap();
    let error = encoder.text(FloatDType::F32, &Device::default()).unwrap_err().to_string();
    assert!(error.contains("eos_token_id") && error.contains("found 5"), "{error}");
}

// What prepares pictures is read where there are pictures.
#[cfg(feature = "image")]
#[test]
fn folders_that_are_not_whole_are_refused_by_file_and_name() {
    let refused = |name: &str, edit: &dyn Fn(&Path), expected: &str| {
        let folder = copy(name);
        edit(folder.path());
        let error = image(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: expected {expected:?} in {error:?}");
    };
    let remove = |file: &'static str| move |folder: &Path| std::fs::remove_file(folder.join(file)).unwrap();
    refused("clip", &remove("config.json"), "config.json");
    refused("clip", &remove("model.safetensors"), "model.safetensors");
    refused("clip", &remove("preprocessor_config.json"), "preprocessor_config.json");
    refused("clip-eos2", &remove("model-00002-of-00005.safetensors"), "model-00002-of-00005.safetensors");
    refused("clip-text", &|_| (), "no image tower");
    refused("siglip-headless", &|_| (), "vision_use_head");
    refused("open-clip", &remove("open_clip_model.safetensors"), "open_clip_model.safetensors");
    let change = |file: &'static str, from: &'static str, to: &'static str| {
        move |folder: &Path| {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            std::fs::write(path, text.replacen(from, to, 1)).unwrap();
        }
    };
    refused("clip", &change("config.json", "\"clip\"", "\"blip\""), "\"blip\"");
    refused(
        "clip-vision",
        &change("config.json", "\"patch_size\": 8", "\"patch_size\": 16"),
        "patch_embedding",
    );
    refused(
        "clip-vision",
        &change("config.json", "\"num_attention_heads\": 3", "\"num_attention_heads\": 5"),
        "found 5",
    );
    let larger = change("preprocessor_config.json", "\"height\": 32", "\"height\": 48");
    refused("clip", &larger, "32 x 32");
    refused("clip", &change("preprocessor_config.json", "\"resample\": 3", "\"resample\": 9"), "found 9");

    let cut = |folder: &Path| {
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    refused("siglip", &cut, "model.safetensors");
}

#[test]
fn fingerprints_tell_encoders_apart() {
    let (one, other) = (image(&fixture("clip")).unwrap(), image(&fixture("clip-eos2")).unwrap());
    assert_ne!(one.fingerprint(), other.fingerprint());
    let same = copy("clip");
    assert_eq!(image(same.path()).unwrap().fingerprint(), one.fingerprint());
    let path = same.path().join("preprocessor_config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("0.48145466", "0.5")).unwrap();
    assert_ne!(image(same.path()).unwrap().fingerprint(), one.fingerprint());
    // A tower of a damaged file is not told by its name alone.
    let bytes = std::fs::read(same.path().join("model.safetensors")).unwrap();
    let file = SafetensorsFile::open(&same.path().join("model.safetensors")).unwrap();
    assert!(file.names().len() > 10 && bytes.len() > 1000);
}
