use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::embed_args::bad_pictures;
use burn_revision::Result;
use burn_revision::encoder::BadPictures;
use burn_revision::language::{GenerationConfig, WeightStorage};

/// The section of `ask --help` on its words.
pub const HELP: &str = "Examples:\n  burn-revision ask --model runs/stage2/model cat.jpg 'What colour is it?'\n  \
    burn-revision ask --model runs/stage2/model cat.jpg                    # a caption\n  \
    burn-revision ask --model runs/stage2/model photos/ 'Is it outdoors?' --json > answers.jsonl\n  \
    burn-revision ask --model runs/stage2/model --interactive cat.jpg\n\n\
    All words are pictures, but for the last one where no file, folder or pattern is called that: it is the question. \
    --question says so in any case. The answer about one picture is printed as it is written; about several, a line each: \
    PICTURE<TAB>ANSWER, or with --json one object.\n\n\
    The model shows the pictures with the encoder that it was trained with, if `embed` made the embeddings or [data] encoder \
    named it; --encoder is its new place. Models trained with the template `plain` take no questions: they caption.";

#[derive(Args)]
pub struct AskCommand {
    #[command(flatten)]
    pub model: AssistantOptions,
    /// Pictures: files, folders (with those in them), quoted patterns, lists (.txt, .jsonl, .csv, .tsv), tars; in the end the
    /// question, if there is one
    #[arg(value_name = "PICTURE... [QUESTION]", required = true, num_args = 1..)]
    pub words: Vec<PathBuf>,
    /// The question; `<image>` marks the place of the picture, which is in front by default
    #[arg(long, value_name = "TEXT")]
    pub question: Option<String>,
    /// Instructions in front of the conversation, for templates that have a place for them
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Hold a conversation about one picture: a line is a question, and those before it are remembered
    #[arg(long, short, conflicts_with = "json")]
    pub interactive: bool,
    /// Pictures that cannot be read: error, or skip (their errors are told, and the others are answered)
    #[arg(long, value_name = "POLICY", default_value = "error", value_parser = bad_pictures)]
    pub bad: BadPictures,
    /// The most pixels of a picture: small files may unfold to gigabytes [default: 178956970, as Pillow]
    #[arg(long, value_name = "N")]
    pub max_pixels: Option<u64>,
    #[command(flatten)]
    pub answer: AnswerOptions,
}

/// A model and what it sees through.
#[derive(Args, Clone)]
pub struct AssistantOptions {
    /// The folder of a trained model
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The encoder of pictures: a folder of Hugging Face (CLIP, SigLIP) or of open_clip [default: where it was in training]
    #[arg(long, value_name = "DIR")]
    pub encoder: Option<PathBuf>,
    #[command(flatten)]
    pub weights: WeightsOptions,
}

/// In which form the weights of the language model are in memory.
#[derive(Args, Clone, Copy)]
pub struct WeightsOptions {
    /// The weights of the language model in memory
    #[arg(long, value_enum, default_value_t = Weights::Auto)]
    pub weights: Weights,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum Weights {
    /// Quantised where the language model is a GGUF file with quantised weights that training left as they are, and
    /// computes on a CPU: a fraction of the memory, and more tokens a second. Otherwise float
    Auto,
    /// Widened to floats, in the precision of training
    Float,
    /// As the GGUF file stores them; an error where there are none, or where adapters or tuned weights need floats
    Quantized,
}

impl WeightsOptions {
    /// The same for the library.
    pub fn storage(self) -> WeightStorage {
        match self.weights {
            Weights::Auto => WeightStorage::Auto,
            Weights::Float => WeightStorage::Float,
            Weights::Quantized => WeightStorage::Quantized,
        }
    }
}

/// How answers are written.
#[derive(Args)]
pub struct AnswerOptions {
    /// The maximum number of tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub max_new_tokens: usize,
    /// Above 0, tokens are drawn at random; scores are divided by it
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f64,
    /// Tokens are drawn from the smallest set with this probability
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub top_p: f64,
    /// Tokens are drawn from the best K
    #[arg(long, value_name = "K")]
    pub top_k: Option<usize>,
    /// The seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl AnswerOptions {
    /// The same for the library.
    pub fn config(&self) -> Result<GenerationConfig> {
        let config = GenerationConfig::new()
            .with_max_new_tokens(self.max_new_tokens)
            .with_temperature(self.temperature)
            .with_top_p(self.top_p)
            .with_top_k(self.top_k)
            .with_seed(self.seed);
        config.validate()?;
        Ok(config)
    }
}
