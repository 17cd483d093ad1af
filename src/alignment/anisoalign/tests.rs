use approx::assert_abs_diff_eq;
use burn::tensor::{DType, TensorData};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::*;
use crate::embedding::{EmbeddingTable, NonFinite, RawRows, Terms};
use crate::geometry::{Cloud, linalg};
use crate::random::seeded_rng;

const DIM: usize = 12;

/// Unit rows about a centre, with a spread that falls along the coordinates and is not Gaussian.
fn rows(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = seeded_rng(seed, &[]);
    let centre: Vec<f64> = (0..DIM).map(|_| rng.random::<f64>() - 0.4).collect();
    let values = (0..n * DIM).map(|at| {
        let normal: f64 = rng.sample(StandardNormal);
        centre[at % DIM] + normal.powi(3).clamp(-4.0, 4.0) / (2.0 + (at % DIM) as f64)
    });
    let cloud = Cloud::new(values.collect(), DIM).unwrap().into_unit("rows").unwrap();
    cloud.values().iter().map(|&value| value as f32).collect()
}

fn raw(rows: &[f32]) -> RawRows<'_> {
    RawRows::single(rows, DIM).unwrap()
}

fn tensor(rows: &[f32], dtype: DType) -> Tensor<2> {
    let data = TensorData::new(rows.to_vec(), [rows.len() / DIM, DIM]);
    Tensor::<2>::from_data(data, (&Device::default(), DType::F32)).cast(dtype)
}

fn values(rows: Tensor<2>) -> Vec<f32> {
    rows.into_data().try_into_vec_as::<f32>().unwrap()
}

fn quick() -> AnisoAlignConfig {
    AnisoAlignConfig::new()
        .with_rank(Some(6))
        .with_score_steps(40)
        .with_refiner_steps(40)
        .with_batch(64)
        .with_score_width(16)
        .with_refiner_width(8)
        .with_learning_rate(1e-2)
}

fn with_bounds(fitted: &AnisoAlign, bounds: [f32; 3]) -> AnisoAlign {
    let all = [&bounds[..], &[1e-12]].concat();
    AnisoAlign { bounds: record::constant(all, [4], &Device::default()), ..fitted.clone() }
}

#[test]
fn bounds_of_zero_give_the_initialisation_to_the_bit() {
    let (text, image) = (rows(400, 1), rows(300, 2));
    let fitted = quick().with_complement_bound(0.01).fit(raw(&text), raw(&image)).unwrap();
    let still = with_bounds(&fitted, [0.0; 3]);
    for dtype in [DType::F32, DType::F64] {
        let initial = still.placed(still.initial(tensor(&text, dtype)));
        let refined = still.placed(still.refined(still.initial(tensor(&text, dtype))));
        assert_eq!(initial.into_data(), refined.into_data());
        let refined = fitted.placed(fitted.refined(fitted.initial(tensor(&text, dtype))));
        let initial = fitted.placed(fitted.initial(tensor(&text, dtype)));
        assert_ne!(initial.into_data(), refined.into_data(), "the refinement has learned something");
    }
}

