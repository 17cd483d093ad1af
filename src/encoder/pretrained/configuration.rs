use std::path::Path;

use burn::config::Config;
use serde_json::{Map, Value};

use super::sentence::Sentence;
use crate::encoder::HeadsFolder;
use crate::encoder::dual_folder::DUAL_MODEL_TYPE;
use crate::encoder::heads::HEADS_MODEL_TYPE;
use crate::encoder::{
    BertConfig, ClipConfig, ClipTextConfig, ClipVisionConfig, DualEncoderConfig, EfficientNetLiteConfig,
    SiglipConfig, SiglipTextConfig, SiglipVisionConfig,
};
use crate::{Error, Result};

/// What a `config.json` describes.
#[derive(Clone, Debug)]
pub(super) enum Architecture {
    Clip(ClipConfig),
    ClipText(ClipTextConfig),
    ClipVision(ClipVisionConfig),
    /// The image tower of LLM2CLIP; its texts go through a language model of another folder.
    Llm2ClipVision(ClipVisionConfig),
    Siglip(SiglipConfig),
    SiglipText(SiglipTextConfig),
    SiglipVision(SiglipVisionConfig),
    Bert(BertConfig, Sentence),
    /// With the processing of pictures that a `config.json` of timm describes.
    #[cfg_attr(not(feature = "image"), allow(dead_code))]
    EfficientNetLite(EfficientNetLiteConfig, Map<String, Value>),
    /// One that was trained here.
    Dual(Box<DualEncoderConfig>),
    /// Heads on towers that other folders hold.
    Heads(Box<HeadsFolder>),
}

impl Architecture {
    /// Reads `config.json` of a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] without it; [`Error::Format`] with the key where it describes another architecture, or something that
    /// the towers here do not have.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let config: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|source| Error::format(&path, source.to_string()))?;
        if config.get("model_type").and_then(Value::as_str) == Some(HEADS_MODEL_TYPE) {
            return Ok(Self::Heads(Box::new(HeadsFolder::read(folder)?)));
        }
        match Self::of(&config).map_err(|detail| Error::format(&path, detail))? {
            Self::Bert(config, _) => {
                let (config, sentence) = Sentence::read(folder, config)?;
                Ok(Self::Bert(config, sentence))
            }
            other => Ok(other),
        }
    }

    fn of(config: &Map<String, Value>) -> Result<Self, String> {
        if let Some(quantized) = config.get("quantization_config").filter(|value| !value.is_null()) {
            return Err(format!(
                "key \"quantization_config\": quantized weights are not read, found {quantized}"
            ));
        }
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let part = |name: &str| match config.get(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(part)) => Ok(part.clone()),
            Some(value) => Err(format!("key {name:?}: expected an object, found {value}")),
        };
        let clip_text = |part: &Map<String, Value>| overlaid(ClipTextConfig::new(), part, "text_config");
        let clip_vision =
            |part: &Map<String, Value>| overlaid(ClipVisionConfig::new(), part, "vision_config");
        let siglip_text = |part: &Map<String, Value>| overlaid(SiglipTextConfig::new(), part, "text_config");
        let siglip_vision =
            |part: &Map<String, Value>| overlaid(SiglipVisionConfig::new(), part, "vision_config");
        if let Some(name) = config.get("architecture").and_then(Value::as_str) {
            return Self::of_timm(name, config);
        }
        match model_type {
            DUAL_MODEL_TYPE => Ok(Self::Dual(Box::new(DualEncoderConfig::from_file(config.clone())?))),
            "bert" | "roberta" | "xlm-roberta" | "camembert" => bert(config, model_type),
            "efficientnet_lite" => {
                let tower = overlaid(EfficientNetLiteConfig::new(), config, "config")?;
                Ok(Self::EfficientNetLite(tower, Map::new()))
            }
            "clip" => {
                let (text, vision) = (part("text_config")?, part("vision_config")?);
                // Files of the first years keep the towers under these names.
                let text = if text.is_empty() { part("text_config_dict")? } else { text };
                let vision = if vision.is_empty() { part("vision_config_dict")? } else { vision };
                if is_llm2clip(config) {
                    let tower = clip_vision(&vision)?;
                    return Ok(Self::Llm2ClipVision(overlaid(tower, &projection(config), "config")?));
                }
                let clip = ClipConfig::new(clip_text(&text)?, clip_vision(&vision)?);
                Ok(Self::Clip(overlaid(clip, &without_parts(config), "config")?))
            }
            "clip_text_model" => Ok(Self::ClipText(clip_text(config)?)),
            "clip_vision_model" => Ok(Self::ClipVision(clip_vision(config)?)),
            "siglip" => {
                let (text, vision) = (part("text_config")?, part("vision_config")?);
                Ok(Self::Siglip(SiglipConfig::new(siglip_text(&text)?, siglip_vision(&vision)?)))
            }
            "siglip_text_model" => Ok(Self::SiglipText(siglip_text(config)?)),
            "siglip_vision_model" => Ok(Self::SiglipVision(siglip_vision(config)?)),
            "siglip2" => Err(
                "key \"model_type\": SigLIP 2 of free resolution (NaFlex) is not supported; the models of \
                fixed resolution are of type \"siglip\""
                    .to_string(),
            ),
            other => {
                let known = "clip, clip_text_model, clip_vision_model, siglip, siglip_text_model, siglip_vision_model, bert, \
                    roberta, xlm-roberta, camembert, efficientnet_lite, dual_encoder or contrastive_heads";
                Err(format!("key \"model_type\": expected {known}, found {other:?}"))
            }
        }
    }

    /// The towers that timm publishes: `tf_efficientnet_lite0` and its kin.
    fn of_timm(name: &str, config: &Map<String, Value>) -> Result<Self, String> {
        let known = || format!("key \"architecture\": expected tf_efficientnet_lite0 to 4, found {name:?}");
        let plain = name.strip_prefix("tf_").unwrap_or(name);
        let size =
            plain.strip_prefix("efficientnet_lite").and_then(|size| size.parse().ok()).ok_or_else(known)?;
        let tower = EfficientNetLiteConfig::lite(size).map_err(|_| known())?;
        let processing = match config.get("pretrained_cfg") {
            Some(Value::Object(processing)) => processing.clone(),
            _ => Map::new(),
        };
        Ok(Self::EfficientNetLite(tower, processing))
    }
}

