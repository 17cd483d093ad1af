use burn::tensor::Device;

use super::Step;
use crate::Result;

/// Makes the input of one optimizer step from the indices of its samples. It is called on a thread that is not the
/// model's, one step ahead.
pub(crate) trait StepBatcher<O>: Send + Sync {
    /// The number of samples.
    fn num_items(&self) -> usize;

    /// The input of `step` on `device`.
    ///
    /// # Errors
    ///
    /// Where a sample cannot be used; training stops and reports it.
    fn batch(&self, step: &Step, device: &Device) -> Result<O>;
}
