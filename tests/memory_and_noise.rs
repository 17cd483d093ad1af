//! Methods by memory and by shaped noise: what each of them promises, on random clouds.

mod alignment_clouds;

use alignment_clouds::{cloud, covariance, distance, double, mean, values};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_revision::Error;
use burn_revision::alignment::{
    Aligner, Identity, MemoryOf, MemoryProjection, MemoryProjectionConfig, Method, ReAlignConfig,
    ShapedNoise, ShapedNoiseConfig, WithNoise, transport_table,
};
use burn_revision::embedding::NonFinite;
use burn_revision::geometry::Cloud;

fn unit(rows: Tensor<2>) -> Vec<Vec<f64>> {
    let dim = rows.dims()[1];
    let cloud = Cloud::new(values(rows), dim).unwrap().into_unit("rows").unwrap();
    cloud.rows().map(<[f64]>::to_vec).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn a_cold_memory_gives_the_nearest_row_and_a_hot_one_their_mean() {
    let (text, image) = (cloud(40, 6, 1), cloud(30, 6, 2));
    let (texts, images) = (unit(double(&text)), unit(double(&image)));
    let fit = |temperature| {
        let config = MemoryProjectionConfig::new().with_temperature(temperature);
        unit(config.fit(&text, &image).unwrap().align(double(&text), 0))
    };
    for (row, found) in texts.iter().zip(fit(1e-6)) {
        let nearest = images.iter().max_by(|a, b| cosine(row, a).total_cmp(&cosine(row, b))).unwrap();
        assert!(cosine(nearest, &found) > 1.0 - 1e-4, "{}", cosine(nearest, &found));
    }
    let centre = mean(double(&image));
    let length = cosine(&centre, &centre).sqrt();
    for found in fit(1e6) {
        assert!(cosine(&centre, &found) / length > 1.0 - 1e-5);
    }
}

#[test]
fn a_step_of_nothing_after_realign_is_realign_and_steps_go_between() {
    let (text, image) = (cloud(50, 6, 3), cloud(40, 6, 4));
    let realigned = unit(ReAlignConfig::new().fit(&text, &image).unwrap().align(double(&text), 0));
    let fit = |step| {
        let config =
            MemoryProjectionConfig::new().with_realigned(true).with_temperature(0.05).with_step(step);
        unit(config.fit(&text, &image).unwrap().align(double(&text), 0))
    };
    let (none, half, all) = (fit(0.0), fit(0.5), fit(1.0));
    for row in 0..50 {
        assert!(distance(&none[row], &realigned[row]) < 1e-5);
        // The middle of two unit rows, projected.
        let middle: Vec<f64> = none[row].iter().zip(&all[row]).map(|(a, b)| a + b).collect();
        let length = cosine(&middle, &middle).sqrt();
        let middle: Vec<f64> = middle.iter().map(|value| value / length).collect();
        assert!(distance(&half[row], &middle) < 1e-5);
    }
}

#[test]
fn decap_leaves_texts_and_puts_images_among_them() {
    let (text, image) = (cloud(300, 6, 5), cloud(40, 6, 6));
    let config = MemoryProjectionConfig::new().with_of(MemoryOf::Texts).with_temperature(0.02);
    let decap = config.fit(&text, &image).unwrap();
    assert!(decap.moves_images());
    for (before, after) in unit(double(&text)).iter().zip(unit(decap.align(double(&text), 0))) {
        assert!(distance(before, &after) < 1e-6);
    }
    let texts = unit(double(&text));
    let nearest = |row: &Vec<f64>| texts.iter().map(|text| cosine(row, text)).fold(-1.0, f64::max);
    let before: Vec<f64> = unit(double(&image)).iter().map(nearest).collect();
    let after: Vec<f64> = unit(decap.align_image(double(&image))).iter().map(nearest).collect();
    let mean = |cosines: &[f64]| cosines.iter().sum::<f64>() / cosines.len() as f64;
    // An image becomes a mean of texts that are near each other.
    assert!(1.0 - mean(&after) < 0.5 * (1.0 - mean(&before)), "{} {}", mean(&before), mean(&after));
}

/// Rows go through the memory in chunks of a size that depends on it.
#[test]
fn a_memory_of_a_sample_holds_as_many_rows_as_are_asked_for() {
    let (text, image) = (cloud(30, 5, 7), cloud(200, 5, 8));
    for (rows, held) in [(50, 50), (500, 200)] {
        let memory = MemoryProjectionConfig::new().with_rows(rows).fit(&text, &image).unwrap();
        assert_eq!(memory.num_params(), held * 5 + 3 + 2 + 5);
    }
    let empty = MemoryProjectionConfig::new().fit(&text, &image).unwrap();
    assert_eq!(empty.align(Tensor::zeros([0, 5], &Device::default()), 0).dims(), [0, 5]);
}

/// `E ||noise||^2` is the share of the variance that is missing, and the covariance of aligned rows comes nearer to the
/// images'.
#[test]
fn shaped_noise_fills_in_what_is_missing() {
    let (text, image) = (cloud(2000, 8, 9), cloud(2000, 8, 10));
    let realign = ReAlignConfig::new().fit(&text, &image).unwrap();
    let whole = ShapedNoiseConfig::new().with_amount(1.0).fit(&text, &image).unwrap();
    for (ours, theirs) in
        values(whole.transport(double(&text))).iter().zip(values(realign.transport(double(&text))))
    {
        assert!((ours - theirs).abs() < 1e-6);
    }
    let missing: f64 = {
        let scale = realign.scale();
        let (x, y) = (covariance(&double(&image)), covariance(&double(&text)));
        let difference: Vec<f64> = x.iter().zip(y).map(|(x, y)| x - scale * scale * y).collect();
        let eigenvalues = burn_revision::geometry::Spectrum::of(&shifted(&difference), 8, 2000).unwrap();
        eigenvalues.eigenvalues().iter().map(|value| (value - SHIFT).max(0.0)).sum()
    };
    assert!((whole.energy() - missing).abs() < 1e-6 * missing, "{} {missing}", whole.energy());
    let quarter = ShapedNoiseConfig::new().with_amount(0.25).fit(&text, &image).unwrap();
    assert!((quarter.energy() - missing / 4.0).abs() < 1e-6 * missing);
    let target = covariance(&double(&image));
    let apart = |aligner: &dyn Aligner| distance(&covariance(&aligner.align(double(&text), 3)), &target);
    assert!(apart(&whole) < 0.7 * apart(&realign), "{} {}", apart(&whole), apart(&realign));
    let one = ShapedNoiseConfig::new().with_directions(Some(1)).with_amount(1.0).fit(&text, &image).unwrap();
    assert!(one.energy() < whole.energy() && one.energy() > 0.0);
}

/// Makes a symmetric matrix positive, so that all its eigenvalues are kept.
const SHIFT: f64 = 1.0;

fn shifted(matrix: &[f64]) -> Vec<f64> {
    let mut matrix = matrix.to_vec();
    matrix.iter_mut().step_by(9).for_each(|value| *value += SHIFT);
    matrix
}

#[test]
fn noise_follows_seed_and_number_of_the_row() {
    let (text, image) = (cloud(60, 6, 11), cloud(60, 6, 12));
    let noisy = ShapedNoiseConfig::new().fit(&text, &image).unwrap();
    let whole = values(noisy.align(double(&text), 5));
    let part = double(&text).narrow(0, 20, 10);
    let numbers: Vec<u64> = (20..30).collect();
    assert!(distance(&values(noisy.align_rows(part, 5, &numbers)), &whole[20 * 6..30 * 6]) < 1e-6);
    assert_ne!(values(noisy.align(double(&text), 6)), whole);
    let still = WithNoise::new(noisy.clone(), 0.0);
    assert_eq!(values(still.align(double(&text), 5)), whole);
    let louder = std::panic::AssertUnwindSafe(|| WithNoise::new(noisy.clone(), 0.1));
    assert!(std::panic::catch_unwind(louder).is_err());
    // Rows without it would be ReAlign's.
    let error = transport_table(&noisy, &text, NonFinite::Error, &Device::default()).unwrap_err();
    assert!(error.to_string().contains("shaped_noise"), "{error}");
}

#[test]
fn both_come_back_from_files_and_refuse_what_cannot_be() {
    let (text, image) = (cloud(60, 6, 13), cloud(60, 6, 14));
    let folder = tempfile::tempdir().unwrap();
    let (path, device) = (folder.path().join("method.safetensors"), Device::default());
    let align = |aligner: &dyn Aligner| values(aligner.align(double(&text), 3));
    let memory = MemoryProjectionConfig::new().with_realigned(true).fit(&text, &image).unwrap();
    memory.save(&path).unwrap();
    assert_eq!(align(&MemoryProjection::load(&path, &device).unwrap()), align(&memory));
    let noisy = ShapedNoiseConfig::new().fit(&text, &image).unwrap();
    noisy.save(&path).unwrap();
    assert_eq!(align(&ShapedNoise::load(&path, &device).unwrap()), align(&noisy));
    assert!(matches!(MemoryProjection::load(&path, &device), Err(Error::Format { .. })));
    let refused = |error: Error, parts: [&str; 2]| {
        let error = error.to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    };
    let config = MemoryProjectionConfig::new();
    refused(config.with_temperature(0.0).fit(&text, &image).unwrap_err(), ["temperature", "0"]);
    refused(config.with_step(1.5).fit(&text, &image).unwrap_err(), ["step", "1.5"]);
    refused(config.with_rows(0).fit(&text, &image).unwrap_err(), ["rows", "0"]);
    let noise = ShapedNoiseConfig::new().with_amount(-1.0);
    refused(noise.fit(&text, &image).unwrap_err(), ["amount", "-1"]);
}

/// The methods of these names are the modules that their configs fit.
#[test]
fn rivals_by_name_are_those_of_their_configs() {
    let (text, image) = (cloud(80, 6, 15), cloud(70, 6, 16));
    let align = |aligner: &dyn Aligner| values(aligner.align(double(&text), 4));
    let by_name = |name: &str| align(name.parse::<Method>().unwrap().fit(&text, &image).unwrap().as_ref());
    let memory = MemoryProjectionConfig::new();
    assert_eq!(by_name("memory"), align(&memory.fit(&text, &image).unwrap()));
    assert_eq!(by_name("shaped-noise"), align(&ShapedNoiseConfig::new().fit(&text, &image).unwrap()));
    let capdec = WithNoise::new(Identity::new(6), 0.016_f64.sqrt());
    assert_eq!(by_name("capdec"), align(&capdec));
    let louder = "capdec".parse::<Method>().unwrap().with_sigma(0.5).fit(&text, &image).unwrap();
    assert_eq!(align(louder.as_ref()), align(&WithNoise::new(Identity::new(6), 0.5)));
    let refused = Method::CapDec { sigma: -1.0 }.fit(&text, &image).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("sigma"), "{refused}");
    let settings = serde_json::json!({ "rows": 20, "temperature": 0.1 });
    let method: Method = "memory".parse().unwrap();
    let fewer = method.with_settings(settings.as_object().unwrap()).unwrap();
    assert_eq!(fewer, Method::Memory(memory.with_rows(20).with_temperature(0.1)));
    assert!("realign".parse::<Method>().unwrap().with_settings(settings.as_object().unwrap()).is_err());
}
