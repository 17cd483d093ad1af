//! Projectors as files: the weights that LLaVA and Bunny train, under their names and those of other programs.
//!
//! * [`read_projector`] reads the projector's arrays from a `.safetensors` file, from what `torch.save` wrote, or from the
//!   `mmproj` of llama.cpp, be it a projector alone (`mm_projector.bin`) or a whole checkpoint;
//! * [`ProjectorArrays`] puts them in order, and accounts for each of them;
//! * [`write_projector`] writes a file that LLaVA and Bunny read.
//!
//! ```text
//! keys    which names are the projector's, and which layer they mean
//! layers  the layers of a projector, in order and checked
//! mmproj  the GGUF files of llama.cpp
//! ```
//!
//! Sources: `llava/model/multimodal_projector/builder.py` and `llava/train/train.py` of LLaVA, arXiv 2304.08485, and
//! the same files of Bunny, arXiv 2402.11530.

mod keys;
mod layers;
mod mmproj;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::embedding::FloatType;
use crate::weights::array::NamedArray;
use crate::weights::safetensors::{self, SafetensorsFile};
use crate::weights::torch;
use crate::{Error, Result};

pub(super) use layers::{ProjectorArrays, ProjectorLayer};

/// The kinds of files, by their extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Safetensors,
    Torch,
    Gguf,
}

impl FileKind {
    fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "safetensors" => Ok(Self::Safetensors),
            "bin" | "pt" | "pth" => Ok(Self::Torch),
            "gguf" => Ok(Self::Gguf),
            _ => Err(Error::format(
                path,
                format!(
                    "expected a file .safetensors, .bin, .pt, .pth or .gguf, found extension {extension:?}"
                ),
            )),
        }
    }
}

/// The projector's arrays in a file `.safetensors`, `.bin`, `.pt`, `.pth` or `.gguf`, in the order of the file, as float32.
///
/// Where a name is that of a projector in a larger model, only the arrays with such names are read, so that a projector
/// is read from a large checkpoint in little memory. Where none is, all names have to be those of layers
/// (`0.weight`, `0.bias`, ...). Float types are f16, bf16, f32 and f64, in a GGUF file also Q8_0, Q4_0 and Q4_1; views of
/// shared storage, with any strides, are read as the tensors that they are.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is damaged, holds no projector, an array of
/// another type, or anything but tensors in plain dicts.
fn read_projector(path: &Path) -> Result<Vec<NamedArray>> {
    match FileKind::of(path)? {
        FileKind::Safetensors => read_safetensors(path),
        FileKind::Torch => torch::read(path, |names| keys::select(path, names.iter().copied())),
        FileKind::Gguf => mmproj::read(path),
    }
}

impl ProjectorArrays {
    /// Reads a projector from a file: [`read_projector`], then [`from_arrays`](Self::from_arrays).
    ///
    /// # Errors
    ///
    /// Those of these two.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::from_arrays(path, read_projector(path)?)
    }
}

fn read_safetensors(path: &Path) -> Result<Vec<NamedArray>> {
    let file = SafetensorsFile::open(path)?;
    let names = file.names();
    let selected = keys::select(path, names.iter().map(String::as_str))?;
    selected.into_iter().map(|index| file.read(&names[index])).collect()
}

/// Writes a projector as LLaVA and Bunny name it, with values of type `float`: `model.mm_projector.0.weight`, of shape
/// `[out, in]`, `model.mm_projector.0.bias`, `model.mm_projector.2.weight` and so on. A single layer is
/// `model.mm_projector.weight`, as they name a linear projector.
///
/// The extension decides: `.safetensors`, or the format of `torch.save` for `.bin`, `.pt` and `.pth`, which
/// `torch.load(path, weights_only=True)` reads, or for `.gguf` that of llama.cpp, with its names ([`mmproj::write`]). The
/// same projector gives the same bytes, and the file is complete or absent.
///
/// # Errors
///
/// [`Error::Format`] for another extension, a value that `float` cannot hold, or what llama.cpp has no place for; [`Error::Io`] where the file cannot
/// be written.
pub(super) fn write_projector(path: &Path, projector: &ProjectorArrays, float: FloatType) -> Result<()> {
    let write = match FileKind::of(path)? {
        FileKind::Safetensors => safetensors::write,
        FileKind::Torch => torch::write,
        FileKind::Gguf => return mmproj::write(path, projector, float),
    };
    let arrays = projector.named();
    for array in &arrays {
        array.check_range(path, float)?;
    }
    write(path, &arrays, float)
}
