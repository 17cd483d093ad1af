//! Fitted statistics as parameters of a module, and their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, Param, ParamId};
use burn::store::burn_pack::Reader;
use burn::tensor::{Bytes, DType, Device, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::fitting;
use crate::embedding::read_bytes;
use crate::geometry::Moments;
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

/// A mean as a parameter, rounded to float32.
pub(super) fn mean(moments: &Moments, device: &Device) -> Param<Tensor<1>> {
    constant(fitting::rounded(moments.mean()), [moments.dim()], device)
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

/// Named parameters on the host: shape and values.
pub(super) type Parameters = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// All parameters of a module on the host.
pub(super) fn parameters<M: Module>(module: &M) -> Parameters {
    let bytes = module.clone().into_record().into_bytes().expect("a module has a record");
    let tensors = read_record(bytes).expect("a record reads what it has written");
    let host = |data: TensorData| {
        let shape = data.shape().iter().copied().collect();
        (shape, data.try_into_vec_as::<f32>().expect("a float type converts to f32"))
    };
    tensors.into_iter().map(|(name, data)| (name, host(data))).collect()
}

/// The module with these parameters; `path` is named in errors.
pub(super) fn of_parameters<M: FromStored>(
    parameters: &Parameters,
    path: &Path,
    device: &Device,
) -> Result<M> {
    let data = |(shape, values): &(Vec<usize>, Vec<f32>)| TensorData::new(values.clone(), shape.clone());
    let tensors = parameters.iter().map(|(name, values)| (name.clone(), data(values))).collect();
    let mut stored = Stored { path: path.to_path_buf(), tensors };
    let module = M::from_stored(&mut stored, device)?;
    stored.check_empty()?;
    Ok(module)
}

/// Writes a module's statistics to a `.safetensors` file.
pub(super) fn save<M: Module>(module: &M, path: &Path) -> Result<()> {
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

/// A method whose statistics are read from a file.
pub(super) trait FromStored: Module {
    /// Takes out every statistic of the method.
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self>;
}

/// Reads the statistics of a method, and refuses a file that holds more than those.
pub(super) fn load<M: FromStored>(path: &Path, device: &Device) -> Result<M> {
    let mut stored = Stored::read(path)?;
    let method = M::from_stored(&mut stored, device)?;
    stored.check_empty()?;
    Ok(method)
}

/// Statistics read from a file.
pub(super) struct Stored {
    path: PathBuf,
    tensors: BTreeMap<String, TensorData>,
}

impl Stored {
    /// Reads a `.safetensors` file or a Burn record.
    fn read(path: &Path) -> Result<Self> {
        let wrong = |error: &dyn std::fmt::Display| Error::format(path, error.to_string());
        let bytes = read_bytes(path)?;
        // A `.safetensors` file begins with the length of its header, which is a JSON object.
        if bytes.get(8) != Some(&b'{') {
            let tensors = read_record(Bytes::from_bytes_vec(bytes)).map_err(|error| wrong(&error))?;
            return Ok(Self { path: path.to_path_buf(), tensors });
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(&error))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                let detail = format!("{name}: expected F32, found {:?}", view.dtype());
                return Err(Error::format(path, detail));
            }
            let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), DType::F32);
            tensors.insert(name, data);
        }
        Ok(Self { path: path.to_path_buf(), tensors })
    }

    /// Takes out the statistic `name`, and says its shape; every value must be finite.
    pub fn take<const D: usize>(
        &mut self,
        name: &str,
        device: &Device,
    ) -> Result<(Param<Tensor<D>>, [usize; D])> {
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
            None => Ok((constant(values, shape, device), shape)),
        }
    }

    /// Takes out the statistic `name`, which must have a shape.
    pub fn take_shaped<const D: usize>(
        &mut self,
        name: &str,
        expected: [usize; D],
        device: &Device,
    ) -> Result<Param<Tensor<D>>> {
        match self.take::<D>(name, device)? {
            (param, shape) if shape == expected => Ok(param),
            (_, shape) => Err(self.error(format!("{name}: expected shape {expected:?}, found {shape:?}"))),
        }
    }

    /// Refuses what nobody has taken out.
    fn check_empty(&self) -> Result<()> {
        match self.tensors.keys().next() {
            Some(name) => Err(self.error(format!("unknown statistic {name:?}"))),
            None => Ok(()),
        }
    }

    /// Whether the statistic `name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// What is wrong with the file.
    pub fn error(&self, detail: String) -> Error {
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
