//! `.safetensors` files.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::array::{ArrayView, NamedArray, decode};
use crate::embedding::FloatType;
use crate::embedding::positioned::read_at;
use crate::embedding::tensors::read_metadata;
use crate::{Error, Result, atomic};

/// An open file: its header, and its arrays where they lie.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the values begin.
    data: u64,
}

impl SafetensorsFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where its header is damaged or does not fit its
    /// length.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let io = |source| Error::io(path, source);
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let (metadata, data) = read_metadata(path, &mut file, length)?;
        Ok(Self { path: path.to_path_buf(), file, metadata, data })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names of all arrays in the order of the file.
    pub(crate) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// The shape of an array.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] without such an array.
    pub(crate) fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.info(name)?.shape)
    }

    /// An array with its values.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] naming the array where there is none, where its type is no float, or for a float64 value that
    /// float32 cannot hold; [`Error::Io`] where the file cannot be read.
    pub(crate) fn read(&self, name: &str) -> Result<NamedArray> {
        let info = self.info(name)?;
        let Some(float) = FloatType::from_safetensors(info.dtype) else {
            let detail = format!("{name:?}: expected type F32, F16, BF16 or F64, found {:?}", info.dtype);
            return Err(Error::format(&self.path, detail));
        };
        // The header was checked: tensors fill the file side by side, each with the bytes of its shape.
        let (begin, end) = info.data_offsets;
        let mut bytes = vec![0; end - begin];
        read_at(&self.file, &mut bytes, self.data + begin as u64)
            .map_err(|source| Error::io(&self.path, source))?;
        let values = decode(&self.path, name, &bytes, float)?;
        Ok(NamedArray { name: name.to_string(), shape: info.shape.clone(), values })
    }

    fn info(&self, name: &str) -> Result<&TensorInfo> {
        let found = self.metadata.info(name);
        found.ok_or_else(|| Error::format(&self.path, format!("{name:?}: expected in the file, found none")))
    }
}

/// Writes a file of these arrays, with values of type `float`; it is complete or not there.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be written.
pub(crate) fn write(path: &Path, arrays: &[ArrayView<'_>], float: FloatType) -> Result<()> {
    let mut header =
        header(arrays, float).map_err(|error| Error::format(path, format!("header: {error}")))?;
    // Spaces at the end belong to the format, and values then begin at a multiple of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    atomic::write(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        arrays.iter().try_for_each(|array| array.write(float, file))
    })
}

fn header(arrays: &[ArrayView<'_>], float: FloatType) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let dtype = match float {
        FloatType::F16 => Dtype::F16,
        FloatType::BF16 => Dtype::BF16,
        FloatType::F32 => Dtype::F32,
        FloatType::F64 => Dtype::F64,
    };
    let mut begin = 0;
    let infos = arrays.iter().map(|array| {
        let end = begin + array.values.len() * float.size();
        let data_offsets = (std::mem::replace(&mut begin, end), end);
        (array.name.clone(), TensorInfo { dtype, shape: array.shape.clone(), data_offsets })
    });
    // Without this entry the loaders of Hugging Face refuse a file.
    let entries = HashMap::from([("format".to_string(), "pt".to_string())]);
    Ok(serde_json::to_vec(&Metadata::new(Some(entries), infos.collect())?)?)
}
