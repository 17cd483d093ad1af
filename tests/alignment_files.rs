//! Fitted methods survive their files bit for bit, and broken files are errors that name themselves.

mod alignment_clouds;

use std::path::Path;

use alignment_clouds::statistics;
use approx::assert_abs_diff_eq;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_revision::alignment::{
    Aligner, C3, C3Config, C3Variant, MeanShift, MeanShiftConfig, ReAlign, ReAlignConfig,
};
use burn_revision::{Error, Result};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

fn rows(n: usize, dim: usize, seed: u64) -> Tensor<2> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let values: Vec<f32> = (0..n * dim).map(|_| rng.random::<f32>() - 0.3).collect();
    Tensor::<1>::from_floats(values.as_slice(), &Device::default()).reshape([n, dim])
}

fn realign(dim: usize, passes: usize) -> ReAlign {
    ReAlignConfig::new().with_centroid_passes(passes).fit(rows(30, dim, 1), rows(40, dim, 2)).unwrap()
}

/// As a Burn record where the name ends in `.bpk`, which earlier versions wrote too; else as the method's own file.
fn write<M: Module>(method: &M, path: &Path, save: impl Fn(&M, &Path) -> Result<()>) {
    match path.extension().is_some_and(|extension| extension == "bpk") {
        true => method.clone().save_file(path).unwrap(),
        false => save(method, path).unwrap(),
    }
}

fn bits(rows: Tensor<2>) -> Vec<u32> {
    rows.into_data().try_into_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

#[test]
fn realign_comes_back_from_the_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::default();
    for (dim, passes) in [(1, 1), (5, 1), (8, 3)] {
        let realign = realign(dim, passes);
        for name in ["a.safetensors", "a.bpk", "a"] {
            let path = folder.path().join(name);
            write(&realign, &path, |method, path| method.save(path));
            let back = ReAlign::load(&path, &device).unwrap();
            assert_eq!((back.dim(), back.centroid_passes()), (dim, passes));
            assert_eq!(statistics(&back), statistics(&realign));
            assert_eq!(bits(back.forward(rows(9, dim, 3))), bits(realign.forward(rows(9, dim, 3))));
        }
        let path = folder.path().join("other.name");
        realign.save(&path).unwrap();
        assert_eq!(statistics(&ReAlign::load(&path, &device).unwrap()), statistics(&realign));
    }
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with(".partial"), "{name} is left over");
    }
}

#[test]
fn realign_passes_through_the_records_of_burn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("realign.bpk");
    let (fitted, other) = (realign(6, 2), ReAlignConfig::new().with_centroid_passes(2));
    fitted.clone().save_file(&path).unwrap();
    assert_eq!(statistics(&ReAlign::load(&path, &Device::default()).unwrap()), statistics(&fitted));
    let other = other.fit(rows(10, 6, 7), rows(10, 6, 8)).unwrap();
    assert_ne!(statistics(&other), statistics(&fitted));
    assert_eq!(statistics(&other.load_file(&path)), statistics(&fitted));
}

#[test]
fn the_scale_keeps_its_float64_digits() {
    let fitted = statistics(&ReAlignConfig::new().fit(rows(30, 5, 1), rows(40, 5, 2)).unwrap());
    let expected = (fitted.image_trace / (fitted.text_trace + 1e-10)).sqrt();
    assert_abs_diff_eq!(fitted.scale, expected, epsilon = 1e-13);
    assert_ne!(fitted.scale, f64::from(fitted.scale as f32), "a scale that float32 holds shows nothing");
}

#[test]
fn mean_shift_and_c3_come_back_with_their_settings() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::default();
    let (text, image) = (rows(30, 5, 1), rows(40, 5, 2));
    for name in ["a.safetensors", "a.bpk"] {
        let path = folder.path().join(name);
        let shift = MeanShiftConfig::new().fit(text.clone(), image.clone()).unwrap();
        write(&shift, &path, |method, path| method.save(path));
        let back = MeanShift::load(&path, &device).unwrap();
        assert_eq!(bits(back.forward(text.clone())), bits(shift.forward(text.clone())));
        for variant in [C3Variant::Shifted, C3Variant::ZeroMean] {
            let config = C3Config::new().with_variant(variant).with_sigma(0.1 + 0.2);
            let c3 = config.fit(text.clone(), image.clone()).unwrap();
            write(&c3, &path, |method, path| method.save(path));
            let back = C3::load(&path, &device).unwrap();
            assert_eq!(back.variant(), variant);
            assert_abs_diff_eq!(back.noise(), 0.3, epsilon = 1e-14);
            assert_eq!(bits(back.align(text.clone(), 4)), bits(c3.align(text.clone(), 4)));
            assert_eq!(bits(back.align_image(image.clone())), bits(c3.align_image(image.clone())));
            assert!(
                matches!(MeanShift::load(&path, &device), Err(Error::Format { .. })),
                "a C3 is no mean shift"
            );
        }
    }
}

fn assert_format_error<T>(result: Result<T>, path: &Path) {
    match result {
        Err(Error::Format { path: named, detail }) => {
            assert_eq!(named, path);
            assert!(!detail.is_empty());
        }
        Err(other) => panic!("expected a format error, found {other}"),
        Ok(_) => panic!("expected a format error, found a module"),
    }
}

#[test]
fn files_cut_off_anywhere_are_errors_and_no_panics() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::default();
    for name in ["a.safetensors", "a.bpk"] {
        let path = folder.path().join(name);
        write(&realign(4, 1), &path, |method, path| method.save(path));
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_format_error(ReAlign::load(&path, &device), &path);
        }
        std::fs::write(&path, vec![0xA5; whole.len()]).unwrap();
        assert_format_error(ReAlign::load(&path, &device), &path);
        let other = MeanShiftConfig::new().fit(rows(30, 5, 1), rows(40, 5, 2)).unwrap();
        write(&other, &path, |method, path| method.save(path));
        assert_format_error(ReAlign::load(&path, &device), &path);
    }
    let missing = folder.path().join("missing.safetensors");
    assert!(matches!(ReAlign::load(&missing, &device), Err(Error::Io { .. })));
}

#[test]
fn statistics_that_are_not_finite_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    realign(4, 1).save(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    assert_format_error(ReAlign::load(&path, &Device::default()), &path);
}
