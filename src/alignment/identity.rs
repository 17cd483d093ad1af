use burn::tensor::Tensor;

use super::{Aligner, ClosedForm};
use crate::embedding::normalize;

/// No alignment: unit rows where they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    dim: usize,
}

impl Identity {
    /// No alignment of rows of `dim` dimensions.
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl Aligner for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim;
        crate::assert_shape!(text, [_, dim], "identity: text rows");
        normalize(text)
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        Some(ClosedForm::new(1.0, vec![0.0; self.dim], Vec::new(), 0.0))
    }
}
