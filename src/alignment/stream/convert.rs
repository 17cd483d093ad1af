use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::apply::{ApplyReport, output_format};
use super::job::{Job, Target, identity};
use super::sink::{MapRows, Sink};
use super::threads;
use crate::Result;
use crate::embedding::{
    BLOCK_ROWS, FloatType, Format, NonFinite, Progress, RawRows, RowReport, Store, Terms,
};

/// How files are converted.
#[derive(Clone)]
pub struct ConvertOptions<'a> {
    /// The type of the values written; as they are stored by default.
    pub float: Option<FloatType>,
    /// The format of the files written; by the name of the output, or else that of the input.
    pub format: Option<Format>,
    /// The number of threads; as many as the machine has cores by default.
    pub threads: Option<usize>,
    /// Go on with a job that was interrupted.
    pub resume: bool,
    /// Replace what is there.
    pub overwrite: bool,
    /// The observer.
    pub progress: &'a dyn Progress,
}

impl Default for ConvertOptions<'_> {
    fn default() -> Self {
        Self { float: None, format: None, threads: None, resume: false, overwrite: false, progress: &() }
    }
}

/// Writes the rows of a store, as they are, in another format or type: a file for a file, else a folder with a file
/// for each shard. Ids and whatever else stands beside the rows is written as well.
///
/// # Errors
///
/// Those of [`super::apply()`]; NaN and infinities are no error here.
pub fn convert(store: &Store, output: &Path, options: &ConvertOptions<'_>) -> Result<ApplyReport> {
    let format = output_format(store, output, options.format)?;
    let target = Target::new(store, output, format)?;
    target.check_not_input(&[store])?;
    store.check_ids()?;
    let job = BTreeMap::from([
        ("input".to_string(), identity(store)),
        ("method".to_string(), json!("none")),
        ("dtype".to_string(), json!(options.float)),
        ("format".to_string(), json!(format)),
    ]);
    let mut job = Job::begin(&target, job, options.resume, options.overwrite, Duration::from_secs(5))?;
    let sink = Sink {
        format,
        float: options.float,
        policy: NonFinite::Error,
        threads: threads(options.threads),
        piece_rows: BLOCK_ROWS,
        sync: false,
        progress: options.progress,
    };
    let (rows, bytes) = sink.write(store, &target, &mut job, "converting", &AsTheyAre)?;
    Ok(ApplyReport { rows, bytes, files: target.files })
}

struct AsTheyAre;

impl MapRows for AsTheyAre {
    fn map(
        &self,
        rows: RawRows<'_>,
        _: Terms<'_>,
        _: usize,
        float: FloatType,
        _: &mut Vec<f32>,
        bytes: &mut Vec<u8>,
    ) -> Result<(Vec<usize>, RowReport)> {
        let report = RowReport { rows: rows.len(), kept: rows.len(), ..RowReport::default() };
        bytes.clear();
        rows.convert(float, bytes);
        Ok((Vec::new(), report))
    }
}
