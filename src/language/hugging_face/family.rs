//! The architectures of Hugging Face that are read, and what `transformers` takes where `config.json` leaves a key out.

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    SmolLm3,
    Phi3,
    Gemma2,
    Gemma3,
}

/// Each with its name in `architectures` and its `model_type`.
const NAMES: [(Family, &str, &str); 8] = [
    (Family::Llama, "LlamaForCausalLM", "llama"),
    (Family::Mistral, "MistralForCausalLM", "mistral"),
    (Family::Qwen2, "Qwen2ForCausalLM", "qwen2"),
    (Family::Qwen3, "Qwen3ForCausalLM", "qwen3"),
    (Family::SmolLm3, "SmolLM3ForCausalLM", "smollm3"),
    (Family::Phi3, "Phi3ForCausalLM", "phi3"),
    (Family::Gemma2, "Gemma2ForCausalLM", "gemma2"),
    (Family::Gemma3, "Gemma3ForCausalLM", "gemma3_text"),
];

/// What absent keys mean.
pub(super) struct Defaults {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    /// As many as query heads where absent.
    pub(super) num_key_value_heads: Option<usize>,
    /// `hidden_size / num_attention_heads` where absent.
    pub(super) head_dim: Option<usize>,
    pub(super) max_position_embeddings: usize,
    pub(super) rms_norm_eps: f64,
    pub(super) rope_theta: f64,
    pub(super) tie_word_embeddings: bool,
}

impl Family {
    /// The one of a name in `architectures`.
    pub(super) fn of_architecture(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, architecture, _)| *architecture == name).map(|(family, _, _)| *family)
    }

    /// The one of a `model_type`.
    pub(super) fn of_model_type(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, _, model_type)| *model_type == name).map(|(family, _, _)| *family)
    }

    /// Its name in `architectures`, and its `model_type`.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        let found = NAMES.iter().find(|(family, ..)| *family == self);
        let (_, architecture, model_type) = found.expect("every family has names");
        (architecture, model_type)
    }

    /// The names of all in `architectures`, for messages.
    pub(super) fn architectures() -> String {
        NAMES.map(|(_, architecture, _)| architecture).join(", ")
    }

    /// Whether the family is one of Gemma's.
    pub(super) fn is_gemma(self) -> bool {
        matches!(self, Self::Gemma2 | Self::Gemma3)
    }

    /// The defaults of the configuration classes of `transformers`.
    pub(super) fn defaults(self) -> Defaults {
        let llama = Defaults {
            vocab_size: 32_000,
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            tie_word_embeddings: false,
        };
        let gemma = || Defaults {
            vocab_size: 256_000,
            hidden_size: 2304,
            intermediate_size: 9216,
            num_hidden_layers: 26,
            num_attention_heads: 8,
            num_key_value_heads: Some(4),
            head_dim: Some(256),
            max_position_embeddings: 8192,
            tie_word_embeddings: true,
            ..llama
        };
        match self {
            Self::Llama => llama,
            Self::Mistral => Defaults {
                intermediate_size: 14_336,
                num_key_value_heads: Some(8),
                max_position_embeddings: 131_072,
                ..llama
            },
            Self::Qwen2 => Defaults {
                vocab_size: 151_936,
                intermediate_size: 22_016,
                num_key_value_heads: Some(32),
                max_position_embeddings: 32_768,
                ..llama
            },
            Self::Qwen3 => Defaults {
                vocab_size: 151_936,
                intermediate_size: 22_016,
                num_key_value_heads: Some(32),
                head_dim: Some(128),
                max_position_embeddings: 32_768,
                ..llama
            },
            Self::SmolLm3 => Defaults {
                vocab_size: 128_256,
                hidden_size: 2048,
                num_hidden_layers: 36,
                num_attention_heads: 16,
                num_key_value_heads: Some(4),
                max_position_embeddings: 32_768,
                rope_theta: 2_000_000.0,
                tie_word_embeddings: true,
                ..llama
            },
            Self::Phi3 => Defaults {
                vocab_size: 32_064,
                hidden_size: 3072,
                intermediate_size: 8192,
                max_position_embeddings: 4096,
                rms_norm_eps: 1e-5,
                ..llama
            },
            Self::Gemma2 => gemma(),
            Self::Gemma3 => Defaults {
                vocab_size: 262_208,
                max_position_embeddings: 131_072,
                rope_theta: 1_000_000.0,
                ..gemma()
            },
        }
    }
}
