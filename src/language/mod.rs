//! Language: the model that is frozen while the projector learns, and tuned afterwards.
//!
//! [`LanguageModel`] is what ReVision needs of one: its width, and the ways from tokens to embeddings, from embeddings to
//! hidden states (with a [`KvCache`] during generation) and from hidden states to logits. The last two are separate, so
//! that the loss computes the product with the vocabulary only where there is a label. [`LlamaDecoder`] implements the
//! LLaMA family; [`generate`] writes text with any implementation, a [`TokenStream`] token by token, and a
//! [`BatchDecoder`] many texts that come and go.
//!
//! [`Pretrained`] is the way to published models: a folder of Hugging Face, a GGUF file of llama.cpp, or with the feature
//! `hub` a name. A [`Tokenizer`] knows its [`ChatTemplate`], which says how a conversation becomes text and which part of
//! it are the answers.

mod attention;
mod batch_decoder;
mod cache;
mod cache_check;
mod chat_template;
mod detokenizer;
mod gemma;
mod generation;
mod generation_config;
mod gguf;
mod hugging_face;
mod inference;
mod llama;
mod pretrained;
mod quantized;
mod rope;
mod sampling;
mod sentencepiece;
mod text_stream;
mod token_stream;
mod tokenizer;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Int, Tensor};

pub use batch_decoder::{BatchDecoder, Decoded, SequenceId};
pub use cache::KvCache;
pub use cache_check::check_cache;
pub use chat_template::{ChatTemplate, Message, MessageRole};
pub use detokenizer::Detokenizer;
pub use gemma::GemmaConfig;
pub(crate) use generation::generate_numbered;
pub use generation::{generate, generate_each};
pub use generation_config::GenerationConfig;
pub use inference::{InferenceDecoder, WeightStorage};
pub use llama::{LlamaConfig, LlamaDecoder};
pub use pretrained::Pretrained;
pub use quantized::QuantizedLlama;
pub use rope::RopeScaling;
pub use text_stream::{FinishReason, TextStream};
pub use token_stream::TokenStream;
pub use tokenizer::Tokenizer;

/// A causal language model that takes embeddings.
///
/// Sequences in a batch are right-padded: with causal attention a real position never sees the padding behind
/// it, so no padding mask is needed as long as padded positions carry no label.
///
/// [`LlamaDecoder`] implements it; implement it for another architecture, and everything in
/// [`revision`](crate::revision) works with that.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use burn_revision::language::{LanguageModel, LlamaConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let model = LlamaConfig::new(256, 64, 128, 2, 4).init(&device)?;
/// let tokens = Tensor::<2, Int>::zeros([1, 7], &device);
/// let hidden = model.forward(model.embed(tokens), None);
/// let last = hidden.narrow(1, 6, 1).reshape([1, model.width()]);
/// assert_eq!(model.logits(last).dims(), [1, model.vocab_size()]);
/// # Ok(())
/// # }
/// ```
pub trait LanguageModel: Module + ModuleDisplay + Sync + 'static {
    /// The width of the embeddings and hidden states.
    fn width(&self) -> usize;

    /// The number of tokens in the vocabulary.
    fn vocab_size(&self) -> usize;

    /// The longest sequence, in positions.
    fn max_positions(&self) -> usize;

    /// The embeddings of tokens.
    ///
    /// # Shapes
    ///
    /// - tokens: `[batch, time]`
    /// - output: `[batch, time, width]`
    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3>;

    /// The final hidden states of a sequence given as embeddings.
    ///
    /// With a `cache`, the sequence continues the one that the cache holds and is appended to it; a model that keeps nothing of
    /// earlier positions counts them by [`KvCache::set_state`] with `()`. [`check_cache`] tests it.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[batch, time, width]`
    /// - output: `[batch, time, width]`
    fn forward(&self, embeddings: Tensor<3>, cache: Option<&mut KvCache>) -> Tensor<3>;

    /// The final hidden states of sequences whose first position stands for `copies` equal ones, as the authors of ReVision give
    /// every picture to the language model (arXiv 2602.07026, Sec. 5): the state at the last copy, and those that follow.
    ///
    /// This computes all copies. [`LlamaDecoder`] computes one: copies at the beginning of a sequence attend to nothing but each
    /// other, so that they stay equal in all layers.
    ///
    /// # Shapes
    ///
    /// - embeddings, output: `[batch, time, width]`, for `time + copies - 1` positions
    ///
    /// # Panics
    ///
    /// Panics without a copy.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use burn_revision::language::{LanguageModel, LlamaConfig};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let device = Device::default();
    /// let model = LlamaConfig::new(256, 64, 128, 2, 4).init(&device)?;
    /// let [picture, text] = [1, 7].map(|time| Tensor::random([1, time, 64], Distribution::Default, &device));
    /// let short = model.forward_copies(Tensor::cat(vec![picture.clone(), text.clone()], 1), 500);
    /// let long = model.forward(Tensor::cat(vec![picture.repeat_dim(1, 500), text], 1), None).narrow(1, 499, 8);
    /// assert!((short - long).abs().max().into_scalar::<f32>() < 1e-4);
    /// # Ok(())
    /// # }
    /// ```
    fn forward_copies(&self, embeddings: Tensor<3>, copies: usize) -> Tensor<3> {
        assert!(copies > 0, "the first position stands for at least itself");
        let [batch, time, width] = embeddings.dims();
        let mut whole = vec![embeddings.clone().narrow(1, 0, 1).expand([batch, copies, width])];
        if time > 1 {
            whole.push(embeddings.narrow(1, 1, time - 1));
        }
        self.forward(Tensor::cat(whole, 1), None).narrow(1, copies - 1, time)
    }

    /// Whether [`forward`](Self::forward) follows the [`padding`](KvCache::padding) of the cache, as sequences of unlike lengths
    /// need that are continued together. A model that does not is given one length at a time.
    fn allows_padding(&self) -> bool {
        false
    }

    /// The scores of the next token.
    ///
    /// # Shapes
    ///
    /// - hidden: `[rows, width]`
    /// - output: `[rows, vocab_size]`
    fn logits(&self, hidden: Tensor<2>) -> Tensor<2>;
}
