use approx::assert_abs_diff_eq;
use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{Moments, Spectrum};
use crate::Error;
use crate::embedding::NonFinite;

fn rows(n: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..n * dim).map(|i| 0.3 + (1 + i % dim) as f32 * (rng.random::<f32>() - 0.5)).collect()
}

fn one_pass(rows: &[f32], dim: usize) -> Moments {
    let mut moments = Moments::with_covariance(dim);
    moments.update_rows(rows).unwrap();
    moments
}

/// The textbook two passes over all rows, with every sum compensated.
fn two_passes(rows: &[f32], dim: usize) -> (Vec<f64>, Vec<f64>) {
    let n = (rows.len() / dim) as f64;
    let column = |i: usize| rows.iter().skip(i).step_by(dim).map(|&v| f64::from(v));
    let mean: Vec<f64> = (0..dim).map(|i| compensated(column(i)) / n).collect();
    let entry = |i: usize, j: usize| {
        compensated(column(i).zip(column(j)).map(|(a, b)| (a - mean[i]) * (b - mean[j]))) / n
    };
    let covariance = (0..dim * dim).map(|at| entry(at / dim, at % dim)).collect();
    (mean, covariance)
}

fn compensated(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    sum + lost
}

fn trace(covariance: &[f64], dim: usize) -> f64 {
    covariance.iter().step_by(dim + 1).sum()
}

fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let scale = expected.abs().max(1.0);
        assert_abs_diff_eq!(*found, *expected, epsilon = tolerance * scale);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_split_merges_to_the_one_pass(n in 2_usize..1500, dim in 1_usize..19, cut in 0.0..1.0_f64, seed: u64) {
        let rows = rows(n, dim, seed);
        let whole = one_pass(&rows, dim);
        let (left, right) = rows.split_at((cut * n as f64) as usize * dim);
        let (mut merged, right) = (one_pass(left, dim), one_pass(right, dim));
        merged.merge(&right).unwrap();
        prop_assert_eq!(merged.count(), n);
        assert_close(merged.mean(), whole.mean(), 1e-12);
        assert_close(&[merged.trace()], &[whole.trace()], 1e-12);
        assert_close(&merged.covariance().unwrap(), &whole.covariance().unwrap(), 1e-12);
    }

    #[test]
    fn agrees_with_two_compensated_passes(n in 1_usize..700, dim in 1_usize..12, seed: u64) {
        let rows = rows(n, dim, seed);
        let (mean, covariance) = two_passes(&rows, dim);
        let moments = one_pass(&rows, dim);
        assert_close(moments.mean(), &mean, 1e-14);
        assert_close(&moments.covariance().unwrap(), &covariance, 1e-12);
        assert_close(&[moments.trace()], &[trace(&covariance, dim)], 1e-12);
        let plain = { let mut plain = Moments::new(dim); plain.update_rows(&rows).unwrap(); plain };
        assert_close(&[plain.trace()], &[moments.trace()], 1e-14);
        prop_assert!(plain.covariance().is_none());
    }

    #[test]
    fn the_trace_of_the_covariance_is_the_trace(n in 1_usize..300, dim in 1_usize..30, seed: u64) {
        let moments = one_pass(&rows(n, dim, seed), dim);
        let covariance = moments.covariance().unwrap();
        assert_close(&[trace(&covariance, dim)], &[moments.trace()], 1e-12);
        for i in 0..dim {
            for j in 0..dim {
                prop_assert_eq!(covariance[i * dim + j], covariance[j * dim + i]);
            }
        }
    }

    #[test]
    fn a_translation_moves_the_mean_only(n in 1_usize..600, dim in 1_usize..9, seed: u64) {
        // Multiples of 1/1024 and a shift by 4096: exact in float32, so that only our arithmetic is tested.
        let near: Vec<f32> = rows(n, dim, seed).iter().map(|v| (v * 1024.0).round() / 1024.0).collect();
        let far: Vec<f32> = near.iter().map(|v| v + 4096.0).collect();
        let (near, far) = (one_pass(&near, dim), one_pass(&far, dim));
        let moved: Vec<f64> = near.mean().iter().map(|m| m + 4096.0).collect();
        assert_close(far.mean(), &moved, 1e-15);
        assert_close(&[far.trace()], &[near.trace()], 1e-12);
        assert_close(&far.covariance().unwrap(), &near.covariance().unwrap(), 1e-12);
    }

    #[test]
    fn unit_rows_have_trace_one_less_the_squared_mean(n in 1_usize..600, dim in 2_usize..40, seed: u64) {
        let mut moments = Moments::new(dim);
        moments.update_unit_rows(&rows(n, dim, seed), NonFinite::Error, "rows").unwrap();
        let squared: f64 = moments.mean().iter().map(|m| m * m).sum();
        assert_close(&[moments.trace()], &[1.0 - squared], 1e-12);
        assert_close(&[moments.trace_about(&vec![0.0; dim])], &[1.0], 1e-12);
    }
}

