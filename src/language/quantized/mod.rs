//! A decoder of the LLaMA family whose matrices stay as a GGUF file stores them.

mod projection;

use std::fmt;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor};
use rayon::prelude::*;

use super::attention::{Attention, CausalBias, Padding};
use super::rope::RotaryFrequencies;
use super::{KvCache, LanguageModel, LlamaConfig};

pub(super) use projection::Projection;
use projection::{tensor, values};

/// A decoder of the LLaMA family for generation, whose matrices stay in the blocks in which a GGUF file stores them: a file of
/// four bits takes the memory of its four bits, and no more of it is read for a token.
///
/// [`Pretrained::load_quantized`](super::Pretrained::load_quantized) reads one. Products with few rows, as in decoding, are
/// computed from the blocks on the CPU, on all its cores: for one row with Q4_0, Q4_1 and Q8_0 in integers, of which the row has
/// 16 bits (llama.cpp takes 8), otherwise in float32. For many rows, as in a prompt, a matrix is widened to float32 for the product and freed. Values are those of a
/// [`LlamaDecoder`](super::LlamaDecoder) that was read from the same file in float32, to four digits. There is nothing to train: it has no parameters.
///
/// Burn has quantised tensors too, but multiplies with them on the CPU by widening the whole matrix at every product
/// (`q_matmul` in burn-backend 0.22.1, for which burn-flex has no implementation of its own), and has no scheme with a minimum
/// beside the scale, as Q4_1 and Q4_K have it.
///
/// # Example
///
/// ```no_run
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_revision::language::{GenerationConfig, LanguageModel, Pretrained, generate};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let Pretrained { model, tokenizer } = Pretrained::load_quantized("SmolLM2-135M-Instruct.Q4_1.gguf", &device)?;
/// println!("{:.0} MB of weights", model.weight_bytes() as f64 / 1e6);
/// let tokens: Vec<i64> = tokenizer.encode("The capital of France is").into_iter().map(i64::from).collect();
/// let prompt = model.embed(Tensor::<1, Int>::from_data(&tokens[..], &device).unsqueeze());
/// let text = generate(&model, prompt, &[tokenizer.eos()], &GenerationConfig::new())?.remove(0);
/// println!("{}", tokenizer.decode(&text));
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct QuantizedLlama {
    #[module(skip)]
    weights: Arc<Weights>,
    #[module(skip)]
    device: Device,
}

/// All weights, and what they are of.
struct Weights {
    config: LlamaConfig,
    embed_tokens: Projection,
    layers: Vec<QuantizedLayer>,
    norm: Vec<f32>,
    lm_head: Option<Projection>,
    rope: RotaryFrequencies,
    attention: Attention,
    head_dim: usize,
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A layer, by the names of Hugging Face.
pub(super) struct QuantizedLayer {
    pub(super) qkv_proj: Projection,
    pub(super) o_proj: Projection,
    pub(super) gate_up_proj: Projection,
    pub(super) down_proj: Projection,
    pub(super) input_layernorm: Vec<f32>,
    pub(super) post_attention_layernorm: Vec<f32>,
    pub(super) q_norm: Option<Vec<f32>>,
    pub(super) k_norm: Option<Vec<f32>>,
}

impl QuantizedLayer {
    fn projections(&self) -> [&Projection; 4] {
        [&self.qkv_proj, &self.o_proj, &self.gate_up_proj, &self.down_proj]
    }
}

impl QuantizedLlama {
    pub(super) fn new(
        config: LlamaConfig,
        embed_tokens: Projection,
        layers: Vec<QuantizedLayer>,
        norm: Vec<f32>,
        lm_head: Option<Projection>,
        rope: RotaryFrequencies,
        device: &Device,
    ) -> Self {
        let heads = config.num_attention_heads;
        let kv_heads = config.num_key_value_heads.unwrap_or(heads);
        let attention = Attention { num_heads: heads, num_kv_heads: kv_heads, scale: None, score_cap: None };
        let head_dim = config.head_dim.unwrap_or(config.hidden_size / heads);
        let weights = Weights { config, embed_tokens, layers, norm, lm_head, rope, attention, head_dim };
        Self { weights: Arc::new(weights), device: device.clone() }
    }

