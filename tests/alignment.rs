//! The identities that define the alignment methods, on random anisotropic clouds.

mod alignment_clouds;

use alignment_clouds::{
    cloud, covariance, distance, dot, double, fit, mean, statistics, unit_moments, values, widen,
};
use approx::assert_abs_diff_eq;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use burn_revision::alignment::{
    Aligner, C3Config, Identity, MeanShiftConfig, ReAlignConfig, WithNoise, align_table,
};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::geometry::{modality_gap, paired_cosine};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn traces_are_one_less_the_squared_means(n in 3_usize..200, dim in 2_usize..40, seed: u64) {
        let (text, image) = (cloud(n, dim, seed), cloud(n + 7, dim, !seed));
        let statistics = statistics(&fit(&text, &image));
        for (trace, mean) in
            [(statistics.text_trace, &statistics.text_mean), (statistics.image_trace, &statistics.image_mean)]
        {
            let mean = widen(mean);
            // The mean is rounded to float32, and the trace is taken about the rounded one.
            assert_abs_diff_eq!(trace, 1.0 - dot(&mean, &mean), epsilon = 3e-7);
        }
    }

    #[test]
    fn the_mean_before_the_last_normalisation_is_that_of_the_images(
        n in 3_usize..200, dim in 2_usize..40, passes in 1_usize..4, seed: u64,
    ) {
        let (text, image) = (cloud(n, dim, seed), cloud(n + 7, dim, !seed));
        let config = ReAlignConfig::new().with_centroid_passes(passes);
        let realign = config.fit(&text, &image).unwrap();
        prop_assert_eq!(realign.centroid_passes(), passes);
        let moved = mean(realign.transport(double(&text)));
        prop_assert!(distance(&moved, unit_moments(&image).mean()) < 1e-6);
    }

    #[test]
    fn the_gap_that_is_left_is_at_most_the_centroid_step(n in 3_usize..200, dim in 2_usize..40, seed: u64) {
        let (text, image) = (cloud(n, dim, seed), cloud(n + 7, dim, !seed));
        let realign = fit(&text, &image);
        let statistics = statistics(&realign);
        let target = widen(&statistics.image_mean);
        let step = distance(&target, &statistics.centroids[0]);
        prop_assume!(step < 1.0);
        let left = distance(&mean(realign.forward(double(&text))), &target);
        prop_assert!(left <= step + 1e-7, "{} and {}", left, step);
    }

    #[test]
    fn the_squared_norm_after_the_trace_step_is_known(n in 3_usize..100, dim in 2_usize..30, seed: u64) {
        let (text, image) = (cloud(n, dim, seed), cloud(n + 7, dim, !seed));
        let statistics = statistics(&fit(&text, &image));
        let (mu_y, mu_x, s) = (widen(&statistics.text_mean), widen(&statistics.image_mean), statistics.scale);
        let w: Vec<f64> = mu_x.iter().zip(&mu_y).map(|(x, y)| x - s * y).collect();
        let mut total = 0.0;
        for row in 0..n {
            let row = widen(text.row(row));
            let centered: Vec<f64> = row.iter().zip(&mu_y).map(|(e, y)| e - y).collect();
            let moved: Vec<f64> = mu_x.iter().zip(&centered).map(|(x, c)| x + s * c).collect();
            let identity = 1.0 + 2.0 * s * dot(&w, &centered);
            assert_abs_diff_eq!(dot(&moved, &moved), identity, epsilon = 2e-6 * (1.0 + s * s));
            total += dot(&moved, &moved);
        }
        // The mean is one.
        assert_abs_diff_eq!(total / n as f64, 1.0, epsilon = 2e-6 * (1.0 + s * s));
    }

    #[test]
    fn host_and_device_agree_to_float32(n in 2_usize..100, dim in 2_usize..60, seed: u64) {
        let (text, image) = (cloud(n, dim, seed), cloud(n + 7, dim, !seed));
        let realign = fit(&text, &image);
        prop_assume!(realign.scale() < 3.0);
        let device = Device::default();
        let (host, report) = align_table(&realign, &text, NonFinite::Error, 0, &device).unwrap();
        prop_assert_eq!(report.kept, n);
        for (a, b) in widen(host.rows()).into_iter().zip(values(realign.align(double(&text), 0))) {
            assert_abs_diff_eq!(a, b, epsilon = 1e-6);
        }
    }
}

