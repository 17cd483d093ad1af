use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::apply::{ApplyReport, output_format};
use super::job::{Job, Target, identity};
use super::sink::{MapRows, Sink};
use super::threads;
use crate::embedding::{
    BLOCK_ROWS, FloatType, Format, NonFinite, Progress, RawRows, RowReport, Store, Terms, inspect,
};
use crate::{Error, Result};

/// How files are converted.
#[derive(Clone)]
pub struct ConvertOptions<'a> {
    /// The type of the values written; as they are stored by default.
    pub float: Option<FloatType>,
    /// The format of the files written; by the name of the output, or else that of the input.
    pub format: Option<Format>,
    /// What to do with rows that are not finite or have no direction: refuse them or leave them out. By default they are
    /// written as they are.
    pub policy: Option<NonFinite>,
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
        Self {
            float: None,
            format: None,
            policy: None,
            threads: None,
            resume: false,
            overwrite: false,
            progress: &(),
        }
    }
}

/// Writes the rows of a store, as they are, in another format or type: a file for a file, else a folder with a file
/// for each shard. Ids and whatever else stands beside the rows is written as well.
///
/// # Errors
///
/// Those of [`super::apply()`]; NaN and infinities are no error here without a policy, and none puts zeros in their place.
pub fn convert(store: &Store, output: &Path, options: &ConvertOptions<'_>) -> Result<ApplyReport> {
    if options.policy == Some(NonFinite::Zero) {
        return Err(Error::config("non-finite", "a conversion changes no value: error or skip"));
    }
    let format = output_format(store, output, options.format)?;
    let target = Target::new(store, output, format)?;
    target.check_not_input(&[store])?;
    store.check_ids()?;
    let mut job = BTreeMap::from([
        ("input".to_string(), identity(store)),
        ("method".to_string(), json!("none")),
        ("dtype".to_string(), json!(options.float)),
        ("format".to_string(), json!(format)),
    ]);
    if let Some(policy) = options.policy {
        job.insert("non_finite".to_string(), json!(policy));
    }
    let mut job = Job::begin(&target, job, options.resume, options.overwrite, Duration::from_secs(5))?;
    let sink = Sink {
        format,
        float: options.float,
        policy: options.policy.unwrap_or_default(),
        threads: threads(options.threads),
        piece_rows: BLOCK_ROWS,
        sync: false,
        progress: options.progress,
    };
    let map: &dyn MapRows = if options.policy.is_some() { &OnlyUsable } else { &AsTheyAre };
    let (rows, bytes) = sink.write(store, &target, &mut job, "converting", map)?;
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

/// The rows that the policy lets through, as they are.
struct OnlyUsable;

impl MapRows for OnlyUsable {
    fn map(
        &self,
        rows: RawRows<'_>,
        terms: Terms<'_>,
        _: usize,
        float: FloatType,
        _: &mut Vec<f32>,
        bytes: &mut Vec<u8>,
    ) -> Result<(Vec<usize>, RowReport)> {
        let (mut skipped, mut report) = (Vec::new(), RowReport { rows: rows.len(), ..RowReport::default() });
        bytes.clear();
        for row in 0..rows.len() {
            let (one, number) = (rows.part(row..row + 1), terms.first + row);
            let usable = match one.float() {
                FloatType::F64 => {
                    let values: Vec<f64> = one
                        .bytes()
                        .as_chunks::<8>()
                        .0
                        .iter()
                        .map(|bytes| f64::from_le_bytes(*bytes))
                        .collect();
                    inspect(&values, terms.policy, terms.what, number)?.is_some()
                }
                _ => inspect(&one.to_single(), terms.policy, terms.what, number)?.is_some(),
            };
            if usable {
                one.convert(float, bytes);
                report.kept += 1;
            } else {
                skipped.push(number);
                report.skipped += 1;
            }
        }
        Ok((skipped, report))
    }
}