    /// The configuration, with every optional size filled in.
    pub fn config(&self) -> &LlamaConfig {
        &self.weights.config
    }

    /// The size of all matrices in memory, in bytes.
    pub fn weight_bytes(&self) -> usize {
        let weights = &self.weights;
        let of_layers: usize =
            weights.layers.iter().flat_map(QuantizedLayer::projections).map(Projection::bytes).sum();
        of_layers + weights.embed_tokens.bytes() + weights.lm_head.as_ref().map_or(0, Projection::bytes)
    }
}

impl LanguageModel for QuantizedLlama {
    fn width(&self) -> usize {
        self.weights.config.hidden_size
    }

    fn vocab_size(&self) -> usize {
        self.weights.embed_tokens.dims()[0]
    }

    fn max_positions(&self) -> usize {
        self.weights.config.max_position_embeddings
    }

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [batch, time] = tokens.dims();
        let mut embeddings = Vec::with_capacity(batch * time * self.width());
        for token in tokens.into_data().iter::<i64>() {
            self.weights.embed_tokens.row(token as usize, &mut embeddings);
        }
        tensor(embeddings, [batch, time, self.width()], &self.device)
    }

    fn forward(&self, embeddings: Tensor<3>, mut cache: Option<&mut KvCache>) -> Tensor<3> {
        let weights = &*self.weights;
        let [batch, time, width] = embeddings.dims();
        let device = embeddings.device();
        let start = cache.as_deref().map_or(0, KvCache::len);
        let padding = cache.as_deref().map_or(vec![], |cache| cache.padding().to_vec());
        let positions: Vec<usize> = (0..batch)
            .flat_map(|row| {
                let before = padding.get(row).copied().unwrap_or(0);
                (start..start + time).map(move |position| position.saturating_sub(before))
            })
            .collect();
        let turns = Turns::new(&positions, &weights.rope);
        let padding = Padding::new(padding, start + time, DType::F32, &device);
        let causal = CausalBias::default();
        let mut hidden = values(embeddings);
        for (index, layer) in weights.layers.iter().enumerate() {
            let normed = weights.normed(&hidden, &layer.input_layernorm);
            let projected = layer.qkv_proj.forward(&normed, &device);
            let turns = weights.has_positions(index).then_some(&turns);
            let [query, key, value] = weights.heads(projected, layer, turns, [batch, time], &device);
            let (key, value) = match cache.as_deref_mut() {
                Some(cache) => cache.append(index, key, value),
                None => (key, value),
            };
            let mixed = weights.attention.forward(query, key, value, padding.as_ref(), &causal);
            let attended = layer.o_proj.forward(&values(mixed.swap_dims(1, 2)), &device);
            add(&mut hidden, &attended);
            let normed = weights.normed(&hidden, &layer.post_attention_layernorm);
            let inner = gated(&layer.gate_up_proj.forward(&normed, &device), hidden.len() / width);
            add(&mut hidden, &layer.down_proj.forward(&inner, &device));
        }
        tensor(weights.normed(&hidden, &weights.norm), [batch, time, width], &device)
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let (rows, device) = (hidden.dims()[0], hidden.device());
        let head = self.weights.lm_head.as_ref().unwrap_or(&self.weights.embed_tokens);
        tensor(head.forward(&values(hidden), &device), [rows, self.vocab_size()], &device)
    }

    fn allows_padding(&self) -> bool {
        true
    }
}

impl Weights {
    /// Whether a layer rotates queries and keys by their positions.
    fn has_positions(&self, layer: usize) -> bool {
        self.config.no_rope_layers.as_ref().is_none_or(|layers| layers[layer] != 0)
    }

