use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::job::{Job, Target, identity};
use super::sink::{MapRows, Sink};
use super::{Compute, device, threads};
use crate::alignment::host_map::HostMap;
use crate::alignment::{Aligner, Statistics};
use crate::embedding::{
    BytesMoved, FloatType, Format, NonFinite, Progress, RawRows, RowReport, Store, Terms, encode,
};
use crate::{Error, Result};

/// How aligned rows are written.
#[derive(Clone)]
pub struct ApplyOptions<'a> {
    /// The type of the values written.
    pub float: FloatType,
    /// The format of the files written; by the name of the output, or else that of the input.
    pub format: Option<Format>,
    /// What to do with rows without direction; as when the statistics were fitted by default.
    pub policy: Option<NonFinite>,
    /// The seed of the noise, for methods that have some.
    pub seed: u64,
    /// The number of threads; as many as the machine has cores by default.
    pub threads: Option<usize>,
    /// Where the arithmetic is done.
    pub compute: Compute,
    /// Go on with a job that was interrupted.
    pub resume: bool,
    /// Replace what is there.
    pub overwrite: bool,
    /// Wait until the files are on the disk before they get their names: for safety against loss of power.
    pub sync: bool,
    /// How often to save how far a file has come.
    pub checkpoint: Duration,
    /// What is told how far the job has come, and may end it.
    pub progress: &'a dyn Progress,
}

impl Default for ApplyOptions<'_> {
    fn default() -> Self {
        Self {
            float: FloatType::F32,
            format: None,
            policy: None,
            seed: 0,
            threads: None,
            compute: Compute::default(),
            resume: false,
            overwrite: false,
            sync: false,
            checkpoint: Duration::from_secs(5),
            progress: &(),
        }
    }
}

/// What [`apply`] did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApplyReport {
    /// What became of the rows.
    pub rows: RowReport,
    /// Bytes read and written by this run; one that went on with another's work moves fewer.
    pub bytes: BytesMoved,
    /// The files written.
    pub files: Vec<PathBuf>,
}

/// Aligns the rows of a store and writes them to `output`: a file for a file, else a folder with a file for each shard.
/// Ids and whatever else stands beside the rows is written as well.
///
/// Every file has another name until it is complete. A job that was killed goes on where it was, with
/// [`ApplyOptions::resume`], to the same bytes. Nothing is written where an input lies.
///
/// # Errors
///
/// [`Error::Config`] for an output that is an input, or is there already, or for statistics that lack a centroid pass;
/// [`Error::Mismatch`] for another number of dimensions; [`Error::DuplicateId`]; [`Error::NonFinite`] or
/// [`Error::ZeroRow`], naming file and row, under [`NonFinite::Error`]; [`Error::Io`] or [`Error::Format`] where a file
/// cannot be read or written.
pub fn apply(
    statistics: &Statistics,
    store: &Store,
    output: &Path,
    options: &ApplyOptions<'_>,
) -> Result<ApplyReport> {
    let seed = options.seed;
    match &options.compute {
        Compute::Host => {
            let map = statistics.host_map()?;
            write(statistics, store, output, options, Set::Text, &OnHost { map, seed })
        }
        Compute::Device(device) => {
            let method = statistics.init(device)?;
            let align = |rows: Tensor<2>, numbers: &[u64]| method.align_rows(rows, seed, numbers);
            write(statistics, store, output, options, Set::Text, &OnDevice { device: device.clone(), align })
        }
    }
}

/// Moves the image embeddings of a store as the method does at inference, and writes them as [`apply`] writes text. Only for
/// methods that move images: C3 about zero, GR-CLIP and Unicorn. It is done in tensors, on Burn's default device where the
/// options say [`Compute::Host`].
///
/// # Errors
///
/// [`Error::Config`] for a method that leaves images as they are, and those of [`apply`].
pub fn apply_images(
    statistics: &Statistics,
    store: &Store,
    output: &Path,
    options: &ApplyOptions<'_>,
) -> Result<ApplyReport> {
    if !statistics.method().moves_images() {
        let detail = format!("{} leaves images as they are: use them so", statistics.method());
        return Err(Error::config("method", detail));
    }
    let device = match &options.compute {
        Compute::Host => Device::default(),
        Compute::Device(device) => device.clone(),
    };
    let method = statistics.init(&device)?;
    let align = |rows: Tensor<2>, _: &[u64]| method.align_image(rows);
    write(statistics, store, output, options, Set::Image, &OnDevice { device, align })
}

/// Which of the two sets is written.
#[derive(Clone, Copy, PartialEq)]
enum Set {
    Text,
    Image,
}

