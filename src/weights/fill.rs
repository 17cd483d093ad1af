use std::collections::HashSet;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

use super::module_path::{ModulePath, PublishedNames, transposed};
use super::pages::{HugePages, Pages};
use crate::device::{is_flex, require_dtype};
use crate::{Error, Result};

/// Where the weights of a module come from, under their published names and in the layout of PyTorch.
pub(crate) trait WeightSource {
    /// The file or folder that errors name.
    fn path(&self) -> &Path;

    /// The names of all weights.
    fn names(&self) -> Vec<String>;

    /// The values of a weight of this shape.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;
}

impl<S: WeightSource> WeightSource for &S {
    fn path(&self) -> &Path {
        (*self).path()
    }

    fn names(&self) -> Vec<String> {
        (*self).names()
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        (*self).read(name, shape)
    }
}

/// `module` with the weights of `source` in `precision`, read tensor by tensor.
///
/// # Errors
///
/// [`Error::Config`] where the device does not compute in `precision`; [`Error::Format`] for a parameter without a weight,
/// a weight without a parameter, and one of another shape; and what `source` says.
pub(crate) fn fill<M: Module>(
    module: M,
    names: &impl PublishedNames,
    source: &impl WeightSource,
    precision: FloatDType,
    device: &Device,
) -> Result<M> {
    fill_pages(module, names, source, precision, device, Pages::Usual)
}

/// [`fill`] with weights in these pages of memory.
///
/// # Errors
///
/// Those of [`fill`].
pub(crate) fn fill_pages<M: Module>(
    module: M,
    names: &impl PublishedNames,
    source: &impl WeightSource,
    precision: FloatDType,
    device: &Device,
    pages: Pages,
) -> Result<M> {
    require_dtype(device, precision.into(), "precision")?;
    let unused = source.names().into_iter().filter(|name| !names.is_optional(name)).collect();
    // Other devices copy what they get.
    let is_flex = || is_flex(&Tensor::<1>::zeros([1], &device.clone().inner()));
    let pages = (pages == Pages::Huge && is_flex()).then(HugePages::default);
    let path = ModulePath::default();
    let mut fill = Fill { names, source, precision, device, pages, path, unused, failed: None };
    let module = module.map(&mut fill);
    if let Some(error) = fill.failed {
        return Err(error);
    }
    let mut unused: Vec<String> = fill.unused.into_iter().collect();
    unused.sort();
    match unused.as_slice() {
        [] => Ok(module),
        [first, ..] => {
            let detail = format!(
                "expected the weights of the model alone, found {} more, the first {first:?}",
                unused.len()
            );
            Err(Error::format(source.path(), detail))
        }
    }
}

struct Fill<'a, N, S> {
    names: &'a N,
    source: &'a S,
    precision: FloatDType,
    device: &'a Device,
    pages: Option<HugePages>,
    path: ModulePath,
    unused: HashSet<String>,
    failed: Option<Error>,
}

impl<N: PublishedNames, S: WeightSource> Fill<'_, N, S> {
    fn tensor<const D: usize>(&mut self, shape: [usize; D]) -> Result<Tensor<D>> {
        let name = self.path.published(self.names);
        self.unused.remove(&name);
        let is_linear = self.path.is_linear(D);
        let values = match is_linear {
            true => self.source.read(&name, &[shape[1], shape[0]])?,
            false => self.source.read(&name, &shape)?,
        };
        // One such weight makes every loss and every score NaN, which would be skipped over step by step.
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let detail = format!("{name:?}: expected finite weights, found {} at {at}", values[at]);
            return Err(Error::format(self.source.path(), detail));
        }
        let values = if is_linear { transposed(&values, shape[1], shape[0]) } else { values };
        let data = TensorData::new(values, shape);
        let dtype: DType = self.precision.into();
        let data = data.convert_dtype(dtype);
        let data = match &mut self.pages {
            Some(pages) => pages.place(data),
            None => data,
        };
        Ok(Tensor::from_data(data, (self.device, dtype)))
    }
}