#[test]
fn a_mean_summed_in_float32_is_far_worse() {
    let dim = 4;
    let rows = rows(200_000, dim, 5);
    let (exact, _) = two_passes(&rows, dim);
    let mut naive = vec![0.0_f32; dim];
    for row in rows.chunks_exact(dim) {
        naive.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
    let n = (rows.len() / dim) as f64;
    let error = |mean: &[f64]| mean.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let naive: Vec<f64> = naive.iter().map(|&sum| f64::from(sum) / n).collect();
    let mut moments = Moments::new(dim);
    moments.update_rows(&rows).unwrap();
    assert!(error(moments.mean()) < 1e-14);
    assert!(error(&naive) > 1e6 * error(moments.mean()), "{} and {}", error(&naive), error(moments.mean()));
}

#[test]
fn a_covariance_of_many_dimensions_is_that_of_two_passes() {
    let dim = 150;
    let rows = rows(203, dim, 4);
    let (_, covariance) = two_passes(&rows, dim);
    assert_close(&one_pass(&rows, dim).covariance().unwrap(), &covariance, 1e-12);
}

#[test]
fn chunks_of_any_size_give_the_same_moments() {
    let (dim, rows) = (7, rows(1300, 7, 9));
    let whole = one_pass(&rows, dim);
    for chunk in [1, 13, 512, 1299] {
        let mut moments = Moments::with_covariance(dim);
        rows.chunks(chunk * dim).for_each(|rows| moments.update_rows(rows).unwrap());
        assert_close(&moments.covariance().unwrap(), &whole.covariance().unwrap(), 1e-12);
        assert_close(moments.mean(), whole.mean(), 1e-13);
    }
}

#[test]
fn tensors_of_every_float_type_are_taken_exactly() {
    let device = Device::default();
    let rows: Vec<f64> = (0..60).map(|i| f64::from((i * 37) % 64) / 64.0).collect();
    let tensor = Tensor::<2>::from_data(TensorData::new(rows.clone(), [20, 3]), (&device, DType::F64));
    let single: Vec<f32> = rows.iter().map(|&v| v as f32).collect();
    let mut expected = Moments::new(3);
    expected.update_rows(&single).unwrap();
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let mut moments = Moments::new(3);
        moments.update(&tensor.clone().cast(dtype)).unwrap();
        assert_eq!(moments, expected, "{dtype:?}");
    }
}

#[test]
fn a_bad_row_is_named_and_leaves_the_moments_as_they_were() {
    let mut rows = rows(1100, 3, 2);
    let mut moments = one_pass(&rows, 3);
    let before = moments.clone();
    rows[3 * 1050 + 1] = f32::NAN;
    let error = moments.update_rows(&rows).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 1050, column: 1, .. }), "{error}");
    let error = moments.update_unit_rows(&rows, NonFinite::Error, "text").unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 1050, column: 1, .. }), "{error}");
    assert_eq!(moments, before);
    assert!(moments.update_rows(&rows[..4]).is_err());
    let report = moments.update_unit_rows(&rows, NonFinite::Skip, "text").unwrap();
    assert_eq!((report.rows, report.kept, report.skipped), (1100, 1099, 1));
}

#[test]
fn moments_that_do_not_fit_do_not_merge() {
    assert!(Moments::new(2).merge(&Moments::new(3)).is_err());
    assert!(Moments::new(2).merge(&Moments::with_covariance(2)).is_err());
}

