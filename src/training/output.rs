use burn::tensor::{ExecutionError, Tensor};
use burn::train::ItemLazy;
use burn::train::metric::Adaptor;

use super::loss::LossInput;
use super::tokens::TokenInput;

/// What a training or validation step reports to burn-train: its mean loss, `[1]`, and its number of labels and tokens.
#[derive(Clone, Debug)]
pub(crate) struct LossOutput {
    /// The loss, `[1]`.
    pub loss: Tensor<1>,
    labels: usize,
    tokens: usize,
}

impl LossOutput {
    /// Reports `loss`.
    pub fn new(loss: Tensor<1>) -> Self {
        Self { loss: loss.without_autodiff(), labels: 1, tokens: 0 }
    }

    /// Reports the loss as a mean over `labels`, the weight of the step in averages, and the number of tokens that went
    /// through the model.
    pub fn over(mut self, labels: usize, tokens: usize) -> Self {
        (self.labels, self.tokens) = (labels.max(1), tokens);
        self
    }
}

impl ItemLazy for LossOutput {
    fn sync(self) -> Result<Self, ExecutionError> {
        self.loss.device().flush()?;
        Ok(self)
    }
}

impl Adaptor<LossInput> for LossOutput {
    fn adapt(&self) -> LossInput {
        LossInput { loss: self.loss.clone(), labels: self.labels }
    }
}

impl Adaptor<TokenInput> for LossOutput {
    fn adapt(&self) -> TokenInput {
        TokenInput(self.tokens)
    }
}
