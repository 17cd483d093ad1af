use clap::Args;

use burn_revision::embedding::{FloatType, Ids, Modality, NonFinite, StoreOptions};

/// How files of embeddings are read, where they leave a choice.
#[derive(Args)]
pub struct StoreArgs {
    /// Where several hold embeddings: the matrix of .safetensors, .npz or .pt files, the column of .parquet or .arrow files,
    /// the ending of the members of .tar files
    #[arg(long, alias = "embedding-column", value_name = "NAME")]
    pub key: Option<String>,
    /// The column or field that holds the ids, such as image_path [default: id]
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,
    /// The ids: own, rows (the numbers of the rows, whatever stands beside them) or shard (FILE/ID, for shards that repeat
    /// each other's ids)
    #[arg(long, value_name = "KIND", default_value = "own")]
    pub ids: Ids,
    /// What one step of int8 or uint8 values is worth: value times S
    #[arg(long, value_name = "S")]
    pub scale: Option<f64>,
    /// The type of values whose file does not tell it: bf16 in .npy files (|V2), columns of bytes
    #[arg(long, value_name = "TYPE")]
    pub dtype_in: Option<FloatType>,
}

impl StoreArgs {
    /// The same for the library: of one of the two sets, where it is one, under a policy for rows that are not finite.
    pub fn options(&self, modality: Option<Modality>, non_finite: Option<NonFinite>) -> StoreOptions {
        StoreOptions {
            key: self.key.clone(),
            id_column: self.id_column.clone(),
            ids: self.ids,
            scale: self.scale,
            dtype_in: self.dtype_in,
            modality,
            null_as_nan: matches!(non_finite, Some(NonFinite::Skip | NonFinite::Zero)),
        }
    }
}
