use std::ops::Range;

use super::parameters::{Architecture, LlamaParameters};

/// A weight under both its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(super) name: String,
    pub(super) gguf_name: String,
    pub(super) shape: Vec<usize>,
    /// The number of heads, where the rows of each are in the order of interleaved rotary positions.
    pub(super) interleaved_heads: Option<usize>,
    /// The place of the rows in a tensor of more rows, and the number of all of them.
    pub(super) part: Option<(Range<usize>, usize)>,
}

impl Weight {
    /// The name in Hugging Face's models.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The shape in Hugging Face's models: `[out, in]`, or one size.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The shape of the tensor in the file, of which this may be a part.
    pub(super) fn stored_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let (Some((_, all)), Some(rows)) = (&self.part, shape.first_mut()) {
            *rows = *all;
        }
        shape
    }

    /// From the order of rows in the file to that of Hugging Face.
    pub(super) fn in_order(&self, values: Vec<f32>) -> Vec<f32> {
        match self.interleaved_heads {
            Some(heads) => uninterleave(&values, self.shape[0], heads),
            None => values,
        }
    }
}

impl Weight {
    /// The rows of the file in the order of Hugging Face, where it is another.
    pub(super) fn row_order(&self) -> Option<Vec<usize>> {
        let rows = self.shape[0];
        let heads = self.interleaved_heads?;
        let order: Vec<f32> = (0..rows).map(|row| row as f32).collect();
        Some(uninterleave(&order, rows, heads).into_iter().map(|row| row as usize).collect())
    }
}

/// llama.cpp rotates coordinates `2i` and `2i + 1` of a head together, Hugging Face `i` and `i + head_dim / 2`. Its
/// converter reorders the rows of query and key projections accordingly; this restores their order.
fn uninterleave(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let width = values.len() / rows;
    let head_dim = rows / heads;
    let half = head_dim / 2;
    let mut ordered = Vec::with_capacity(values.len());
    for head in 0..heads {
        for side in 0..2 {
            for pair in 0..half {
                let row = head * head_dim + 2 * pair + side;
                ordered.extend_from_slice(&values[row * width..(row + 1) * width]);
            }
        }
    }
    ordered
}

/// All weights of a model, those outside the layers first.
pub(super) fn weights(parameters: &LlamaParameters) -> Vec<Weight> {
    let hidden = parameters.hidden_size;
    let mut weights = vec![
        plain("model.embed_tokens.weight", "token_embd.weight", &[parameters.vocab_size, hidden]),
        plain("model.norm.weight", "output_norm.weight", &[hidden]),
    ];
    if !parameters.tie_word_embeddings {
        weights.push(plain("lm_head.weight", "output.weight", &[parameters.vocab_size, hidden]));
    }
    for layer in 0..parameters.num_hidden_layers {
        weights.extend(of_layer(parameters).into_iter().map(|weight| Weight {
            name: format!("model.layers.{layer}.{}", weight.name),
            gguf_name: format!("blk.{layer}.{}", weight.gguf_name),
            ..weight
        }));
    }
    weights
}