/// The bounds of arXiv 2605.07825, App. A, whatever the network says; Lemma A.4 for what follows.
#[test]
fn nothing_moves_further_than_its_bounds() {
    let (text, image) = (rows(300, 3), rows(300, 4));
    let fitted = quick().with_complement_bound(0.02).fit(raw(&text), raw(&image)).unwrap();
    let device = Device::default();
    // A network that saturates the bounds.
    let wild = Refiner::init(3, DIM, 8, true, 5, &device);
    let loud = wild.clone().map(&mut Louder);
    for bounds in [[0.3, 0.2, 0.02], [1.2, 0.0, 0.0], [0.0, 0.5, 0.0]] {
        let fitted = AnisoAlign { refiner: loud.clone(), ..with_bounds(&fitted, bounds) };
        let initial = fitted.initial(tensor(&text, DType::F64));
        let refined = fitted.refined(fitted.initial(tensor(&text, DType::F64)));
        let largest = |rows: Tensor<2>| rows.abs().max().into_scalar::<f64>();
        let [phase, radius, complement] = bounds.map(f64::from);
        let turned = largest(refined.phase.clone() - initial.phase.clone());
        let grown = largest((refined.radius.clone() / initial.radius.clone()).log());
        let moved = largest(refined.complement.clone() - initial.complement.clone());
        assert!(turned <= phase + 1e-7 && grown <= radius + 1e-7 && moved <= complement + 1e-7);
        assert!(
            turned >= 0.5 * phase && grown >= 0.5 * radius,
            "the test reaches the bounds: {turned} {grown}"
        );
        let before = blocks::cartesian(initial.radius.clone(), initial.phase.clone());
        let after = blocks::cartesian(refined.radius.clone(), refined.phase.clone());
        let norms = |rows: Tensor<2>| rows.square().sum_dim(1).sqrt();
        let ratio = norms(after - before.clone()) / norms(before);
        assert!(largest(ratio) <= fitted.kappa() + 1e-6);

        // Lemma A.4: rows y of unit length that move by at most e < 1 keep products to 2 e + e^2 before and to 4 e / (1 - e)
        // after they are projected.
        let placed = |parts| {
            let rows = fitted.placed(parts).into_data().try_into_vec::<f64>().unwrap();
            Cloud::new(rows, DIM).unwrap()
        };
        let (y, z) = (placed(initial), placed(refined));
        let lengths: Vec<f64> = y.rows().map(|row| row.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
        let scaled = |rows: &Cloud| {
            let rows =
                rows.rows().zip(&lengths).flat_map(|(row, length)| row.iter().map(move |v| v / length));
            Cloud::new(rows.collect(), DIM).unwrap()
        };
        let (y, z) = (scaled(&y), scaled(&z));
        let unit = z.clone().into_unit("z").unwrap();
        let distance =
            |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for i in 0..40 {
            let j = (7 * i + 3) % 40;
            let e = distance(y.row(i), z.row(i)).max(distance(y.row(j), z.row(j)));
            let before = dot(y.row(i), y.row(j));
            assert!((dot(z.row(i), z.row(j)) - before).abs() <= 2.0 * e + e * e + 1e-12);
            if e < 1.0 {
                let bound = 2.0 * e / (1.0 - e);
                assert!(distance(unit.row(i), y.row(i)) <= bound + 1e-12);
                assert!((dot(unit.row(i), unit.row(j)) - before).abs() <= 2.0 * bound + 1e-12);
            }
        }
    }
}

/// Draws large weights, so that `tanh` saturates.
struct Louder;

impl burn::module::ModuleMapper for Louder {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|values| {
            let shape = values.shape();
            let mut rng = seeded_rng(9, &[shape.num_elements() as u64]);
            let drawn = (0..shape.num_elements()).map(|_| rng.random_range(-9.0_f32..9.0)).collect();
            Tensor::from_data(TensorData::new(drawn, shape), &values.device()).set_require_grad(false)
        })
    }
}

#[test]
fn the_host_does_what_tensors_do() {
    let (text, image) = (rows(400, 5), rows(350, 6));
    for (complement, mixing) in [(0.0, Mixing::Pca), (0.02, Mixing::Random), (0.0, Mixing::Learned)] {
        let config = quick().with_complement_bound(complement).with_mixing(mixing);
        let mut fitted = config.fit(raw(&text), raw(&image)).unwrap();
        if complement > 0.0 {
            fitted.refiner = Refiner::init(3, DIM, 8, true, 5, &Device::default()).map(&mut Louder);
        }
        for fitted in [fitted.clone(), with_bounds(&fitted, [0.0; 3])] {
            let expected = values(fitted.forward(tensor(&text, DType::F64)));
            let mut found = vec![0.0; text.len()];
            let terms = Terms { policy: NonFinite::Error, what: "text", first: 0 };
            let (skipped, report) = crate::alignment::host_map::HostMap::map(
                &fitted.host_map(),
                raw(&text),
                terms,
                (0, 0),
                &mut found,
            )
            .unwrap();
            assert!(skipped.is_empty() && report.kept == 400);
            let worst = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 2e-5, "{mixing}: {worst}");
        }
    }
}

