use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to end a run soon without losing anything: the step at hand is finished, a checkpoint is written, and the run
/// returns [`Error::Interrupted`](crate::Error::Interrupted). Clones share the request.
///
/// ```
/// use burn_revision::training::StopRequest;
/// let stop = StopRequest::new();
/// let for_the_signal_handler = stop.clone();
/// for_the_signal_handler.request();
/// assert!(stop.is_requested());
/// ```
#[derive(Clone, Debug, Default)]
pub struct StopRequest {
    requested: Arc<AtomicBool>,
}

impl StopRequest {
    /// No request yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the run to stop.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}
