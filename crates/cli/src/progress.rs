use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::OutputOptions;
use burn_revision::embedding;
use burn_revision::training::StopRequest;

/// A bar with rows, rate and remaining time on a terminal, a line every few seconds elsewhere; it also reports that
/// Ctrl-C is heard.
pub struct Progress {
    quiet: bool,
    terminal: bool,
    done: AtomicUsize,
    stage: Mutex<Stage>,
}

struct Stage {
    name: String,
    rows: usize,
    begun: Instant,
    printed: Instant,
    /// Where the stage is a training.
    loss: Option<f64>,
    bar: ProgressBar,
}

const PAUSE: Duration = Duration::from_secs(5);

/// Requested when somebody presses Ctrl-C.
pub fn interrupted() -> &'static StopRequest {
    static INTERRUPTED: OnceLock<StopRequest> = OnceLock::new();
    INTERRUPTED.get_or_init(|| {
        // A second Ctrl-C does not wait. Without a handler the first one does not either.
        let _ = ctrlc::set_handler(|| {
            if interrupted().is_requested() {
                std::process::exit(130);
            }
            interrupted().request();
        });
        StopRequest::new()
    })
}

impl Progress {
    pub fn new(options: &OutputOptions) -> Self {
        interrupted();
        let now = Instant::now();
        let bar = ProgressBar::hidden();
        Self {
            quiet: options.quiet,
            terminal: std::io::stderr().is_terminal(),
            done: AtomicUsize::new(0),
            stage: Mutex::new(Stage {
                name: String::new(),
                rows: 0,
                begun: now,
                printed: now,
                loss: None,
                bar,
            }),
        }
    }
}

impl embedding::Progress for Progress {
    fn begin(&self, stage: &str, rows: usize) {
        let mut current = self.stage.lock().expect("no thread panicked");
        current.bar.finish_and_clear();
        self.done.store(0, Ordering::Relaxed);
        let now = Instant::now();
        let bar = match self.terminal && !self.quiet {
            true => {
                let template = "{msg}  {wide_bar}  {human_pos}/{human_len}  {per_sec}  ETA {eta}";
                let style = ProgressStyle::with_template(template).expect("the template is right");
                ProgressBar::new(rows as u64).with_style(style).with_message(stage.to_string())
            }
            false => ProgressBar::hidden(),
        };
        *current = Stage { name: stage.to_string(), rows, begun: now, printed: now, loss: None, bar };
    }

    fn advance(&self, rows: usize) {
        let done = self.done.fetch_add(rows, Ordering::Relaxed) + rows;
        if self.quiet {
            return;
        }
        let mut stage = self.stage.lock().expect("no thread panicked");
        stage.bar.set_position(done as u64);
        if self.terminal || stage.printed.elapsed() < PAUSE {
            return;
        }
        stage.printed = Instant::now();
        let rate = done as f64 / stage.begun.elapsed().as_secs_f64();
        let left = Duration::from_secs_f64(stage.rows.saturating_sub(done) as f64 / rate.max(1e-9));
        let (name, rows) = (&stage.name, stage.rows);
        let left = indicatif::HumanDuration(left);
        match stage.loss {
            Some(loss) => {
                eprintln!("{name}  step {done}/{rows}  loss {loss:.4}  {rate:.1} steps/s  ETA {left}")
            }
            None => eprintln!("{name}  {done}/{rows} rows  {rate:.0} rows/s  ETA {left}"),
        }
    }

    fn loss(&self, loss: f64) {
        let mut stage = self.stage.lock().expect("no thread panicked");
        stage.loss = Some(loss);
        let message = format!("{}  loss {loss:.4}", stage.name);
        stage.bar.set_message(message);
    }

    fn is_cancelled(&self) -> bool {
        interrupted().is_requested()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Ok(stage) = self.stage.get_mut() {
            stage.bar.finish_and_clear();
        }
    }
}