fn of_layer(parameters: &LlamaParameters) -> Vec<Weight> {
    let hidden = parameters.hidden_size;
    let inner = parameters.intermediate_size;
    let (heads, kv_heads) = (parameters.num_attention_heads, parameters.num_key_value_heads);
    let (query, key) = (heads * parameters.head_dim, kv_heads * parameters.head_dim);
    let rotary = |weight: Weight, heads| Weight {
        // The converter leaves the others as they are: llama.cpp knows their layout too and uses it there.
        interleaved_heads: parameters.architecture.is_interleaved().then_some(heads),
        ..weight
    };
    if parameters.architecture == Architecture::Phi3 {
        return of_fused_layer(hidden, inner, query, key);
    }
    let mut weights = vec![
        plain("input_layernorm.weight", "attn_norm.weight", &[hidden]),
        rotary(plain("self_attn.q_proj.weight", "attn_q.weight", &[query, hidden]), heads),
        rotary(plain("self_attn.k_proj.weight", "attn_k.weight", &[key, hidden]), kv_heads),
        plain("self_attn.v_proj.weight", "attn_v.weight", &[key, hidden]),
        plain("self_attn.o_proj.weight", "attn_output.weight", &[hidden, query]),
        plain("post_attention_layernorm.weight", "ffn_norm.weight", &[hidden]),
        plain("mlp.gate_proj.weight", "ffn_gate.weight", &[inner, hidden]),
        plain("mlp.up_proj.weight", "ffn_up.weight", &[inner, hidden]),
        plain("mlp.down_proj.weight", "ffn_down.weight", &[hidden, inner]),
    ];
    if parameters.architecture.is_gemma() {
        // What the others have before the feed-forward, Gemma has behind the attention.
        weights.retain(|weight| weight.name != "post_attention_layernorm.weight");
        weights.push(plain("post_attention_layernorm.weight", "post_attention_norm.weight", &[hidden]));
        weights.push(plain("pre_feedforward_layernorm.weight", "ffn_norm.weight", &[hidden]));
        weights.push(plain("post_feedforward_layernorm.weight", "post_ffw_norm.weight", &[hidden]));
    }
    if parameters.architecture.has_head_norms() {
        weights.push(plain("self_attn.q_norm.weight", "attn_q_norm.weight", &[parameters.head_dim]));
        weights.push(plain("self_attn.k_norm.weight", "attn_k_norm.weight", &[parameters.head_dim]));
    }
    if parameters.attention_bias {
        weights.push(rotary(plain("self_attn.q_proj.bias", "attn_q.bias", &[query]), heads));
        weights.push(rotary(plain("self_attn.k_proj.bias", "attn_k.bias", &[key]), kv_heads));
        weights.push(plain("self_attn.v_proj.bias", "attn_v.bias", &[key]));
    }
    if parameters.output_bias {
        weights.push(plain("self_attn.o_proj.bias", "attn_output.bias", &[hidden]));
    }
    weights
}

/// Phi-3 computes queries, keys and values in one product, and gate and up too, which llama.cpp calls `ffn_up`.
fn of_fused_layer(hidden: usize, inner: usize, query: usize, key: usize) -> Vec<Weight> {
    let part = |name: &str, gguf_name: &str, rows: Range<usize>, all: usize| Weight {
        part: Some((rows.clone(), all)),
        ..plain(name, gguf_name, &[rows.len(), hidden])
    };
    let all = query + 2 * key;
    vec![
        plain("input_layernorm.weight", "attn_norm.weight", &[hidden]),
        part("self_attn.q_proj.weight", "attn_qkv.weight", 0..query, all),
        part("self_attn.k_proj.weight", "attn_qkv.weight", query..query + key, all),
        part("self_attn.v_proj.weight", "attn_qkv.weight", query + key..all, all),
        plain("self_attn.o_proj.weight", "attn_output.weight", &[hidden, query]),
        plain("post_attention_layernorm.weight", "ffn_norm.weight", &[hidden]),
        part("mlp.gate_proj.weight", "ffn_up.weight", 0..inner, 2 * inner),
        part("mlp.up_proj.weight", "ffn_up.weight", inner..2 * inner, 2 * inner),
        plain("mlp.down_proj.weight", "ffn_down.weight", &[hidden, inner]),
    ]
}

fn plain(name: &str, gguf_name: &str, shape: &[usize]) -> Weight {
    Weight {
        name: name.to_string(),
        gguf_name: gguf_name.to_string(),
        shape: shape.to_vec(),
        interleaved_heads: None,
        part: None,
    }
}

#[cfg(test)]
mod tests {
    use super::uninterleave;

    #[test]
    fn pairs_of_rows_become_halves() {
        // Two heads of four rows, two values each.
        let values: Vec<_> = (0..16).map(|value| value as f32).collect();
        let rows: Vec<_> = uninterleave(&values, 8, 2).chunks(2).map(|row| row[0] as usize / 2).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
