use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::configuration::Architecture;
use crate::encoder::{Activation, ClipConfig, ClipTextConfig, ClipVisionConfig};
use crate::weights::WeightSource;
use crate::weights::safetensors::SafetensorsFile;
use crate::{Error, Result};

/// The file of settings in a folder of open_clip.
pub(super) const CONFIG: &str = "open_clip_config.json";

/// The files that weights may be in.
const WEIGHTS: [&str; 2] = ["open_clip_model.safetensors", "model.safetensors"];

/// Reads the settings of a folder of open_clip.
///
/// # Errors
///
/// [`Error::Io`] without the file, [`Error::Format`] with the key of what the towers here do not have.
pub(super) fn read_config(folder: &Path) -> Result<(Architecture, Map<String, Value>)> {
    let path = folder.join(CONFIG);
    let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
    let wrong = |detail: String| Error::format(&path, detail);
    let config: Map<String, Value> =
        serde_json::from_slice(&json).map_err(|source| wrong(source.to_string()))?;
    let model = object(&config, "model_cfg").map_err(wrong)?;
    let clip = clip(model).map_err(wrong)?;
    let preprocess = match config.get("preprocess_cfg") {
        Some(Value::Object(preprocess)) => preprocess.clone(),
        _ => Map::new(),
    };
    Ok((Architecture::Clip(clip), preprocess))
}

fn object<'a>(config: &'a Map<String, Value>, key: &str) -> Result<&'a Map<String, Value>, String> {
    match config.get(key) {
        Some(Value::Object(part)) => Ok(part),
        other => Err(format!("key {key:?}: expected an object, found {}", other.unwrap_or(&Value::Null))),
    }
}

/// Refuses keys whose meaning the towers do not have.
fn check_keys(part: &Map<String, Value>, name: &str, known: &[&str]) -> Result<(), String> {
    match part.iter().find(|(key, value)| {
        !known.contains(&key.as_str()) && !value.is_null() && **value != Value::Bool(false)
    }) {
        None => Ok(()),
        Some((key, value)) => Err(format!("key {name:?}: {key:?} is not supported, found {value}")),
    }
}

fn clip(model: &Map<String, Value>) -> Result<ClipConfig, String> {
    check_keys(
        model,
        "model_cfg",
        &["embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_scale"],
    )?;
    let (vision, text) = (object(model, "vision_cfg")?, object(model, "text_cfg")?);
    check_keys(
        vision,
        "vision_cfg",
        &["image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio", "patch_dropout"],
    )?;
    check_keys(text, "text_cfg", &["context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"])?;
    let size = |part: &Map<String, Value>, key: &str, default: Option<usize>| match part.get(key) {
        Some(value) => value
            .as_u64()
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| format!("key {key:?}: expected a whole number, found {value}")),
        None => default.ok_or_else(|| format!("key {key:?}: expected a whole number, found none")),
    };
    let inner = |part: &Map<String, Value>, width: usize| match part.get("mlp_ratio") {
        None => Ok(4 * width),
        Some(ratio) => match ratio.as_f64() {
            Some(ratio) if ratio > 0.0 => Ok((width as f64 * ratio) as usize),
            _ => Err(format!("key \"mlp_ratio\": expected a number above 0, found {ratio}")),
        },
    };
    let activation = match model.get("quick_gelu") {
        Some(Value::Bool(true)) => Activation::QuickGelu,
        _ => Activation::Gelu,
    };
    let (width, head) = (size(vision, "width", None)?, size(vision, "head_width", Some(64))?);
    let vision_config = ClipVisionConfig::new()
        .with_image_size(size(vision, "image_size", None)?)
        .with_patch_size(size(vision, "patch_size", None)?)
        .with_num_hidden_layers(size(vision, "layers", None)?)
        .with_hidden_size(width)
        .with_intermediate_size(inner(vision, width)?)
        .with_num_attention_heads(width / head.max(1))
        .with_hidden_act(activation);
    let width = size(text, "width", None)?;
    let text_config = ClipTextConfig::new()
        .with_max_position_embeddings(size(text, "context_length", Some(77))?)
        .with_vocab_size(size(text, "vocab_size", Some(49408))?)
        .with_num_hidden_layers(size(text, "layers", None)?)
        .with_num_attention_heads(size(text, "heads", None)?)
        .with_hidden_size(width)
        .with_intermediate_size(inner(text, width)?)
        .with_hidden_act(activation)
        // Texts are pooled at the largest token.
        .with_eos_token_id(2);
    Ok(ClipConfig::new(text_config, vision_config).with_projection_dim(size(model, "embed_dim", None)?))
}

