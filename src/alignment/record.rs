//! Fitted statistics as parameters of a module, and their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, Param, ParamId};
use burn::store::burn_pack::Reader;
use burn::tensor::{Bytes, DType, Device, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::embedding::read_bytes;
use crate::{Error, Result, atomic};

/// A parameter that is saved and moved with its module and takes no gradient.
pub(super) fn constant<const D: usize>(
    values: Vec<f32>,
    shape: [usize; D],
    device: &Device,
) -> Param<Tensor<D>> {
    let tensor = Tensor::from_data(TensorData::new(values, shape), (device, DType::F32));
    Param::initialized(ParamId::new(), tensor.set_require_grad(false))
}

/// The value of such a parameter as a constant, whatever `unfreeze` or `train` have done to it.
pub(super) fn value<const D: usize>(param: &Param<Tensor<D>>, dtype: DType) -> Tensor<D> {
    param.val().without_autodiff().cast(dtype)
}

/// The value of such a parameter on the host.
pub(super) fn host<const D: usize>(param: &Param<Tensor<D>>) -> Vec<f32> {
    let data = param.val().without_autodiff().into_data();
    data.try_into_vec_as::<f32>().expect("a float type converts to f32")
}

/// A float64 number as the sum of two float32 numbers: 48 bits of it, on devices without float64 as well.
pub(super) fn split(number: f64) -> [f32; 2] {
    let head = number as f32;
    [head, (number - f64::from(head)) as f32]
}

/// The number that [`split`] took apart.
pub(super) fn join(parts: &[f32]) -> f64 {
    parts.iter().map(|&part| f64::from(part)).sum()
}

fn is_safetensors(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// Writes a module's statistics: as `.safetensors` where the name ends so, else as a Burn record.
pub(super) fn save<M: Module>(module: &M, path: &Path) -> Result<()> {
    if is_safetensors(path) {
        return save_safetensors(module, path);
    }
    let bytes = module.clone().into_record().into_bytes();
    let bytes = bytes.map_err(|error| Error::format(path, error.to_string()))?;
    atomic::write(path, |file| std::io::Write::write_all(file, &bytes))
}

/// Writes a module's statistics as `.safetensors`.
pub(super) fn save_safetensors<M: Module>(module: &M, path: &Path) -> Result<()> {
    let failed = |error: &dyn std::fmt::Display| Error::format(path, error.to_string());
    let bytes = module.clone().into_record().into_bytes().map_err(|error| failed(&error))?;
    let tensors = read_record(bytes).map_err(|error| failed(&error))?;
    let tensors: Vec<(String, TensorData)> =
        tensors.into_iter().map(|(name, data)| (name, data.convert_dtype(DType::F32))).collect();
    let mut views = Vec::with_capacity(tensors.len());
    for (name, data) in &tensors {
        let view = TensorView::new(Dtype::F32, data.shape().iter().copied().collect(), data.as_bytes());
        views.push((name, view.map_err(|error| failed(&error))?));
    }
    let bytes = safetensors::serialize(views, None).map_err(|error| failed(&error))?;
    atomic::write(path, |file| std::io::Write::write_all(file, &bytes))
}

/// Statistics read from a file.
pub(super) struct Stored {
    path: PathBuf,
    tensors: BTreeMap<String, TensorData>,
}

impl Stored {
    /// Reads `.safetensors` where the name ends so, else a Burn record.
    pub fn read(path: &Path) -> Result<Self> {
        if is_safetensors(path) {
            return Self::read_safetensors(path);
        }
        let tensors = read_record(Bytes::from_bytes_vec(read_bytes(path)?));
        let tensors = tensors.map_err(|error| Error::format(path, error.to_string()))?;
        Ok(Self { path: path.to_path_buf(), tensors })
    }

    /// Reads `.safetensors`.
    pub fn read_safetensors(path: &Path) -> Result<Self> {
        let bytes = read_bytes(path)?;
        let file =
            SafeTensors::deserialize(&bytes).map_err(|error| Error::format(path, error.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(Error::format(path, format!("{name}: expected F32, found {:?}", view.dtype())));
            }
            let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), DType::F32);
            tensors.insert(name, data);
        }
        Ok(Self { path: path.to_path_buf(), tensors })
    }

    /// Takes out the statistic `name` with its shape; every value must be finite.
    pub fn take<const D: usize>(&mut self, name: &str) -> Result<(Vec<f32>, [usize; D])> {
        let Some(data) = self.tensors.remove(name) else {
            let names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
            return Err(self.error(format!("no statistic {name:?} among {names:?}")));
        };
        let shape: Vec<usize> = data.shape().iter().copied().collect();
        let Ok(shape) = <[usize; D]>::try_from(shape) else {
            return Err(self.error(format!("{name}: expected {D} axes, found shape {:?}", data.shape())));
        };
        if shape.contains(&0) {
            return Err(self.error(format!("{name}: no value in shape {shape:?}")));
        }
        let values = data.try_into_vec_as::<f32>();
        let values = values.map_err(|error| self.error(format!("{name}: {error}")))?;
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(self.error(format!("{name}: value {at} is {}", values[at]))),
            None => Ok((values, shape)),
        }
    }

    /// As [`Stored::take`], for a shape that is known.
    pub fn take_shaped<const D: usize>(&mut self, name: &str, expected: [usize; D]) -> Result<Vec<f32>> {
        let (values, shape) = self.take::<D>(name)?;
        if shape != expected {
            return Err(self.error(format!("{name}: expected shape {expected:?}, found {shape:?}")));
        }
        Ok(values)
    }

    /// Refuses a file that holds more than was taken.
    pub fn finish(self) -> Result<()> {
        match self.tensors.keys().next() {
            Some(name) => Err(self.error(format!("unknown statistic {name:?}"))),
            None => Ok(()),
        }
    }

    fn error(&self, detail: String) -> Error {
        Error::format(&self.path, detail)
    }
}

fn read_record(bytes: Bytes) -> Result<BTreeMap<String, TensorData>, burn::store::burn_pack::Error> {
    let mut tensors = BTreeMap::new();
    for tensor in Reader::from_bytes(bytes)?.into_tensors()? {
        let (name, dtype, shape, _, bytes) = tensor.into_parts()?;
        tensors.insert(name, TensorData::from_bytes(bytes, shape, dtype));
    }
    Ok(tensors)
}
