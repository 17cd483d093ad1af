//! A GGUF file as llama.cpp's own converter writes it.

use std::io::Write;
use std::path::Path;

use super::reader::{DEFAULT_ALIGNMENT, MAGIC};
use super::tensor::{MAX_DIMENSIONS, TensorType};
use super::value::{Value, put_string};
use crate::embedding::FloatType;
use crate::weights::array::ArrayView;
use crate::{Error, Result, atomic};

const VERSION: u32 = 3;

/// ggml keeps names in a buffer of 64 bytes.
const MAX_NAME: usize = 63;

/// An array that is to be written, and the type of its values in the file.
pub(crate) struct GgufArray<'a> {
    /// The name, and the shape with the size along which values follow each other last.
    pub(crate) array: ArrayView<'a>,
    /// float16, bfloat16, float32 or float64. llama.cpp wants float32 for arrays of one dimension.
    pub(crate) float: FloatType,
}

/// Writes a file of these keys and arrays, in this order; it is complete or not there. The same content gives the same
/// bytes.
///
/// # Errors
///
/// [`Error::Format`] where the format has no place for the shape or the name of an array, for two of one name, and for a
/// value that its type cannot hold; [`Error::Io`] where the file cannot be written.
///
/// # Panics
///
/// Panics where an array has other than the number of values of its shape.
pub(crate) fn write(path: &Path, keys: &[(&str, Value)], arrays: &[GgufArray<'_>]) -> Result<()> {
    check(path, keys, arrays)?;
    let header = header(keys, arrays);
    atomic::write(path, |file| {
        file.write_all(&header)?;
        for GgufArray { array, float } in arrays {
            array.write(*float, file)?;
            let bytes = array.num_bytes(*float);
            let padding = bytes.next_multiple_of(DEFAULT_ALIGNMENT) - bytes;
            file.write_all(&[0; DEFAULT_ALIGNMENT as usize][..padding as usize])?;
        }
        Ok(())
    })
}

fn check(path: &Path, keys: &[(&str, Value)], arrays: &[GgufArray<'_>]) -> Result<()> {
    let wrong = |detail: String| Err(Error::format(path, detail));
    for (index, (key, _)) in keys.iter().enumerate() {
        if keys[..index].iter().any(|(other, _)| other == key) {
            return wrong(format!("key {key:?}: expected once, found twice"));
        }
    }
    for (index, GgufArray { array, float }) in arrays.iter().enumerate() {
        let ArrayView { name, shape, values } = array;
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}: values of shape {shape:?}");
        if shape.len() > MAX_DIMENSIONS as usize || values.is_empty() {
            return wrong(format!(
                "tensor {name:?}: expected at most {MAX_DIMENSIONS} dimensions above 0, found {shape:?}"
            ));
        }
        if name.len() > MAX_NAME {
            return wrong(format!(
                "tensor {name:?}: expected a name of at most {MAX_NAME} bytes, found {}",
                name.len()
            ));
        }
        if arrays[..index].iter().any(|other| other.array.name == *name) {
            return wrong(format!("tensor {name:?}: expected once, found twice"));
        }
        array.check_range(path, *float)?;
    }
    Ok(())
}

fn header(keys: &[(&str, Value)], arrays: &[GgufArray<'_>]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((arrays.len() as u64).to_le_bytes());
    bytes.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        put_string(key, &mut bytes);
        bytes.extend(value.code().to_le_bytes());
        value.put(&mut bytes);
    }
    let mut offset = 0;
    for GgufArray { array, float } in arrays {
        put_string(&array.name, &mut bytes);
        bytes.extend((array.shape.len() as u32).to_le_bytes());
        bytes.extend(array.shape.iter().rev().flat_map(|size| (*size as u64).to_le_bytes()));
        bytes.extend(tensor_type(*float).0.to_le_bytes());
        bytes.extend(u64::to_le_bytes(offset));
        offset += array.num_bytes(*float).next_multiple_of(DEFAULT_ALIGNMENT);
    }
    bytes.resize(bytes.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
    bytes
}

fn tensor_type(float: FloatType) -> TensorType {
    match float {
        FloatType::F16 => TensorType::F16,
        FloatType::BF16 => TensorType::BF16,
        FloatType::F32 => TensorType::F32,
        FloatType::F64 => TensorType::F64,
    }
}