/// The weights of open_clip under the names of Hugging Face.
pub(super) struct OpenClipWeights {
    path: PathBuf,
    file: SafetensorsFile,
}

/// Where a weight of Hugging Face is found.
struct Place {
    name: String,
    /// Which of the three parts of a fused projection.
    part: Option<usize>,
    /// Whether it lies `[in, out]`.
    transposed: bool,
}

impl OpenClipWeights {
    /// Opens the file of weights in a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] without one, and those of reading its header.
    pub fn open(folder: &Path) -> Result<Self> {
        let Some(path) = WEIGHTS.iter().map(|name| folder.join(name)).find(|path| path.exists()) else {
            let detail = format!("expected {}, found neither", WEIGHTS.join(" or "));
            return Err(Error::format(folder, detail));
        };
        Ok(Self { file: SafetensorsFile::open(&path)?, path })
    }

    /// The place of a weight.
    fn place(name: &str) -> Place {
        let whole = |name: String| Place { name, part: None, transposed: false };
        match name {
            "text_projection.weight" => {
                return Place { transposed: true, ..whole("text_projection".to_string()) };
            }
            "visual_projection.weight" => {
                return Place { transposed: true, ..whole("visual.proj".to_string()) };
            }
            "logit_scale" => return whole(name.to_string()),
            _ => {}
        }
        let (tower, rest) = match name.split_once('.') {
            Some(("vision_model", rest)) => ("visual.", rest),
            Some((_, rest)) => ("", rest),
            None => ("", name),
        };
        let replaced = [
            ("embeddings.class_embedding", "class_embedding"),
            ("embeddings.patch_embedding", "conv1"),
            ("embeddings.position_embedding.weight", "positional_embedding"),
            ("embeddings.token_embedding", "token_embedding"),
            ("pre_layrnorm", "ln_pre"),
            ("post_layernorm", "ln_post"),
            ("final_layer_norm", "ln_final"),
            ("encoder.layers.", "transformer.resblocks."),
            (".layer_norm1.", ".ln_1."),
            (".layer_norm2.", ".ln_2."),
            (".mlp.fc1.", ".mlp.c_fc."),
            (".mlp.fc2.", ".mlp.c_proj."),
            (".self_attn.out_proj.", ".attn.out_proj."),
        ];
        let mut rest = replaced.iter().fold(rest.to_string(), |rest, (from, to)| rest.replace(from, to));
        let parts = ["q", "k", "v"].map(|part| format!(".self_attn.{part}_proj."));
        let part = parts.iter().position(|part| rest.contains(part.as_str()));
        if let Some(part) = part {
            rest = rest.replace(&parts[part], ".attn.in_proj_");
        }
        Place { part, ..whole(format!("{tower}{rest}")) }
    }

    /// What Hugging Face calls a weight of open_clip; several, where it is fused.
    fn published(name: &str) -> Vec<String> {
        let (tower, rest) = match name.strip_prefix("visual.") {
            Some(rest) => ("vision_model.", rest),
            None => ("text_model.", name),
        };
        match (tower, rest) {
            ("vision_model.", "proj") => return vec!["visual_projection.weight".to_string()],
            (_, "text_projection") => return vec!["text_projection.weight".to_string()],
            (_, "logit_scale") => return vec![rest.to_string()],
            _ => {}
        }
        let replaced = [
            ("class_embedding", "embeddings.class_embedding"),
            ("conv1.", "embeddings.patch_embedding."),
            ("positional_embedding", "embeddings.position_embedding.weight"),
            ("token_embedding.", "embeddings.token_embedding."),
            ("ln_pre.", "pre_layrnorm."),
            ("ln_post.", "post_layernorm."),
            ("ln_final.", "final_layer_norm."),
            ("transformer.resblocks.", "encoder.layers."),
            (".ln_1.", ".layer_norm1."),
            (".ln_2.", ".layer_norm2."),
            (".mlp.c_fc.", ".mlp.fc1."),
            (".mlp.c_proj.", ".mlp.fc2."),
            (".attn.out_proj.", ".self_attn.out_proj."),
        ];
        let rest = replaced.iter().fold(rest.to_string(), |rest, (from, to)| rest.replace(from, to));
        match rest.contains(".attn.in_proj_") {
            false => vec![format!("{tower}{rest}")],
            true => ["q", "k", "v"]
                .map(|part| {
                    format!("{tower}{}", rest.replace(".attn.in_proj_", &format!(".self_attn.{part}_proj.")))
                })
                .to_vec(),
        }
    }
}

