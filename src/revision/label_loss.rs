//! The loss of labelled positions, without all of their logits in memory at once.
//!
//! With 2048 labels and a vocabulary of 128,000 tokens, one copy of the logits in float32 is 1 GB, and the loss and its
//! gradient need several. Here the product with the vocabulary and the cross-entropy go over the labels in chunks, and the
//! gradient of a chunk is computed with it: for the mean over `n` labels, `d loss / d hidden = (softmax - onehot) W / n`.
//! What is kept is that gradient, as large as the hidden states, and the loss is put together as
//! `sum(hidden * gradient)`, of which value and gradient are the right ones (the fused linear cross-entropy of arXiv 2410.10989).

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{DType, Int, Tensor};

use crate::fused::cross_entropy;
use crate::language::LanguageModel;

/// Bytes of the logits of a chunk in float32. Together with a few copies of them, this is small beside any model whose
/// vocabulary makes the chunks necessary, and still hundreds of rows, as products need to be fast.
const CHUNK_BYTES: usize = 64 << 20;

/// The mean negative log-likelihood of `targets`, `[labels]`, after the states `hidden`, `[labels, width]`: `[1]`, in
/// float32.
pub(super) fn mean_nll<L: LanguageModel>(
    language: &L,
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
) -> Tensor<1> {
    let rows = chunk_rows(language, &hidden);
    chunked(language, hidden, targets, rows)
}

/// The number of labels in a chunk.
///
/// Where the vocabulary itself is trained, a chunk has at least as many rows as the model is wide: each needs a gradient of
/// the weights, `[width, vocabulary]`, and smaller chunks than that would take more memory than they save.
fn chunk_rows<L: LanguageModel>(language: &L, hidden: &Tensor<2>) -> usize {
    let [labels, width] = hidden.dims();
    let rows = (CHUNK_BYTES / size_of::<f32>() / language.vocab_size()).max(1);
    if rows >= labels || !has_trained_vocabulary(language, hidden) { rows } else { rows.max(width) }
}

/// Whether logits depend on weights that are trained, which a single row shows.
fn has_trained_vocabulary<L: LanguageModel>(language: &L, hidden: &Tensor<2>) -> bool {
    is_trained(language) && language.logits(hidden.clone().detach().narrow(0, 0, 1)).is_tracked()
}

fn is_trained<M: Module>(module: &M) -> bool {
    struct Trained(bool);
    impl ModuleVisitor for Trained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 |= param.is_require_grad();
        }
    }
    let mut trained = Trained(false);
    module.visit(&mut trained);
    trained.0
}

/// The product with the vocabulary and the cross-entropy of all rows, as a mean.
fn whole<L: LanguageModel>(language: &L, hidden: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    cross_entropy(language.logits(hidden).cast(DType::F32), targets)
}

/// [`mean_nll`] with `rows` labels at a time.
fn chunked<L: LanguageModel>(
    language: &L,
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
    rows: usize,
) -> Tensor<1> {
    let [labels, _] = hidden.dims();
    if rows >= labels {
        return whole(language, hidden, targets);
    }
    let mut sum: Option<Tensor<1>> = None;
    let mut of_hidden = Vec::new();
    let mut of_weights = GradientsAccumulator::new();
    for start in (0..labels).step_by(rows) {
        let count = rows.min(labels - start);
        let mut part = hidden.clone().detach().narrow(0, start, count);
        if hidden.is_tracked() {
            part = part.require_grad();
        }
        let loss = whole(language, part.clone(), targets.clone().narrow(0, start, count)) * count as f64;
        // The graph of the chunk ends at its states and at the weights: what led to the states is not in it.
        if loss.is_tracked() {
            let mut gradients = loss.backward();
            of_hidden.extend(part.grad_remove(&mut gradients));
            of_weights.accumulate(language, GradientsParams::from_grads(gradients, language));
        }
        let loss = loss.without_autodiff();
        sum = Some(sum.map_or(loss.clone(), |sum| sum + loss));
    }
    let sum = sum.expect("there are more labels than in a chunk");
    let mut products = Products { gradients: of_weights.grads(), sum: None };
    if !of_hidden.is_empty() {
        products.add(hidden, Tensor::cat(of_hidden, 0));
    }
    language.visit(&mut products);
    let loss = match products.sum {
        // Exactly zero, with the gradient of the sum.
        Some(products) => products.clone() - products.detach() + sum,
        None => sum,
    };
    loss / labels as f64
}

