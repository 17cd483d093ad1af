use std::ops::Range;

use rand::seq::SliceRandom;

use crate::random::seeded_rng;
use crate::{Error, Result};

/// The samples of one optimizer step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// The optimizer step, counted from zero over the whole run.
    pub index: usize,
    /// The epoch that the step belongs to, counted from zero.
    pub epoch: usize,
    /// Indices of the samples, in order.
    pub items: Vec<usize>,
}

/// Which samples make up which optimizer step: a function of the seed and the step alone.
///
/// Every epoch is a new permutation of all samples, cut into batches; the last batch of an epoch may be smaller. A plan
/// has no state, so that a run interrupted after step `k` continues with exactly the samples of an uninterrupted run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepPlan {
    items: usize,
    batch_size: usize,
    steps: usize,
    seed: u64,
}

impl StepPlan {
    /// Plans `epochs` passes over `items` samples, or exactly `max_steps` optimizer steps where given.
    ///
    /// # Errors
    ///
    /// [`Error::TooFewRows`] without samples; [`Error::Config`] for a batch size or a number of steps of zero.
    pub fn new(
        items: usize,
        batch_size: usize,
        epochs: usize,
        max_steps: Option<usize>,
        seed: u64,
    ) -> Result<Self> {
        if items == 0 {
            return Err(Error::TooFewRows { what: "training samples".into(), needed: 1, actual: 0 });
        }
        if batch_size == 0 {
            return Err(Error::config("batch_size", "must be at least 1, found 0"));
        }
        let steps = max_steps.unwrap_or(epochs * items.div_ceil(batch_size));
        if steps == 0 {
            return Err(Error::config("max_steps", "the run has no step: epochs or max_steps is 0"));
        }
        Ok(Self { items, batch_size, steps, seed })
    }

    /// The number of optimizer steps in the run.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The number of optimizer steps in one pass over the samples.
    pub fn steps_per_epoch(&self) -> usize {
        self.items.div_ceil(self.batch_size)
    }

    /// The optimizer steps of a range; the order of an epoch is computed once.
    ///
    /// # Panics
    ///
    /// The iterator panics past the last step of the run.
    pub(crate) fn range(&self, steps: Range<usize>) -> impl Iterator<Item = Step> + '_ {
        let mut current: Option<(usize, Vec<usize>)> = None;
        steps.map(move |index| {
            let epoch = index / self.steps_per_epoch();
            if current.as_ref().is_none_or(|(made, _)| *made != epoch) {
                current = Some((epoch, self.order(epoch)));
            }
            self.cut(index, &current.as_ref().expect("it was just made").1)
        })
    }

    fn cut(&self, index: usize, order: &[usize]) -> Step {
        assert!(index < self.steps, "step {index} of a run of {} steps", self.steps);
        let epoch = index / self.steps_per_epoch();
        let start = index % self.steps_per_epoch() * self.batch_size;
        let end = (start + self.batch_size).min(self.items);
        Step { index, epoch, items: order[start..end].to_vec() }
    }

    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.items).collect();
        order.shuffle(&mut seeded_rng(self.seed, &[epoch as u64]));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn step(plan: &StepPlan, index: usize) -> Step {
        plan.range(index..index + 1).next().unwrap()
    }

    proptest! {
        #[test]
        fn every_epoch_visits_every_sample_once(items in 1usize..60, batch in 1usize..20, seed: u64) {
            let plan = StepPlan::new(items, batch, 3, None, seed).unwrap();
            for epoch in 0..3 {
                let mut seen: Vec<usize> = (0..plan.steps_per_epoch())
                    .map(|i| step(&plan, epoch * plan.steps_per_epoch() + i))
                    .inspect(|step| assert_eq!(step.epoch, epoch))
                    .flat_map(|step| step.items)
                    .collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..items).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn epochs_and_seeds_have_orders_of_their_own() {
        let order = |seed, epoch| step(&StepPlan::new(100, 100, 2, None, seed).unwrap(), epoch).items;
        assert_ne!(order(1, 0), order(1, 1));
        assert_ne!(order(1, 0), order(2, 0));
    }

    #[test]
    fn the_last_batch_of_an_epoch_may_be_smaller() {
        let plan = StepPlan::new(10, 4, 2, None, 7).unwrap();
        assert_eq!((plan.steps_per_epoch(), plan.steps()), (3, 6));
        let lengths: Vec<usize> = plan.range(0..6).map(|step| step.items.len()).collect();
        assert_eq!(lengths, [4, 4, 2, 4, 4, 2]);
        assert_eq!(step(&plan, 4), plan.range(0..6).nth(4).unwrap());
    }

    #[test]
    fn max_steps_rules_over_epochs() {
        assert_eq!(StepPlan::new(10, 4, 1, Some(7), 0).unwrap().steps(), 7);
    }

    #[test]
    fn runs_without_work_are_refused() {
        assert!(StepPlan::new(0, 4, 1, None, 0).is_err());
        assert!(StepPlan::new(4, 0, 1, None, 0).is_err());
        assert!(StepPlan::new(4, 4, 0, None, 0).is_err());
    }
}
