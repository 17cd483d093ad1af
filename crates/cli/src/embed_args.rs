use std::path::PathBuf;

use clap::Args;

use super::run_description::Precision;
use burn_revision::embedding::{FloatType, Format};
use burn_revision::encoder::BadPictures;

#[derive(Args)]
pub struct EmbedCommand {
    /// The encoder: a folder of Hugging Face (CLIP, SigLIP), of open_clip or of `contrast`; a name on the Hub, OWNER/MODEL; or a tower alone: a sentence encoder
    /// of the BERT family, EfficientNet-Lite (a folder of timm, or the .pth file)
    #[arg(long, value_name = "PATH")]
    pub encoder: PathBuf,
    /// Pictures: folders (with those in them), quoted patterns, lists (.txt, .jsonl, .csv, .tsv, .parquet), WebDataset tars, files
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "texts", conflicts_with = "texts")]
    pub images: Vec<PathBuf>,
    /// Texts: the lines of a .txt file, the objects of a .jsonl file, or the rows of a .csv, .tsv or .parquet file
    #[arg(long, value_name = "FILE")]
    pub texts: Option<PathBuf>,
    /// The embeddings to write: a file, or a folder of shards
    #[arg(long, value_name = "PATH")]
    pub output: PathBuf,
    /// The format of the files written: npy, safetensors or parquet [default: by the name of the output, or npy]
    #[arg(long)]
    pub format: Option<Format>,
    /// The type of the values written: f16, bf16, f32 or f64
    #[arg(long, default_value = "f32")]
    pub dtype: FloatType,
    /// The field with the ids [default: id; without it, paths of pictures and row numbers of texts]
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,
    /// The field with the text [default: text, caption, title or label]
    #[arg(long, value_name = "NAME", requires = "texts")]
    pub text_column: Option<String>,
    /// The field with the path of a picture [default: image, path, image_path, file_name, file or filename]
    #[arg(long, value_name = "NAME", requires = "images")]
    pub image_column: Option<String>,
    /// Pictures that cannot be read: error, or skip (left out, counted, and listed in OUTPUT.bad.jsonl)
    #[arg(long, value_name = "POLICY", default_value = "error", value_parser = bad_pictures)]
    pub bad: BadPictures,
    /// The most pixels of a picture: small files may unfold to gigabytes [default: 178956970, as Pillow]
    #[arg(long, value_name = "N")]
    pub max_pixels: Option<u64>,
    /// The float type of the encoder's weights: f32, f16 or bf16
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Write rows as the encoder makes them, not at unit length: features to train heads on
    #[arg(long)]
    pub raw: bool,
    /// Pictures or texts that go through the encoder together [default: 8 on a processor, 32 on other devices]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Rows to a shard; what --resume keeps, is kept in shards
    #[arg(long, value_name = "N", default_value_t = 4096)]
    pub shard_rows: usize,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Go on with a run of the same command that was interrupted
    #[arg(long)]
    pub resume: bool,
    /// Replace output that is there
    #[arg(long)]
    pub overwrite: bool,
}

pub fn bad_pictures(text: &str) -> Result<BadPictures, String> {
    match text {
        "error" => Ok(BadPictures::Error),
        "skip" => Ok(BadPictures::Skip),
        _ => Err(format!("expected error or skip, found {text:?}")),
    }
}
