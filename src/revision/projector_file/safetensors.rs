//! Projectors in `.safetensors` files.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::array::{NamedArray, decode};
use super::{ArrayView, keys};
use crate::embedding::FloatType;
use crate::embedding::positioned::read_at;
use crate::embedding::tensors::read_metadata;
use crate::{Error, Result, atomic};

pub(super) fn read(path: &Path) -> Result<Vec<NamedArray>> {
    let io = |source| Error::io(path, source);
    let mut file = File::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let (metadata, data) = read_metadata(path, &mut file, length)?;
    let names = metadata.offset_keys();
    let selected = keys::select(path, names.iter().map(String::as_str))?;
    let mut arrays = Vec::with_capacity(selected.len());
    for name in selected.into_iter().map(|index| &names[index]) {
        let Some(info) = metadata.info(name) else { continue };
        let Some(float) = FloatType::from_safetensors(info.dtype) else {
            let detail = format!("{name:?}: expected type F32, F16, BF16 or F64, found {:?}", info.dtype);
            return Err(Error::format(path, detail));
        };
        // The header was checked: tensors fill the file without gaps, each with the bytes of its shape.
        let (begin, end) = info.data_offsets;
        let mut bytes = vec![0; end - begin];
        read_at(&file, &mut bytes, data + begin as u64).map_err(io)?;
        let values = decode(path, name, &bytes, float)?;
        arrays.push(NamedArray { name: name.clone(), shape: info.shape.clone(), values });
    }
    Ok(arrays)
}

pub(super) fn write(path: &Path, arrays: &[ArrayView<'_>], float: FloatType) -> Result<()> {
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
