//! What noise does to an alignment: C3 in both its variants, and noise as an option of any method.

mod alignment_clouds;

use alignment_clouds::{cloud, distance, dot, fit, mean, unit_moments, values, widen};
use approx::assert_abs_diff_eq;
use burn::tensor::{DType, Device, Tensor};
use burn_revision::Error;
use burn_revision::alignment::{
    Aligner, C3Config, C3Variant, MeanShiftConfig, WhiteningConfig, WithNoise, align_table,
};
use burn_revision::embedding::{EmbeddingTable, NonFinite};

#[test]
fn the_mean_of_c3_before_normalisation_is_off_by_the_noise_alone() {
    let (n, dim) = (4000, 32);
    let (text, image) = (cloud(n, dim, 31), cloud(500, dim, 32));
    let device = Device::default();
    let plain = MeanShiftConfig::new().fit(&text, &image).unwrap();
    let c3 = C3Config::new().fit(&text, &image).unwrap();
    let shifted = plain.transport(text.tensor(&device));
    assert!(distance(&mean(c3.transport(text.tensor(&device))), &mean(shifted.clone())) < 1e-6);
    assert_abs_diff_eq!(c3.noise(), 0.016_f64.sqrt(), epsilon = 1e-14);
    // About a point far out the last normalisation only divides by the distance, and the noise can be seen as it was.
    let sigma = 0.3;
    let noise = WithNoise::new(Anchor { dim }, sigma);
    let far = noise.align(Tensor::zeros([n, dim], (&device, DType::F64)), 7);
    let coordinates = mean(far.clone().slice([0..n, 1..dim]).mul_scalar(1e3));
    let gap = dot(&coordinates, &coordinates).sqrt();
    let expected = sigma * ((dim - 1) as f64 / n as f64).sqrt();
    // The gap is a chi variable with 31 degrees of freedom, whose relative deviation is 1 / sqrt(62).
    assert_abs_diff_eq!(gap / expected, 1.0, epsilon = 5.0 / 62.0_f64.sqrt());
    let spread: f64 = values(far.slice([0..n, 1..dim]).mul_scalar(1e3)).iter().map(|v| v * v).sum();
    assert_abs_diff_eq!(spread / (n * (dim - 1)) as f64 / sigma.powi(2), 1.0, epsilon = 0.03);
}

/// Puts every row at distance 1000 along the first axis.
struct Anchor {
    dim: usize,
}

impl Aligner for Anchor {
    fn name(&self) -> &'static str {
        "anchor"
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let [n, _] = text.dims();
        text.slice_assign([0..n, 0..1], Tensor::full([n, 1], 1e3, (&Device::default(), DType::F64)))
    }
}

#[test]
fn noise_depends_on_seed_and_row_and_not_on_chunks() {
    let device = Device::default();
    let (text, image) = (cloud(50, 8, 41), cloud(50, 8, 42));
    let c3 = C3Config::new().with_sigma(0.2).fit(&text, &image).unwrap();
    let rows = text.tensor(&device);
    let whole = values(c3.align(rows.clone(), 5));
    assert_eq!(whole, values(c3.align(rows.clone(), 5)), "the same noise for the same seed");
    assert_ne!(whole, values(c3.align(rows.clone(), 6)));
    let first = c3.align_rows(rows.clone().slice_dim(0, 0..13), 5, &(0..13).collect::<Vec<_>>());
    let second = c3.align_rows(rows.clone().slice_dim(0, 13..50), 5, &(13..50).collect::<Vec<_>>());
    assert_eq!(whole, values(Tensor::cat(vec![first, second], 0)));
    let doubled = Tensor::cat(vec![rows.clone().slice_dim(0, 0..1), rows.slice_dim(0, 0..1)], 0);
    let doubled = values(c3.align(doubled, 5));
    assert_ne!(doubled[..8], doubled[8..], "equal rows get noise of their own");
}

#[test]
fn noise_is_an_option_of_any_method() {
    let device = Device::default();
    let (text, image) = (cloud(64, 8, 43), cloud(64, 8, 44));
    let realign = fit(&text, &image);
    let still = WithNoise::new(realign.clone(), 0.0);
    assert_eq!(values(still.align(text.tensor(&device), 3)), values(realign.forward(text.tensor(&device))));
    let twice = WithNoise::new(WithNoise::new(realign, 0.3), 0.4);
    assert_abs_diff_eq!(twice.noise(), 0.5, epsilon = 1e-15);
    let boxed: Box<dyn Aligner> = Box::new(twice.clone());
    let aligned = WithNoise::new(boxed, 0.0).align(text.tensor(&device), 3);
    assert_eq!(values(aligned.clone()), values(twice.align(text.tensor(&device), 3)));
    for row in values(aligned).chunks_exact(8) {
        assert_abs_diff_eq!(dot(row, row), 1.0, epsilon = 1e-6);
    }
}

