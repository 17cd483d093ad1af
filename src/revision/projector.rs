use std::f64::consts::FRAC_1_SQRT_2;
use std::path::Path;
use std::str::FromStr;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::projector_file::{ProjectorArrays, ProjectorLayer, write_projector};
use crate::embedding::FloatType;
use crate::{Error, Result};

/// The kind of a [`Projector`], written as in LLaVA's configurations: `identity`, `linear` or `mlpNx_gelu`.
///
/// # Example
///
/// ```
/// use burn_revision::revision::ProjectorKind;
/// assert_eq!("mlp2x_gelu".parse::<ProjectorKind>().unwrap(), ProjectorKind::MlpGelu(2));
/// assert!("mlp2x_relu".parse::<ProjectorKind>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ProjectorKind {
    /// No projection: embeddings and language model must have the same width.
    Identity,
    /// One affine map.
    Linear,
    /// A number of affine maps with GELU between them.
    MlpGelu(usize),
}

impl FromStr for ProjectorKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let depth =
            || text.strip_prefix("mlp")?.strip_suffix("x_gelu")?.parse().ok().filter(|depth| *depth > 0);
        match text {
            "identity" => Ok(Self::Identity),
            "linear" => Ok(Self::Linear),
            _ => depth().map(Self::MlpGelu).ok_or_else(|| {
                Error::config("projector", format!("expected identity, linear or mlpNx_gelu, found {text:?}"))
            }),
        }
    }
}

impl std::fmt::Display for ProjectorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Linear => f.write_str("linear"),
            Self::MlpGelu(depth) => write!(f, "mlp{depth}x_gelu"),
        }
    }
}

impl TryFrom<String> for ProjectorKind {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<ProjectorKind> for String {
    fn from(kind: ProjectorKind) -> Self {
        kind.to_string()
    }
}

/// Maps embeddings of the contrastive space to the embedding space of the language model,
/// `T_phi` of arXiv 2602.07026, Sec. 5.
#[derive(Module, Debug)]
pub struct Projector {
    layers: Vec<Linear>,
    input: usize,
    output: usize,
}

impl Projector {
    /// A projector from `input` to `output` coordinates with initial weights; hidden layers are `output` wide.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for an identity between different widths, [`Error::Config`] for an MLP without layers.
    pub fn init(kind: ProjectorKind, input: usize, output: usize, device: &Device) -> Result<Self> {
        let depth = match kind {
            ProjectorKind::Identity if input != output => {
                return Err(Error::mismatch("width of an identity projector", output, input));
            }
            ProjectorKind::Identity => 0,
            ProjectorKind::Linear => 1,
            ProjectorKind::MlpGelu(0) => return Err(Error::config("projector", "mlp0x_gelu has no layer")),
            ProjectorKind::MlpGelu(depth) => depth,
        };
        let layers = (0..depth)
            .map(|layer| LinearConfig::new(if layer == 0 { input } else { output }, output).init(device))
            .collect();
        Ok(Self { layers, input, output })
    }