#[test]
fn texts_lie_on_the_centroid_of_the_images_before_the_last_projection() {
    let (text, image) = (rows(500, 7), rows(300, 8));
    let fitted = quick().fit(raw(&text), raw(&image)).unwrap();
    let mean = values(fitted.transport(tensor(&text, DType::F32)).mean_dim(0));
    for (found, expected) in
        mean.iter().zip(Cloud::new(image.iter().map(|&v| v.into()).collect(), DIM).unwrap().mean())
    {
        assert_abs_diff_eq!(f64::from(*found), expected, epsilon = 1e-6);
    }
}

/// Across `U`, each coordinate gets mean and spread of the images'.
#[test]
fn the_complement_has_the_spread_of_the_images() {
    let (text, image) = (rows(500, 9), rows(400, 10));
    let fitted = quick().fit(raw(&text), raw(&image)).unwrap();
    let frame = record::value(&fitted.frame, DType::F32);
    let images = tensor(&image, DType::F32);
    let across = images.clone() - images.matmul(frame.clone()).matmul(frame.transpose());
    let placed = fitted.initial(tensor(&text, DType::F32)).complement;
    let statistics = |rows: Tensor<2>| {
        let mean = rows.clone().mean_dim(0);
        let deviation = (rows - mean.clone()).square().mean_dim(0).sqrt();
        (values(mean), values(deviation))
    };
    let (expected, found) = (statistics(across), statistics(placed));
    for at in 0..DIM {
        assert_abs_diff_eq!(found.0[at], expected.0[at], epsilon = 1e-5);
        assert_abs_diff_eq!(found.1[at], expected.1[at], epsilon = 1e-5);
    }
}