#[test]
fn zero_mean_c3_takes_the_mean_off_both_modalities() {
    let device = Device::default();
    let (text, image) = (cloud(300, 8, 45), cloud(300, 8, 46));
    let config = C3Config::new().with_variant(C3Variant::ZeroMean).with_sigma(0.0);
    let c3 = config.fit(&text, &image).unwrap();
    assert_eq!(c3.variant(), C3Variant::ZeroMean);
    let moved = mean(c3.transport(text.tensor(&device)));
    assert!(dot(&moved, &moved).sqrt() < 1e-6);
    let centered = widen(image.row(3));
    let image_mean = unit_moments(&image).mean().to_vec();
    let centered: Vec<f64> = centered.iter().zip(image_mean).map(|(v, m)| v - m).collect();
    let norm = dot(&centered, &centered).sqrt();
    let row = values(c3.align_image(image.tensor(&device)).slice_dim(0, 3..4));
    for (found, expected) in row.iter().zip(&centered) {
        assert_abs_diff_eq!(*found, expected / norm, epsilon = 1e-6);
    }
    let shifted = C3Config::new().fit(&text, &image).unwrap();
    assert_eq!(values(shifted.align_image(image.tensor(&device))), values(image.tensor(&device)));
}

#[test]
fn a_table_longer_than_a_chunk_gets_the_noise_of_the_whole() {
    let device = Device::default();
    let (text, image) = (cloud(10_050, 3, 47), cloud(50, 3, 48));
    let c3 = C3Config::new().fit(&text, &image).unwrap();
    let (aligned, report) = align_table(&c3, &text, NonFinite::Error, 9, &device).unwrap();
    assert_eq!((report.rows, report.kept), (10_050, 10_050));
    // The table is computed in float64 where the device has it: the same rows, up to float32's last digit.
    let whole = values(c3.align(text.tensor(&device), 9));
    assert!(widen(aligned.rows()).iter().zip(&whole).all(|(a, b)| (a - b).abs() < 2e-6));
    let mut rows = text.rows().to_vec();
    rows[3 * 10_020 + 2] = f32::INFINITY;
    let broken = EmbeddingTable::numbered(rows, 3).unwrap();
    let error = align_table(&c3, &broken, NonFinite::Error, 9, &device).unwrap_err();
    assert!(matches!(error, Error::NonFinite { row: 10_020, column: 2, .. }), "{error}");
    let (skipped, _) = align_table(&c3, &broken, NonFinite::Skip, 9, &device).unwrap();
    assert_eq!((skipped.len(), skipped.position("10020")), (10_049, None));
    let host = align_table(&fit(&text, &image), &broken, NonFinite::Skip, 0, &device).unwrap().0;
    assert_eq!(host.ids(), skipped.ids());
}

/// The trait's rule, for methods that the host applies and for those that a device does.
#[test]
fn a_row_that_is_left_out_does_not_change_the_noise_of_those_behind_it() {
    let device = Device::default();
    let (text, image) = (cloud(40, 6, 61), cloud(40, 6, 62));
    let mut rows = text.rows().to_vec();
    rows[6 * 7] = f32::NAN;
    let broken = EmbeddingTable::numbered(rows, 6).unwrap();
    let whitening = WhiteningConfig::new().fit(&text, &image).unwrap();
    let methods: [Box<dyn Aligner>; 2] =
        [Box::new(C3Config::new().fit(&text, &image).unwrap()), Box::new(WithNoise::new(whitening, 0.3))];
    for method in methods {
        let aligned = |table: &EmbeddingTable| {
            align_table(method.as_ref(), table, NonFinite::Skip, 9, &device).unwrap().0
        };
        let (whole, part) = (aligned(&text), aligned(&broken));
        assert_eq!(part.len(), 39);
        for id in part.ids() {
            for (part, whole) in part.get(id).unwrap().iter().zip(whole.get(id).unwrap()) {
                approx::assert_abs_diff_eq!(part, whole, epsilon = 1e-6);
            }
        }
    }
}
