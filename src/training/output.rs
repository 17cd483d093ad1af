use burn::tensor::{ExecutionError, Tensor};
use burn::train::ItemLazy;
use burn::train::metric::{Adaptor, LossInput};

/// What a training or validation step reports to burn-train: its loss, `[1]`.
#[derive(Clone, Debug)]
pub struct LossOutput {
    loss: Tensor<1>,
}

impl LossOutput {
    /// Reports `loss`.
    pub fn new(loss: Tensor<1>) -> Self {
        Self { loss: loss.without_autodiff() }
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
        LossInput::new(self.loss.clone())
    }
}