    /// Reads a projector from a file: `.safetensors`, what PyTorch saves as `.bin`, `.pt` or `.pth`, or llama.cpp's `mmproj`,
    /// a `.gguf`; be it a projector alone (`mm_projector.bin`) or a whole checkpoint. Its shape and widths are those of the
    /// file.
    ///
    /// Keys are those of LLaVA and Bunny (`model.mm_projector.weight` and `.bias`, or `model.mm_projector.0.weight`,
    /// `.0.bias`, `.2.weight` and so on), of LLaVA in `transformers` (`model.multi_modal_projector.linear_1.weight` and so
    /// on) or of llama.cpp (`mm.0.weight` and so on); also with `module.`, `_orig_mod.`, `base_model.model.` or
    /// `transformer.` in front, or without `model.` or all of that. Values are f16, bf16, f32 or f64, in a GGUF file also
    /// Q8_0, Q4_0 and Q4_1. Nothing in a file of PyTorch is executed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read; [`Error::Format`] naming the file and the array where it is damaged,
    /// holds no projector, an array of another type, more or fewer arrays than those of its layers, or shapes that do not
    /// fit each other.
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use burn_revision::revision::Projector;
    /// let projector = Projector::read("mm_projector.bin".as_ref(), &Device::default()).unwrap();
    /// println!("{} from {} to {}", projector.kind(), projector.input(), projector.output());
    /// ```
    pub fn read(path: &Path, device: &Device) -> Result<Self> {
        let arrays = ProjectorArrays::read(path)?;
        let (input, output) = (arrays.input(), arrays.output());
        let mut layers = Vec::new();
        for layer in arrays.into_layers() {
            let (rows, columns) = (layer.output(), layer.input());
            let (weight, bias) = layer.into_parts();
            let tensor = |values: Vec<f32>, shape: [usize; 2]| {
                Tensor::<2>::from_data(TensorData::new(values, shape), (device, DType::F32))
            };
            let mut linear = LinearConfig::new(columns, rows).init(device);
            let (weight_id, bias) = (linear.weight.id, tensor(bias, [1, rows]).reshape([rows]));
            // PyTorch keeps linear layers as [out, in], Burn as [in, out].
            let weight = tensor(weight, [rows, columns]).transpose();
            linear.weight = linear.weight.transform_for_load(weight, weight_id);
            linear.bias = linear.bias.map(|param| {
                let id = param.id;
                param.transform_for_load(bias, id)
            });
            layers.push(linear);
        }
        Ok(Self { layers, input, output })
    }

    /// Writes a file that LLaVA, Bunny and [`read`](Self::read) read: `.safetensors`, or `.bin` for PyTorch. The file is
    /// complete or absent.
    ///
    /// `.gguf` gives the projector of an `mmproj`, with the names and keys of llama.cpp (type `mlp`: one or two affine maps),
    /// matrices as `float` and biases in float32. The image tower, which llama.cpp expects in the same file, is not in it.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] for another extension, a value that `float` cannot represent, or, for llama.cpp, more than two
    /// affine maps or float64; [`Error::Io`] where the file
    /// cannot be written; [`Error::Config`] for an identity, which has no weights.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_revision::embedding::FloatType;
    /// use burn_revision::revision::{Projector, ProjectorKind};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("mm_projector.bin");
    /// Projector::init(ProjectorKind::MlpGelu(2), 3, 4, &Device::default())?.write(&path, FloatType::BF16)?;
    /// assert_eq!(Projector::read(&path, &Device::default())?.kind(), ProjectorKind::MlpGelu(2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(&self, path: &Path, float: FloatType) -> Result<()> {
        write_projector(path, &self.to_arrays()?, float)
    }

    /// The weights in LLaVA's layout.
    pub(super) fn to_arrays(&self) -> Result<ProjectorArrays> {
        let values = |tensor: Tensor<2>| -> Vec<f32> {
            tensor.cast(DType::F32).into_data().try_into_vec().expect("values were cast to f32")
        };
        let layer = |linear: &Linear| {
            let [input, output] = linear.weight.dims();
            let bias = linear.bias.as_ref().map(|bias| values(bias.val().reshape([1, output])));
            let bias = bias.expect("every layer has a bias");
            ProjectorLayer::new([output, input], values(linear.weight.val().transpose()), bias)
        };
        ProjectorArrays::new(self.layers.iter().map(layer).collect::<Result<_>>()?)
    }

    /// Its kind. One affine map is `linear`, also where it was created as `mlp1x_gelu`.
    pub fn kind(&self) -> ProjectorKind {
        match self.layers.len() {
            0 => ProjectorKind::Identity,
            1 => ProjectorKind::Linear,
            depth => ProjectorKind::MlpGelu(depth),
        }
    }

    /// The width of its input.
    pub fn input(&self) -> usize {
        self.input
    }

    /// The width of its output.
    pub fn output(&self) -> usize {
        self.output
    }

