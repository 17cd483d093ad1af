//! The kernels as an extension of Burn's backends: flex has them, alone and with autodiff.

mod attention;
mod bfloat16;
mod cross_entropy;
mod embedding;
pub(super) mod few_rows;
mod heads;
mod kernel;
mod matrices;
mod narrow;
pub(super) mod norm;
mod parts;
mod pool;
mod product;
mod rms_norm;
mod rotary;
mod swiglu;
pub(super) mod update;
mod widened;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};

use super::super::half_precision::Stored;

pub(crate) use few_rows::Order;
pub(crate) use kernel::{are_fused, exp, highest, is_single};
pub(crate) use pool::{in_awake_pool, in_pool};

/// Operations in one pass. The functions of this folder's root have them for every backend.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait FusedOps: Backend {
    /// RMSNorm.
    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;
    /// `silu(gate) * up`.
    fn fused_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// Rotary positions.
    fn fused_rotary(
        heads: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    /// Causal attention.
    fn fused_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self>;
    /// Rows of a matrix.
    fn fused_embedding(matrix: FloatTensor<Self>, numbers: Vec<usize>) -> FloatTensor<Self>;
    /// The mean cross-entropy.
    fn fused_cross_entropy(logits: FloatTensor<Self>, targets: Vec<usize>) -> FloatTensor<Self>;
    /// The products of rows with a matrix.
    fn fused_product(x: FloatTensor<Self>, matrix: FloatTensor<Self>, order: Order) -> FloatTensor<Self>;
}

impl FusedOps for Flex {
    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        rms_norm::forward(x, gamma, eps)
    }

    fn fused_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        swiglu::forward(gate, up)
    }

    fn fused_rotary(
        heads: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        rotary::forward(heads, cos, sin)
    }

    fn fused_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        attention::forward(query, key, value, scale)
    }

    fn fused_embedding(matrix: FloatTensor<Self>, numbers: Vec<usize>) -> FloatTensor<Self> {
        embedding::forward(matrix, &numbers)
    }

    fn fused_cross_entropy(logits: FloatTensor<Self>, targets: Vec<usize>) -> FloatTensor<Self> {
        cross_entropy::forward(logits, &targets)
    }

    fn fused_product(x: FloatTensor<Self>, matrix: FloatTensor<Self>, order: Order) -> FloatTensor<Self> {
        product::forward(x, matrix, order)
    }
}

impl<C: CheckpointStrategy> FusedOps for Autodiff<Flex, C> {
    fn fused_rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        rms_norm::tracked::<C>(x, gamma, eps)
    }

    fn fused_swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        swiglu::tracked::<C>(gate, up)
    }

    fn fused_rotary(
        heads: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        rotary::tracked::<C>(heads, cos.into_primitive(), sin.into_primitive())
    }

    fn fused_attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        attention::tracked::<C>(query, key, value, scale)
    }

    fn fused_embedding(matrix: FloatTensor<Self>, numbers: Vec<usize>) -> FloatTensor<Self> {
        embedding::tracked::<C>(matrix, numbers)
    }

    fn fused_cross_entropy(logits: FloatTensor<Self>, targets: Vec<usize>) -> FloatTensor<Self> {
        cross_entropy::tracked::<C>(logits, targets)
    }

    fn fused_product(x: FloatTensor<Self>, matrix: FloatTensor<Self>, order: Order) -> FloatTensor<Self> {
        product::tracked::<C>(x, matrix, order)
    }
}