#[test]
fn a_spread_scaled_by_s_keeps_eigenvectors_and_normalised_spectrum() {
    // The covariance after anchor and trace is s^2 times that before: with it every eigenvector and every ratio of
    // eigenvalues stays. Mean shift plus a scalar is all there is before the projection.
    let (text, image) = (cloud(300, 12, 1), cloud(200, 12, 2));
    let statistics = statistics(&fit(&text, &image));
    let shifted = MeanShiftConfig::new().fit(&text, &image).unwrap();
    let target = Tensor::<1>::from_data(
        TensorData::new(widen(&statistics.image_mean), [12]),
        (&Device::default(), DType::F64),
    );
    let anchored = shifted.transport(double(&text)) - target.clone().unsqueeze();
    let before = covariance(&double(&text));
    let after = covariance(&(anchored.mul_scalar(statistics.scale) + target.unsqueeze()));
    for (before, after) in before.iter().zip(&after) {
        assert_abs_diff_eq!(*after, statistics.scale.powi(2) * before, epsilon = 1e-7);
    }
    let trace: f64 = after.iter().step_by(13).sum();
    // The spread is that of the images.
    assert_abs_diff_eq!(trace, statistics.image_trace, epsilon = 1e-6);
}

#[test]
fn each_centroid_pass_shrinks_the_gap_by_the_largest_eigenvalue() {
    let (text, image) = (cloud(4000, 24, 11), cloud(4000, 24, 12));
    let target = unit_moments(&image);
    let mut gaps = Vec::new();
    let mut bound = 0.0;
    for passes in 1..=3 {
        let config = ReAlignConfig::new().with_centroid_passes(passes);
        let realign = config.fit(&text, &image).unwrap();
        let (aligned, _) = align_table(&realign, &text, NonFinite::Error, 0, &Device::default()).unwrap();
        gaps.push(modality_gap(&unit_moments(&aligned), &target).unwrap());
        bound = largest_eigenvalue(&second_moment(&aligned), 24);
    }
    assert!(bound < 0.9, "the cloud must have some breadth: {bound}");
    // The eigenvalue is that of the rows themselves, which the last pass hardly moves any more.
    assert!(gaps[1] < 1.1 * bound * gaps[0], "{gaps:?}, {bound}");
    assert!(gaps[2] < 1.1 * bound * gaps[1] + 1e-8, "{gaps:?}, {bound}");
    assert!(gaps[0] < 0.1 * modality_gap(&unit_moments(&text), &target).unwrap());
}

fn second_moment(table: &EmbeddingTable) -> Vec<f64> {
    let dim = table.dim();
    let mut moment = vec![0.0; dim * dim];
    for row in 0..table.len() {
        let row = widen(table.row(row));
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row.iter().enumerate() {
                moment[i * dim + j] += a * b / table.len() as f64;
            }
        }
    }
    moment
}

fn largest_eigenvalue(matrix: &[f64], dim: usize) -> f64 {
    let mut vector = vec![1.0; dim];
    let mut value = 0.0;
    for _ in 0..2000 {
        let next: Vec<f64> = matrix.chunks_exact(dim).map(|row| dot(row, &vector)).collect();
        value = dot(&next, &next).sqrt();
        vector = next.iter().map(|v| v / value).collect();
    }
    value
}

#[test]
fn the_cosine_with_the_source_is_set_by_gap_and_spreads() {
    let (text, image) = (cloud(5000, 64, 21), cloud(5000, 64, 22));
    let realign = fit(&text, &image);
    let (aligned, _) = align_table(&realign, &text, NonFinite::Error, 0, &Device::default()).unwrap();
    let statistics = statistics(&realign);
    let gap = modality_gap(&unit_moments(&text), &unit_moments(&image)).unwrap();
    let spreads = statistics.image_trace.sqrt() - statistics.text_trace.sqrt();
    // The identity is exact before the projection, which adds terms of the order of the norms' variance.
    let mut variance = 0.0;
    let mut exact = 0.0;
    for row in 0..text.len() {
        let row = widen(text.row(row));
        let moved: Vec<f64> = (0..64)
            .map(|j| {
                let (mu_y, mu_x) = (f64::from(statistics.text_mean[j]), f64::from(statistics.image_mean[j]));
                mu_x + statistics.scale * (row[j] - mu_y)
            })
            .collect();
        exact += dot(&row, &moved) / text.len() as f64;
        variance += (dot(&moved, &moved) - 1.0).powi(2) / text.len() as f64;
    }
    let expected = 1.0 - gap * gap / 2.0 - spreads * spreads / 2.0;
    assert_abs_diff_eq!(exact, expected, epsilon = 1e-6);
    let phi = paired_cosine(&text, &aligned).unwrap();
    assert_abs_diff_eq!(phi, expected, epsilon = variance);
}

