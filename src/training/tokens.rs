use std::sync::Arc;

use burn::tensor::TensorReadError;
use burn::train::metric::state::{FormatOptions, NumericMetricState};
use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

/// The number of tokens that a step sent through the model, visual tokens and padding included.
#[derive(Clone)]
pub(crate) struct TokenMetric {
    name: MetricName,
    state: NumericMetricState,
}

/// The input of [`TokenMetric`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenInput(pub usize);

impl TokenMetric {
    /// The name of the metric.
    pub const NAME: &'static str = "Tokens";

    /// The metric.
    pub fn new() -> Self {
        Self { name: Arc::new(Self::NAME.to_string()), state: NumericMetricState::default() }
    }
}

impl Default for TokenMetric {
    fn default() -> Self {
        Self::new()
    }
}

impl Metric for TokenMetric {
    type Input = TokenInput;

    fn update(&mut self, item: &TokenInput, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.state.update(item.0 as f64, 1);
        Ok(self.state.compute_update(FormatOptions::new(self.name())))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.state.compute_final(FormatOptions::new(self.name())))
    }

    fn clear(&mut self) {
        self.state.reset();
    }

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: None, higher_is_better: true }.into()
    }
}

impl Numeric for TokenMetric {
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
