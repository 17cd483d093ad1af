//! The header of `.safetensors` files.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::matrix::{Element, Matrix};
use super::{FloatType, StoreOptions};
use crate::{Error, Result};

/// The name of the matrix in a `.safetensors` file of embeddings.
pub const EMBEDDINGS_KEY: &str = "embeddings";

/// The key of a file's metadata under which the fingerprint of its ids stands.
pub(super) const IDS_FINGERPRINT: &str = "ids_fingerprint";

/// What the `safetensors` crate allows as well.
const MAX_HEADER: u64 = 100_000_000;

/// Reads where a matrix lies in a file of `length` bytes, and the fingerprint of its ids where there is one. Without
/// a key, the matrix is `embeddings`, or the only one of the file.
pub(super) fn read_header(
    path: &Path,
    file: &mut impl Read,
    length: u64,
    options: &StoreOptions,
) -> Result<(Matrix, Option<String>)> {
    let wrong = |detail: String| Error::format(path, detail);
    let (metadata, data) = read_metadata(path, file, length)?;
    let fingerprint = metadata.metadata().as_ref().and_then(|entries| entries.get(IDS_FINGERPRINT).cloned());
    let tensors = metadata.tensors();
    let key = match &options.key {
        Some(key) => key.clone(),
        None if tensors.contains_key(EMBEDDINGS_KEY) => EMBEDDINGS_KEY.to_string(),
        None => only_matrix(&metadata).map_err(wrong)?,
    };
    let Some(info) = tensors.get(&key) else {
        let mut names: Vec<&String> = tensors.keys().collect();
        names.sort();
        return Err(wrong(format!("no matrix {key:?}; found {names:?}")));
    };
    let &[rows, dim] = info.shape.as_slice() else {
        return Err(wrong(format!(
            "{key:?}: expected a matrix [rows, dimensions], found shape {:?}",
            info.shape
        )));
    };
    let Some(element) = element(info.dtype) else {
        return Err(wrong(format!("{key:?}: expected a float type, found {:?}", info.dtype)));
    };
    element.check_scale(options).map_err(|detail| wrong(format!("{key:?}: {detail}")))?;
    if dim == 0 && rows > 0 {
        return Err(wrong(format!("{key:?}: rows of 0 dimensions")));
    }
    let (begin, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
    let matrix = Matrix::checked(path, element, [rows as u64, dim as u64], data + begin, end - begin)?;
    Ok((matrix, fingerprint))
}

/// Reads what a file of `length` bytes says of its tensors, and from which byte on their values lie.
pub(crate) fn read_metadata(path: &Path, file: &mut impl Read, length: u64) -> Result<(Metadata, u64)> {
    let wrong = |detail: String| Error::format(path, detail);
    let mut size = [0; 8];
    read(path, file, &mut size)?;
    let size = u64::from_le_bytes(size);
    if size > length.saturating_sub(8) || size > MAX_HEADER {
        return Err(wrong(format!(
            "not a .safetensors file: a header of {size} bytes in a file of {length} bytes"
        )));
    }
    let mut header = vec![0; size as usize];
    read(path, file, &mut header)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| wrong(format!("header: {error}")))?;
    let tensors = metadata.tensors();
    let end = tensors.values().map(|info| info.data_offsets.1 as u64).max().unwrap_or(0);
    if (8 + size).saturating_add(end) != length {
        return Err(wrong(format!(
            "expected a file of {} bytes, found {length}",
            (8 + size).saturating_add(end)
        )));
    }
    Ok((metadata, 8 + size))
}

fn read(path: &Path, file: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    file.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::format(path, "the file ends within its header"),
        _ => Error::io(path, error),
    })
}

fn element(dtype: Dtype) -> Option<Element> {
    match dtype {
        Dtype::I8 => Some(Element::Int8),
        Dtype::U8 => Some(Element::UInt8),
        dtype => FloatType::from_safetensors(dtype).map(Element::Float),
    }
}

/// The only matrix of a file.
fn only_matrix(metadata: &Metadata) -> Result<String, String> {
    let names = metadata.offset_keys();
    let matrices = |floats: bool| -> Vec<&String> {
        let fits = |name: &&String| {
            let info = metadata.info(name).filter(|info| info.shape.len() == 2);
            let element = info.and_then(|info| element(info.dtype));
            element.is_some_and(|element| matches!(element, Element::Float(_)) == floats)
        };
        names.iter().filter(fits).collect()
    };
    match (matrices(true).as_slice(), matrices(false).as_slice()) {
        ([only], _) | ([], [only]) => Ok(only.to_string()),
        _ => Err(format!("expected a matrix {EMBEDDINGS_KEY:?} or only one, found {names:?}; name one")),
    }
}

/// The header of a file with one matrix; as long for any number of rows, so that it can be written last.
pub(super) fn header(float: FloatType, [rows, dim]: [u64; 2], fingerprint: Option<&str>) -> Vec<u8> {
    let dtype = match float {
        FloatType::F16 => "F16",
        FloatType::BF16 => "BF16",
        FloatType::F32 => "F32",
        FloatType::F64 => "F64",
    };
    let end = rows * dim * float.size() as u64;
    let mut metadata = HashMap::new();
    metadata.extend(fingerprint.map(|fingerprint| (IDS_FINGERPRINT, fingerprint)));
    let header = serde_json::json!({
        "__metadata__": metadata,
        EMBEDDINGS_KEY: { "dtype": dtype, "shape": [rows, dim], "data_offsets": [0, end] },
    });
    let mut header = header.to_string().into_bytes();
    // Space for the longest numbers and a fingerprint; spaces at the end belong to the format.
    header.resize(248, b' ');
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut header);
    bytes
}
