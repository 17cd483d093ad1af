//! The parameters of a module as `.safetensors`, with the paths, shapes and float types of Burn's record of it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::parameters::count_parameters;
use crate::embedding::positioned::read_at;
use crate::embedding::tensors::read_metadata;
use crate::{Error, Result, atomic};

/// Writes the parameters of `module` in `group`.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be written, [`Error::Format`] for a parameter of another type than F64, F32, F16
/// or BF16.
pub(super) fn write<M: Module>(path: &Path, module: &M, group: ParamGroup) -> Result<()> {
    let mut collector = Collector { path: Vec::new(), group, tensors: Vec::new() };
    module.visit(&mut collector);
    let header = header(&collector.tensors).map_err(|detail| Error::format(path, detail))?;
    atomic::write(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        collector.tensors.iter().try_for_each(|(_, data)| file.write_all(data.as_bytes()))
    })
}

/// Reads all parameters of `module` in `group` from `NAME.safetensors` in `folder`; where there is none, from
/// `NAME.bpk`, the record that earlier versions wrote.
///
/// # Errors
///
/// [`Error::Io`] where there is neither, [`Error::Format`] for a damaged file or one of another module.
pub(super) fn read<M: Module>(folder: &Path, name: &str, module: M, group: ParamGroup) -> Result<M> {
    let [path, record] = ["safetensors", "bpk"].map(|extension| folder.join(format!("{name}.{extension}")));
    let path = if !path.exists() && record.exists() { record } else { path };
    let expected = count_parameters(&module, group.clone());
    let check_count = |found: usize| match found {
        found if found == expected => Ok(()),
        found => Err(Error::format(&path, format!("expected {expected} tensors, found {found}"))),
    };
    if path.extension().is_some_and(|extension| extension == "bpk") {
        let wrong = |source: burn::store::RecordError| Error::format(&path, source.to_string());
        let record = ModuleRecord::load(&path).map_err(wrong)?;
        check_count(record.len())?;
        return module.try_load_record(record.allow_partial(true)).map_err(wrong);
    }
    let file = TensorFile::open(path.clone())?;
    check_count(file.metadata.offset_keys().len())?;
    let mut loader = Loader { path: Vec::new(), group, file, error: None };
    let module = module.map(&mut loader);
    loader.error.map_or(Ok(module), Err)
}

/// The float types that a file may contain, under their names in both libraries.
const FLOAT_TYPES: [(DType, Dtype); 4] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
];

fn header(tensors: &[(String, TensorData)]) -> Result<Vec<u8>, String> {
    let mut begin = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for (name, data) in tensors {
        let dtype = FLOAT_TYPES.iter().find(|(dtype, _)| *dtype == data.dtype());
        let (_, dtype) =
            dtype.ok_or_else(|| format!("{name:?}: expected a float type, found {:?}", data.dtype()))?;
        let end = begin + data.as_bytes().len();
        let data_offsets = (std::mem::replace(&mut begin, end), end);
        infos.push((name.clone(), TensorInfo { dtype: *dtype, shape: data.shape().to_vec(), data_offsets }));
    }
    // Hugging Face's loaders require this entry.
    let entries = HashMap::from([("format".to_string(), "pt".to_string())]);
    let metadata = Metadata::new(Some(entries), infos).map_err(|error| format!("header: {error}"))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|error| format!("header: {error}"))?;
    // The format allows spaces at the end, and values then begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

/// Collects parameters as they are saved, by path.
struct Collector {
    path: Vec<String>,
    group: ParamGroup,
    tensors: Vec<(String, TensorData)>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if self.group.matches(&param.id, Some(&path)) {
            self.tensors.push((path, param.transform_for_save().val().into_data()));
        }
    }
}

/// An open file, whose tensors are read one by one.
struct TensorFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// The position of the first value.
    data: u64,
}

