use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

/// The activation between the two layers of an MLP, by its name in `hidden_act` of a `config.json`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_revision::encoder::Activation;
///
/// let rows = Tensor::<2>::from_floats([[0.0, 10.0]], &Device::default());
/// let rows: Vec<f32> = Activation::QuickGelu.forward(rows).into_data().try_into_vec().unwrap();
/// assert!(rows[0] == 0.0 && (rows[1] - 10.0).abs() < 1e-5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// `quick_gelu`: `x sigmoid(1.702 x)`, of OpenAI's CLIP models.
    #[serde(rename = "quick_gelu")]
    QuickGelu,
    /// `gelu`: `x Phi(x)` (arXiv 1606.08415), of the CLIP models of LAION and others.
    #[serde(rename = "gelu")]
    Gelu,
    /// `gelu_pytorch_tanh`: the approximation of `gelu` by a hyperbolic tangent, of SigLIP.
    #[serde(rename = "gelu_pytorch_tanh", alias = "gelu_new")]
    GeluTanh,
}

impl Activation {
    /// Applies it to each value.
    ///
    /// # Shapes
    ///
    /// - input, output: any, the same
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        match self {
            Self::QuickGelu => input.clone() * activation::sigmoid(input * 1.702),
            Self::Gelu => activation::gelu(input),
            Self::GeluTanh => {
                // (1 + tanh z) / 2 = sigmoid(2 z), in fewer passes than Burn's `gelu_approximate`.
                let twice = 2.0 * (2.0 / std::f64::consts::PI).sqrt();
                let square = input.clone() * input.clone();
                let inner = (square * (0.044715 * twice) + twice) * input.clone();
                input * activation::sigmoid(inner)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tolerance};

    #[test]
    fn activations_are_their_formulas() {
        let device = Device::default();
        let values: Vec<f32> = (-60..=60).map(|step| step as f32 / 10.0).collect();
        let input = Tensor::<1>::from_floats(values.as_slice(), &device);
        let close = |found: Tensor<1>, expected: Tensor<1>| {
            found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(2e-6));
        };
        close(Activation::Gelu.forward(input.clone()), activation::gelu(input.clone()));
        close(Activation::GeluTanh.forward(input.clone()), activation::gelu_approximate(input.clone()));
        let quick: Vec<f32> = values.iter().map(|x| x / (1.0 + (-1.702 * x).exp())).collect();
        close(Activation::QuickGelu.forward(input), Tensor::from_floats(quick.as_slice(), &device));
    }

    #[test]
    fn names_are_those_of_published_configurations() {
        for (name, expected) in [
            ("quick_gelu", Activation::QuickGelu),
            ("gelu", Activation::Gelu),
            ("gelu_pytorch_tanh", Activation::GeluTanh),
        ] {
            assert_eq!(serde_json::from_str::<Activation>(&format!("{name:?}")).unwrap(), expected);
        }
        let error = serde_json::from_str::<Activation>("\"mish\"").unwrap_err().to_string();
        assert!(error.contains("mish") && error.contains("quick_gelu"), "{error}");
    }
}
