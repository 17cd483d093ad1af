//! Methods that need covariances, or a sample of rows, file to file.

use super::*;
use burn_revision::alignment::stream::fit_sample;
use burn_revision::alignment::{AnisoAlignConfig, align_table};

/// AnisoAlign, trained for as long as a test needs.
fn anisoalign() -> Method {
    Method::AnisoAlign(
        AnisoAlignConfig::new()
            .with_rank(Some(8))
            .with_score_steps(20)
            .with_refiner_steps(20)
            .with_batch(64)
            .with_learning_rate(1e-2),
    )
}

/// A method of the name, with a memory of fewer rows than there are.
fn named(name: &str) -> Method {
    match name.parse::<Method>().unwrap() {
        Method::Memory(config) => Method::Memory(config.with_rows(200).with_temperature(0.05)),
        method => method,
    }
}

fn methods() -> [Method; 8] {
    let names =
        ["whitening", "gaussian-ot", "blockwise", "memory", "realign-memory", "decap", "shaped-noise"];
    let [a, b, c, d, e, f, g] = names.map(named);
    [a, b, c, anisoalign(), d, e, f, g]
}

#[test]
fn files_are_aligned_as_tables_are() {
    let world = World::new();
    let (text, image) = (read_table(world.path("text.safetensors")), read_table(world.path("image.npy")));
    let (text, image) = (text.unwrap(), image.unwrap());
    for method in methods() {
        // Shards are sampled as the whole is, so that the networks are the same.
        let aligner = method.fit(&text, &image).unwrap();
        let (expected, _) =
            align_table(aligner.as_ref(), &text, NonFinite::Error, 0, &Device::default()).unwrap();
        let statistics = world.fit(method);
        for compute in [Compute::Host, Compute::Device(Device::default())] {
            let out = world.path(&format!("{method} {}", compute.name()));
            let options = ApplyOptions { compute, ..ApplyOptions::default() };
            apply(&statistics, &world.store("text"), &out, &options).unwrap();
            let found = read_table(&out).unwrap();
            assert_eq!(found.ids(), expected.ids());
            assert_close(found.rows(), expected.rows(), 5e-5);
        }
    }
}

#[test]
fn results_depend_neither_on_threads_nor_on_interruptions() {
    let world = World::new();
    let (text, image) = (world.store("text"), world.store("image.npy"));
    for method in methods() {
        let whole = world.fit(method);
        let written = [1, 3].map(|threads| {
            let options = FitOptions { threads: Some(threads), ..FitOptions::default() };
            let (statistics, _) = fit(&method, &text, &image, &options).unwrap();
            // A fit that was broken off is done again, and comes to the same networks to the bit.
            assert!(statistics == whole, "{method}");
            let out = world.path(&format!("{method} {threads}"));
            std::fs::create_dir(&out).unwrap();
            let options = ApplyOptions { threads: Some(threads), ..ApplyOptions::default() };
            apply(&statistics, &text, &out, &options).unwrap();
            contents(&out)
        });
        assert!(written[0] == written[1], "{method}");
    }
}

#[test]
fn covariances_of_many_machines_merge_to_those_of_one() {
    let world = World::new();
    let image = world.store("image.npy");
    let options = FitOptions::default();
    let parts = ["text/part-0.npy", "text/part-[12].npy"].map(|pattern| world.store(pattern));
    let path = world.path("merged.safetensors");
    for method in methods() {
        let expected = world.fit(method);
        let mut merged = fit_moments(&method, Some(&parts[0]), None, &options).unwrap().0;
        merged.merge(&fit_moments(&method, Some(&parts[1]), None, &options).unwrap().0).unwrap();
        merged.merge(&fit_moments(&method, None, Some(&image), &options).unwrap().0).unwrap();
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-14);
        let covariance = |statistics: &Statistics| match method.needs_covariance() {
            true => statistics.text().covariance().unwrap(),
            false => vec![statistics.text().trace()],
        };
        assert!(close(&covariance(&merged), &covariance(&expected)));
        if merged.lacks_sample() {
            assert!(merged.init(&Device::default()).is_err(), "{method}: a part is missing");
            fit_sample(&mut merged, &world.store("text"), &image, &options).unwrap();
        }
        while merged.missing_centroid().is_some() {
            merged.save(&path).unwrap();
            let [mut first, second] = parts.each_ref().map(|part| {
                let mut statistics = Statistics::load(&path).unwrap();
                fit_centroid(&mut statistics, part, &options).unwrap();
                // Through a file, as between machines.
                let part = world.path("part.safetensors");
                statistics.save(&part).unwrap();
                Statistics::load(&part).unwrap()
            });
            first.merge(&second).unwrap();
            merged = first;
        }
        let align = |statistics: &Statistics| {
            let text = read_table(world.path("text.safetensors")).unwrap();
            let aligner = statistics.init(&Device::default()).unwrap();
            align_table(aligner.as_ref(), &text, NonFinite::Error, 0, &Device::default()).unwrap().0
        };
        assert_close(align(&merged).rows(), align(&expected).rows(), 1e-5);
    }
}

#[test]
fn statistics_with_covariances_come_back_from_their_file() {
    let world = World::new();
    let path = world.path("statistics.safetensors");
    for method in methods() {
        let statistics = world.fit(method);
        statistics.save(&path).unwrap();
        let back = Statistics::load(&path).unwrap();
        assert_eq!(back, statistics);
        assert_eq!(back.fingerprint(), statistics.fingerprint());
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(bytes.len() / 50) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(Statistics::load(&path), Err(Error::Format { .. })), "{length} bytes");
        }
    }
}

/// The names of tensors in the header of a file of statistics, changed.
fn with_renamed(world: &World, from: &str, to: &str) -> String {
    let path = world.path("statistics.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
    bytes[place..place + from.len()].copy_from_slice(to.as_bytes());
    std::fs::write(&path, bytes).unwrap();
    Statistics::load(&path).unwrap_err().to_string()
}

#[test]
fn files_that_lack_a_part_are_refused() {
    let world = World::new();
    let path = world.path("statistics.safetensors");
    world.fit("whitening".parse().unwrap()).save(&path).unwrap();
    let error = with_renamed(&world, "text_scatter", "next_scatter");
    assert!(error.contains("text_scatter") && error.contains("whitening"), "{error}");
    world.fit(anisoalign()).save(&path).unwrap();
    let error = with_renamed(&world, "anisoalign.frame", "anisoalign.flame");
    assert!(error.contains("no statistic \"frame\""), "{error}");
    world.fit(named("memory")).save(&path).unwrap();
    let error = with_renamed(&world, "sample.memory", "sample.nemory");
    assert!(error.contains("no rows of the memory"), "{error}");
}

/// DeCap leaves texts and moves images, and so does what it writes.
#[test]
fn images_are_written_as_decap_moves_them() {
    let world = World::new();
    let (statistics, image) = (world.fit(named("decap")), world.store("image.npy"));
    let out = world.path("moved.npy");
    apply_images(&statistics, &image, &out, &ApplyOptions::default()).unwrap();
    let device = Device::default();
    let rows = image.read_table().unwrap().tensor(&device);
    let expected = statistics.init(&device).unwrap().align_image(rows).into_data();
    assert_close(read_table(&out).unwrap().rows(), &expected.try_into_vec::<f32>().unwrap(), 1e-6);
    let memory = world.fit(named("memory"));
    assert!(apply_images(&memory, &image, &out, &ApplyOptions::default()).is_err(), "images stay");
}
