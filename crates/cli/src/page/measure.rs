//! The measures of methods: how to read them from a report, how to show them, and what is best.

use super::palette;
use super::table::Cell;
use burn_revision::report::GapReport;
use burn_revision::report::sections::MethodReport;

/// What a method should reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    /// Nothing: the number describes.
    None,
    /// As little as possible.
    Least,
    /// As much as possible.
    Most,
    /// As near to this as possible.
    Near(f64),
}

/// One measure of a method.
pub(super) struct Measure {
    /// The name, as markup.
    pub label: &'static str,
    /// The number; `None` where the report has none.
    pub get: fn(&MethodReport) -> Option<f64>,
    /// How it is shown.
    pub show: fn(f64) -> Cell,
    /// What is best.
    pub goal: Goal,
    /// Whether it compares text with itself before, which the identity wins without merit.
    pub against_itself: bool,
    /// Whether its goal is that of images as they are, which methods that move images do not pursue.
    pub of_images: bool,
    /// Why there may be no number.
    pub reason: &'static str,
}

impl Measure {
    /// A measure that is shown to four digits, and is not trivial for the identity.
    pub(super) fn new(label: &'static str, goal: Goal, get: fn(&MethodReport) -> Option<f64>) -> Self {
        Self {
            label,
            get,
            show: Cell::number,
            goal,
            against_itself: false,
            of_images: false,
            reason: "not in this report",
        }
    }

    /// The same measure, shown in another way.
    pub(super) fn shown(mut self, show: fn(f64) -> Cell) -> Self {
        self.show = show;
        self
    }

    /// The same measure, for which the identity does not compete.
    pub(super) fn against_itself(mut self) -> Self {
        self.against_itself = true;
        self
    }

    /// The same measure, for which methods that move images do not compete.
    pub(super) fn of_images_left_alone(mut self) -> Self {
        self.of_images = true;
        self
    }

    /// The same measure with the reason why there may be no number.
    pub(super) fn or(mut self, reason: &'static str) -> Self {
        self.reason = reason;
        self
    }

    /// The cells of all methods, the best of them marked.
    pub(super) fn cells(&self, methods: &[MethodReport]) -> Vec<Cell> {
        let trivial = |method: &MethodReport| self.against_itself && palette::is_identity(method);
        let competes = |m: &MethodReport| !(trivial(m) || self.of_images && m.moves_images);
        let values: Vec<Option<f64>> =
            methods.iter().map(|m| (self.get)(m).filter(|_| competes(m))).collect();
        let best = best(&values, self.goal);
        methods
            .iter()
            .zip(best)
            .map(|(method, best)| {
                let cell = (self.get)(method).map_or_else(|| Cell::none(self.reason), self.show);
                match (trivial(method), best) {
                    (true, _) => cell.class("trivial"),
                    (_, true) => cell.class("best"),
                    _ => cell,
                }
            })
            .collect()
    }
}

/// Which of the values are best; none where fewer than two compete or all are equal.
fn best(values: &[Option<f64>], goal: Goal) -> Vec<bool> {
    let loss = |value: f64| match goal {
        Goal::None => f64::NAN,
        Goal::Least => value,
        Goal::Most => -value,
        Goal::Near(target) => (value - target).abs(),
    };
    let losses: Vec<f64> = values.iter().map(|value| value.map_or(f64::NAN, loss)).collect();
    let competing = losses.iter().copied().filter(|loss| loss.is_finite());
    let least = competing.clone().fold(f64::INFINITY, f64::min);
    let most = competing.fold(f64::NEG_INFINITY, f64::max);
    losses.iter().map(|loss| least < most && *loss == least).collect()
}

/// The share of the other modality among the neighbours of a row if all rows of the probe were mixed at random; not finite
/// where it has fewer than two rows.
pub(super) fn chance_mixing(report: &GapReport) -> f64 {
    let (text, image) = (report.data.text.probe as f64, report.data.image.probe as f64);
    2.0 * text * image / ((text + image) * (text + image - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn best_needs_competition() {
        let none = Some(f64::NAN);
        assert_eq!(best(&[Some(2.0), Some(1.0), None, none], Goal::Least), [false, true, false, false]);
        assert_eq!(best(&[Some(2.0), Some(1.0)], Goal::Near(1.6)), [true, false]);
        assert_eq!(best(&[Some(2.0), Some(2.0)], Goal::Most), [false, false]);
        assert_eq!(best(&[Some(2.0), None], Goal::Most), [false, false]);
        assert_eq!(best(&[Some(2.0), Some(1.0)], Goal::None), [false, false]);
    }
}
