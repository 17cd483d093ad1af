use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::ask_args::AskCommand;
use super::contrast_args::ContrastCommand;
use super::cost::CostCommand;
use super::embed_args::EmbedCommand;
use super::model_args::{EvalCommand, ExportCommand, GenerateCommand, ImportCommand, TrainCommand};
use super::store_args::StoreArgs;
use burn_revision::alignment::Method;
use burn_revision::embedding::{FloatType, Format, NonFinite};
use burn_revision::{Error, Result};

#[derive(Parser)]
#[command(
    name = "burn-revision",
    version,
    about = "Close the modality gap between text and image embeddings, and train multimodal language models on text",
    long_about = "Measure the modality gap, and move text embeddings into the distribution of image embeddings, file to file.\n\n\
        Embeddings are read from a file, a folder of shards or a quoted pattern ('captions/*.npy'):\n  \
        .npy, .npz            float16, float32, float64; bfloat16 with --dtype-in bf16; int8 and uint8 with --scale\n  \
        .safetensors          the matrix \"embeddings\", the only one, or --key NAME\n  \
        .pt, .pth             a tensor, or a dict with a tensor and a list of ids (nothing in it is executed)\n  \
        .parquet, .arrow      a column of lists, bytes or JSON texts; also folders of datasets.save_to_disk\n  \
        .tar                  WebDataset: KEY.npy with KEY.json, KEY.txt\n  \
        .pkl                  the shards of the ReVision authors (nothing in them is executed)\n  \
        OUT/                  clip-retrieval: img_emb, text_emb, metadata; --text OUT and --image OUT take their halves\n\n\
        Ids stand in NAME.jsonl beside NAME.npy or NAME.safetensors, one object with an \"id\" a line, in the rows of \
        NAME.parquet beside it, or in the file itself; --id-column names another field than \"id\". They and all other \
        fields travel along to the output.",
    after_help = "Examples:\n  \
        burn-revision align --text captions.npy --image images.npy --output aligned.npy\n  \
        burn-revision fit --text captions/ --image images/ --output realign.safetensors\n  \
        burn-revision apply --stats realign.safetensors --text captions/ --output aligned/ --dtype f16\n  \
        burn-revision convert 'shards/*.pkl' captions/ --format safetensors\n  \
        burn-revision gap --text captions.npy --image images.npy --output gap/\n  \
        burn-revision embed --encoder clip-vit-base-patch32/ --images photos/ --output images.npy\n  \
        burn-revision contrast --images features.npy --texts text_features.npy --image-tower lite0.pth --text-tower minilm/ \
        --output my-clip/\n  \
        burn-revision train --config stage1.toml\n  \
        burn-revision generate --model runs/stage1/model --embeddings pictures.npy\n  \
        burn-revision ask --model runs/stage2/model cat.jpg 'What is it?'\n\n\
        Exit codes: 0 done, 2 usage or settings, 3 data, 4 files, 130 interrupted, 1 anything else."
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub output: OutputOptions,
}

#[derive(Args)]
pub struct OutputOptions {
    /// Print the result as one JSON object
    #[arg(long, global = true)]
    pub json: bool,
    /// Print no progress and no result
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Print how many bytes were read and written, and at what rate
    #[arg(long, global = true)]
    pub verbose: bool,
}

