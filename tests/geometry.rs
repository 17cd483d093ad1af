//! The identities of the fixed-frame theory, on random clouds and frames.

mod alignment_clouds;

use alignment_clouds::{cloud, distance, dot};
use approx::assert_abs_diff_eq;
use burn::tensor::Device;
use burn_revision::embedding::EmbeddingTable;
use burn_revision::geometry::{
    Cloud, FixedFrame, FrameRank, GapDecomposition, KnnConfig, PhantomDrift, ResidualGeometry, Spectrum,
    SupportScore, phantom_drift_expansion,
};
use burn_revision::{Error, Result};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

fn unit(n: usize, dim: usize, seed: u64) -> Cloud {
    Cloud::unit(&cloud(n, dim, seed), "rows").unwrap()
}

fn normals(count: usize, seed: u64) -> Vec<f64> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..count).map(|_| (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0).collect()
}

/// A frame of random directions.
fn random_frame(rank: usize, dim: usize, seed: u64) -> FixedFrame {
    let rows = Cloud::new(normals(3 * dim * dim, seed), dim).unwrap();
    let spectrum = Spectrum::of(&rows.covariance(), dim, rows.len()).unwrap();
    FixedFrame::of_spectrum(&spectrum, FrameRank::Rank(rank)).unwrap()
}

fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_four_parts_of_the_gap_add_up_and_are_orthogonal(
        n in 2_usize..80, dim in 2_usize..24, share in 0.0..1.0_f64, seed: u64,
    ) {
        let rank = 1 + (share * (dim - 1) as f64) as usize;
        let frame = random_frame(rank, dim, seed);
        let (image, text) = (unit(n, dim, seed ^ 1), unit(n, dim, seed ^ 2));
        let parts = GapDecomposition::new(&frame, &image, &text).unwrap();
        let (delta, zeta) = (parts.delta(), parts.zeta());
        for row in 0..n {
            let sum: Vec<f64> = (0..dim)
                .map(|k| parts.beta()[k] + parts.gamma()[k] + delta.row(row)[k] + zeta.row(row)[k])
                .collect();
            let gap: Vec<f64> = image.row(row).iter().zip(text.row(row)).map(|(x, y)| x - y).collect();
            prop_assert!(distance(&sum, &gap) < 1e-13);
            assert_abs_diff_eq!(dot(delta.row(row), zeta.row(row)), 0.0, epsilon = 1e-13);
            assert_abs_diff_eq!(dot(delta.row(row), parts.gamma()), 0.0, epsilon = 1e-13);
        }
        prop_assert!(norm(&delta.mean()) < 1e-13 && norm(&zeta.mean()) < 1e-13);
        assert_abs_diff_eq!(dot(parts.beta(), parts.gamma()), 0.0, epsilon = 1e-13);
        // The energies are those of the residual.
        let residual = ResidualGeometry::measure(&image, &text).unwrap().0;
        assert_abs_diff_eq!(delta.trace() + zeta.trace(), residual.residual_energy, epsilon = 1e-12);
        let total = image.difference(&text).unwrap();
        let energy = total.values().iter().map(|v| v * v).sum::<f64>() / n as f64;
        assert_abs_diff_eq!(residual.gap_energy + residual.residual_energy, energy, epsilon = 1e-12);
        let in_u = parts.delta_spectrum().unwrap();
        assert_abs_diff_eq!(in_u.eigenvalues().iter().sum::<f64>(), delta.trace(), epsilon = 1e-12);
        prop_assert!(parts.zeta_spectrum().unwrap().rank() <= dim - rank);
    }

    #[test]
    fn leakage_is_at_most_the_sine_of_the_largest_angle(
        dim in 3_usize..24, share in 0.0..1.0_f64, seed: u64,
    ) {
        let rank = 1 + (share * (dim - 2) as f64) as usize;
        let (frame, moving) = (random_frame(rank, dim, seed), random_frame(rank, dim, !seed));
        let sine = frame.sin_theta(&moving).unwrap();
        // The spectral norm of P_V P_{U_t}: the largest singular value of the rows of U_t projected on V.
        let rows = frame.project_v(&Cloud::new(moving.basis().to_vec(), dim).unwrap());
        let gram: Vec<f64> = rows.rows().flat_map(|a| rows.rows().map(move |b| dot(a, b))).collect();
        let largest = Spectrum::of(&gram, rank, rank).unwrap().eigenvalues()[0].max(0.0).sqrt();
        assert_abs_diff_eq!(sine, largest, epsilon = 1e-10);
        for trial in 0..8 {
            let weights = normals(rank, seed ^ trial);
            let gradient: Vec<f64> = (0..dim)
                .map(|k| (0..rank).map(|r| weights[r] * moving.basis()[r * dim + k]).sum())
                .collect();
            let leak = norm(&frame.split(&gradient).1) / norm(&gradient);
            prop_assert!(leak <= sine + 1e-12, "{leak} and {sine}");
        }
        prop_assert!(frame.sin_theta(&frame).unwrap() < 1e-12);
        assert_abs_diff_eq!(frame.overlap(&frame), 1.0, epsilon = 1e-12);
        let cosines: f64 = frame.principal_angles(&moving).unwrap().iter().map(|angle| angle.cos().powi(2)).sum();
        assert_abs_diff_eq!(frame.overlap(&moving), cosines / rank as f64, epsilon = 1e-12);
    }

    #[test]
    fn planted_angles_are_found(angles in prop::collection::vec(1e-9..1.5_f64, 1..6), seed: u64) {
        // U_t turns the k-th direction of U into a direction of its own outside U.
        let (rank, dim) = (angles.len(), 2 * angles.len() + 3);
        let all = random_frame(dim, dim, seed);
        let row = |k: usize| &all.basis()[k * dim..(k + 1) * dim];
        let basis: Vec<f64> = (0..rank).flat_map(row).copied().collect();
        let turned: Vec<f64> = (0..rank)
            .flat_map(|k| {
                let (sine, cosine) = angles[k].sin_cos();
                row(k).iter().zip(row(rank + k)).map(move |(u, v)| cosine * u + sine * v).collect::<Vec<_>>()
            })
            .collect();
        let frame = |basis| FixedFrame::from_basis(basis, dim).unwrap();
        let mut expected = angles.clone();
        expected.sort_by(f64::total_cmp);
        let found = frame(basis).principal_angles(&frame(turned)).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_abs_diff_eq!(*found, *expected, epsilon = 1e-11);
        }
    }

    #[test]
    fn the_neighbours_are_those_of_a_full_sort(
        n in 5_usize..120, dim in 1_usize..9, k in 1_usize..5, block in 1_usize..50, levels in 2_u32..40, seed: u64,
    ) {
        // Few levels make many rows equal, so that ties decide.
        let values: Vec<f64> =
            normals(n * dim, seed).iter().map(|v| (v * f64::from(levels)).round() + 0.25).collect();
        let rows = Cloud::new(values, dim).unwrap().into_unit("rows").unwrap();
        let found = KnnConfig::new().with_k(k).with_block_size(block).find(&rows, &Device::default()).unwrap();
        for query in 0..n {
            let mut order: Vec<usize> = (0..n).filter(|&row| row != query).collect();
            let cosine = |row: usize| dot(rows.row(query), rows.row(row));
            order.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)).then(a.cmp(&b)));
            let expected: Vec<u32> = order[..k].iter().map(|&row| row as u32).collect();
            prop_assert_eq!(found.of(query), &expected[..]);
        }
    }

    #[test]
    fn spectra_of_a_power_law_have_its_exponent(alpha in 0.0..3.0_f64, dim in 3_usize..200, scale in 1e-6..1e6_f64) {
        let mut matrix = vec![0.0; dim * dim];
        (0..dim).for_each(|k| matrix[k * dim + k] = scale * (k as f64 + 1.0).powf(-alpha));
        let spectrum = Spectrum::values_of(&matrix, dim, dim).unwrap();
        let law = spectrum.power_law().unwrap();
        assert_abs_diff_eq!(law.exponent, alpha, epsilon = 1e-9);
        prop_assert_eq!((law.first, law.last), (1, dim.min(100)));
        assert_abs_diff_eq!(spectrum.condition_number(dim) / (dim as f64).powf(alpha), 1.0, epsilon = 1e-9);
        assert_abs_diff_eq!(spectrum.condition_number(2) / 2.0_f64.powf(alpha), 1.0, epsilon = 1e-9);
        prop_assert!(spectrum.effective_rank() <= dim as f64 + 1e-9);
        prop_assert!(spectrum.participation_ratio() <= spectrum.effective_rank() + 1e-9);
    }
}

