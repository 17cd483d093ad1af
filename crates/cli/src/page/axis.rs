//! Axes that are safe for any numbers, with ticks of their own.
//!
//! The ranges of `plotters` panic where they are empty or not finite, and its logarithmic ticks are sparse
//! within one decade; this axis takes any values and always has a proper range.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

use super::text;

/// Larger numbers are left out of charts: the differences of two of them may overflow.
const LARGEST: f64 = 1e100;

/// One axis of a chart.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<(f64, String)>,
}

/// Whether a value can stand on a linear axis.
pub(super) fn drawable(value: f64) -> bool {
    value.is_finite() && value.abs() < LARGEST
}

/// Whether a value can stand on a logarithmic axis.
pub(super) fn drawable_log(value: f64) -> bool {
    drawable(value) && value > 1.0 / LARGEST
}

/// The least and the greatest of the values that pass `keep`.
fn extent(values: impl IntoIterator<Item = f64>, keep: fn(f64) -> bool) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| keep(*v)).fold(None, |extent, v| match extent {
        None => Some((v, v)),
        Some((low, high)) => Some((v.min(low), v.max(high))),
    })
}

impl Axis {
    /// A linear axis from zero to above all `values`.
    pub(super) fn from_zero(values: impl IntoIterator<Item = f64>) -> Self {
        let (_, high) = extent(values, drawable).unwrap_or((0.0, 1.0));
        Self::between(0.0, if high > 0.0 { high * 1.06 } else { 1.0 })
    }

    /// A linear axis with these ends.
    pub(super) fn between(low: f64, high: f64) -> Self {
        let (low, high) = if drawable(low) && drawable(high) && high - low > low.abs().max(high.abs()) * 1e-9
        {
            (low, high)
        } else {
            let middle = if drawable(low) { low } else { 0.0 };
            (middle - middle.abs().max(1.0) * 0.5, middle + middle.abs().max(1.0) * 0.5)
        };
        Self { low, high, log: false, ticks: linear_ticks(low, high, 6) }
    }

    /// A linear axis without ticks.
    pub(super) fn bare(low: f64, high: f64) -> Self {
        Self { ticks: Vec::new(), ..Self::between(low, high) }
    }

    /// A logarithmic axis around all positive `values`.
    pub(super) fn logarithmic(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = extent(values, drawable_log).unwrap_or((0.1, 1.0));
        let margin = ((high / low).ln() * 0.04).clamp(0.08, 1.0).exp();
        let (low, high) = (low / margin, high * margin);
        Self { low, high, log: true, ticks: log_ticks(low, high) }
    }

    /// An axis of names, which stand at 0, 1, and so on; `pad` is left free at both ends.
    pub(super) fn names(names: Vec<String>, pad: f64) -> Self {
        let high = names.len().max(1) as f64 - 1.0 + pad;
        let ticks = names.into_iter().enumerate().map(|(place, name)| (place as f64, name)).collect();
        Self { low: -pad, high, log: false, ticks }
    }

    /// The same axis with about so many ticks at most.
    pub(super) fn at_most(mut self, ticks: usize) -> Self {
        if self.ticks.len() > ticks && ticks > 0 {
            if self.log {
                let step = self.ticks.len().div_ceil(ticks);
                self.ticks = self.ticks.into_iter().step_by(step).collect();
            } else {
                self.ticks = linear_ticks(self.low, self.high, ticks);
            }
        }
        self
    }

    /// The same axis of names with about so many of them labelled.
    pub(super) fn at_most_names(mut self, names: usize) -> Self {
        let step = self.ticks.len().div_ceil(names.max(1)).max(1);
        self.ticks = self.ticks.into_iter().step_by(step).collect();
        self
    }

    /// The same axis with another upper end; its ticks stay.
    pub(super) fn up_to(mut self, high: f64) -> Self {
        self.high = high.max(self.high);
        self
    }

    /// Whether a value can stand on this axis.
    pub(super) fn takes(&self, value: f64) -> bool {
        if self.log { drawable_log(value) } else { drawable(value) }
    }

    /// The lower end.
    pub(super) fn low(&self) -> f64 {
        self.low
    }

    /// The upper end.
    pub(super) fn high(&self) -> f64 {
        self.high
    }

    /// Where a value stands between the ends, 0 to 1; values beyond an end stand at it.
    fn place(&self, value: f64) -> f64 {
        let place = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / most.max(1) as f64;
    let power = rough.log10().floor();
    let base = 10f64.powf(power);
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * base).into_iter().find(|s| *s >= rough).unwrap_or(rough);
    if !(step.is_finite() && step > 0.0) {
        return Vec::new();
    }
    let places = (-(step * 1.000001).log10().floor()).clamp(0.0, 12.0) as usize;
    let first = (low / step).ceil();
    (0..=most + 1)
        .map(|i| (first + i as f64) * step)
        .filter(|tick| *tick <= high)
        .map(|tick| {
            let label = if tick.abs() < 1e6 && step >= 1e-9 {
                format!("{:.places$}", tick + 0.0).replace('-', "−")
            } else {
                text::brief(tick)
            };
            (tick, label)
        })
        .collect()
}

/// Powers of ten, thinned over many decades and joined by multiples within few.
fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let decades = (high / low).log10();
    let multiples: &[f64] = match decades {
        d if d < 0.35 => return linear_ticks(low, high, 5),
        d if d < 1.3 => &[1.0, 2.0, 3.0, 5.0, 7.0],
        d if d < 2.3 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let step = (decades / 7.0).ceil().max(1.0) as usize;
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let mut ticks = Vec::new();
    for power in (first.div_euclid(step as i32) * step as i32..=last).step_by(step) {
        for multiple in multiples {
            let tick = multiple * 10f64.powi(power);
            if (low..=high).contains(&tick) {
                let label = if *multiple == 1.0 { text::power_of_ten(power) } else { text::digits(tick, 1) };
                ticks.push((tick, label));
            }
        }
    }
    ticks
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (self.place(*value) * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(tick, _)| *tick).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == value).map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_values_make_a_range() {
        for values in
            [vec![], vec![f64::NAN], vec![0.0], vec![f64::MAX, f64::MIN], vec![1.0, 1.0], vec![-3.0, 1e99]]
        {
            for axis in [Axis::from_zero(values.clone()), Axis::logarithmic(values.clone()).at_most(3)] {
                assert!(axis.low < axis.high && axis.high.is_finite(), "{values:?} {axis:?}");
                assert!(axis.ticks.len() < 20, "{axis:?}");
                assert!((0..=100).contains(&axis.map(&f64::NAN, (0, 100))));
            }
        }
    }

    #[test]
    fn ticks_are_round() {
        let labels = |axis: Axis| axis.ticks.into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(Axis::between(0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Axis::logarithmic([0.002, 5.0])), ["0.01", "0.1", "1"]);
        assert_eq!(
            labels(Axis::logarithmic([100.0, 9900.0])),
            ["100", "200", "500", "1,000", "2,000", "5,000", "10,000"]
        );
    }
}
