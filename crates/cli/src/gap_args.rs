//! What `gap` takes.

use std::path::PathBuf;

use burn_revision::alignment::Method;
use burn_revision::embedding::NonFinite;
use clap::Args;

use super::store_args::StoreArgs;

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