impl<N: PublishedNames, S: WeightSource> ModuleMapper for Fill<'_, N, S> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.failed.is_some() {
            return param;
        }
        // The initial value is never drawn: parameters are initialised when they are first used.
        let shape = param.lazy_shape().dims();
        match self.tensor::<D>(shape) {
            Ok(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};

    use super::*;

    #[derive(Module, Debug)]
    struct Tower {
        tokens: Embedding,
        layers: Vec<Linear>,
        norm: LayerNorm,
    }

    struct Names;

    impl PublishedNames for Names {
        fn published(&self, path: &str) -> String {
            format!("tower.{path}")
        }

        fn is_optional(&self, name: &str) -> bool {
            name == "tower.position_ids"
        }
    }

    /// Weights in memory: the values 0, 1, 2 and so on, but for one that is not finite, by its name and value.
    struct Counted(HashMap<&'static str, Vec<usize>>, Option<(&'static str, f32)>);

    impl WeightSource for Counted {
        fn path(&self) -> &Path {
            Path::new("tower.safetensors")
        }

        fn names(&self) -> Vec<String> {
            self.0.keys().map(|name| name.to_string()).collect()
        }

        fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
            match self.0.get(name) {
                Some(found) if found == shape => {
                    let mut values: Vec<f32> =
                        (0..shape.iter().product()).map(|value: usize| value as f32).collect();
                    if let Some((bad, value)) = self.1.filter(|(bad, _)| *bad == name) {
                        assert_eq!(bad, name);
                        values[1] = value;
                    }
                    Ok(values)
                }
                found => Err(Error::format(self.path(), format!("{name:?}: {found:?}"))),
            }
        }
    }

    fn published() -> Counted {
        let weights = HashMap::from([
            ("tower.tokens.weight", vec![5, 3]),
            ("tower.layers.0.weight", vec![2, 3]),
            ("tower.layers.0.bias", vec![2]),
            ("tower.norm.weight", vec![2]),
            ("tower.norm.bias", vec![2]),
            ("tower.position_ids", vec![7]),
        ]);
        Counted(weights, None)
    }

    fn filled(source: &Counted) -> Result<Tower> {
        let device = Device::default();
        let tower = Tower {
            tokens: EmbeddingConfig::new(5, 3).init(&device),
            layers: vec![LinearConfig::new(3, 2).init(&device)],
            norm: LayerNormConfig::new(2).init(&device),
        };
        fill(tower, &Names, source, FloatDType::F32, &device)
    }

    fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    #[test]
    fn every_kind_of_layer_gets_its_weights_in_burns_layout() {
        let tower = filled(&published()).unwrap();
        assert_eq!(numbers(tower.tokens.weight.val()), (0..15).map(|value| value as f32).collect::<Vec<_>>());
        assert_eq!(numbers(tower.layers[0].weight.val()), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(numbers(tower.norm.gamma.val()), [0.0, 1.0]);
        assert_eq!(numbers(tower.norm.beta.unwrap().val()), [0.0, 1.0]);
    }

    #[test]
    fn a_weight_that_is_not_finite_is_named() {
        for (name, value) in [("tower.layers.0.weight", f32::NAN), ("tower.norm.bias", f32::NEG_INFINITY)] {
            let mut source = published();
            source.1 = Some((name, value));
            let error = filled(&source).unwrap_err().to_string();
            assert!(error.contains("tower.safetensors") && error.contains(name), "{error}");
            assert!(error.contains(&format!("found {value} at 1")), "{error}");
        }
    }

    #[test]
    fn every_weight_is_accounted_for() {
        let error = |edit: &dyn Fn(&mut Counted)| {
            let mut source = published();
            edit(&mut source);
            filled(&source).unwrap_err().to_string()
        };
        let missing = error(&|source| assert!(source.0.remove("tower.norm.bias").is_some()));
        assert!(missing.contains("\"tower.norm.bias\""), "{missing}");
        let more = error(&|source| assert!(source.0.insert("tower.more", vec![1]).is_none()));
        assert!(more.contains("found 1 more") && more.contains("\"tower.more\""), "{more}");
        let other = error(&|source| assert!(source.0.insert("tower.layers.0.weight", vec![3, 2]).is_some()));
        assert!(other.contains("\"tower.layers.0.weight\""), "{other}");
    }
}
