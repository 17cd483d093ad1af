use proptest::prelude::*;

use super::ClosedForm;
use crate::embedding::{FloatType, NonFinite, RawRows, Terms};

fn unit(row: &[f64]) -> Vec<f64> {
    let norm = row.iter().map(|value| value * value).sum::<f64>().sqrt();
    row.iter().map(|value| if norm < 1e-10 { *value } else { value / norm }).collect()
}

/// The definition, coordinate by coordinate.
fn expected(row: &[f32], scale: f64, shift: &[f64], steps: &[Vec<f64>]) -> Vec<f64> {
    let row: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
    let mut image: Vec<f64> =
        unit(&row).iter().zip(shift).map(|(value, shift)| scale * value + shift).collect();
    for step in steps {
        image = unit(&image).iter().zip(step).map(|(value, step)| value + step).collect();
    }
    unit(&image)
}

fn align(form: &ClosedForm, rows: &[f32], dim: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len()];
    form.align_into(RawRows::single(rows, dim).unwrap(), NonFinite::Zero, 0, &mut out).unwrap();
    out
}

proptest! {
    #[test]
    fn rows_and_their_mean_follow_the_definition(
        dim in 1_usize..40,
        rows in 1_usize..20,
        steps in 0_usize..4,
        scale in 0.0_f64..2.0,
        values in prop::collection::vec(-1.0_f64..1.0, 24 * 40),
    ) {
        let vector = |number: usize| values[number * dim..(number + 1) * dim].to_vec();
        let (shift, steps): (_, Vec<_>) = (vector(20), (21..21 + steps).map(vector).collect());
        let form = ClosedForm::new(scale, shift.clone(), steps.clone(), 0.0);
        let rows: Vec<f32> = values[..rows * dim].iter().map(|&value| value as f32).collect();
        let found = align(&form, &rows, dim);
        let terms = Terms { policy: NonFinite::Zero, what: "rows", first: 0 };
        let (moments, report) = form.moments(RawRows::single(&rows, dim).unwrap(), terms).unwrap();
        prop_assert_eq!(report.kept, rows.len() / dim);
        let mut mean = vec![0.0; dim];
        for (row, found) in rows.chunks(dim).zip(found.chunks(dim)) {
            let expected = expected(row, scale, &shift, &steps);
            for (j, (found, expected)) in found.iter().zip(&expected).enumerate() {
                prop_assert!((f64::from(*found) - expected).abs() <= 3e-8 + 1e-9, "{} and {}", found, expected);
                mean[j] += expected / report.kept as f64;
            }
        }
        for (found, expected) in moments.mean().iter().zip(&mean) {
            prop_assert!((found - expected).abs() < 1e-9, "{} and {}", found, expected);
        }
    }
}

/// A shift that takes a row almost to zero: dot products do not give its norm.
#[test]
fn rows_that_a_shift_cancels_keep_their_direction() {
    let row = [0.6_f32, 0.8, 0.0];
    let direction = unit(&row.map(f64::from));
    for left in [1e-3, 1e-6, 1e-9] {
        let shift = vec![-direction[0], -direction[1], left];
        let found = align(&ClosedForm::new(1.0, shift, Vec::new(), 0.0), &row, 3);
        assert!((found[2] - 1.0).abs() < 1e-6, "{left}: {found:?}");
    }
    let cancelled = ClosedForm::new(1.0, direction.iter().map(|value| -value).collect(), Vec::new(), 0.0);
    assert!(align(&cancelled, &row, 3).iter().all(|value| value.abs() < 1e-12), "it has no direction");
}

#[test]
fn every_float_type_is_aligned_from_its_own_values() {
    let form = ClosedForm::new(0.9, vec![0.1, -0.2], vec![vec![0.05, 0.0]], 0.0);
    let values = [1.0_f32, -0.5, 0.25, 2.0, 3e4, 1e-3];
    let expected = align(&form, &values, 2);
    for float in [FloatType::F16, FloatType::BF16, FloatType::F64] {
        let mut bytes = Vec::new();
        crate::embedding::encode(&values, float, &mut bytes);
        let rows = RawRows::new(&bytes, float, 2).unwrap();
        let mut out = vec![0.0; 6];
        form.align_into(rows, NonFinite::Error, 0, &mut out).unwrap();
        for (found, expected) in out.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-2, "{float}: {found} and {expected}");
        }
    }
    // Squares of such rows overflow float64.
    let huge = [1e200_f64, -0.5e200, 0.25e-160, 2e-160];
    let mut out = [0.0; 4];
    form.align_into(RawRows::double(&huge[..2], 2).unwrap(), NonFinite::Error, 0, &mut out[..2]).unwrap();
    assert_eq!(out[..2], expected[..2]);
    let tiny = form.align_into(RawRows::double(&huge[2..], 2).unwrap(), NonFinite::Error, 0, &mut out[..2]);
    assert!(tiny.is_err(), "a row without direction");
}

#[test]
fn rows_left_out_leave_no_space() {
    let form = ClosedForm::new(1.0, vec![0.0, 0.0], Vec::new(), 0.0);
    let rows: Vec<f32> =
        (0..500).flat_map(|row| if row % 7 == 3 { [f32::NAN, 1.0] } else { [1.0, row as f32] }).collect();
    let mut out = vec![0.0; rows.len()];
    let raw = RawRows::single(&rows, 2).unwrap();
    let (skipped, report) = form.align_into(raw, NonFinite::Skip, 0, &mut out).unwrap();
    assert_eq!(skipped, (0..500).filter(|row| row % 7 == 3).collect::<Vec<_>>());
    let kept: Vec<usize> = (0..500).filter(|row| row % 7 != 3).collect();
    assert_eq!(report.kept, kept.len());
    for (place, row) in kept.into_iter().enumerate() {
        let ratio = f64::from(out[2 * place + 1]) / f64::from(out[2 * place]);
        assert!(
            (ratio - row as f64).abs() <= 1e-4 * (1.0 + row as f64).powi(2),
            "row {row} at {place}: {ratio}"
        );
    }
}
