//! Projectors as files: the weights that LLaVA and Bunny train, under their names.
//!
//! * [`read_projector`] takes the projector's arrays out of a `.safetensors` file or of what `torch.save` wrote, be it
//!   a projector alone (`mm_projector.bin`) or a whole checkpoint;
//! * [`ProjectorArrays`] puts them in order, and accounts for each of them;
//! * [`write_projector`] writes a file that LLaVA and Bunny read.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use burn_revision::embedding::FloatType;
//! use burn_revision::revision::projector_file::{ProjectorArrays, write_projector};
//!
//! # fn main() -> burn_revision::Result<()> {
//! let projector = ProjectorArrays::read(Path::new("mm_projector.bin"))?;
//! println!("{} layers, {} -> {}", projector.layers().len(), projector.input(), projector.output());
//! write_projector(Path::new("mm_projector.safetensors"), &projector, FloatType::F16)?;
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! keys         which names are the projector's, and which layer they mean
//! layers       the layers of a projector, in order and checked
//! safetensors  `.safetensors` files
//! ```
//!
//! Sources: `llava/model/multimodal_projector/builder.py` and `llava/train/train.py` of LLaVA, arXiv 2304.08485, and
//! the same files of Bunny, arXiv 2402.11530.

mod keys;
mod layers;
mod safetensors;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::embedding::FloatType;
pub use crate::weights::array::NamedArray;
use crate::weights::torch;
use crate::{Error, Result};

pub use layers::{ProjectorArrays, ProjectorLayer};

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
/// Where a name contains `mm_projector.`, those with it are taken; the others are not even read, so that a projector
/// comes out of a large checkpoint in little memory. Where no name does, all names have to be those of layers
/// (`0.weight`, `0.bias`, ...). Float types are f16, bf16, f32 and f64; views of shared storage, with any strides,
/// are read as the tensors that they are.
///
/// # Errors
///
/// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is damaged, holds no projector, an array of
/// another type, or asks for anything but tensors in plain dicts.
///
/// ```no_run
/// # fn main() -> burn_revision::Result<()> {
/// use burn_revision::revision::projector_file::read_projector;
/// for array in read_projector(std::path::Path::new("mm_projector.bin"))? {
///     println!("{} {:?}", array.name, array.shape);
/// }
/// # Ok(())
/// # }
/// ```
pub fn read_projector(path: &Path) -> Result<Vec<NamedArray>> {
    match FileKind::of(path)? {
        FileKind::Safetensors => safetensors::read(path),
        FileKind::Torch => torch::read(path, |names| keys::select(path, names.iter().copied())),
    }
}

/// Writes a projector as LLaVA and Bunny name it, with values of type `float`: `model.mm_projector.0.weight`, of shape
/// `[out, in]`, `model.mm_projector.0.bias`, `model.mm_projector.2.weight` and so on. A single layer is
/// `model.mm_projector.weight`, as they name a linear projector.
///
/// The extension decides: `.safetensors`, or the format of `torch.save` for `.bin`, `.pt` and `.pth`, which
/// `torch.load(path, weights_only=True)` reads. The same projector gives the same bytes, and the file is complete or
/// not there.
///
/// # Errors
///
/// [`Error::Format`] for another extension, or a value that `float` cannot hold; [`Error::Io`] where the file cannot
/// be written.
///
/// ```
/// use burn_revision::embedding::FloatType;
/// use burn_revision::revision::projector_file::{ProjectorArrays, ProjectorLayer, write_projector};
///
/// # fn main() -> burn_revision::Result<()> {
/// let layer = ProjectorLayer::new([2, 3], vec![1.0; 6], vec![0.0; 2])?;
/// let projector = ProjectorArrays::new(vec![layer])?;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("mm_projector.bin");
/// write_projector(&path, &projector, FloatType::BF16)?;
/// assert_eq!(ProjectorArrays::read(&path)?, projector);
/// # Ok(())
/// # }
/// ```
pub fn write_projector(path: &Path, projector: &ProjectorArrays, float: FloatType) -> Result<()> {
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
