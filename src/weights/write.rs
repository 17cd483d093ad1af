use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};

use super::array::ArrayView;
use super::module_path::{ModulePath, PublishedNames, transposed};
use super::safetensors;
use crate::Result;
use crate::embedding::FloatType;

/// Writes the parameters of `module` as `.safetensors` in float32, under their published names and in the layout of PyTorch,
/// so that [`fill`](super::fill()) reads them again. The file is complete or not there.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) where it cannot be written.
pub(crate) fn write<M: Module>(path: &Path, module: &M, names: &impl PublishedNames) -> Result<()> {
    let mut collector = Collector { names, path: ModulePath::default(), weights: Vec::new() };
    module.visit(&mut collector);
    let views: Vec<ArrayView<'_>> = collector
        .weights
        .iter()
        .map(|(name, shape, values)| ArrayView { name: name.as_str().into(), shape: shape.clone(), values })
        .collect();
    safetensors::write(path, &views, FloatType::F32)
}

/// Collects weights with their names and shapes.
struct Collector<'a, N> {
    names: &'a N,
    path: ModulePath,
    weights: Vec<(String, Vec<usize>, Vec<f32>)>,
}

impl<N: PublishedNames> ModuleVisitor for Collector<'_, N> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.transform_for_save().val().cast(DType::F32);
        let mut shape = tensor.dims().to_vec();
        let mut values = tensor.into_data().try_into_vec::<f32>().expect("it was cast to float32");
        if self.path.is_linear(D) {
            values = transposed(&values, shape[0], shape[1]);
            shape.reverse();
        }
        self.weights.push((self.path.published(self.names), shape, values));
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::conv::{Conv2d, Conv2dConfig};
    use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
    use burn::tensor::{Device, Distribution, FloatDType};

    use super::*;
    use crate::weights::{OwnNames, Shards, WeightSource, fill};

    #[derive(Module, Debug)]
    struct Tower {
        tokens: Embedding,
        patches: Conv2d,
        layers: Vec<Linear>,
        norm: LayerNorm,
    }

    fn tower(device: &Device) -> Tower {
        let mut norm = LayerNormConfig::new(2).init(device);
        norm.gamma = norm.gamma.map(|gain| gain.random_like(Distribution::Default));
        Tower {
            tokens: EmbeddingConfig::new(5, 3).init(device),
            patches: Conv2dConfig::new([3, 4], [2, 2]).init(device),
            layers: vec![
                LinearConfig::new(3, 2).init(device),
                LinearConfig::new(2, 4).with_bias(false).init(device),
            ],
            norm,
        }
    }

    fn bytes(tower: &Tower) -> Vec<Vec<u8>> {
        struct All(Vec<Vec<u8>>);
        impl ModuleVisitor for All {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0.push(param.val().into_data().as_bytes().to_vec());
            }
        }
        let mut all = All(Vec::new());
        tower.visit(&mut all);
        all.0
    }

    #[test]
    fn what_is_written_is_read_again_to_the_bit_under_the_names_of_pytorch() {
        let device = Device::default();
        let folder = tempfile::tempdir().unwrap();
        let written = tower(&device);
        write(&folder.path().join("model.safetensors"), &written, &OwnNames).unwrap();
        let shards = Shards::open(folder.path()).unwrap();
        let mut names = shards.names();
        names.sort();
        let expected = [
            "layers.0.bias",
            "layers.0.weight",
            "layers.1.weight",
            "norm.bias",
            "norm.weight",
            "patches.bias",
            "patches.weight",
            "tokens.weight",
        ];
        assert_eq!(names, expected);
        let other = tower(&device);
        assert_ne!(bytes(&other), bytes(&written));
        let read = fill(other, &OwnNames, &shards, FloatDType::F32, &device).unwrap();
        assert_eq!(bytes(&read), bytes(&written));
    }
}
