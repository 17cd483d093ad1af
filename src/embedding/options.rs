use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::FloatType;
use crate::{Error, Result};

/// How files of embeddings are read, where they leave a choice; see [`Store::open_with`](super::Store::open_with).
///
/// ```
/// use burn_revision::embedding::{Ids, StoreOptions};
///
/// let options = StoreOptions { ids: Ids::Shard, ..StoreOptions::default() };
/// assert_eq!("shard".parse::<Ids>().unwrap(), options.ids);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreOptions {
    /// What holds the embeddings, where there are several: the matrix of a `.safetensors`, `.npz` or `.pt` file, the column
    /// of a Parquet or Arrow file, the ending of the members of a `.tar` file.
    pub key: Option<String>,
    /// The column or field whose values are the ids, in place of `id`; in files that have other fields beside the rows.
    pub id_column: Option<String>,
    /// What the ids are.
    pub ids: Ids,
    /// What one step of whole numbers (int8, uint8) is worth: the values are `scale` times the number.
    pub scale: Option<f64>,
    /// The type of values whose file does not tell it: NumPy writes bfloat16 as `|V2`, and a column of bytes has none.
    pub dtype_in: Option<FloatType>,
    /// The half of a folder that holds both, as clip-retrieval writes it: `img_emb` and `text_emb`.
    pub modality: Option<Modality>,
    /// Read an embedding that is null, or a null in it, as NaN, which [`NonFinite`](super::NonFinite) then decides about, and
    /// not as an error.
    pub null_as_nan: bool,
}

/// What the ids of a store are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ids {
    /// Those that stand beside the rows; the row's number in the store where there are none.
    #[default]
    Own,
    /// The row's number in the store, from `0` on, whatever stands beside it.
    Rows,
    /// `FILE/ID`: the name of the file without its ending, and the id, or the row's number in the file. For shards that
    /// number their rows each from the beginning.
    Shard,
}

/// The two sets of embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modality {
    /// Captions.
    Text,
    /// Pictures.
    Image,
}

impl StoreOptions {
    /// Options that name the matrix or column, and nothing else.
    pub fn key(key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..Self::default() }
    }

    /// Whether nothing is said of what is read of a file.
    pub(super) fn is_plain(&self) -> bool {
        let Self { key, id_column, ids, scale, dtype_in, .. } = self;
        key.is_none() && id_column.is_none() && *ids == Ids::Own && scale.is_none() && dtype_in.is_none()
    }
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Own => "own",
            Self::Rows => "rows",
            Self::Shard => "shard",
        })
    }
}

impl FromStr for Ids {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "own" => Ok(Self::Own),
            "rows" => Ok(Self::Rows),
            "shard" => Ok(Self::Shard),
            _ => Err(Error::config("ids", format!("expected own, rows or shard, found {name:?}"))),
        }
    }
}
