//! What `align`, `fit` and `apply` take.

use std::path::{Path, PathBuf};

use burn_revision::alignment::Method;
use burn_revision::embedding::{FloatType, Format, NonFinite};
use burn_revision::{Error, Result};
use clap::{Args, ValueEnum};

use super::store_args::StoreArgs;

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
