use std::path::PathBuf;

use burn_revision::encoder::LogitScaleConfig;
use clap::Args;

#[derive(Args)]
pub struct ContrastCommand {
    /// Features of pictures, as `embed --raw` writes them: a file, a folder of shards, or a quoted pattern
    #[arg(long, value_name = "PATH")]
    pub images: PathBuf,
    /// Features of texts
    #[arg(long, value_name = "PATH")]
    pub texts: PathBuf,
    /// The tower that made the features of pictures: a folder, or a .pth file of EfficientNet-Lite
    #[arg(long, value_name = "PATH")]
    pub image_tower: PathBuf,
    /// The tower that made the features of texts
    #[arg(long, value_name = "PATH")]
    pub text_tower: PathBuf,
    /// The folder to write, an encoder for `embed --encoder`
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// The field of a picture's record with the id of its text, or a list of ids [default: a picture and its text have one id]
    #[arg(long, value_name = "FIELD", conflicts_with = "pairs")]
    pub pair_by: Option<String>,
    /// A list of pairs: .jsonl, .csv or .tsv with the fields image and text, which hold ids
    #[arg(long, value_name = "FILE")]
    pub pairs: Option<PathBuf>,
    /// Let only pictures take part whose record has this value in this field
    #[arg(long, value_name = "FIELD=VALUE", conflicts_with = "pairs")]
    pub only: Option<String>,
    /// The width of the common space
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub dim: usize,
    /// The width between the two layers of a head
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub hidden: usize,
    /// The share of features, and of values between the layers, that is left out at each step
    #[arg(long, value_name = "SHARE", default_value_t = 0.2)]
    pub dropout: f64,
    /// The scale of the logits, the inverse temperature: a number, or `learned` (from 14.3 up to 100, as in CLIP). In a training of
    /// given length, a high scale leaves a wider gap
    #[arg(long, value_name = "SCALE", default_value = "60", value_parser = logit_scale)]
    pub logit_scale: LogitScaleConfig,
    /// How often every pair is seen
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub epochs: usize,
    /// The pairs that compete in a batch
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub batch_size: usize,
    /// The highest learning rate
    #[arg(long, value_name = "RATE", default_value_t = 1e-3)]
    pub learning_rate: f64,
    /// The decay of weight matrices
    #[arg(long, value_name = "RATE", default_value_t = 0.05)]
    pub weight_decay: f32,
    /// The share of captions that is held out: retrieval and gap are measured on them
    #[arg(long, value_name = "SHARE", default_value_t = 0.1)]
    pub validation: f64,
    /// End when the retrieval of held-out captions has not become better for so many epochs, and keep the best epoch [default: do
    /// all epochs, and keep the last]
    #[arg(long, value_name = "EPOCHS")]
    pub patience: Option<usize>,
    /// Steps between two measurements of the gap
    #[arg(long, value_name = "STEPS", default_value_t = 20)]
    pub track_every: usize,
    /// Write the embeddings of all pictures of --images as well: a file [default: `embed` makes them]
    #[arg(long, value_name = "FILE")]
    pub image_rows: Option<PathBuf>,
    /// Write the embeddings of all texts of --texts as well
    #[arg(long, value_name = "FILE")]
    pub text_rows: Option<PathBuf>,
    /// The seed of initial weights, of the order of the pairs, of dropout and of what is held out
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Replace an encoder and rows that are there
    #[arg(long)]
    pub overwrite: bool,
}

fn logit_scale(text: &str) -> Result<LogitScaleConfig, String> {
    match text {
        "learned" => Ok(LogitScaleConfig::Learned { init: 14.3, max: 100.0 }),
        _ => match text.parse::<f64>() {
            Ok(scale) if scale > 0.0 && scale.is_finite() => Ok(LogitScaleConfig::Fixed(scale)),
            _ => Err(format!("expected a number above 0 or learned, found {text:?}")),
        },
    }
}

pub const HELP: &str = "Your own CLIP from two encoders that know nothing of each other. Both stay as they are; two small heads learn to \
    lead their features into one space, where a picture lies near its caption. With a list captions.csv of the columns image and text:\n\n  \
    burn-revision embed --raw --encoder efficientnet-lite0.pth --images captions.csv --id-column image --output images.npy\n  \
    burn-revision embed --raw --encoder all-MiniLM-L6-v2/ --texts captions.csv --id-column image --output texts.npy\n  \
    burn-revision contrast --images images.npy --texts texts.npy --image-tower efficientnet-lite0.pth --text-tower all-MiniLM-L6-v2/ \
    --output my-clip/\n  \
    burn-revision embed --encoder my-clip/ --images new-photos/ --output photos.npy\n\n\
    The loss is symmetric InfoNCE: in each batch, every picture is to find its caption and every caption its picture. Pictures of one \
    caption are no negatives of each other. A tenth of the captions is held out, and what is printed was measured on them: R@1, the \
    share of pictures whose caption is the nearest of all, and the modality gap that training leaves. epochs.jsonl and gap.jsonl in the \
    folder keep both, epoch by epoch and every 20 steps.\n\n\
    The folder names the towers by their paths from it and by fingerprints: move them together, and change neither. A few hundred pairs \
    are enough to see something, thousands to retrieve.";