/// Whether a file of the type `clip` says that its texts are those of a language model.
fn is_llm2clip(config: &Map<String, Value>) -> bool {
    let classes = config.get("architectures").and_then(Value::as_array).into_iter().flatten();
    classes.filter_map(Value::as_str).any(|class| class.starts_with("LLM2CLIP"))
}

/// The width of the common space, which stands beside the towers.
fn projection(config: &Map<String, Value>) -> Map<String, Value> {
    let width = config.get("projection_dim").map(|width| ("projection_dim".to_string(), width.clone()));
    width.into_iter().collect()
}

/// A model of the BERT family; how its texts are pooled stands in other files.
fn bert(config: &Map<String, Value>, model_type: &str) -> Result<Architecture, String> {
    let name = |key: &str, default: &'static str| {
        config.get(key).and_then(Value::as_str).unwrap_or(default).to_string()
    };
    let positions = name("position_embedding_type", "absolute");
    if positions != "absolute" {
        return Err(format!("key \"position_embedding_type\": expected absolute, found {positions:?}"));
    }
    if config.get("is_decoder") == Some(&Value::Bool(true)) {
        return Err(
            "key \"is_decoder\": expected a model in which tokens see all others, found true".to_string()
        );
    }
    let defaults = match model_type {
        "bert" => BertConfig::new(),
        // The positions of RoBERTa begin behind that of its padding.
        _ => {
            let pad = config.get("pad_token_id").and_then(Value::as_u64).unwrap_or(1) as usize;
            BertConfig::new().with_layer_norm_eps(1e-5).with_vocab_size(50265).with_first_position(pad + 1)
        }
    };
    let bert = overlaid(defaults, config, "config")?;
    let sentence = Sentence { max_tokens: bert.max_tokens(), lower_case: false };
    Ok(Architecture::Bert(bert, sentence))
}