    /// `[rows, input]` to `[rows, output]`.
    ///
    /// # Panics
    ///
    /// Panics if the rows have another width.
    pub fn forward(&self, rows: Tensor<2>) -> Tensor<2> {
        let input = self.input;
        crate::assert_shape!(rows, [_, input], "projector input");
        self.layers
            .iter()
            .enumerate()
            .fold(rows, |rows, (index, layer)| layer.forward(if index == 0 { rows } else { gelu(rows) }))
    }
}

/// `x (1 + erf(x / sqrt 2)) / 2`, written out for its gradient: that of Burn's `gelu` is, on most backends, the gradient of
/// the approximation by tanh, with errors up to 9e-4.
fn gelu(x: Tensor<2>) -> Tensor<2> {
    let share = x.clone().mul_scalar(FRAC_1_SQRT_2).erf().add_scalar(1.0).mul_scalar(0.5);
    x * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn rows() -> Tensor<2> {
        Tensor::random([5, 6], Distribution::Normal(0.0, 1.0), &Device::default())
    }

    #[test]
    fn kinds_are_written_as_in_llava() {
        for text in ["identity", "linear", "mlp1x_gelu", "mlp3x_gelu"] {
            assert_eq!(text.parse::<ProjectorKind>().unwrap().to_string(), text);
        }
        for text in ["", "mlp", "mlp0x_gelu", "mlp2x", "qformer"] {
            assert!(text.parse::<ProjectorKind>().unwrap_err().to_string().contains(&format!("{text:?}")));
        }
    }

    #[test]
    fn identity_changes_nothing_and_linear_is_affine() {
        let device = Device::default();
        let identity = Projector::init(ProjectorKind::Identity, 6, 6, &device).unwrap();
        assert_eq!(identity.forward(rows()).dims(), [5, 6]);
        let x = rows();
        assert_eq!(identity.forward(x.clone()).into_data(), x.clone().into_data());

        let linear = Projector::init(ProjectorKind::Linear, 6, 9, &device).unwrap();
        let zero = linear.forward(x.clone() * 0.0);
        let deviation = linear.forward(x.clone() * 2.0) - zero.clone() - (linear.forward(x) - zero) * 2.0;
        assert!(deviation.abs().max().into_scalar::<f64>() < 1e-5);
    }

    #[test]
    fn the_papers_projector_has_the_papers_size() {
        let projector = Projector::init(ProjectorKind::MlpGelu(2), 1280, 4096, &Device::default()).unwrap();
        assert_eq!(projector.num_params(), 22_028_288);
    }

    #[test]
    fn files_of_either_kind_bring_the_projector_back() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::default();
        for kind in [ProjectorKind::Linear, ProjectorKind::MlpGelu(2)] {
            let projector = Projector::init(kind, 6, 9, &device).unwrap();
            for name in ["p.safetensors", "mm_projector.bin"] {
                let path = folder.path().join(name);
                projector.write(&path, FloatType::F32).unwrap();
                let back = Projector::read(&path, &device).unwrap();
                assert_eq!((back.kind(), back.input(), back.output()), (kind, 6, 9));
                for (back, layer) in back.layers.iter().zip(&projector.layers) {
                    assert_eq!(back.weight.val().into_data(), layer.weight.val().into_data());
                    let bias = |layer: &Linear| layer.bias.as_ref().unwrap().val().into_data();
                    assert_eq!(bias(back), bias(layer));
                }
            }
        }
    }

    #[test]
    fn widths_are_checked() {
        let error = Projector::init(ProjectorKind::Identity, 6, 7, &Device::default()).unwrap_err();
        assert!(error.to_string().contains('6') && error.to_string().contains('7'));
    }

    #[test]
    #[should_panic(expected = "expected shape [_, 4], found [5, 6]")]
    fn other_rows_panic_with_both_shapes() {
        Projector::init(ProjectorKind::Linear, 4, 4, &Device::default()).unwrap().forward(rows());
    }
}