    /// RMSNorm of rows.
    fn normed(&self, rows: &[f32], weight: &[f32]) -> Vec<f32> {
        let mut normed = rows.to_vec();
        norm_rows(&mut normed, weight, self.config.rms_norm_eps as f32);
        normed
    }

    /// Queries, keys and values in their places, `[batch, heads, time, head_dim]` each.
    fn heads(
        &self,
        projected: Vec<f32>,
        layer: &QuantizedLayer,
        turns: Option<&Turns>,
        [batch, time]: [usize; 2],
        device: &Device,
    ) -> [Tensor<4>; 3] {
        let dim = self.head_dim;
        let (heads, kv_heads) = (self.attention.num_heads, self.attention.num_kv_heads);
        let row = (heads + 2 * kv_heads) * dim;
        let part = |from: usize, count: usize, norm: Option<&Option<Vec<f32>>>| {
            let mut part = Vec::with_capacity(batch * time * count * dim);
            for (position, row) in projected.chunks(row).enumerate() {
                let own = part.len();
                part.extend_from_slice(&row[from * dim..(from + count) * dim]);
                let Some(norm) = norm else { continue };
                if let Some(weight) = norm {
                    norm_rows(&mut part[own..], weight, self.config.rms_norm_eps as f32);
                }
                if let Some(turns) = turns {
                    turns.rotate(&mut part[own..], position);
                }
            }
            // A single position has the same order either way.
            match time {
                1 => tensor(part, [batch, count, 1, dim], device),
                _ => tensor(part, [batch, time, count, dim], device).swap_dims(1, 2),
            }
        };
        [
            part(0, heads, Some(&layer.q_norm)),
            part(heads, kv_heads, Some(&layer.k_norm)),
            part(heads + kv_heads, kv_heads, None),
        ]
    }
}

fn norm_rows(rows: &mut [f32], weight: &[f32], epsilon: f32) {
    for row in rows.chunks_mut(weight.len()) {
        let squares: f32 = row.iter().map(|value| value * value).sum();
        let scale = (squares / row.len() as f32 + epsilon).sqrt().recip();
        row.iter_mut().zip(weight).for_each(|(value, weight)| *value *= scale * weight);
    }
}

fn add(to: &mut [f32], values: &[f32]) {
    to.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// `silu(gate) * up`, of rows that hold one behind the other.
fn gated(gate_up: &[f32], rows: usize) -> Vec<f32> {
    let width = gate_up.len() / rows;
    let unit = |row: &[f32]| {
        let (gate, up) = row.split_at(width / 2);
        gate.iter().zip(up).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect::<Vec<_>>()
    };
    match rows {
        1 => unit(gate_up),
        _ => gate_up.par_chunks(width).map(unit).collect::<Vec<_>>().concat(),
    }
}

/// The cosines and sines of positions, `[positions, head_dim / 2]`.
struct Turns {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Turns {
    fn new(positions: &[usize], rope: &RotaryFrequencies) -> Self {
        let angles: Vec<f64> = positions.iter().flat_map(|position| rope.angles(*position)).collect();
        Self {
            cos: angles.iter().map(|angle| angle.cos() as f32).collect(),
            sin: angles.iter().map(|angle| angle.sin() as f32).collect(),
            half: angles.len() / positions.len(),
        }
    }

    /// Rotates the heads of one position, coordinate `i` with `i + half`.
    fn rotate(&self, heads: &mut [f32], position: usize) {
        let place = position * self.half..(position + 1) * self.half;
        let (cos, sin) = (&self.cos[place.clone()], &self.sin[place]);
        for head in heads.chunks_mut(2 * self.half) {
            let (first, second) = head.split_at_mut(self.half);
            for (((first, second), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*first, *second) = (*first * cos - *second * sin, *second * cos + *first * sin);
            }
        }
    }
}