#[test]
fn half_precision_rows_are_computed_in_float32_and_come_back_as_they_were() {
    let device = Device::default();
    let (text, image) = (cloud(60, 16, 51), cloud(60, 16, 52));
    let realign = fit(&text, &image);
    for dtype in [DType::F16, DType::BF16] {
        let half = text.tensor(&device).cast(dtype);
        let aligned = realign.forward(half.clone());
        assert_eq!(aligned.dtype(), dtype);
        let single = realign.forward(half.cast(DType::F32));
        // One rounding to the half type is all that may differ.
        assert_eq!(values(aligned), values(single.cast(dtype)), "{dtype:?}");
        let other =
            ReAlignConfig::new().fit(text.tensor(&device).cast(dtype), image.tensor(&device)).unwrap();
        assert_eq!(other.dim(), 16);
    }
    let double = ReAlignConfig::new().fit(double(&text), double(&image)).unwrap();
    assert_eq!(statistics(&double), statistics(&realign), "float64 rows with the same values fit alike");
}

/// Rows of a tensor that are aligned where they lie, beside the same operations on tensors, which those with autodiff go through.
#[test]
fn rows_aligned_in_place_are_those_of_tensors() {
    let device = Device::default();
    let (text, image) = (cloud(70, 24, 53), cloud(50, 24, 54));
    let mut odd = text.rows().to_vec();
    odd[3] = f32::NAN;
    odd[24 * 8..24 * 9].fill(0.0);
    odd[24 * 20..24 * 21].iter_mut().for_each(|value| *value *= 1e30);
    let whole = text.tensor(&device);
    let odd = Tensor::<2>::from_data(TensorData::new(odd, [70, 24]), &device);
    let methods: [Box<dyn Aligner>; 6] = [
        Box::new(Identity::new(24)),
        Box::new(WithNoise::new(fit(&text, &image), 0.0)),
        Box::new(MeanShiftConfig::new().fit(&text, &image).unwrap()),
        Box::new(C3Config::new().with_sigma(0.1).fit(&text, &image).unwrap()),
        Box::new(fit(&text, &image)),
        Box::new(ReAlignConfig::new().with_centroid_passes(3).fit(&text, &image).unwrap()),
    ];
    for method in &methods {
        for (name, rows) in [
            ("all", whole.clone()),
            ("some", whole.clone().slice_dim(0, 7..19)),
            (
                "laid out by columns",
                Tensor::from_data(whole.clone().transpose().into_data(), &device).transpose(),
            ),
            ("none", whole.clone().slice_dim(0, 0..0)),
            ("huge", odd.clone().slice_dim(0, 15..30)),
            ("not finite, zero and huge", odd.clone()),
        ] {
            for (dtype, epsilon) in [(DType::F32, 4e-7), (DType::F16, 5e-4), (DType::BF16, 4e-3)] {
                // In float16 a huge value is infinite: such a row has no direction either way.
                let rows = rows.clone().cast(dtype);
                let found = method.align(rows.clone(), 5);
                let by_tensors = method.align(rows.autodiff(), 5).inner();
                assert_eq!((found.dtype(), found.dims()), (dtype, by_tensors.dims()));
                for (found, expected) in values(found).into_iter().zip(values(by_tensors)) {
                    let agree = found.is_nan() && expected.is_nan() || (found - expected).abs() <= epsilon;
                    assert!(agree, "{}, {name}, {dtype:?}: {found} and {expected}", method.name());
                }
            }
        }
        let (table, _) = align_table(method, &text, NonFinite::Error, 0, &device).unwrap();
        let tensor = method.align(whole.clone(), 0);
        if method.noise() == 0.0 {
            assert_eq!(values(tensor), widen(table.rows()), "{}: to the bit", method.name());
        }
    }
}

