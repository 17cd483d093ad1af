use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::train::Interrupter;

/// A request to end a run without losing a step: the current step is finished, a checkpoint is written, and the run
/// returns [`Error::Interrupted`](crate::Error::Interrupted). Clones share the request.
///
/// # Example
///
/// ```
/// use burn_revision::training::StopRequest;
/// let stop = StopRequest::new();
/// let for_the_signal_handler = stop.clone();
/// for_the_signal_handler.request();
/// assert!(stop.is_requested());
/// ```
#[derive(Clone, Default)]
pub struct StopRequest {
    requested: Arc<AtomicBool>,
    interrupter: Interrupter,
}

impl std::fmt::Debug for StopRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StopRequest").field("requested", &self.is_requested()).finish()
    }
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

    /// Whether a stop was requested.
    pub fn is_requested(&self) -> bool {
        // burn-train's renderers reset their interrupter when training ends.
        if self.interrupter.should_stop() {
            self.request();
        }
        self.requested.load(Ordering::SeqCst)
    }

    /// For renderers with a key that stops a run: stopping this interrupter is a [`request`](Self::request).
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::training::StopRequest;
    /// let stop = StopRequest::new();
    /// stop.interrupter().stop(None);
    /// assert!(stop.is_requested());
    /// ```
    pub fn interrupter(&self) -> &Interrupter {
        &self.interrupter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_by_a_renderer_outlives_its_reset() {
        let stop = StopRequest::new();
        stop.interrupter().stop(Some("by a key"));
        assert!(stop.is_requested());
        stop.interrupter().reset();
        assert!(stop.is_requested());
        assert!(stop.clone().is_requested());
    }
}
