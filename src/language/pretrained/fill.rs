use std::collections::HashSet;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

use crate::device::require_dtype;
use crate::language::{LlamaConfig, LlamaDecoder};
use crate::{Error, Result};

/// Where the weights of a decoder come from, under their Hugging Face names and in Hugging Face's layout.
pub(super) trait WeightSource {
    /// The file or folder that errors name.
    fn path(&self) -> &Path;

    /// The names of all weights.
    fn names(&self) -> Vec<String>;

    /// The values of a weight of this shape.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>>;
}

/// A decoder with the weights of `source`, tensor by tensor. Each parameter must have a weight, and each weight a place.
pub(super) fn fill(
    config: &LlamaConfig,
    source: &impl WeightSource,
    precision: FloatDType,
    device: &Device,
) -> Result<LlamaDecoder> {
    require_dtype(device, precision.into(), "precision")?;
    let mut unused: HashSet<String> = source.names().into_iter().filter(|name| !is_derived(name)).collect();
    if config.tie_word_embeddings {
        // Some files repeat the embedding matrix as the head.
        unused.remove(HEAD);
    }
    let mut fill = Fill { source, precision, device, path: Vec::new(), unused, failed: None };
    let model = config.init(device)?.map(&mut fill);
    if let Some(error) = fill.failed {
        return Err(error);
    }
    let mut unused: Vec<String> = fill.unused.into_iter().collect();
    unused.sort();
    match unused.as_slice() {
        [] => Ok(model),
        [first, ..] => {
            let detail =
                format!("the model has no place for {} weights, the first is {first:?}", unused.len());
            Err(Error::format(source.path(), detail))
        }
    }
}

const HEAD: &str = "lm_head.weight";

/// Old files hold the rotary frequencies, which follow from the configuration.
fn is_derived(name: &str) -> bool {
    name.ends_with(".rotary_emb.inv_freq")
}

struct Fill<'a, S> {
    source: &'a S,
    precision: FloatDType,
    device: &'a Device,
    path: Vec<String>,
    unused: HashSet<String>,
    failed: Option<Error>,
}

impl<S: WeightSource> Fill<'_, S> {
    /// The Hugging Face name of the parameter at the path.
    fn name(&self) -> String {
        // A norm's gain is called gamma here.
        let path = self.path.join(".").replace("norm.gamma", "norm.weight");
        if self.path[0] == "lm_head" { path } else { format!("model.{path}") }
    }

    fn tensor<const D: usize>(&mut self, shape: [usize; D]) -> Result<Tensor<D>> {
        let name = self.name();
        self.unused.remove(&name);
        // Hugging Face keeps linear layers as [out, in], Burn as [in, out].
        let is_linear = D == 2 && !self.path.iter().any(|part| part == "embed_tokens");
        let data = if is_linear {
            let values = self.source.read(&name, &[shape[1], shape[0]])?;
            TensorData::new(transposed(&values, shape[1], shape[0]), shape)
        } else {
            TensorData::new(self.source.read(&name, &shape)?, shape)
        };
        let dtype: DType = self.precision.into();
        Ok(Tensor::from_data(data.convert_dtype(dtype), (self.device, dtype)))
    }
}

/// `[rows, columns]` to `[columns, rows]`, in tiles that fit the cache.
fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut turned = vec![0.0; values.len()];
    for top in (0..rows).step_by(TILE) {
        for left in (0..columns).step_by(TILE) {
            for row in top..(top + TILE).min(rows) {
                for column in left..(left + TILE).min(columns) {
                    turned[column * rows + row] = values[row * columns + column];
                }
            }
        }
    }
    turned
}

impl<S: WeightSource> ModuleMapper for Fill<'_, S> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.failed.is_some() {
            return param;
        }
        // The fresh value is never drawn: parameters are made when they are first used.
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
    use super::*;

    #[test]
    fn turning_twice_is_no_turn() {
        let values: Vec<f32> = (0..70 * 45).map(|value| value as f32).collect();
        let turned = transposed(&values, 70, 45);
        assert_eq!(turned[1], values[45]);
        assert_eq!(transposed(&turned, 45, 70), values);
    }
}