#[derive(Subcommand)]
pub enum Command {
    /// Fit a method on text and image embeddings, and align the text
    #[command(
        after_help = "Example:\n  burn-revision align --text captions.npy --image images.npy --output aligned.npy \
        --stats realign.safetensors\n\nImages are read once and texts up to three times. The two sets need not be \
        paired, nor equal in size. An interrupted run goes on with --resume, to the same bytes."
    )]
    Align(AlignCommand),
    /// Fit a method, and write its statistics
    #[command(
        after_help = "On one machine:\n  burn-revision fit --text captions/ --image images/ --output realign.safetensors\n\n\
        On several machines, each with rows of its own:\n  \
        burn-revision fit --moments --text part1/ --image images1/ --output part1.safetensors     (on each)\n  \
        burn-revision stats merge part*.safetensors --output moments.safetensors\n  \
        burn-revision fit --from moments.safetensors --text part1/ --output centroid1.safetensors  (on each)\n  \
        burn-revision stats merge centroid*.safetensors --output realign.safetensors"
    )]
    Fit(FitCommand),
    /// Align text embeddings with statistics that were fitted before
    #[command(
        after_help = "Example:\n  burn-revision apply --stats realign.safetensors --text captions/ --output aligned/"
    )]
    Apply(ApplyCommand),
    /// Measure the modality gap of two sets, and what each method makes of it
    #[command(
        after_help = "Examples:\n  burn-revision gap --text captions.npy --image images.npy --output gap/\n  \
        burn-revision gap --text texts.safetensors --image images.safetensors --output gap/ --paired --pair-by text_id \
        --domain-by source --methods identity,mean-shift,realign\n\nWrites DIR/report.json and DIR/report.html, one page \
        that needs no network. Both sets are cut into halves: methods are fitted on one and measured on the other. Large \
        sets are sampled (--rows); everything measured is held in memory: 4 GB for 40,000 rows of 1280 dimensions in each set."
    )]
    Gap(GapCommand),
    /// Show or merge statistics
    Stats(StatsCommand),
    /// Write embeddings in another format or float type, with their ids
    #[command(after_help = "Examples:\n  burn-revision convert captions.npy captions.safetensors\n  \
        burn-revision convert 'shards/*.pkl' captions/ --format npy --dtype f16\n  \
        burn-revision convert laion/img_emb images/ --id-column image_path\n  \
        burn-revision convert quantised.npy rows.npy --scale 0.0078125 --dtype f16")]
    Convert(ConvertCommand),
    /// Embed pictures or texts with a published encoder
    #[command(
        after_help = "Examples:\n  burn-revision embed --encoder clip-vit-base-patch32/ --images photos/ --output images.npy\n  \
        burn-revision embed --encoder clip-vit-base-patch32/ --texts captions.txt --output captions.npy\n  \
        burn-revision embed --encoder siglip/ --images 'shards/*.tar' --output images/ --format parquet --dtype f16 --bad skip\n\n\
        Rows have unit length. Ids are paths of pictures and numbers of texts, or --id-column; captions, paths and all other fields \
        travel along. An interrupted run goes on with --resume, to the same bytes."
    )]
    Embed(EmbedCommand),
    /// Make an encoder of your own: train heads on the features of two encoders
    #[command(after_help = super::contrast_args::HELP)]
    Contrast(ContrastCommand),
    /// Train a multimodal model: stage 1 on aligned text, stage 2 on pictures
    #[command(after_help = super::run_description::HELP)]
    Train(TrainCommand),
    /// Write texts about embeddings of pictures
    #[command(
        after_help = "Examples:\n  burn-revision generate --model runs/stage2/model --embeddings pictures.npy --ids cat,dog\n  \
        burn-revision generate --model runs/stage2/model --embeddings pictures.npy --prompt 'What colour is it?'\n\n\
        Prints `id<TAB>text` lines. Embeddings of captions stand in for pictures with --stats, the statistics that \
        `fit` or `align --stats` wrote."
    )]
    Generate(GenerateCommand),
    /// Ask a model about pictures
    #[command(after_help = super::ask_args::HELP)]
    Ask(AskCommand),
    /// Answer questions about pictures on a page, and to clients of OpenAI's protocol
    #[cfg(feature = "serve")]
    #[command(after_help = super::serve::HELP)]
    Serve(super::serve::ServeCommand),
    /// Measure a model on conversations: likelihood of the answers, and how well it writes them
    #[command(
        after_help = "Example:\n  burn-revision eval --model runs/stage2/model --conversations test.jsonl --embeddings pictures.npy \
        --output written.jsonl\n\nWritten texts are compared with the first answer of each conversation: word F1, exact match, \
        BLEU-4, ROUGE-L and CIDEr-D, over lower-case words."
    )]
    Eval(EvalCommand),
    /// Write the projector of a model under LLaVA's keys, for PyTorch or as .safetensors, or for llama.cpp
    #[command(
        after_help = "Example:\n  burn-revision export --model runs/stage1/model --output mm_projector.bin --dtype f16"
    )]
    Export(ExportCommand),
    /// Make a model of a projector with the keys of LLaVA, Bunny, transformers or llama.cpp and a language model
    #[command(
        after_help = "Example:\n  burn-revision import --projector mm_projector.bin --language-model Llama-3-8B-Instruct/ \
        --visual-tokens 576 --template llama --output model/"
    )]
    Import(ImportCommand),
    /// What captions cost that a language model writes, beside pairs
    #[command(after_help = super::cost::HELP)]
    Cost(CostCommand),
    /// Print a script that completes arguments in a shell
    #[command(
        after_help = "Example:\n  burn-revision completions bash > ~/.local/share/bash-completion/completions/burn-revision"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
