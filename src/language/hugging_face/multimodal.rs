//! Language models within multimodal ones: LLaVA (arXiv 2304.08485), Bunny (arXiv 2402.11530) and what `transformers` makes
//! of them.

use super::config::ConfigFile;
use super::family::Family;

/// How a multimodal checkpoint names the weights of its language model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As the language model alone does: the checkpoints of LLaVA and Bunny.
    Flat,
    /// `language_model.model.layers...` and `language_model.lm_head`, as `transformers` saves them, or
    /// `model.language_model.layers...` and `lm_head`, as its modules are called since 4.52.
    Nested,
}

/// The architectures of LLaVA and Bunny with the language model of each, whose configuration they extend.
const FLAT: [(&str, Family); 7] = [
    ("LlavaLlamaForCausalLM", Family::Llama),
    ("LlavaMistralForCausalLM", Family::Mistral),
    ("LlavaQwenForCausalLM", Family::Qwen2),
    ("BunnyLlamaForCausalLM", Family::Llama),
    ("BunnyQwenForCausalLM", Family::Qwen2),
    ("BunnyQwen2ForCausalLM", Family::Qwen2),
    ("BunnyPhi3ForCausalLM", Family::Phi3),
];

/// Those of `transformers`, with the language model in `text_config`.
const NESTED: [&str; 3] =
    ["LlavaForConditionalGeneration", "LlavaNextForConditionalGeneration", "Gemma3ForConditionalGeneration"];

/// What the names of all other weights of such checkpoints begin with: vision towers, projectors, and what is put between
/// rows of a picture.
const OTHERS: [&str; 10] = [
    "model.vision_tower.",
    "model.mm_projector.",
    "model.multi_modal_projector.",
    "model.image_newline",
    "vision_tower.",
    "vision_model.",
    "mm_projector.",
    "multi_modal_projector.",
    "image_newline",
    "model.vision_resampler.",
];

/// Whether a weight of a multimodal checkpoint is none of its language model.
pub(super) fn is_other(name: &str) -> bool {
    OTHERS.iter().any(|prefix| name.starts_with(prefix))
}

/// The family of a flat checkpoint by the name of its architecture.
pub(super) fn flat(architecture: &str) -> Option<Family> {
    FLAT.iter().find(|(name, _)| *name == architecture).map(|(_, family)| *family)
}

/// Whether an architecture holds its language model in `text_config`.
pub(super) fn is_nested(architecture: &str) -> bool {
    NESTED.contains(&architecture)
}

/// The names of all, for messages.
pub(super) fn architectures() -> String {
    let flat = FLAT.iter().map(|(name, _)| *name);
    flat.chain(NESTED).collect::<Vec<_>>().join(", ")
}

/// The configuration of the language model within `config`, and its family.
///
/// # Errors
///
/// For a language model that is not read.
pub(super) fn text_config(config: &ConfigFile) -> Result<(ConfigFile, Family), String> {
    let text = config.text_config.clone().ok_or("text_config: expected the language model, found none")?;
    let text: ConfigFile = serde_json::from_value(text).map_err(|error| format!("text_config: {error}"))?;
    // Where it is not said, transformers takes LLaMA.
    let name = text.model_type.as_deref().unwrap_or("llama");
    match Family::of_model_type(name) {
        Some(family) => Ok((text, family)),
        None => Err(format!(
            "text_config.model_type: expected that of one of {}, found {name:?}",
            Family::architectures()
        )),
    }
}
