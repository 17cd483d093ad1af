use std::sync::Arc;

use burn::tensor::{Tensor, TensorReadError};
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

/// The mean loss of steps, each weighted by its labels: burn-train's metric of the same name has the weight of a step from the
/// length of a tensor, and rounds as often as it adds up equal numbers.
#[derive(Clone)]
pub(crate) struct LossMetric {
    name: MetricName,
    state: NumericMetricState,
}

/// The input of [`LossMetric`].
#[derive(Clone, Debug)]
pub(crate) struct LossInput {
    /// The mean loss of a step, `[1]`.
    pub loss: Tensor<1>,
    /// The labels that it is the mean over.
    pub labels: usize,
}

impl LossMetric {
    /// The metric.
    pub fn new() -> Self {
        Self { name: Arc::new("Loss".to_string()), state: NumericMetricState::default() }
    }
}

impl Default for LossMetric {
    fn default() -> Self {
        Self::new()
    }
}

impl Metric for LossMetric {
    type Input = LossInput;

    fn update(&mut self, item: &LossInput, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.state.update(item.loss.clone().try_into_scalar::<f64>()?, item.labels);
        Ok(self.state.compute_update(FormatOptions::new(self.name()).precision(2)))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name()).precision(2)))
    }

    fn clear(&mut self) {
        self.state.reset();
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: false }.into()
    }
}

impl Numeric for LossMetric {
    fn value(&self) -> Option<NumericEntry> {
        Some(self.state.current_value())
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(self.state.running_value())
    }

    fn final_value(&self) -> NumericEntry {
        self.state.final_value()
    }
}
