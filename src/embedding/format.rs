use std::{fmt, path::Path, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A file format of embeddings, told by the extension of the name.
///
/// ```
/// use burn_revision::embedding::Format;
/// assert_eq!(Format::of("captions/000.npy".as_ref()), Some(Format::Npy));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// NumPy's `.npy`: one matrix.
    Npy,
    /// `.safetensors`: named matrices, of which one is read.
    Safetensors,
    /// `.parquet`: a list column beside any others (feature `parquet`).
    Parquet,
    /// `.npz`: an archive of NumPy, stored or deflated; read, never written.
    Npz,
    /// `.pt` or `.pth`: what `torch.save` writes of a tensor, or of a dict with one; read without executing anything, never
    /// written.
    Torch,
    /// `.arrow`, `.feather` or `.ipc`: a stream or file of Arrow (feature `parquet`); read, never written.
    Arrow,
    /// `.tar` of WebDataset, with a vector `KEY.npy` in each sample; read, never written.
    WebDataset,
    /// `.pkl` or `.pickle` of the ReVision authors' script: read without executing anything, never written.
    Pickle,
}

impl Format {
    /// The extensions, for messages.
    pub(crate) const EXTENSIONS: &str = ".npy, .npz, .safetensors, .parquet, .arrow, .pt, .tar or .pkl";

    /// Whether files of it are written.
    pub fn is_written(self) -> bool {
        matches!(self, Self::Npy | Self::Safetensors | Self::Parquet)
    }

    /// The format that the extension of a name stands for.
    pub fn of(path: &Path) -> Option<Self> {
        path.extension()?.to_str()?.to_ascii_lowercase().parse().ok()
    }

    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
            Self::Parquet => "parquet",
            Self::Npz => "npz",
            Self::Torch => "pt",
            Self::Arrow => "arrow",
            Self::WebDataset => "tar",
            Self::Pickle => "pkl",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.extension())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "npy" => Ok(Self::Npy),
            "safetensors" => Ok(Self::Safetensors),
            "parquet" => Ok(Self::Parquet),
            "npz" => Ok(Self::Npz),
            "pt" | "pth" => Ok(Self::Torch),
            "arrow" | "feather" | "ipc" => Ok(Self::Arrow),
            "tar" => Ok(Self::WebDataset),
            "pkl" | "pickle" => Ok(Self::Pickle),
            _ => {
                Err(Error::config("format", format!("expected npy, safetensors or parquet, found {name:?}")))
            }
        }
    }
}
