use burn::tensor::Device;

use super::LlamaGguf;
use crate::language::quantized::{Projection, QuantizedLayer, QuantizedLlama};
use crate::language::rope::RotaryFrequencies;
use crate::{Error, Result};

impl LlamaGguf {
    /// Whether [`quantized`](Self::quantized) takes less memory than [`init`](Self::init): the file has quantised matrices of
    /// a model that can be computed with as it is.
    pub(crate) fn is_quantised(&self) -> bool {
        !self.parameters().architecture.is_gemma()
            && self.file().tensors().iter().any(|tensor| tensor.is_quantised())
    }

    /// The model with its matrices as the file stores them.
    ///
    /// # Errors
    ///
    /// Those of [`init`](Self::init), and [`Error::Format`] for Gemma.
    pub(crate) fn quantized(&self, device: &Device) -> Result<QuantizedLlama> {
        let mut config = self.config()?;
        if config.gemma.is_some() {
            let detail = "the layers of Gemma are computed with weights in floats only; load it as such";
            return Err(Error::format(self.file().path(), detail));
        }
        // The sizes are those of the file; this checks that they fit each other.
        let head_dim = config.validate()?;
        config.head_dim = Some(head_dim);
        let needed = |name: String| {
            let found = self.read_optional(&name)?;
            found.ok_or_else(|| Error::format(self.file().path(), format!("no weight {name:?}")))
        };
        let layer = |index: usize| {
            let name = |part: &str| format!("model.layers.{index}.{part}");
            let projection = |parts: &[&str]| {
                let matrices = parts.iter().map(|part| self.read_blocks(&name(&format!("{part}.weight"))));
                let biases = parts.iter().map(|part| self.read_optional(&name(&format!("{part}.bias"))));
                Ok::<_, Error>(Projection::new(
                    matrices.collect::<Result<Vec<_>>>()?,
                    biases.collect::<Result<Option<Vec<_>>>>()?.map(|biases| biases.concat()),
                ))
            };
            Ok(QuantizedLayer {
                qkv_proj: projection(&["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"])?,
                o_proj: projection(&["self_attn.o_proj"])?,
                gate_up_proj: projection(&["mlp.gate_proj", "mlp.up_proj"])?,
                down_proj: projection(&["mlp.down_proj"])?,
                input_layernorm: needed(name("input_layernorm.weight"))?,
                post_attention_layernorm: needed(name("post_attention_layernorm.weight"))?,
                q_norm: self.read_optional(&name("self_attn.q_norm.weight"))?,
                k_norm: self.read_optional(&name("self_attn.k_norm.weight"))?,
            })
        };
        let layers = (0..config.num_hidden_layers).map(layer).collect::<Result<Vec<_>>>()?;
        let head = match config.tie_word_embeddings {
            true => None,
            false => Some(Projection::new(vec![self.read_blocks("lm_head.weight")?], None)),
        };
        let rope = RotaryFrequencies::new(head_dim, config.rope_theta, config.rope_scaling.clone())?;
        let embeddings = Projection::new(vec![self.read_blocks("model.embed_tokens.weight")?], None);
        let norm = needed("model.norm.weight".to_string())?;
        Ok(QuantizedLlama::new(config, embeddings, layers, norm, head, rope, device))
    }
}