pub struct AlignCommand {
    /// Text embeddings: a file, a folder of shards, or a quoted pattern
    #[arg(long, value_name = "PATH")]
    pub text: PathBuf,
    /// Image embeddings, which show where to go
    #[arg(long, value_name = "PATH")]
    pub image: PathBuf,
    /// The aligned text: a file where the text is one, else a folder
    #[arg(long, value_name = "PATH")]
    pub output: PathBuf,
    /// Write the fitted statistics as well
    #[arg(long, value_name = "PATH")]
    pub stats: Option<PathBuf>,
    #[command(flatten)]
    pub method: MethodOptions,
    #[command(flatten)]
    pub write: WriteOptions,
    #[command(flatten)]
    pub rows: RowOptions,
}

#[derive(Args)]
pub struct FitCommand {
    /// Text embeddings: a file, a folder of shards, or a quoted pattern
    #[arg(long, value_name = "PATH", required_unless_present = "image")]
    pub text: Option<PathBuf>,
    /// Image embeddings
    #[arg(long, value_name = "PATH", required_unless_present_any = ["moments", "from"])]
    pub image: Option<PathBuf>,
    /// The file of statistics to write
    #[arg(long, value_name = "PATH")]
    pub output: PathBuf,
    /// Gather the moments only, of either set or of both, to be merged with others
    #[arg(long)]
    pub moments: bool,
    /// Go on from merged moments: run the centroid pass over this text; for anisoalign, train its networks before, and for a memory draw its rows, on this text
    /// and --image
    #[arg(long, value_name = "STATS", conflicts_with_all = ["moments", "method"], requires = "text")]
    pub from: Option<PathBuf>,
    /// Go on with the training of anisoalign where a run of the same command was interrupted
    #[arg(long)]
    pub resume: bool,
    #[command(flatten)]
    pub method: MethodOptions,
    #[command(flatten)]
    pub rows: RowOptions,
}

#[derive(Args)]
pub struct ApplyCommand {
    /// The statistics that `fit` or `align` wrote
    #[arg(long, value_name = "PATH")]
    pub stats: PathBuf,
    /// Text embeddings: a file, a folder of shards, or a quoted pattern
    #[arg(long, value_name = "PATH", required_unless_present = "image")]
    pub text: Option<PathBuf>,
    /// Image embeddings instead, for methods that move images at inference (gr-clip, unicorn, c3-zero-mean)
    #[arg(long, value_name = "PATH", conflicts_with = "text")]
    pub image: Option<PathBuf>,
    /// The aligned rows: a file where the input is one, else a folder
    #[arg(long, value_name = "PATH")]
    pub output: PathBuf,
    #[command(flatten)]
    pub write: WriteOptions,
    #[command(flatten)]
    pub rows: RowOptions,
}

