use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::align_args::{AlignCommand, ApplyCommand, FitCommand};
use super::ask_args::AskCommand;
use super::contrast_args::ContrastCommand;
use super::cost::CostCommand;
use super::embed_args::EmbedCommand;
use super::gap_args::GapCommand;
use super::model_args::{EvalCommand, ExportCommand, GenerateCommand, ImportCommand, TrainCommand};
use super::store_args::StoreArgs;
use burn_revision::embedding::{FloatType, Format, NonFinite};

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