#[test]
fn statistics_are_never_trained() {
    let device = Device::default().autodiff();
    let (text, image) = (cloud(20, 6, 61), cloud(20, 6, 62));
    let realign = fit(&text, &image).fork(&device).train().unfreeze();
    let before = statistics(&realign);
    let rows = text.tensor(&device).require_grad();
    let weights = Tensor::<2>::random([20, 6], Distribution::Default, &device);
    let loss = (realign.forward(rows.clone()) * weights).sum();
    let gradients = loss.backward();
    let input = rows.grad(&gradients).expect("gradients pass through to the rows");
    assert!(values(input).iter().any(|g| g.abs() > 1e-6));
    let gradients = GradientsParams::from_grads(gradients, &realign);
    assert!(gradients.is_empty(), "no statistic has a gradient");
    assert_eq!(statistics(&realign), before);
    let plain = realign.forward(text.tensor(&Device::default()));
    assert!(!plain.is_autodiff(), "rows without gradients stay without");
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let device = Device::default().autodiff();
    let (text, image) = (cloud(20, 4, 63), cloud(20, 4, 64));
    let realign = fit(&text, &image);
    let weights = [0.3, -0.7, 0.2, 0.9];
    let loss = |row: Vec<f64>| {
        let row = Tensor::<2>::from_data(TensorData::new(row, [1, 4]), (&Device::default(), DType::F64));
        dot(&values(realign.forward(row)), &weights)
    };
    let row: Vec<f64> = widen(text.row(0)).iter().map(|v| 1.7 * v).collect();
    let input =
        Tensor::<2>::from_data(TensorData::new(row.clone(), [1, 4]), (&device, DType::F64)).require_grad();
    let factors = Tensor::<2>::from_data(TensorData::new(weights.to_vec(), [1, 4]), (&device, DType::F64));
    let gradients = (realign.forward(input.clone()) * factors).sum().backward();
    for (i, gradient) in values(input.grad(&gradients).unwrap()).into_iter().enumerate() {
        let step = 1e-5;
        let moved = |by: f64| {
            let mut moved = row.clone();
            moved[i] += by;
            loss(moved)
        };
        let expected = (moved(step) - moved(-step)) / (2.0 * step);
        assert_abs_diff_eq!(gradient, expected, epsilon = 1e-8);
    }
}

#[test]
fn sets_that_cannot_be_fitted_are_refused() {
    let device = Device::default();
    let (text, image) = (cloud(20, 6, 81), cloud(20, 6, 82));
    let config = ReAlignConfig::new();
    let refused = |text: &EmbeddingTable, image: &EmbeddingTable, config: &ReAlignConfig| {
        config.fit(text, image).unwrap_err().to_string()
    };
    assert!(refused(&text, &cloud(20, 5, 83), &config).contains("expected 6, found 5"));
    assert!(refused(&text.select(&[0]).unwrap(), &image, &config).contains("at least 2 rows, found 1"));
    assert!(
        refused(&text.select(&[]).unwrap(), &image, &config.clone().with_min_rows(0)).contains("found 0")
    );
    assert!(refused(&text, &image, &config.clone().with_centroid_passes(0)).contains("centroid_passes"));
    assert!(refused(&text, &image, &config.clone().with_eps(-1.0)).contains("eps"));
    let single = text.select(&[0]).unwrap();
    assert!(config.clone().with_min_rows(1).fit(&single, &image).is_ok());
    let other = cloud(20, 5, 83);
    assert!(align_table(&fit(&text, &image), &other, NonFinite::Error, 0, &device).is_err());
    assert!(C3Config::new().with_sigma(-1.0).fit(&text, &image).is_err());
}

#[test]
fn a_table_keeps_its_ids_and_loses_what_is_skipped() {
    let device = Device::default();
    let mut rows = cloud(5, 3, 91).rows().to_vec();
    rows[4] = f32::NAN;
    let ids = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
    let table = EmbeddingTable::new(ids, rows, 3).unwrap();
    let identity = Identity::new(3);
    assert!(align_table(&identity, &table, NonFinite::Error, 0, &device).is_err());
    let (aligned, report) = align_table(&identity, &table, NonFinite::Skip, 0, &device).unwrap();
    assert_eq!(aligned.ids(), ["a", "c", "d", "e"]);
    assert_eq!((report.kept, report.skipped), (4, 1));
    for id in aligned.ids() {
        let (row, source) = (widen(aligned.get(id).unwrap()), widen(table.get(id).unwrap()));
        assert!(distance(&row, &source) < 1e-6, "unit rows stay where they were");
    }
}

#[test]
#[should_panic(expected = "expected shape [_, 6], found [20, 5]")]
fn rows_of_another_dimension_panic_with_both_shapes() {
    let realign = fit(&cloud(20, 6, 92), &cloud(20, 6, 93));
    realign.forward(cloud(20, 5, 94).tensor(&Device::default()));
}
