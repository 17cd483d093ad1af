use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::TokenMetric;
use burn::train::LearnerSummary;
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{MetricDefinition, MetricId, NumericEntry};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation, MetricsRendererTraining,
};

/// A burn-train renderer that writes one line to standard error: label, step, loss, rate and remaining time. In a terminal
/// the line is rewritten; elsewhere a new one is written every few seconds.
///
/// # Example
///
/// ```
/// use burn::tensor::Device;
/// use burn_revision::encoder::{DualEncoder, DualEncoderTraining, PairDataset};
/// use burn_revision::training::ProgressLine;
///
/// # fn train(encoder: DualEncoder, pairs: &PairDataset) -> burn_revision::Result<DualEncoder> {
/// let line = ProgressLine::new("encoder", 0, 20 * pairs.len().div_ceil(128));
/// DualEncoderTraining::new(20, 128).fit(encoder, pairs, pairs, "runs/encoder", Some(Box::new(line)), &Device::default())
/// # }
/// ```
pub struct ProgressLine {
    label: String,
    first_step: usize,
    steps: usize,
    done: usize,
    loss: Option<f64>,
    loss_id: Option<MetricId>,
    tokens: f64,
    tokens_id: Option<MetricId>,
    in_training: bool,
    started: Instant,
    printed: Option<Instant>,
    terminal: bool,
    quiet: bool,
}

impl ProgressLine {
    /// A line for a run of `steps` optimizer steps that starts at `first_step`: 0, or the step where a run resumes.
    pub fn new(label: impl Into<String>, first_step: usize, steps: usize) -> Self {
        Self {
            label: label.into(),
            first_step,
            steps,
            done: first_step,
            loss: None,
            loss_id: None,
            tokens: 0.0,
            tokens_id: None,
            in_training: false,
            started: Instant::now(),
            printed: None,
            terminal: std::io::stderr().is_terminal(),
            quiet: false,
        }
    }

    /// A line that is never written.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::new("", 0, 0) }
    }

    /// A step of a loop that is not burn-train's is done, with its loss.
    pub(crate) fn step(&mut self, loss: f64) {
        self.loss = Some(
            self.loss.filter(|loss| loss.is_finite()).map_or(loss, |before| 0.95 * before + 0.05 * loss),
        );
        self.done += 1;
        self.print(false);
    }

    /// The last line of such a loop.
    pub(crate) fn finish(&mut self) {
        self.print(true);
    }

    fn line(&self) -> String {
        let elapsed = self.started.elapsed().as_secs_f64();
        let fresh = (self.done - self.first_step) as f64;
        let rate = fresh / elapsed.max(1e-9);
        let loss = self.loss.map_or_else(String::new, |loss| format!("  loss {loss:.4}"));
        let remaining = (self.steps.saturating_sub(self.done)) as f64 / rate.max(1e-9);
        let eta = if fresh > 0.0 { format!("  ETA {}", readable(remaining)) } else { String::new() };
        let speed = match self.tokens {
            tokens if tokens > 0.0 => format!("{:.0} tokens/s", tokens / elapsed.max(1e-9)),
            _ => format!("{rate:.1} steps/s"),
        };
        format!("{}  step {}/{}{loss}  {speed}{eta}", self.label, self.done, self.steps)
    }

    fn print(&mut self, last: bool) {
        let pause = if self.terminal { Duration::from_millis(200) } else { Duration::from_secs(5) };
        if self.quiet || !last && self.printed.unwrap_or(self.started).elapsed() < pause {
            return;
        }
        self.printed = Some(Instant::now());
        let mut stderr = std::io::stderr().lock();
        // A progress line that cannot be written is no reason to stop training.
        let _ = match (self.terminal, last) {
            (true, false) => write!(stderr, "\r\x1b[2K{}", self.line()),
            (true, true) => writeln!(stderr, "\r\x1b[2K{}", self.line()),
            (false, _) => writeln!(stderr, "{}", self.line()),
        };
        let _ = stderr.flush();
    }
}

fn readable(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

impl MetricsRendererTraining for ProgressLine {
    fn update_train(&mut self, state: MetricState) {
        let MetricState::Numeric(entry, Some(value)) = state else { return };
        let value = match value {
            NumericEntry::Value(value) => value,
            NumericEntry::Aggregated { aggregated_value, .. } => aggregated_value,
            // The mean over an epoch of burn-train.
            NumericEntry::Final(_) => return,
        };
        if Some(&entry.metric_id) == self.tokens_id.as_ref() {
            self.tokens += value;
        } else if Some(&entry.metric_id) == self.loss_id.as_ref() {
            // A running mean over about twenty steps is readable; single steps jump.
            self.loss = Some(
                self.loss.filter(|loss| loss.is_finite()).map_or(value, |loss| 0.95 * loss + 0.05 * value),
            );
        }
    }

    fn update_valid(&mut self, _state: MetricState) {}

    fn on_train_end(&mut self, _summary: Option<LearnerSummary>) -> Result<(), Box<dyn core::error::Error>> {
        self.print(true);
        Ok(())
    }
}

impl TrainingProgressLogger for ProgressLine {
    fn start(&mut self, _epochs: usize, _first: usize, _items: Option<usize>, _label: Option<&str>) {
        self.started = Instant::now();
    }

    fn update_epoch(&mut self, _epoch: usize) {}

    fn start_split(&mut self, split: &str, _total_items: usize) {
        self.in_training = split.eq_ignore_ascii_case("train");
    }

    fn update_split(&mut self, _items_processed: usize) {
        if self.in_training {
            self.done += 1;
            self.print(false);
        }
    }

    fn end_split(&mut self) {}

    fn end(&mut self) {}

    fn log_event_training(&mut self, _event: String) {}
}

impl EvaluationProgressLogger for ProgressLine {
    fn start_global_progress(&mut self, _total_tests: usize) {}

    fn start_test(&mut self, _name: &str, _total_items: usize) {}

    fn update_test_progress(&mut self, _items_processed: usize) {}

    fn end_test(&mut self) {}

    fn end_global_progress(&mut self) {}

    fn log_event_evaluation(&mut self, _event: String) {}
}

impl MetricsRendererEvaluation for ProgressLine {
    fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
}

impl MetricsRenderer for ProgressLine {
    fn manual_close(&mut self) {}

    fn register_metric(&mut self, definition: MetricDefinition) {
        match definition.name.as_str() {
            "Loss" => self.loss_id = Some(definition.metric_id),
            TokenMetric::NAME => self.tokens_id = Some(definition.metric_id),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_training_steps_only() {
        let mut line = ProgressLine::new("stage 1", 10, 20);
        for (split, steps) in [("train", 5), ("valid", 3), ("train", 2)] {
            line.start_split(split, steps);
            (1..=steps).for_each(|step| line.update_split(step));
        }
        assert_eq!(line.done, 17);
        assert!(line.line().starts_with("stage 1  step 17/20"), "{}", line.line());
    }

    #[test]
    fn times_are_readable() {
        assert_eq!([9.0, 69.0, 3700.0].map(readable), ["9s", "1m09s", "1h01m"].map(String::from));
    }
}