#[derive(Args)]
pub struct GapCommand {
    /// Text embeddings: a file, a folder of shards, or a quoted pattern
    #[arg(long, value_name = "PATH")]
    pub text: PathBuf,
    /// Image embeddings
    #[arg(long, value_name = "PATH")]
    pub image: PathBuf,
    /// The folder for report.json and report.html
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Rows are pairs: an image belongs to the text of the same id, or to the one that --pair-by names
    #[arg(long)]
    pub paired: bool,
    /// The field of an image's record that holds the id of its text
    #[arg(long, value_name = "FIELD", requires = "paired")]
    pub pair_by: Option<String>,
    /// The methods [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub methods: Vec<Method>,
    /// The field of the records that names the domain, for the matrix of domains
    #[arg(long, value_name = "FIELD")]
    pub domain_by: Option<String>,
    /// The field of a text's record that holds the caption [default: text or caption]
    #[arg(long, value_name = "FIELD")]
    pub caption: Option<String>,
    /// Let only rows take part whose record has this value in this field (records without the field take part)
    #[arg(long, value_name = "FIELD=VALUE")]
    pub only: Option<String>,
    /// Rows of each set that may be read: an even sample of larger ones
    #[arg(long, value_name = "N", default_value_t = 40_000)]
    pub rows: usize,
    /// Held-out rows of each set that neighbours and cosines are measured on
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub probe: usize,
    /// The neighbours of a row
    #[arg(long, default_value_t = 20)]
    pub k: usize,
    /// The share of the energy of both covariances that the fixed frame holds
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    pub energy: f64,
    /// What is added to eigenvalues before they are inverted, relative to their mean
    #[arg(long, default_value_t = 1e-3)]
    pub ridge: f64,
    /// C3 and CapDec: the standard deviation of the noise, for each coordinate [default: 0.1265, made for 512 dimensions; 0.02 fits
    /// the figures of arXiv 2602.07026]
    #[arg(long)]
    pub sigma: Option<f64>,
    /// Pairs of rows for each density of cosines
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub cosine_pairs: usize,
    /// Rows with NaN, infinities or without direction: error, skip or zero (then those without direction are left out)
    #[arg(long, value_name = "POLICY", default_value = "error")]
    pub non_finite: NonFinite,
    #[command(flatten)]
    pub store: StoreArgs,
    /// The seed of the halves, of all samples and of noise
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Keep the rows and indexes that were measured as well: samples.safetensors and samples.json
    #[arg(long)]
    pub samples: bool,
    /// Replace a report that is there
    #[arg(long)]
    pub overwrite: bool,
}

#[derive(Args)]
pub struct MethodOptions {
    /// How to align: realign, anisoalign, mean-shift, c3, c3-zero-mean, unicorn, gr-clip, whitening, gaussian-ot, blockwise,
    /// memory, decap, capdec, shaped-noise or identity
    #[arg(long, default_value = "realign")]
    pub method: Method,
    /// C3 and CapDec: the standard deviation of the noise, for each coordinate [default: 0.1265]
    #[arg(long)]
    pub sigma: Option<f64>,
    /// AnisoAlign, memories, shaped noise: settings other than the defaults, lines `name = value` of a TOML file
    #[arg(long, value_name = "TOML")]
    pub settings: Option<PathBuf>,
    /// ReAlign: how often the centroid step is done [default: 1]
    #[arg(long, value_name = "N")]
    pub centroid_passes: Option<usize>,
    /// ReAlign and AnisoAlign: let the centroid step see so many text rows only, drawn evenly [default: all]
    #[arg(long, value_name = "ROWS")]
    pub centroid_sample: Option<usize>,
}