impl TensorFile {
    fn open(path: PathBuf) -> Result<Self> {
        let io = |source| Error::io(&path, source);
        let mut file = File::open(&path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let (metadata, data) = read_metadata(&path, &mut file, length)?;
        Ok(Self { path, file, metadata, data })
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<TensorData> {
        let wrong = |detail: String| Error::format(&self.path, format!("{name:?}: {detail}"));
        let info =
            self.metadata.info(name).ok_or_else(|| wrong("expected in the file, found none".into()))?;
        if info.shape != shape {
            return Err(wrong(format!("expected shape {shape:?}, found {:?}", info.shape)));
        }
        let dtype = FLOAT_TYPES.iter().find(|(_, dtype)| *dtype == info.dtype);
        let (dtype, _) =
            dtype.ok_or_else(|| wrong(format!("expected a float type, found {:?}", info.dtype)))?;
        // The header was checked: every tensor has the bytes of its shape.
        let (begin, end) = info.data_offsets;
        let mut bytes = vec![0; end - begin];
        read_at(&self.file, &mut bytes, self.data + begin as u64)
            .map_err(|source| Error::io(&self.path, source))?;
        Ok(TensorData::from_bytes_vec(bytes, shape.to_vec(), *dtype))
    }
}

/// Replaces parameters by those of a file, up to the first error.
struct Loader {
    path: Vec<String>,
    group: ParamGroup,
    file: TensorFile,
    error: Option<Error>,
}

impl ModuleMapper for Loader {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.join(".");
        if self.error.is_some() || !self.group.matches(&param.id, Some(&path)) {
            return param;
        }
        let shape = param.lazy_shape();
        match self.file.read(&path, &shape) {
            Ok(data) => {
                let (device, dtype, id) = (param.lazy_device(), data.dtype(), param.id);
                param.transform_for_load(Tensor::from_data(data, (&device, dtype)), id)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    fn linear() -> Linear {
        LinearConfig::new(3, 2).init(&Device::default())
    }

    fn values(linear: &Linear) -> (TensorData, TensorData) {
        (linear.weight.val().into_data(), linear.bias.as_ref().unwrap().val().into_data())
    }

    #[test]
    fn every_float_type_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        for (dtype, name) in FLOAT_TYPES {
            if !Device::default().supports_dtype(dtype) {
                continue;
            }
            let mut saved = linear();
            saved.weight = saved.weight.map(|weight| weight.cast(dtype));
            saved.bias = saved.bias.map(|bias| bias.map(|bias| bias.cast(dtype)));
            write(&folder.path().join("m.safetensors"), &saved, ParamGroup::all()).unwrap();
            let loaded = read(folder.path(), "m", linear(), ParamGroup::all()).unwrap();
            assert_eq!(values(&loaded), values(&saved), "{name:?}");
            assert_eq!(loaded.weight.val().dtype(), dtype);
        }
    }

    #[test]
    fn names_and_shapes_are_those_of_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        write(&path, &linear(), ParamGroup::all()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("weight").unwrap().shape(), [3, 2]);
        assert_eq!(file.tensor("bias").unwrap().shape(), [2]);
    }

    #[test]
    fn a_record_of_an_earlier_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let saved = linear();
        saved.clone().into_record().save(folder.path().join("m.bpk")).unwrap();
        let loaded = read(folder.path(), "m", linear(), ParamGroup::all()).unwrap();
        assert_eq!(values(&loaded), values(&saved));
        let error = read(folder.path(), "other", linear(), ParamGroup::all()).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if path.ends_with("other.safetensors")), "{error}");
    }

    #[test]
    fn files_of_another_module_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let refused = |module: Linear| {
            let error = read(folder.path(), "m", module, ParamGroup::all()).unwrap_err().to_string();
            assert!(error.contains("m.safetensors"), "{error}");
            error
        };
        write(&path, &linear(), ParamGroup::from_regex("weight").unwrap()).unwrap();
        assert!(refused(linear()).contains("expected 2 tensors, found 1"));
        write(&path, &linear(), ParamGroup::all()).unwrap();
        let other = LinearConfig::new(3, 4).init(&Device::default());
        assert!(refused(other).contains("\"weight\": expected shape [3, 4], found [3, 2]"));
    }
}
