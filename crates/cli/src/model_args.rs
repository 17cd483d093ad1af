use std::path::PathBuf;

use clap::Args;

use super::ask_args::WeightsOptions;
use super::run_description::Precision;
use burn_revision::embedding::FloatType;
use burn_revision::revision::{BadSamples, BenchmarkKind, IdMatch, Template};

#[derive(Args)]
pub struct TrainCommand {
    /// The description of the run, a TOML file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Resume an earlier run of the same description
    #[arg(long)]
    pub resume: bool,
    /// Read the data, report what would be trained on, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Draw curves in the terminal; q asks whether to stop, and a stop saves first
    #[cfg(feature = "tui")]
    #[arg(long, conflicts_with_all = ["quiet", "dry_run"])]
    pub tui: bool,
}

#[derive(Args)]
pub struct PicturesOptions {
    /// Embeddings of pictures: a file, a folder of shards, or a quoted pattern
    #[arg(long, value_name = "PATH")]
    pub embeddings: PathBuf,
    /// Where several hold embeddings: the matrix of .safetensors, .npz or .pt files, the column of .parquet or .arrow files,
    /// the ending of the members of .tar files
    #[arg(long, alias = "embedding-column", value_name = "NAME")]
    pub key: Option<String>,
    /// The column or field that holds the ids, such as image_path [default: id]
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,
    /// Statistics of `fit`: the embeddings are texts, to be aligned before they are shown
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// The embeddings were aligned by `align` or `apply` already: show them as they are
    #[arg(long, conflicts_with = "stats")]
    pub aligned: bool,
}

#[derive(Args)]
pub struct WritingOptions {
    /// The maximum number of tokens to generate
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub max_new_tokens: usize,
    /// Above 0, tokens are drawn at random; scores are divided by it
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f64,
    /// Tokens are drawn from the N best ones only
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Tokens are drawn from the smallest set with this probability
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// The seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Samples that go through the model together
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch_size: usize,
}

#[derive(Args)]
pub struct GenerateCommand {
    /// The folder of a trained model
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    #[command(flatten)]
    pub pictures: PicturesOptions,
    /// The pictures to write about [default: all]
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    pub ids: Vec<String>,
    /// The question; `<image>` marks the place of the picture, which is in front by default
    #[arg(long, value_name = "TEXT")]
    pub prompt: Option<String>,
    #[command(flatten)]
    pub weights: WeightsOptions,
    #[command(flatten)]
    pub writing: WritingOptions,
}

#[derive(Args)]
pub struct EvalCommand {
    /// The folder of a trained model
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Conversations: .json, .jsonl or a folder of them, as `train` reads them
    #[arg(long, value_name = "PATH", required_unless_present = "benchmark")]
    pub conversations: Option<PathBuf>,
    #[command(flatten)]
    pub benchmark: BenchmarkArguments,
    #[command(flatten)]
    pub pictures: PicturesOptions,
    /// Measure the first N conversations or questions only
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
    /// How images of conversations are compared with ids: exact, or stem (without folders and extension)
    #[arg(long, value_name = "HOW", default_value = "exact", value_parser = id_match)]
    pub id_match: IdMatch,
    /// Conversations that cannot be used: error or drop
    #[arg(long, value_name = "POLICY", default_value = "error", value_parser = bad_samples)]
    pub bad_samples: BadSamples,
    /// Write the generated texts, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub weights: WeightsOptions,
    #[command(flatten)]
    pub writing: WritingOptions,
}

#[derive(Args)]
pub struct BenchmarkArguments {
    /// A published benchmark in place of conversations: files of POPE, a folder of MME, problems.json of ScienceQA, a table
    /// of MMStar or MMBench, or the questions of VQA; its scores are those of its own script
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with_all = ["conversations", "bad_samples"])]
    pub benchmark: Vec<PathBuf>,
    /// Which benchmark it is: pope, mme, scienceqa, mmstar, mmbench or vqa [default: what its files look like]
    #[arg(long, value_name = "NAME", requires = "benchmark")]
    pub benchmark_kind: Option<BenchmarkKind>,
    /// The annotations of VQA [default: beside the questions]
    #[arg(long, value_name = "FILE", requires = "benchmark")]
    pub annotations: Option<PathBuf>,
    /// The split of ScienceQA [default: test]
    #[arg(long, value_name = "NAME", requires = "benchmark")]
    pub split: Option<String>,
    /// What stands behind each question [default: what LLaVA-1.5 writes there]
    #[arg(long, value_name = "TEXT", requires = "benchmark")]
    pub instruction: Option<String>,
    /// Ask each question of MMBench with its choices turned as often as it has choices; all answers have to be right
    #[arg(long, requires = "benchmark")]
    pub circular: bool,
}

#[derive(Args)]
pub struct ExportCommand {
    /// The folder of a trained model
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The file to write: .safetensors, .bin for PyTorch, or .gguf with llama.cpp's keys
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The type of the values: f16, bf16 or f32
    #[arg(long, default_value = "f32")]
    pub dtype: FloatType,
}

#[derive(Args)]
pub struct ImportCommand {
    /// The projector, alone or in a larger model: .safetensors, what PyTorch saved, or llama.cpp's mmproj .gguf
    #[arg(long, value_name = "FILE")]
    pub projector: PathBuf,
    /// The language model: a GGUF file or a folder of Hugging Face
    #[arg(long, value_name = "PATH")]
    pub language_model: PathBuf,
    /// The number of visual tokens a picture
    #[arg(long, value_name = "N")]
    pub visual_tokens: usize,
    /// The float type of the language model's weights: f32, f16 or bf16
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// How conversations become tokens: plain, completion, llama, chatml or chat (the model's own)
    #[arg(long, default_value = "chat")]
    pub template: Template,
    /// The folder of the model
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
}

fn id_match(text: &str) -> Result<IdMatch, String> {
    match text {
        "exact" => Ok(IdMatch::Exact),
        "stem" => Ok(IdMatch::Stem),
        _ => Err(format!("expected exact or stem, found {text:?}")),
    }
}

fn bad_samples(text: &str) -> Result<BadSamples, String> {
    match text {
        "error" => Ok(BadSamples::Error),
        "drop" => Ok(BadSamples::Drop),
        _ => Err(format!("expected error or drop, found {text:?}")),
    }
}
