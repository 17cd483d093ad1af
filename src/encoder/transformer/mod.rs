//! The pre-norm transformer of vision and text towers, with the names of its weights in Hugging Face's `CLIPEncoder` and
//! `SiglipEncoder`.

mod activation;
mod attention;
mod layer;

pub use activation::Activation;
pub(super) use attention::{AttentionPooling, SelfAttention};
pub(super) use layer::{EncoderLayerConfig, Mlp, TransformerEncoder};
