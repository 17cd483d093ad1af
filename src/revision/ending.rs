use burn::train::LearningResult;

use super::stage_model::StepBatch;
use crate::training::{GradientGuard, StepLoader, StepPlan, StopRequest};
use crate::{Error, Result};

/// Tells how a run has ended.
pub(super) struct Ending {
    pub position: StepLoader<StepBatch>,
    pub plan: StepPlan,
    /// Where this run began.
    pub first_step: usize,
    pub guard: GradientGuard,
    pub stop: StopRequest,
}

impl Ending {
    /// An error unless the run took all of its steps.
    pub fn check<M>(&self, result: &LearningResult<M>) -> Result<()> {
        let stopped = |detail: String| Err(Error::Training { step: self.position.next_step(), detail });
        if let Some(error) = &result.error {
            return stopped(error.to_string());
        }
        if self.guard.is_exhausted() {
            let (skipped, allowed) = (self.guard.skipped(), self.guard.max_skipped());
            return stopped(format!(
                "{skipped} steps had gradients that are not finite; {allowed} are allowed"
            ));
        }
        // A stop in the last segment leaves no segment that burn-train could interrupt.
        if self.stop.is_requested() && self.position.next_step() < self.plan.steps() {
            return Err(Error::Interrupted);
        }
        match &result.interrupted {
            // A model that came out as it went in must not look like a trained one.
            None if self.guard.skipped() > 0
                && self.guard.skipped() >= self.plan.steps() - self.first_step =>
            {
                stopped(format!("none of {} steps had finite gradients", self.guard.skipped()))
            }
            None => Ok(()),
            Some(_) if self.stop.is_requested() => Err(Error::Interrupted),
            Some(interruption) => {
                stopped(interruption.reason.clone().unwrap_or_else(|| "stopped on request".into()))
            }
        }
    }
}