/// A configuration without those of its parts.
fn without_parts(config: &Map<String, Value>) -> Map<String, Value> {
    config
        .iter()
        .filter(|(_, value)| !value.is_object())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Defaults with the values of a file, whose other keys are those of training and of `transformers`.
fn overlaid<C: Config>(defaults: C, file: &Map<String, Value>, part: &str) -> Result<C, String> {
    let Ok(Value::Object(mut merged)) = serde_json::to_value(&defaults) else {
        unreachable!("a configuration is an object")
    };
    for (key, slot) in &mut merged {
        let Some(value) = file.get(key).filter(|value| !value.is_null()) else { continue };
        // A square size may be written as two sides.
        let value = match value.as_array().map(Vec::as_slice) {
            Some([height, width]) if height == width && !slot.is_array() => height.clone(),
            _ => value.clone(),
        };
        let before = std::mem::replace(slot, value.clone());
        let kind = |value: &Value| match value {
            Value::Number(number) if number.is_f64() => "a number",
            Value::Number(_) => "a whole number",
            Value::String(_) => "a name",
            Value::Bool(_) => "true or false",
            Value::Null => "a whole number",
            Value::Array(_) => "a list",
            _ => "a value",
        };
        let fits = match &before {
            Value::Number(number) if number.is_f64() => value.is_number(),
            Value::Number(_) | Value::Null => value.is_u64() || value.is_i64(),
            Value::String(_) => value.is_string(),
            Value::Bool(_) => value.is_boolean(),
            Value::Array(_) => value.is_array(),
            _ => true,
        };
        if !fits {
            return Err(format!("key {part:?}, {key:?}: expected {}, found {value}", kind(&before)));
        }
    }
    serde_json::from_value(Value::Object(merged)).map_err(|source| format!("key {part:?}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::Activation;
    use serde_json::json;

    fn of(config: Value) -> Result<Architecture, String> {
        Architecture::of(config.as_object().unwrap())
    }

    #[test]
    fn what_a_file_leaves_out_is_as_in_transformers() {
        let config = json!({"model_type": "clip", "projection_dim": 768, "text_config": {"hidden_size": 768},
            "vision_config": {"patch_size": 14, "hidden_act": "gelu", "image_size": [336, 336], "dropout": 0.1}});
        let Architecture::Clip(clip) = of(config).unwrap() else { panic!("a CLIP model") };
        assert_eq!((clip.projection_dim, clip.text_config.hidden_size), (768, 768));
        assert_eq!((clip.text_config.eos_token_id, clip.text_config.num_hidden_layers), (49407, 12));
        assert_eq!((clip.vision_config.image_size, clip.vision_config.patch_size), (336, 14));
        assert_eq!(clip.vision_config.hidden_act, Activation::Gelu);
        assert_eq!(clip.text_config.hidden_act, Activation::QuickGelu);
    }

    #[test]
    fn what_is_not_understood_is_named_with_its_key() {
        for (config, expected) in [
            (json!({"model_type": "blip"}), "\"model_type\": expected clip"),
            (json!({}), "found \"\""),
            (json!({"model_type": "siglip2"}), "NaFlex"),
            (json!({"architecture": "resnet50"}), "\"architecture\": expected tf_efficientnet_lite0"),
            (json!({"architecture": "tf_efficientnet_lite7"}), "found \"tf_efficientnet_lite7\""),
            (
                json!({"model_type": "efficientnet_lite", "strides": 3}),
                "\"strides\": expected a list, found 3",
            ),
            (json!({"model_type": "dual_encoder"}), "missing field `image`"),
            (
                json!({"model_type": "dual_encoder", "logit_scale": {"Fixed": 5.0},
                    "image": {"channels": [16], "strides": [4, 2], "embed_dim": 8, "in_channels": 3, "image_size": 32, "group_size": 16},
                    "text": {"vocab_size": 9, "max_len": 8, "d_model": 16, "n_layers": 1, "n_heads": 2, "embed_dim": 8, "dropout": 0.0}}),
                "channels and strides: expected as many, found 1 and 2",
            ),
            (json!({"model_type": "bert", "position_embedding_type": "relative_key"}), "relative_key"),
            (json!({"model_type": "bert", "is_decoder": true}), "is_decoder"),
            (json!({"model_type": "clip", "text_config": 3}), "\"text_config\": expected an object, found 3"),
            (json!({"model_type": "clip_vision_model", "hidden_act": "mish"}), "mish"),
            (
                json!({"model_type": "clip_vision_model", "patch_size": "b"}),
                "\"patch_size\": expected a whole number",
            ),
            (json!({"model_type": "clip_vision_model", "patch_size": [14, 16]}), "found [14,16]"),
            (json!({"model_type": "clip_vision_model", "quantization_config": {"bits": 4}}), "quantiz"),
        ] {
            let error = of(config).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
