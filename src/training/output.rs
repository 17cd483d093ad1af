use burn::tensor::{ExecutionError, Tensor};
use burn::train::ItemLazy;
use burn::train::metric::{Adaptor, LossInput};

use super::tokens::TokenInput;

/// What a training or validation step reports to burn-train: its mean loss, `[1]`, and over how many labels and tokens.
#[derive(Clone, Debug)]
pub struct LossOutput {
    loss: Tensor<1>,
    labels: usize,
    tokens: usize,
}

impl LossOutput {
    /// Reports `loss`.
    pub fn new(loss: Tensor<1>) -> Self {
        Self { loss: loss.without_autodiff(), labels: 1, tokens: 0 }
    }

    /// Reports the loss as a mean over `labels`, so that steps are averaged rightly, and how many tokens the step cost.
    pub fn over(mut self, labels: usize, tokens: usize) -> Self {
        (self.labels, self.tokens) = (labels.max(1), tokens);
        self
    }

    /// The loss, `[1]`.
    pub fn loss(&self) -> Tensor<1> {
        self.loss.clone()
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
        // The metric weights a step by the length of its tensor.
        LossInput::new(self.loss.clone().expand([self.labels]))
    }
}

impl Adaptor<TokenInput> for LossOutput {
    fn adapt(&self) -> TokenInput {
        TokenInput(self.tokens)
    }
}