impl MethodOptions {
    /// The method with its settings; the seed is that of the program, where the method's settings name none.
    pub fn method(&self, seed: u64) -> Result<Method> {
        let alone = |given: bool, option: &str, name: &str| match given {
            true => Err(Error::config(option, format!("a setting of {name}, not of {}", self.method))),
            false => Ok(()),
        };
        let method = self.method.with_seed(seed);
        if !matches!(method, Method::C3 { .. } | Method::CapDec { .. }) {
            alone(self.sigma.is_some(), "sigma", "c3 and capdec")?;
        }
        if !matches!(method, Method::ReAlign { .. }) {
            alone(self.centroid_passes.is_some(), "centroid-passes", "realign")?;
        }
        let realigned = matches!(method, Method::Memory(config) if config.realigned);
        let has_centroid =
            matches!(method, Method::ReAlign { .. } | Method::AnisoAlign(_) | Method::ShapedNoise(_));
        if !(has_centroid || realigned) {
            alone(self.centroid_sample.is_some(), "centroid-sample", "realign")?;
        }
        let method = match method {
            Method::ReAlign { eps, centroid_passes } => {
                Method::ReAlign { eps, centroid_passes: self.centroid_passes.unwrap_or(centroid_passes) }
            }
            method => self.sigma.map_or(method, |sigma| method.with_sigma(sigma)),
        };
        match &self.settings {
            None => Ok(method),
            Some(path) => method.with_settings(&read_settings(path)?),
        }
    }
}

/// The settings of a TOML file.
fn read_settings(path: &Path) -> Result<serde_json::Map<String, serde_json::Value>> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    let wrong = |error: &dyn std::fmt::Display| Error::format(path, error.to_string());
    let table: toml::Table = text.parse().map_err(|error| wrong(&error))?;
    match serde_json::to_value(table).map_err(|error| wrong(&error))? {
        serde_json::Value::Object(settings) => Ok(settings),
        other => Err(wrong(&format!("expected lines `name = value`, found {other}"))),
    }
}

#[derive(Args)]
pub struct WriteOptions {
    /// The type of the values written: f32, f16, bf16 (.safetensors only) or f64
    #[arg(long, default_value = "f32")]
    pub dtype: FloatType,
    /// The format of the files written: npy, safetensors or parquet [default: by the name of the output, or as the input]
    #[arg(long)]
    pub format: Option<Format>,
    /// Go on with a run of the same command that was interrupted
    #[arg(long)]
    pub resume: bool,
    /// Replace output that is there
    #[arg(long)]
    pub overwrite: bool,
    /// Wait until files are on the disk before they get their names: safe against loss of power, and slower
    #[arg(long)]
    pub sync: bool,
    /// Save how far a file has come every so many seconds, for --resume
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub checkpoint: f64,
}

#[derive(Args)]
pub struct RowOptions {
    /// Rows with NaN, infinities or without direction: error, skip or zero (as the authors' script) [default: error, or as fitted]
    #[arg(long, value_name = "POLICY")]
    pub non_finite: Option<NonFinite>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Where to compute: in fused float64 loops on the host, or as tensors on the device that BURN_DEVICE names
    #[arg(long, value_enum, default_value_t = ComputeChoice::Host)]
    pub compute: ComputeChoice,
    /// The seed of noise and samples
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ComputeChoice {
    Host,
    Device,
}

#[derive(Args)]
pub struct StatsCommand {
    #[command(subcommand)]
    pub action: StatsAction,
}

#[derive(Subcommand)]
pub enum StatsAction {
    /// Show what a file of statistics says
    Show {
        /// The file
        path: PathBuf,
    },
    /// Merge statistics of different rows, or parts of one centroid pass; exact to float64
    Merge {
        /// The files
        #[arg(required = true, num_args = 2..)]
        paths: Vec<PathBuf>,
        /// The file to write
        #[arg(long, value_name = "PATH")]
        output: PathBuf,
    },
}

#[derive(Args)]
pub struct ConvertCommand {
    /// A file, a folder of shards, or a quoted pattern
    pub input: PathBuf,
    /// A file where the input is one, else a folder
    pub output: PathBuf,
    /// The format of the files written: npy, safetensors or parquet [default: by the name of the output, or as the input]
    #[arg(long)]
    pub format: Option<Format>,
    /// The type of the values written: f16, bf16, f32 or f64 [default: as they are stored]
    #[arg(long)]
    pub dtype: Option<FloatType>,
    /// Rows with NaN, infinities or without direction, and embeddings that are null: error or skip [default: written as they
    /// are, null is an error]
    #[arg(long, value_name = "POLICY")]
    pub non_finite: Option<NonFinite>,
    #[command(flatten)]
    pub store: StoreArgs,
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