#[test]
fn equal_eigenvalues_are_isotropic() {
    for (dim, rank) in [(1, 1), (7, 7), (40, 13)] {
        let mut matrix = vec![0.0; dim * dim];
        (0..rank).for_each(|k| matrix[k * dim + k] = 0.3);
        let spectrum = Spectrum::of(&matrix, dim, 1000).unwrap();
        assert_eq!(spectrum.rank(), rank);
        assert_abs_diff_eq!(spectrum.effective_rank(), rank as f64, epsilon = 1e-10);
        assert_abs_diff_eq!(spectrum.participation_ratio(), rank as f64, epsilon = 1e-10);
        assert_abs_diff_eq!(spectrum.anisotropy(), dim as f64 / rank as f64, epsilon = 1e-10);
        assert_abs_diff_eq!(spectrum.cumulative_energy(1), 1.0 / rank as f64, epsilon = 1e-12);
        assert_eq!(spectrum.energy_rank(1.0), rank);
        assert_eq!((spectrum.condition_number(rank), spectrum.condition_number(99)), (1.0, 1.0));
        assert!(spectrum.correlation(&spectrum).is_none(), "a flat spectrum does not correlate");
    }
    let none = Spectrum::of(&[0.0; 9], 3, 10).unwrap();
    assert_eq!((none.rank(), none.effective_rank(), none.anisotropy()), (0, 0.0, 0.0));
    assert!(none.power_law().is_none());
    assert!(FixedFrame::of_spectrum(&none, FrameRank::Energy(0.9)).is_err());
}

#[test]
fn random_subspaces_overlap_by_their_share_of_the_space() {
    let (dim, rank) = (40, 10);
    let mean = (0..30)
        .map(|seed| random_frame(rank, dim, seed).overlap(&random_frame(rank, dim, 1000 + seed)))
        .sum::<f64>()
        / 30.0;
    assert_abs_diff_eq!(mean, 0.25, epsilon = 0.01);
}

#[test]
fn the_phantom_drift_of_two_points_is_known() {
    // z = (1, +-a) is projected to (1, +-a) / sqrt(1 + a^2) (arXiv 2602.07026, Theorem B.13).
    for a in [0.1, 0.7, 3.0_f64] {
        let angle = a.atan();
        // Unit text rows at angles +-angle: about their mean they deviate by (0, +-sin angle), which is scaled to +-a.
        let text = Cloud::new(vec![angle.cos(), angle.sin(), angle.cos(), -angle.sin()], 2).unwrap();
        let drift = PhantomDrift::measure(&text, &[1.0, 0.0], a / angle.sin()).unwrap().unwrap();
        let expected = 1.0 - 1.0 / (1.0 + a * a).sqrt();
        assert_abs_diff_eq!(drift.from_direction.measured, expected, epsilon = 1e-14);
        assert_abs_diff_eq!(drift.spread, a, epsilon = 1e-14);
        // The expansion: -a^2 / 2 along the mean, and nothing across it.
        assert_abs_diff_eq!(drift.from_direction.predicted, a * a / 2.0, epsilon = 1e-14);
    }
}

#[test]
fn the_expansion_is_off_by_the_third_order() {
    let dim = 6;
    let direction: Vec<f64> = (0..dim).map(|k| f64::from(u8::from(k == 2))).collect();
    // A cloud that is not symmetric: its third moments do not vanish.
    let raw = Cloud::new(normals(4000 * dim, 9).iter().map(|v| v + 0.3 * v * v).collect(), dim).unwrap();
    let shape = raw.centered();
    let errors: Vec<f64> = [0.04, 0.02, 0.01]
        .iter()
        .map(|spread| {
            let deviations: Vec<f64> = shape.values().iter().map(|v| spread * v).collect();
            let rows = Cloud::new(deviations.clone(), dim).unwrap();
            let moved: Vec<f64> = (0..dim)
                .map(|k| rows.rows().map(|row| row[k] * row[2]).sum::<f64>() / rows.len() as f64)
                .collect();
            let predicted = phantom_drift_expansion(&direction, 1.0, rows.trace(), &moved);
            let placed = deviations.iter().enumerate().map(|(at, v)| v + direction[at % dim]).collect();
            let projected = Cloud::new(placed, dim).unwrap().into_unit("rows").unwrap().mean();
            let measured: Vec<f64> = projected.iter().zip(&direction).map(|(m, d)| m - d).collect();
            distance(&measured, &predicted)
        })
        .collect();
    for pair in errors.windows(2) {
        let order = (pair[0] / pair[1]).log2();
        assert!((2.7..3.5).contains(&order), "order {order} in {errors:?}");
    }
}