#[test]
fn a_serialized_form_comes_back_and_a_broken_one_is_refused() {
    let moments = one_pass(&rows(40, 3, 8), 3);
    let text = serde_json::to_string(&moments).unwrap();
    let back: Moments = serde_json::from_str(&text).unwrap();
    assert_eq!(back.count(), moments.count());
    // serde_json may be one unit off in the last place.
    assert_close(&back.covariance().unwrap(), &moments.covariance().unwrap(), 1e-15);
    assert_close(back.mean(), moments.mean(), 1e-15);
    for broken in [
        r#"{"count":1,"mean":[0.0,0.0],"squares":1.0,"scatter":[1.0]}"#,
        r#"{"count":1,"mean":[0.0,0.0],"squares":-1.0,"scatter":null}"#,
        r#"{"count":0,"mean":[],"squares":0.0,"scatter":null}"#,
    ] {
        assert!(serde_json::from_str::<Moments>(broken).is_err(), "{broken}");
    }
}

/// One pass over unit rows measures a spread against 1; rows that are almost the same have next to none.
#[test]
fn the_spread_of_almost_equal_unit_rows_keeps_its_digits() {
    let dim = 8;
    for size in [1e-2_f32, 1e-5, 1e-7] {
        let rows: Vec<f32> = (0..600 * dim).map(|i| 1.0 + size * ((i * 37 % 101) as f32 - 50.0)).collect();
        let mut moments = Moments::new(dim);
        moments.update_unit_rows(&rows, NonFinite::Error, "rows").unwrap();
        let unit: Vec<f64> = rows
            .chunks(dim)
            .flat_map(|row| {
                let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
                row.iter().map(move |&v| f64::from(v) / norm).collect::<Vec<_>>()
            })
            .collect();
        let mean: Vec<f64> =
            (0..dim).map(|j| compensated(unit.iter().skip(j).step_by(dim).copied()) / 600.0).collect();
        let spread = compensated(unit.iter().enumerate().map(|(i, v)| (v - mean[i % dim]).powi(2))) / 600.0;
        assert!(
            (moments.trace() - spread).abs() <= 1e-7 * spread,
            "{size}: {} and {spread}",
            moments.trace()
        );
    }
}

#[test]
fn products_in_float32_keep_six_digits_of_every_eigenvalue() {
    let (n, dim) = (9000, 24);
    let wide: Vec<f32> = rows(n, dim, 5)
        .iter()
        .enumerate()
        .map(|(at, value)| 0.3 + value / (1.0 + (at % dim) as f32))
        .collect();
    let mut moments = [Moments::with_covariance(dim), Moments::with_single_covariance(dim)];
    for moments in &mut moments {
        // Chunks that are no multiple of what is multiplied at once.
        for part in wide.chunks(5003 * dim) {
            moments.update_rows(part).unwrap();
        }
    }
    let [double, single] = &moments;
    assert_eq!(single.count(), n);
    assert_close(single.mean(), double.mean(), 1e-8);
    assert_abs_diff_eq!(single.trace() / double.trace(), 1.0, epsilon = 1e-7);
    let spectrum = |moments: &Moments| Spectrum::of(&moments.covariance().unwrap(), dim, n).unwrap();
    for (single, double) in spectrum(single).eigenvalues().iter().zip(spectrum(double).eigenvalues()) {
        assert_abs_diff_eq!(single / double, 1.0, epsilon = 1e-6);
    }
}

#[test]
fn products_in_float32_follow_the_policy_and_name_bad_rows() {
    let mut values = rows(200, 8, 3);
    values[40 * 8..41 * 8].fill(0.0);
    let mut moments = [Moments::with_covariance(8), Moments::with_single_covariance(8)];
    for moments in &mut moments {
        let report = moments.update_unit_rows(&values, NonFinite::Skip, "rows").unwrap();
        assert_eq!((report.rows, report.skipped, report.kept), (200, 1, 199));
    }
    let [double, single] = &moments;
    assert_close(&single.covariance().unwrap(), &double.covariance().unwrap(), 1e-6);
    values[77 * 8 + 2] = f32::INFINITY;
    let before = moments[1].clone();
    let error = moments[1].update_rows(&values).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 77, column: 2, .. }), "{error}");
    assert_eq!(moments[1], before);
    let zeros = moments[1].update_unit_rows(&[0.0; 16], NonFinite::Skip, "rows").unwrap();
    assert_eq!((zeros.skipped, moments[1].count()), (2, 199));
}
