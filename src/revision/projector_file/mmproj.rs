//! The `mmproj` of llama.cpp: a GGUF file of an image tower and a projector, `mm.0.weight` and so on.
//!
//! Source: `tools/mtmd/clip.cpp` of <https://github.com/ggml-org/llama.cpp>, its projector type `mlp`.

use std::path::Path;

use super::keys;
use super::layers::ProjectorArrays;
use crate::embedding::FloatType;
use crate::weights::array::{ArrayView, NamedArray};
use crate::weights::gguf::{self, GgufArray, GgufFile, Value};
use crate::{Error, Result};

const KIND_KEY: &str = "clip.projector_type";
/// What llama.cpp calls one or two affine maps with GELU between them, and takes where nothing is said.
const KIND: &str = "mlp";
/// The affine maps that it has places for.
const DEPTH: usize = 2;

/// The projector's arrays of a file.
///
/// # Errors
///
/// [`Error::Io`] and [`Error::Format`] as for any GGUF file, and where it holds a projector of another type or none.
pub(super) fn read(path: &Path) -> Result<Vec<NamedArray>> {
    let file = GgufFile::open(path)?;
    if let Some(kind) = file.metadata().text(KIND_KEY)?.filter(|kind| *kind != KIND) {
        let kind = gguf::excerpt(kind);
        return Err(Error::format(path, format!("key {KIND_KEY:?}: expected {KIND:?}, found {kind:?}")));
    }
    let tensors = file.tensors();
    let selected = keys::select(path, tensors.iter().map(|tensor| tensor.name()))?;
    let array = |index: usize| {
        let (name, shape) = (tensors[index].name(), tensors[index].shape());
        Ok(NamedArray { name: name.to_string(), shape: shape.to_vec(), values: file.read(name)? })
    };
    selected.into_iter().map(array).collect()
}

/// Writes a projector under llama.cpp's names and with its keys: matrices of the type `float`, biases in float32.
///
/// A file that llama.cpp opens holds an image tower as well, which this one says that it does not.
///
/// # Errors
///
/// [`Error::Format`] for more than two affine maps, for float64, and for a value that `float` cannot hold; [`Error::Io`]
/// where the file cannot be written.
pub(super) fn write(path: &Path, projector: &ProjectorArrays, float: FloatType) -> Result<()> {
    let depth = projector.layers.len();
    if depth > DEPTH {
        let detail = format!("llama.cpp has projectors of 1 or {DEPTH} layers, found {depth}");
        return Err(Error::format(path, detail));
    }
    if float == FloatType::F64 {
        return Err(Error::format(path, "llama.cpp computes with f32, f16 or bf16, found f64"));
    }
    let text = |text: &str| Value::String(text.into());
    let keys = [
        ("general.architecture", text("clip")),
        ("general.type", text("mmproj")),
        ("clip.has_vision_encoder", Value::Bool(false)),
        ("clip.has_llava_projector", Value::Bool(true)),
        (KIND_KEY, text(KIND)),
        ("clip.vision.projection_dim", Value::U32(projector.output().try_into().unwrap_or(u32::MAX))),
    ];
    let arrays = projector.placed().map(|(place, shape, values)| {
        let float = if shape.len() > 1 { float } else { FloatType::F32 };
        GgufArray { array: ArrayView { name: place.gguf_key(), shape, values }, float }
    });
    gguf::write(path, &keys, &arrays.collect::<Vec<_>>())
}
