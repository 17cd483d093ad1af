use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::train::Interrupter;
use burn::train::logger::{InMemoryMetricLogger, MetricLogger};
use burn::train::metric::store::{EpochSummary, MetricsUpdate, Split};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use serde_json::{Map, Value, json};

use crate::{Error, Result, atomic};

/// The step of the last validation and its mean loss, while burn-train owns the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastValidation(Arc<Mutex<Option<(usize, f64)>>>);

impl LastValidation {
    /// The loss, where the last validation was after `step` steps.
    pub fn after(&self, step: usize) -> Option<f64> {
        self.0.lock().expect("no thread panicked").filter(|(at, _)| *at == step).map(|(_, loss)| loss)
    }
}

/// A burn-train metric logger that writes one JSON object a line: after each optimizer step `step`, every metric of it
/// (`loss`, `tokens`, `learning_rate`) and the `seconds` since the run began or resumed; after each validation `step` and
/// `valid_loss`.
///
/// ```text
/// {"learning_rate":0.0005,"loss":3.21,"seconds":12.5,"step":40,"tokens":512.0}
/// {"step":40,"valid_loss":3.3}
/// ```
///
/// A resumed run drops the lines of steps that it repeats.
pub(crate) struct MetricsLog {
    path: PathBuf,
    file: File,
    step: usize,
    names: HashMap<MetricId, String>,
    valid: Map<String, Value>,
    last_valid: LastValidation,
    begun: Instant,
    interrupter: Interrupter,
    /// burn-train asks its logger for means of epochs.
    memory: InMemoryMetricLogger,
}

impl MetricsLog {
    /// Continues the file after `first_step` steps; a failure to write stops the run of `interrupter`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read or written.
    pub fn open(path: &Path, first_step: usize, interrupter: Interrupter) -> Result<Self> {
        let io = |source| Error::io(path, source);
        let old = match std::fs::read_to_string(path) {
            Ok(old) => old,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(io(source)),
        };
        let is_kept = |line: &&str| {
            // A crash may have truncated the last line.
            let step = serde_json::from_str::<Value>(line).ok().and_then(|entry| entry["step"].as_u64());
            step.is_some_and(|step| step as usize <= first_step)
        };
        let kept: Vec<&str> = old.lines().filter(is_kept).collect();
        atomic::write(path, |file| kept.iter().try_for_each(|line| writeln!(file, "{line}")))?;
        Ok(Self {
            path: path.to_path_buf(),
            file: OpenOptions::new().append(true).open(path).map_err(io)?,
            step: first_step,
            names: HashMap::new(),
            valid: Map::new(),
            last_valid: LastValidation::default(),
            begun: Instant::now(),
            interrupter,
            memory: InMemoryMetricLogger::default(),
        })
    }

    /// Where the last validation of this run will be found.
    pub fn last_validation(&self) -> LastValidation {
        self.last_valid.clone()
    }

    fn write(&mut self, entry: Map<String, Value>) {
        if let Err(source) = writeln!(self.file, "{}", Value::Object(entry)) {
            self.interrupter.stop(Some(&format!("{}: {source}", self.path.display())));
        }
    }

    fn entries(&self, update: &MetricsUpdate, running: bool) -> Vec<(String, Value)> {
        let value = |entry: &NumericEntry| match entry {
            NumericEntry::Value(value) | NumericEntry::Final(value) => json!(value),
            NumericEntry::Aggregated { aggregated_value, .. } => json!(aggregated_value),
        };
        let metrics = update.entries_numeric.iter();
        metrics
            .filter_map(|metric| {
                let name = self.names.get(&metric.entry.metric_id)?;
                let entry = if running { &metric.running_entry } else { &metric.numeric_entry };
                Some((name.clone(), value(entry.as_ref()?)))
            })
            .collect()
    }
}

impl MetricLogger for MetricsLog {
    fn log(&mut self, update: MetricsUpdate, epoch: usize, split: &Split) {
        match split {
            // After the last step of an epoch, burn-train sends the means over it: no step.
            Split::Train if update.entries_numeric.iter().all(|metric| metric.running_entry.is_none()) => {}
            Split::Train => {
                self.step += 1;
                let mut entry: Map<String, Value> = self.entries(&update, false).into_iter().collect();
                entry.insert("step".into(), json!(self.step));
                entry.insert("seconds".into(), json!(self.begun.elapsed().as_secs_f64()));
                self.write(entry);
            }
            // The mean of a validation is complete with its last batch.
            _ => {
                let loss = self.entries(&update, true).into_iter().find(|(name, _)| name == "loss");
                self.valid.extend(loss.map(|(_, loss)| ("valid_loss".to_string(), loss)));
            }
        }
        self.memory.log(update, epoch, split);
    }

    fn read_numeric(
        &mut self,
        name: &str,
        epoch: usize,
        split: &Split,
    ) -> std::result::Result<Vec<NumericEntry>, String> {
        self.memory.read_numeric(name, epoch, split)
    }

    fn log_metric_definition(&mut self, definition: MetricDefinition) {
        let name = definition.name.to_lowercase().replace(' ', "_");
        self.names.insert(definition.metric_id.clone(), name);
        self.memory.log_metric_definition(definition);
    }

    fn log_epoch_summary(&mut self, summary: EpochSummary) {
        if matches!(summary.split, Split::Valid) && !self.valid.is_empty() {
            let mut entry = std::mem::take(&mut self.valid);
            if let Some(loss) = entry.get("valid_loss").and_then(Value::as_f64) {
                *self.last_valid.0.lock().expect("no thread panicked") = Some((self.step, loss));
            }
            entry.insert("step".into(), json!(self.step));
            self.write(entry);
        }
        self.memory.log_epoch_summary(summary);
    }
}