/// The sum of all `value * gradient`, whose gradient by a value is the gradient.
struct Products {
    gradients: GradientsParams,
    sum: Option<Tensor<1>>,
}

impl Products {
    fn add<const D: usize>(&mut self, value: Tensor<D>, gradient: Tensor<D>) {
        let product = (value.cast(DType::F32) * gradient.cast(DType::F32)).sum();
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + product,
            None => product,
        });
    }
}

impl ModuleVisitor for Products {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.add(param.val(), gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{LlamaConfig, LlamaDecoder};
    use approx::assert_abs_diff_eq;
    use burn::module::{Lora, ModuleMapper, ParamGroup};
    use burn::tensor::{Device, Distribution, TensorData};

    const LABELS: usize = 11;
    const WIDTH: usize = 8;

    /// Its matrices are the same each time: in half precision, a bound of a few roundings holds for most draws and not for all.
    fn decoder(tied: bool) -> LlamaDecoder {
        struct Fixed(usize);
        impl ModuleMapper for Fixed {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                if D == 1 {
                    return param;
                }
                param.map(|weight| {
                    let values = (0..weight.shape().num_elements()).map(|_| {
                        self.0 += 1;
                        0.7 * (self.0 as f32 * 12.9898).sin()
                    });
                    let data = TensorData::new(values.collect::<Vec<_>>(), weight.shape());
                    Tensor::from_data(data, &weight.device())
                })
            }
        }
        let config = LlamaConfig::new(37, WIDTH, 16, 1, 2).with_tie_word_embeddings(tied);
        config.init(&Device::default()).unwrap().map(&mut Fixed(0))
    }

    /// The loss, the gradient by the embeddings below the decoder, and those by its weights.
    type Found = (f64, Option<Vec<f32>>, Vec<Vec<f32>>);

    /// Runs the decoder on the same embeddings, with `rows` labels at a time.
    fn run(language: &LlamaDecoder, tracked: bool, rows: usize) -> Found {
        let device = Device::default().autodiff();
        let values: Vec<f32> = (0..LABELS * WIDTH).map(|i| ((i * 29 % 17) as f32 - 8.0) / 5.0).collect();
        let input = Tensor::<2>::from_data(TensorData::new(values, [LABELS, WIDTH]), &device);
        let input = if tracked { input.require_grad() } else { input };
        let targets: Vec<i32> = (0..LABELS as i32).map(|i| i * 7 % 37).collect();
        let targets = Tensor::from_data(TensorData::new(targets, [LABELS]), &device);
        // Tokens go in as well: weights that are embeddings and vocabulary have a gradient from either side.
        let tokens = Tensor::<1, Int>::arange(0..LABELS as i64, &device).reshape([1, LABELS]);
        let tokens = language.embed(tokens);
        let states = tokens.clone() + input.clone().reshape([1, LABELS, WIDTH]).cast(tokens.dtype());
        let hidden = language.forward(states, None).reshape([LABELS, WIDTH]);
        // As one micro-batch of several is weighted.
        let loss = chunked(language, hidden, targets, rows) * 0.25;
        let value = loss.clone().without_autodiff().into_scalar::<f64>();
        if !loss.is_tracked() {
            return (value, None, Vec::new());
        }
        let mut gradients = loss.backward();
        let of_input = tracked.then(|| floats(input.grad_remove(&mut gradients).unwrap()));
        let mut weights = Collect(GradientsParams::from_grads(gradients, language), Vec::new());
        language.visit(&mut weights);
        (value, of_input, weights.1)
    }