/// Where the frame is the whole space and blocks are pairs of eigenvectors, nothing knows the axes: the rows of a rotated
/// world are the rotated rows.
#[test]
fn the_initialisation_turns_with_the_space() {
    let (text, image) = (rows(600, 11), rows(600, 12));
    let mut rng = seeded_rng(13, &[]);
    let gaussian: Vec<f64> = (0..DIM * DIM).map(|_| rng.sample(StandardNormal)).collect();
    let gram = linalg::matmul_transposed_a(&gaussian, [DIM, DIM], &gaussian, [DIM, DIM]);
    let rotation = linalg::symmetric_eigen(&gram, DIM).unwrap().vectors;
    let rotated = |rows: &[f32]| -> Vec<f32> {
        let wide: Vec<f64> = rows.iter().map(|&value| value.into()).collect();
        let turned = linalg::matmul(&wide, [rows.len() / DIM, DIM], &rotation, [DIM, DIM]);
        turned.into_iter().map(|value| value as f32).collect()
    };
    let config = quick().with_rank(Some(DIM)).with_refiner_steps(0).with_score_steps(0);
    let fit = |text: &[f32], image: &[f32]| {
        let fitted = config.fit(raw(text), raw(image)).unwrap();
        values(with_bounds(&fitted, [0.0; 3]).forward(tensor(text, DType::F32)))
    };
    let expected = rotated(&fit(&text, &image));
    let found = fit(&rotated(&text), &rotated(&image));
    let worst = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn a_fit_follows_its_seed() {
    let (text, image) = (rows(300, 14), rows(300, 15));
    let fit = |seed: u64| {
        let fitted = quick().with_seed(seed).with_sample(200).fit(raw(&text), raw(&image)).unwrap();
        values(fitted.forward(tensor(&text, DType::F32)))
    };
    assert_eq!(fit(3), fit(3));
    assert_ne!(fit(3), fit(4));
}

#[test]
fn it_is_saved_and_loaded_whole() {
    let (text, image) = (rows(300, 16), rows(300, 17));
    let fitted = quick().with_complement_bound(0.01).fit(raw(&text), raw(&image)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anisoalign.safetensors");
    fitted.save(&path).unwrap();
    let loaded = AnisoAlign::load(&path, &Device::default()).unwrap();
    let align = |fitted: &AnisoAlign| values(fitted.forward(tensor(&text, DType::F32)));
    assert_eq!(align(&fitted), align(&loaded));
    let score = |fitted: &AnisoAlign| {
        let zeros = |columns| Tensor::<2>::zeros([2, columns], &Device::default());
        values(fitted.score.apply(zeros(3) + 0.5, zeros(3), zeros(1)))
    };
    assert_eq!(score(&fitted), score(&loaded));
    assert!(score(&fitted).iter().any(|value| *value != 0.0));
    assert_eq!(loaded.unfreeze().rank(), 6);
}

/// Stage I learns: images whose phases gather have a score that points to where they gather.
#[test]
fn the_score_network_finds_where_phases_gather() {
    let (text, image) = (rows(800, 18), rows(800, 19));
    let config = quick().with_score_steps(150).with_score_width(32);
    let error = |steps: usize| {
        // Stage II asks for stage I; one step of it changes nothing here.
        let fitted =
            config.with_score_steps(steps).with_refiner_steps(1).fit(raw(&text), raw(&image)).unwrap();
        let initial = fitted.initial(tensor(&image, DType::F32));
        let mut rng = seeded_rng(1, &[]);
        let logs = fitted.standard_log_radius(initial.radius);
        let device = Device::default();
        let noisy = training::perturb(initial.phase, &config, &mut rng, &device);
        let found = fitted.score.apply(noisy.phase, logs, noisy.log_sigma);
        (found - noisy.target).square().mean().into_scalar::<f64>()
    };
    let (untrained, trained) = (error(0), error(150));
    assert!(trained < 0.9 * untrained, "{untrained} {trained}");
}

#[test]
fn bad_input_is_refused_with_both_numbers() {
    let (text, image) = (rows(60, 20), rows(60, 21));
    let refused = |config: AnisoAlignConfig, parts: &[&str]| {
        let error = config.fit(raw(&text), raw(&image)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    refused(quick().with_rank(Some(5)), &["even", "12", "5"]);
    refused(quick().with_rank(Some(14)), &["12", "14"]);
    refused(quick().with_phase_bound(-0.1), &["phase_bound", "-0.1"]);
    refused(quick().with_sigma_max(0.01), &["sigma_max", "0.05", "0.01"]);
    refused(quick().with_batch(0), &["batch"]);
    refused(quick().with_learning_rate(f64::NAN), &["learning_rate", "NaN"]);
    let few = quick().fit(raw(&text[..4 * DIM]), raw(&image)).unwrap_err();
    assert!(matches!(few, crate::Error::TooFewRows { needed: 6, actual: 4, .. }), "{few}");
    let alike: Vec<f32> = text[..DIM].repeat(60);
    let alike = quick().fit(raw(&text), raw(&alike)).unwrap_err();
    assert!(matches!(alike, crate::Error::NoSpread { .. }), "{alike}");
    let exploding = quick().with_drift(1e300).fit(raw(&text), raw(&image)).unwrap_err();
    assert!(matches!(exploding, crate::Error::Training { step: 1, .. }), "{exploding}");
    assert!(exploding.to_string().contains("score network (40 steps)"), "{exploding}");
}

#[test]
fn sets_of_very_different_sizes_are_fitted() {
    let (text, image) = (rows(20, 22), rows(5000, 23));
    for (text, image) in [(&text, &image), (&image, &text)] {
        let fitted = quick().fit(raw(text), raw(image)).unwrap();
        assert!(values(fitted.forward(tensor(text, DType::F32))).iter().all(|value| value.is_finite()));
    }
    let table = EmbeddingTable::numbered(text.clone(), DIM).unwrap();
    assert!(quick().fit(&table, raw(&image)).is_ok());
}

/// A coordinate pair that no row has has a radius of zero on both sides.
#[test]
fn radii_of_zero_stay_finite() {
    let flat = |rows: Vec<f32>| -> Vec<f32> {
        rows.chunks_exact(DIM).flat_map(|row| row[..4].iter().copied().chain([0.0; DIM - 4])).collect()
    };
    let (text, image) = (flat(rows(200, 24)), flat(rows(200, 25)));
    let fitted = quick().with_rank(Some(4)).fit(raw(&text), raw(&image)).unwrap();
    assert!(values(fitted.forward(tensor(&text, DType::F32))).iter().all(|value| value.is_finite()));
    let zeros = vec![0.0; DIM];
    assert!(values(fitted.forward(tensor(&zeros, DType::F32))).iter().all(|value| value.is_finite()));
}
