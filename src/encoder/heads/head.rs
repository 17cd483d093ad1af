use burn::config::Config;
use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData, activation};

use crate::{Error, Result};

/// Configuration of a [`Head`].
#[derive(Config, Debug, PartialEq)]
pub struct HeadConfig {
    /// The width of the features.
    pub input_dim: usize,
    /// The width of the common space.
    pub output_dim: usize,
    /// The width between the two layers.
    #[config(default = 512)]
    pub hidden_dim: usize,
    /// The share of the standardised features, and of the values between the layers, that is left out in training.
    #[config(default = 0.2)]
    pub dropout: f64,
    /// Whether features are brought to unit length first, as those that it was trained on were.
    #[config(default = false)]
    pub unit_input: bool,
}

/// Two linear layers with GELU between them, on features that are standardised by the statistics of the training set.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::HeadConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let head = HeadConfig::new(3, 8).init(&[(1.0, 0.5), (0.0, 1.0), (2.0, 0.0)], &device)?;
/// assert_eq!(head.forward(Tensor::zeros([5, 3], &device)).dims(), [5, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct Head {
    pub(super) mean: Param<Tensor<1>>,
    pub(super) deviation: Param<Tensor<1>>,
    pub(super) fc1: Linear,
    pub(super) fc2: Linear,
    dropout: Dropout,
    unit_input: bool,
}

impl HeadConfig {
    /// A head with initial weights on `device`, for features of which each column has this mean and this standard deviation.
    /// Columns that do not vary are centred only.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for sizes of zero and a dropout outside `[0, 1)`; [`Error::Mismatch`] for another number of columns
    /// than `input_dim`.
    pub fn init(&self, columns: &[(f64, f64)], device: &Device) -> Result<Head> {
        for (name, size) in
            [("input_dim", self.input_dim), ("output_dim", self.output_dim), ("hidden_dim", self.hidden_dim)]
        {
            if size == 0 {
                return Err(Error::config(format!("head, {name}"), "must be at least 1, found 0"));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(Error::config("head, dropout", format!("must be in [0, 1), found {}", self.dropout)));
        }
        if columns.len() != self.input_dim {
            return Err(Error::mismatch("columns of the head's features", self.input_dim, columns.len()));
        }
        let mean = columns.iter().map(|(mean, _)| *mean as f32).collect();
        let largest = columns.iter().map(|(_, deviation)| *deviation).fold(0.0, f64::max);
        // What varies by rounding alone would be blown up to the size of all else.
        let varies = |deviation: f64| deviation > 1e-6 * largest && deviation > 0.0;
        let deviation =
            columns.iter().map(|(_, deviation)| if varies(*deviation) { *deviation as f32 } else { 1.0 });
        Ok(Head {
            mean: constant(mean, device),
            deviation: constant(deviation.collect(), device),
            fc1: LinearConfig::new(self.input_dim, self.hidden_dim).init(device),
            fc2: LinearConfig::new(self.hidden_dim, self.output_dim).init(device),
            dropout: DropoutConfig::new(self.dropout).init(),
            unit_input: self.unit_input,
        })
    }
}

/// A parameter that is saved and loaded, and never trained.
fn constant(values: Vec<f32>, device: &Device) -> Param<Tensor<1>> {
    let length = values.len();
    Param::from_tensor(Tensor::from_data(TensorData::new(values, [length]), device)).set_require_grad(false)
}

impl Head {
    /// Leads features into the common space.
    ///
    /// # Shapes
    ///
    /// - features: `[n, input_dim]`
    /// - output: `[n, output_dim]`, not normalised
    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let features = if self.unit_input { crate::embedding::normalize(features) } else { features };
        let (mean, deviation) = (self.mean.val().detach(), self.deviation.val().detach());
        let standard = (features - mean.unsqueeze()) / deviation.unsqueeze();
        let hidden = activation::gelu(self.fc1.forward(self.dropout.forward(standard)));
        self.fc2.forward(self.dropout.forward(hidden))
    }

    /// The width of the common space.
    pub fn output_dim(&self) -> usize {
        self.fc2.weight.shape()[1]
    }

    /// The width of the features.
    pub fn input_dim(&self) -> usize {
        self.fc1.weight.shape()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::tensor::Tolerance;

    #[test]
    fn features_are_standardised_and_never_trained_on_their_statistics() {
        let device = Device::default();
        let plain = HeadConfig::new(2, 4).init(&[(0.0, 1.0), (0.0, 1.0)], &device).unwrap();
        let mut moved = plain.clone();
        moved.mean = constant(vec![3.0, -1.0], &device);
        moved.deviation = constant(vec![2.0, 0.5], &device);
        let rows = Tensor::<2>::from_floats([[1.0, 0.5], [-2.0, 0.0]], &device);
        let spread = rows.clone() * Tensor::<2>::from_floats([[2.0, 0.5]], &device)
            + Tensor::<2>::from_floats([[3.0, -1.0]], &device);
        let tolerance = Tolerance::<f32>::absolute(1e-5);
        moved.forward(spread).into_data().assert_approx_eq(&plain.forward(rows).into_data(), tolerance);

        let device = device.autodiff();
        let head = HeadConfig::new(2, 4).init(&[(1.0, 2.0), (0.0, 0.0)], &device).unwrap().unfreeze();
        let grads = head.forward(Tensor::ones([3, 2], &device)).sum().backward();
        assert!(head.mean.val().grad(&grads).is_none() && head.fc1.weight.val().grad(&grads).is_some());
        let deviation: Vec<f32> = head.deviation.val().into_data().try_into_vec().unwrap();
        assert_eq!(deviation, [2.0, 1.0], "a column that does not vary is centred only");
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let device = Device::default();
        let columns = [(0.0, 1.0); 2];
        for (config, expected) in [
            (HeadConfig::new(2, 0), "output_dim"),
            (HeadConfig::new(2, 4).with_dropout(1.0), "found 1"),
            (HeadConfig::new(3, 4), "expected 3, found 2"),
        ] {
            let error = config.init(&columns, &device).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