    struct Collect(GradientsParams, Vec<Vec<f32>>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.extend(self.0.remove::<D>(param.id).map(floats));
        }
    }

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    /// Chunks of all sizes give the value and the gradients of the composition; `weights` of them are trained.
    #[track_caller]
    fn assert_chunks_change_nothing(language: &LlamaDecoder, tracked: bool, weights: usize) {
        // A few roundings of float32.
        assert_chunks_change(language, tracked, weights, 4e-6);
    }

    #[track_caller]
    fn assert_chunks_change(language: &LlamaDecoder, tracked: bool, weights: usize, share: f32) {
        let expected = run(language, tracked, LABELS);
        assert_eq!((expected.1.is_some(), expected.2.len()), (tracked, weights));
        for rows in [1, 2, 3, 5, LABELS - 1, LABELS, LABELS + 1] {
            let found = run(language, tracked, rows);
            assert_abs_diff_eq!(found.0, expected.0, epsilon = f64::from(share) / 4.0);
            let gradients = |found: &Found| found.1.iter().chain(&found.2).cloned().collect::<Vec<_>>();
            let (found, expected) = (gradients(&found), gradients(&expected));
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let scale = expected.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
                for (found, expected) in found.iter().zip(expected) {
                    assert_abs_diff_eq!(found, expected, epsilon = share * scale);
                }
            }
        }
    }

    fn in_training(language: LlamaDecoder) -> LlamaDecoder {
        language.train().fork(&Device::default().autodiff())
    }

    #[test]
    fn a_frozen_vocabulary_passes_its_gradient_on() {
        for tied in [false, true] {
            let language = in_training(decoder(tied).freeze());
            assert_chunks_change_nothing(&language, true, 0);
            // Without pictures there is nothing to train, and nothing is tracked.
            assert_chunks_change_nothing(&language, false, 0);
        }
    }

    #[test]
    fn a_trained_vocabulary_gets_its_gradient() {
        // Of attention and feed-forward, of three norms, and embeddings that are the head or not.
        for (tied, weights) in [(false, 7 + 3 + 2), (true, 7 + 3 + 1)] {
            let language = in_training(decoder(tied));
            for tracked in [true, false] {
                assert_chunks_change_nothing(&language, tracked, weights);
            }
        }
    }

    /// States and their gradient are float16; the loss and what it is put together from are float32.
    #[test]
    fn a_frozen_model_may_be_of_half_precision() {
        struct Half;
        impl ModuleMapper for Half {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|weight| weight.cast(DType::F16))
            }
        }
        let language = in_training(decoder(true).map(&mut Half).freeze());
        // A few roundings of float16.
        assert_chunks_change(&language, true, 0, 4e-3);
    }

    #[test]
    fn adapters_of_the_vocabulary_get_theirs() {
        let group = |pattern: &str| ParamGroup::from_regex(pattern).unwrap();
        let language = decoder(false).freeze();
        let lora = Lora::new(2, 4.0).set_param_group(group(r"^lm_head\.weight$"));
        let language = language.apply_lora(lora).set_require_grad_group(group(r"\.lora\.[ab]$"), true);
        assert_chunks_change_nothing(&in_training(language), true, 2);
    }

    /// Where nothing is trained, as in validation.
    #[test]
    fn the_value_needs_no_gradient() {
        let language = decoder(true);
        let hidden = Tensor::random([LABELS, WIDTH], Distribution::Normal(0.0, 1.0), &Device::default());
        let targets = || Tensor::from_ints([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5], &Device::default());
        let value = |rows| chunked(&language, hidden.clone(), targets(), rows).into_scalar::<f64>();
        for rows in [1, 4, LABELS] {
            assert_abs_diff_eq!(value(rows), value(LABELS), epsilon = 1e-6);
        }
        assert_abs_diff_eq!(
            mean_nll(&language, hidden.clone(), targets()).into_scalar::<f64>(),
            value(LABELS),
            epsilon = 1e-6
        );
    }

    #[test]
    fn chunks_are_small_where_the_vocabulary_is_frozen_and_wide_where_it_is_trained() {
        let vocabulary = 1 << 18;
        let config = LlamaConfig::new(vocabulary, 128, 8, 0, 2);
        let hidden = |labels| Tensor::zeros([labels, 128], &Device::default().autodiff());
        let language = config.init(&Device::default()).unwrap();
        let frozen = in_training(language.clone().freeze());
        assert_eq!(chunk_rows(&frozen, &hidden(1000)) * vocabulary * 4, CHUNK_BYTES);
        let trained = in_training(language);
        assert_eq!(chunk_rows(&trained, &hidden(1000)), 128);
        // One chunk is no chunk.
        assert!(chunk_rows(&trained, &hidden(60)) >= 60);
    }
}