fn write(
    statistics: &Statistics,
    store: &Store,
    output: &Path,
    options: &ApplyOptions<'_>,
    set: Set,
    map: &dyn MapRows,
) -> Result<ApplyReport> {
    if store.dim() != statistics.dim() {
        let what = format!("dimensions of {} (as the statistics)", store.place().display());
        return Err(Error::mismatch(what, statistics.dim(), store.dim()));
    }
    let policy = options.policy.unwrap_or(statistics.policy());
    let format = output_format(store, output, options.format)?;
    let target = Target::new(store, output, format)?;
    target.check_not_input(&[store])?;
    store.check_ids()?;
    let mut job = BTreeMap::from([
        ("input".to_string(), identity(store)),
        ("statistics".to_string(), json!(statistics.fingerprint())),
        ("method".to_string(), json!(statistics.method())),
        ("non_finite".to_string(), json!(policy)),
        ("dtype".to_string(), json!(options.float)),
        ("format".to_string(), json!(format)),
        ("seed".to_string(), json!(options.seed)),
        ("compute".to_string(), json!(options.compute.name())),
    ]);
    if set == Set::Image {
        job.insert("set".to_string(), json!("image"));
    }
    let mut job = Job::begin(&target, job, options.resume, options.overwrite, options.checkpoint)?;
    let sink = Sink {
        format,
        float: Some(options.float),
        policy,
        threads: threads(options.threads),
        piece_rows: options.compute.piece_rows(map.piece_rows()),
        sync: options.sync,
        progress: options.progress,
    };
    let (rows, bytes) = sink.write(store, &target, &mut job, "aligning", map)?;
    Ok(ApplyReport { rows, bytes, files: target.files })
}

/// Whether [`apply`] could write there: so that a long fit does not end with a refusal.
///
/// # Errors
///
/// [`Error::Config`] for an output that is an input or one of `others`, or that is there already.
pub fn check_output(
    store: &Store,
    others: &[&Store],
    output: &Path,
    options: &ApplyOptions<'_>,
) -> Result<()> {
    let target = Target::new(store, output, output_format(store, output, options.format)?)?;
    target.check_not_input(&[others, &[store]].concat())?;
    target.check_free(options.resume, options.overwrite)
}

/// The format that is asked for, or that of the output's name, or of the input.
pub(super) fn output_format(store: &Store, output: &Path, asked: Option<Format>) -> Result<Format> {
    let own = match store.shards()[0].format() {
        // The other format of columns.
        Format::Arrow => Format::Parquet,
        format if format.is_written() => format,
        _ => Format::Npy,
    };
    let named = Format::of(output).filter(|_| !output.is_dir());
    match asked.or(named).unwrap_or(own) {
        format if format.is_written() => Ok(format),
        format => {
            let detail = format!(".{format} files are read, and not written: npy, safetensors or parquet is");
            Err(Error::config("output", detail))
        }
    }
}

struct OnHost {
    map: Box<dyn HostMap>,
    seed: u64,
}

impl MapRows for OnHost {
    fn piece_rows(&self) -> usize {
        self.map.piece_rows()
    }

    fn map(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        first: usize,
        float: FloatType,
        values: &mut Vec<f32>,
        bytes: &mut Vec<u8>,
    ) -> Result<(Vec<usize>, RowReport)> {
        let dim = rows.dim();
        if float == FloatType::F32 {
            // Not cleared before, which would set bytes to zero that are written anyway.
            bytes.resize(rows.len() * dim * 4, 0);
            if let Ok(out) = bytemuck::try_cast_slice_mut(bytes) {
                let (skipped, report) = self.map.map(rows, terms, (self.seed, first), out)?;
                bytes.truncate(report.kept * dim * 4);
                return Ok((skipped, report));
            }
        }
        values.resize(rows.len() * dim, 0.0);
        let (skipped, report) = self.map.map(rows, terms, (self.seed, first), values)?;
        bytes.clear();
        encode(&values[..report.kept * dim], float, bytes);
        Ok((skipped, report))
    }
}

struct OnDevice<F> {
    device: Device,
    /// What becomes of rows, given their numbers in the store.
    align: F,
}

impl<F: Fn(Tensor<2>, &[u64]) -> Tensor<2> + Sync> MapRows for OnDevice<F> {
    fn map(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        first: usize,
        float: FloatType,
        _: &mut Vec<f32>,
        bytes: &mut Vec<u8>,
    ) -> Result<(Vec<usize>, RowReport)> {
        let (values, skipped, report) = device::map(rows, terms, &self.device, first, &self.align)?;
        bytes.clear();
        encode(&values, float, bytes);
        Ok((skipped, report))
    }
}