#[test]
fn the_drift_of_a_wide_cloud_follows_the_expansion_in_its_norm() {
    // As wide as real encoders' clouds: the first expansion fails, the second one holds.
    let (text, image) = (unit(3000, 24, 1), unit(3000, 24, 2));
    let scale = (image.trace() / text.trace()).sqrt();
    let drift = PhantomDrift::measure(&text, &image.mean(), scale).unwrap().unwrap();
    assert!(drift.spread > 1.0, "{drift:?}");
    assert!(drift.from_centroid.relative_error < 0.15, "{drift:?}");
    assert!(drift.from_direction.relative_error > 10.0 * drift.from_centroid.relative_error, "{drift:?}");
}

#[test]
fn a_cloud_cut_in_two_is_well_mixed_and_its_own_neighbourhood() -> Result<()> {
    let rows = unit(1200, 6, 3);
    let (a, b): (Vec<usize>, Vec<usize>) = (0..1200).partition(|row| row % 2 == 0);
    let (text, image) = (rows.select(&a), rows.select(&b));
    let knn = KnnConfig::new();
    let mixed = knn.find(&Cloud::union(&text, &image)?, &Device::default())?;
    let score = SupportScore::of(&mixed, text.len())?;
    for value in [score.score, score.penetration, score.coverage] {
        assert_abs_diff_eq!(value, 1.0, epsilon = 0.02);
    }
    assert_abs_diff_eq!(score.normalizer, 0.963, epsilon = 1e-3);
    let own = knn.find(&text, &Device::default())?;
    assert_eq!(own.overlap(&own)?, 1.0);
    // A rotation of both clouds changes no neighbourhood.
    let turn = random_frame(6, 6, 8);
    let turned = Cloud::new(turn.coordinates(&text), 6)?;
    assert_eq!(own.overlap(&knn.find(&turned, &Device::default())?)?, 1.0);
    Ok(())
}

#[test]
fn identical_rows_have_neighbours_and_no_frame() {
    let row = normals(16, 4);
    let same = Cloud::new(row.repeat(700), 16).unwrap().into_unit("rows").unwrap();
    let found = KnnConfig::new().with_k(3).with_block_size(128).find(&same, &Device::default()).unwrap();
    assert_eq!((found.of(0), found.of(2), found.of(699)), (&[1, 2, 3][..], &[0, 1, 3][..], &[0, 1, 2][..]));
    assert!(FixedFrame::fit(&same, &same, FrameRank::Energy(0.9)).is_err());
    let drift = PhantomDrift::measure(&same, same.row(0), 1.0).unwrap().unwrap();
    assert!(drift.from_centroid.measured < 1e-12 && drift.from_centroid.relative_error.is_finite());
}

#[test]
fn sets_that_cannot_be_measured_are_refused() {
    let (a, b) = (unit(10, 4, 1), unit(12, 4, 2));
    let frame = random_frame(2, 4, 3);
    assert!(matches!(
        GapDecomposition::new(&frame, &a, &b),
        Err(Error::Mismatch { expected: 10, actual: 12, .. })
    ));
    let other = unit(10, 5, 1);
    assert!(matches!(ResidualGeometry::measure(&a, &other), Err(Error::Mismatch { .. })));
    assert!(matches!(Cloud::union(&a, &other), Err(Error::Mismatch { .. })));
    let knn = KnnConfig::new();
    assert!(matches!(
        knn.find(&a, &Device::default()),
        Err(Error::TooFewRows { needed: 21, actual: 10, .. })
    ));
    let knn = knn.with_k(2);
    let stretched = Cloud::new(a.values().iter().map(|v| 2.0 * v).collect(), 4).unwrap();
    assert!(matches!(knn.find(&stretched, &Device::default()), Err(Error::Config { .. })));
    let found = knn.find(&a, &Device::default()).unwrap();
    assert!(matches!(SupportScore::of(&found, 10), Err(Error::TooFewRows { .. })));
    for rank in [FrameRank::Rank(0), FrameRank::Rank(5), FrameRank::Energy(0.0), FrameRank::Energy(f64::NAN)]
    {
        assert!(matches!(FixedFrame::fit(&a, &b, rank), Err(Error::Config { .. })), "{rank:?}");
    }
    assert!(FixedFrame::from_basis(vec![1.0, 0.5], 2).is_err());
    assert!(Spectrum::of(&[1.0, f64::NAN, f64::NAN, 1.0], 2, 9).is_err());
    let none = EmbeddingTable::new(Vec::new(), Vec::new(), 4).unwrap();
    assert!(Cloud::unit(&none, "none").unwrap().is_empty());
}
