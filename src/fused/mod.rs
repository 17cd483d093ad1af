//! What decoders compute besides products of matrices, in one pass over memory and over threads where the backend is flex:
//! forward and backward, as an extension of Burn's backends. Elsewhere, and in float64, each is the composition of Burn's
//! operations, which is also what it is tested against. In half precision they compute in float32 and round once.
//!
//! | operation | passes of the composition (forward, backward) |
//! |---|---|
//! | RMSNorm | 5, 8 |
//! | SwiGLU | 3, 8 |
//! | rotary positions, and heads before positions | 7, 14 |
//! | causal attention | 7 and all scores kept |
//! | cross-entropy | 6 and two copies of the logits kept |
//! | AdamW | 14 |
//! | products of few rows, without autodiff | 1, on one thread |
//! | products of rows with a matrix | 3, of which 2 lay out zeros; in half precision 2 on one thread |
//! | the gradient of an embedding | 3, of which 2 lay out zeros |
//! | the norm of gradients, and clipping by it | 2, 1 |

mod adamw;
#[cfg(feature = "flex")]
mod flex;
#[cfg(all(test, feature = "flex"))]
mod product_tests;
#[cfg(all(test, feature = "flex"))]
mod tests;

use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, RmsNorm};
#[cfg(not(feature = "flex"))]
use burn::tensor::Device;
use burn::tensor::activation::silu;
use burn::tensor::{DType, Int, Tensor};

#[cfg(feature = "flex")]
use burn::backend::Dispatch;
#[cfg(feature = "flex")]
use flex::{FusedOps, Order, are_fused, is_single};

pub(crate) use adamw::FusedAdamW;
#[cfg(feature = "flex")]
pub(crate) use flex::{exp, highest, in_awake_pool, in_pool};

/// Does work; see `flex/pool.rs` for flex.
#[cfg(not(feature = "flex"))]
pub(crate) fn in_pool<R: Send>(_: &Device, work: impl FnOnce() -> R + Send) -> R {
    work()
}

/// Does work; see `flex/pool.rs` for flex.
#[cfg(not(feature = "flex"))]
pub(crate) fn in_awake_pool<R: Send>(_: &Device, work: impl FnOnce() -> R + Send) -> R {
    work()
}

/// [`Linear::forward`] of layers with one input, `[rows, inputs]`.
pub(crate) fn linears<const N: usize>(layers: [&Linear; N], x: Tensor<2>) -> [Tensor<2>; N] {
    #[cfg(feature = "flex")]
    if let Some(outputs) = products(&x, layers.map(|layer| layer.weight.val()), Order::OfInputs) {
        let mut biases = layers.iter().map(|layer| layer.bias.as_ref());
        return outputs.map(|output| match biases.next().flatten() {
            Some(bias) => output + bias.val().unsqueeze(),
            None => output,
        });
    }
    layers.map(|layer| layer.forward(x.clone()))
}

/// The products of rows with matrices, where flex's are not those of Burn.
#[cfg(feature = "flex")]
fn products<const N: usize>(x: &Tensor<2>, matrices: [Tensor<2>; N], order: Order) -> Option<[Tensor<2>; N]> {
    if let Some(outputs) = flex::few_rows::products(x, matrices.clone(), order) {
        return Some(outputs);
    }
    let is_empty = |tensor: &Tensor<2>| tensor.shape().num_elements() == 0;
    let is_computed = |matrix: &Tensor<2>| matrix.dtype() == x.dtype() && !is_empty(matrix);
    if !are_fused([x]) || is_empty(x) || !matrices.iter().all(is_computed) {
        return None;
    }
    Some(matrices.map(|matrix| {
        let inputs = matrix.dims()[order.of_inputs()];
        assert_eq!(x.dims()[1], inputs, "rows are as wide as the inputs of the matrix");
        let [x, matrix] = [x.clone(), matrix].map(Tensor::into_dispatch);
        Tensor::from_dispatch(Dispatch::fused_product(x, matrix, order))
    }))
}

/// The products of rows, `[rows, inputs]`, with those of a matrix, `[outputs, inputs]`.
pub(crate) fn products_of_rows(x: Tensor<2>, matrix: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if let Some([output]) = products(&x, [matrix.clone()], Order::OfOutputs) {
        return output;
    }
    x.matmul(matrix.transpose())
}

/// [`RmsNorm::forward`].
pub(crate) fn rms_norm<const D: usize>(norm: &RmsNorm, x: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if are_fused([&x]) && x.dtype() == norm.gamma.val().dtype() {
        assert_eq!(x.dims()[D - 1], norm.gamma.dims()[0], "rows are as wide as the gains of their norm");
        let gamma = norm.gamma.val().into_dispatch();
        return Tensor::from_dispatch(Dispatch::fused_rms_norm(x.into_dispatch(), gamma, norm.epsilon));
    }
    if x.dtype() == DType::F64 {
        // Burn takes the root in float32 (`RmsNorm` of burn-nn 0.22.1).
        let rms = (x.clone().square().mean_dim(D - 1) + norm.epsilon).sqrt();
        return x / rms * norm.gamma.val().unsqueeze();
    }
    norm.forward(x)
}