impl WeightSource for OpenClipWeights {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<String> {
        // A buffer: the causal mask.
        let names = self.file.names().into_iter().filter(|name| name != "attn_mask");
        names.flat_map(|name| Self::published(&name)).collect()
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let place = Self::place(name);
        let mut expected = shape.to_vec();
        match (place.part, place.transposed) {
            (Some(_), _) => expected[0] *= 3,
            (None, true) => expected.reverse(),
            _ => {}
        }
        let found = self.file.shape(&place.name)?;
        if found != expected {
            let detail = format!("{:?}: expected shape {expected:?}, found {found:?}", place.name);
            return Err(Error::format(&self.path, detail));
        }
        let mut values = self.file.read(&place.name)?.values;
        if let Some(part) = place.part {
            let length = values.len() / 3;
            values = values[part * length..(part + 1) * length].to_vec();
        }
        if place.transposed {
            let [rows, columns] = [expected[0], expected[1]];
            values = (0..columns)
                .flat_map(|column| (0..rows).map(move |row| row * columns + column))
                .map(|at| values[at])
                .collect();
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_there_and_back() {
        for name in [
            "visual_projection.weight",
            "text_projection.weight",
            "logit_scale",
            "vision_model.embeddings.class_embedding",
            "vision_model.embeddings.patch_embedding.weight",
            "vision_model.embeddings.position_embedding.weight",
            "vision_model.pre_layrnorm.bias",
            "vision_model.encoder.layers.11.self_attn.q_proj.weight",
            "vision_model.encoder.layers.3.mlp.fc2.bias",
            "text_model.embeddings.token_embedding.weight",
            "text_model.embeddings.position_embedding.weight",
            "text_model.encoder.layers.0.self_attn.v_proj.bias",
            "text_model.encoder.layers.0.self_attn.out_proj.weight",
            "text_model.encoder.layers.0.layer_norm2.weight",
            "text_model.final_layer_norm.weight",
        ] {
            let place = OpenClipWeights::place(name);
            let back = OpenClipWeights::published(&place.name);
            assert_eq!(back.len(), if place.part.is_some() { 3 } else { 1 }, "{name}: {back:?}");
            assert_eq!(back[place.part.unwrap_or(0)], name);
        }
    }

    #[test]
    fn keys_of_other_towers_are_named() {
        let model = |more: Value| {
            let mut model = serde_json::json!({"embed_dim": 8, "quick_gelu": true,
                "vision_cfg": {"image_size": 32, "layers": 1, "width": 128, "patch_size": 8},
                "text_cfg": {"width": 16, "heads": 2, "layers": 1}});
            for (key, value) in more.as_object().unwrap() {
                model[key] = value.clone();
            }
            clip(model.as_object().unwrap())
        };
        let config = model(serde_json::json!({})).unwrap();
        assert_eq!((config.vision_config.num_attention_heads, config.projection_dim), (2, 8));
        assert_eq!(config.text_config.hidden_act, Activation::QuickGelu);
        for (more, expected) in [
            (serde_json::json!({"multimodal_cfg": {}}), "multimodal_cfg"),
            (serde_json::json!({"vision_cfg": {"timm_model_name": "vit"}}), "timm_model_name"),
            (serde_json::json!({"text_cfg": {"hf_model_name": "roberta"}}), "hf_model_name"),
            (serde_json::json!({"embed_dim": "x"}), "embed_dim"),
        ] {
            let error = model(more).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
