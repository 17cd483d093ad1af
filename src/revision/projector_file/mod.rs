//! Projectors as files: the weights that LLaVA and Bunny train, under their names.
//!
//! * [`read_projector`] reads the projector's arrays from a `.safetensors` file or from what `torch.save` wrote, be it a
//!   projector alone (`mm_projector.bin`) or a whole checkpoint;
//! * [`ProjectorArrays`] puts them in order, and accounts for each of them;
//! * [`write_projector`] writes a file that LLaVA and Bunny read.
//!
//! A file of PyTorch holds a pickle, which in Python can run any code. Here nothing in a file is executed: the pickle
//! is read by a small machine with tensors, text, numbers and dicts, which refuses everything else by name.
//!
//! ```text
//! keys         which names are the projector's, and which layer they mean
//! array        one array with its name
//! layers       the layers of a projector, in order and checked
//! safetensors  `.safetensors` files
//! torch        `.bin`, `.pt` and `.pth` files
//! ```
//!
//! Sources: `llava/model/multimodal_projector/builder.py` and `llava/train/train.py` of LLaVA, arXiv 2304.08485, and
//! the same files of Bunny, arXiv 2402.11530.

mod array;
mod keys;
mod layers;
mod safetensors;
#[cfg(test)]
mod tests;
mod torch;

use std::path::Path;

use crate::embedding::{FloatType, encode};
use crate::{Error, Result};

use array::NamedArray;
pub(super) use layers::{ProjectorArrays, ProjectorLayer};

/// The kinds of files, told apart by their extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Safetensors,
    Torch,
}

impl FileKind {
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "safetensors" => Ok(Self::Safetensors),
            "bin" | "pt" | "pth" => Ok(Self::Torch),
            _ => Err(Error::format(
                path,
                format!("expected a file .safetensors, .bin, .pt or .pth, found extension {extension:?}"),
            )),
        }
    }
}

/// The projector's arrays in a file `.safetensors`, `.bin`, `.pt` or `.pth`, in the order of the file, as float32.
///
/// Where a name contains `mm_projector.`, only the arrays with such names are read, so that a projector is read from a
/// large checkpoint in little memory. Where no name does, all names have to be those of layers
/// (`0.weight`, `0.bias`, ...). Float types are f16, bf16, f32 and f64; views of shared storage, with any strides,
/// are read as the tensors that they are.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is damaged, holds no projector, an array of
/// another type, or anything but tensors in plain dicts.
fn read_projector(path: &Path) -> Result<Vec<NamedArray>> {
    match FileKind::of(path)? {
        FileKind::Safetensors => safetensors::read(path),
        FileKind::Torch => torch::read(path),
    }
}

/// Writes a projector as LLaVA and Bunny name it, with values of type `float`: `model.mm_projector.0.weight`, of shape
/// `[out, in]`, `model.mm_projector.0.bias`, `model.mm_projector.2.weight` and so on. A single layer is
/// `model.mm_projector.weight`, as they name a linear projector.
///
/// The extension decides: `.safetensors`, or the format of `torch.save` for `.bin`, `.pt` and `.pth`, which
/// `torch.load(path, weights_only=True)` reads. The same projector gives the same bytes, and the file is complete or
/// absent.
///
/// # Errors
///
/// [`Error::Format`] for another extension, or a value that `float` cannot hold; [`Error::Io`] where the file cannot
/// be written.
pub(super) fn write_projector(path: &Path, projector: &ProjectorArrays, float: FloatType) -> Result<()> {
    let kind = FileKind::of(path)?;
    let arrays = projector.named();
    for array in &arrays {
        array.check_range(path, float)?;
    }
    match kind {
        FileKind::Safetensors => safetensors::write(path, &arrays, float),
        FileKind::Torch => torch::write(path, &arrays, float),
    }
}

/// An array that is to be written: its name and shape, and the values where they lie.
struct ArrayView<'a> {
    name: String,
    shape: Vec<usize>,
    values: &'a [f32],
}

/// Values that are encoded at once, so that a large array needs no second copy of itself.
const CHUNK: usize = 1 << 16;

impl ArrayView<'_> {
    /// The bytes of the values as they are stored.
    fn num_bytes(&self, float: FloatType) -> u64 {
        self.values.len() as u64 * float.size() as u64
    }

    fn write(&self, float: FloatType, file: &mut impl std::io::Write) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        for values in self.values.chunks(CHUNK) {
            bytes.clear();
            encode(values, float, &mut bytes);
            file.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Refuses values that would become infinite.
    fn check_range(&self, path: &Path, float: FloatType) -> Result<()> {
        // What rounds to infinity lies half a step above the greatest value: 2^16 - 2^4 and 2^128 - 2^119.
        let limit = match float {
            FloatType::F16 => 65520.0,
            FloatType::BF16 => f32::from_bits(0x7F7F_8000),
            FloatType::F32 | FloatType::F64 => return Ok(()),
        };
        let outside = |value: &&f32| value.is_finite() && value.abs() >= limit;
        match self.values.iter().find(outside) {
            None => Ok(()),
            Some(value) => Err(Error::format(
                path,
                format!(
                    "{:?}: expected values below {limit:e}, where {float} ends, found {value:e}",
                    self.name
                ),
            )),
        }
    }
}