/// `silu(gate) * up`, of equal shapes.
pub(crate) fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if are_fused([&gate, &up]) {
        assert_eq!(gate.dims(), up.dims(), "gate and up have one shape");
        return Tensor::from_dispatch(Dispatch::fused_swiglu(gate.into_dispatch(), up.into_dispatch()));
    }
    silu(gate) * up
}

/// Rotates heads by their positions, and puts heads before positions.
///
/// # Shapes
///
/// - heads: `[batch, time, heads, dim]`
/// - cos, sin: `[batch or 1, 1, time, dim / 2]`, without autodiff
/// - output: `[batch, heads, time, dim]`
pub(crate) fn rotary(heads: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    if are_fused([&heads, &cos, &sin]) {
        let [batch, time, _, dim] = heads.dims();
        let rows = if cos.dims()[0] == 1 { 1 } else { batch };
        assert_eq!([cos.dims(), sin.dims()], [[rows, 1, time, dim / 2]; 2], "every position has its angles");
        let [heads, cos, sin] = [heads, cos, sin].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::fused_rotary(heads, cos, sin));
    }
    let heads = heads.swap_dims(1, 2);
    let half = cos.dims()[3];
    let first = heads.clone().narrow(3, 0, half);
    let second = heads.narrow(3, half, half);
    Tensor::cat(
        vec![first.clone() * cos.clone() - second.clone() * sin.clone(), second * cos + first * sin],
        3,
    )
}

/// Causal attention of the last positions of a sequence; `None` where there is none in one pass.
///
/// # Shapes
///
/// - query: `[batch, heads, time, dim]`
/// - key, value: `[batch, kv_heads, seen, dim]`, where each serves `heads / kv_heads` heads of queries that follow each other
/// - output: `[batch, time, heads, dim]`
pub(crate) fn causal_attention(
    query: &Tensor<4>,
    key: &Tensor<4>,
    value: &Tensor<4>,
    scale: f64,
) -> Option<Tensor<4>> {
    #[cfg(feature = "flex")]
    if are_fused([query, key, value]) {
        let ([batch, heads, time, dim], [_, kv_heads, seen, _]) = (query.dims(), key.dims());
        assert_eq!(
            [key.dims(), value.dims()],
            [[batch, kv_heads, seen, dim]; 2],
            "queries fit keys and values"
        );
        assert!(heads.is_multiple_of(kv_heads), "{heads} heads of queries share {kv_heads} of keys");
        assert!(time <= seen, "{time} queries are the last of {seen} positions");
        let [query, key, value] = [query, key, value].map(|tensor| tensor.clone().into_dispatch());
        return Some(Tensor::from_dispatch(Dispatch::fused_attention(query, key, value, scale)));
    }
    let _ = (query, key, value, scale);
    None
}

/// [`Embedding::forward`](burn::nn::Embedding::forward).
///
/// # Shapes
///
/// - matrix: `[vocabulary, width]`
/// - tokens: `[batch, time]`
/// - output: `[batch, time, width]`
pub(crate) fn embedding(matrix: Tensor<2>, tokens: Tensor<2, Int>) -> Tensor<3> {
    #[cfg(feature = "flex")]
    if is_single(&matrix) && matrix.is_tracked() {
        let ([vocabulary, width], [batch, time]) = (matrix.dims(), tokens.dims());
        let numbers: Vec<usize> = tokens.into_data().iter::<i64>().map(|token| token as usize).collect();
        let unknown = numbers.iter().find(|number| **number >= vocabulary);
        assert_eq!(unknown, None, "tokens are below {vocabulary}");
        let rows = Tensor::<2>::from_dispatch(Dispatch::fused_embedding(matrix.into_dispatch(), numbers));
        return rows.reshape([batch, time, width]);
    }
    burn::tensor::module::embedding(matrix, tokens)
}

/// The mean cross-entropy of logits, `[rows, vocabulary]` in float32, with a token for each row: `[1]`.
pub(crate) fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    #[cfg(feature = "flex")]
    if is_single(&logits) {
        let [rows, classes] = logits.dims();
        let targets: Vec<usize> = targets.into_data().iter::<i64>().map(|target| target as usize).collect();
        assert_eq!(targets.len(), rows, "every row of logits has a target");
        let unknown = targets.iter().find(|target| **target >= classes);
        assert_eq!(unknown, None, "targets are below {classes}");
        return Tensor::from_dispatch(Dispatch::fused_cross_entropy(logits.into_dispatch(), targets));
    }
    let device = logits.device();
    CrossEntropyLossConfig::new().init(&device).forward(logits, targets)
}

/// The sum of the squares of a tensor's numbers, `[1]` in float32.
pub(crate) fn sum_of_squares<const D: usize>(x: &Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "flex")]
    if is_single(x) && !x.is_autodiff() {
        return flex::norm::sum_of_squares(x.clone());
    }
    // Squares in half precision overflow.
    let x = x.clone().cast(DType::F32);
    (x.clone() * x).sum()
}

/// `x * factor`, in its place where nobody else has it.
pub(crate) fn scaled<const D: usize>(x: Tensor<D>, factor: f64) -> Tensor<D> {
    #[cfg(feature = "flex")]
    if is_single(&x) && !x.is_autodiff() {
        return flex::norm::scaled(x, factor as f32);
    }
    x.mul_scalar(factor)
}
