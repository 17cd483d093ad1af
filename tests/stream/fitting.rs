//! Statistics: of files, of many machines, and of samples.

use super::*;

#[test]
fn statistics_of_files_are_those_of_the_table() {
    let world = World::new();
    let (text, image) = (read_table(world.path("text.safetensors")), read_table(world.path("image.npy")));
    let expected = ReAlignConfig::new().fit(&text.unwrap(), &image.unwrap()).unwrap();
    let whole =
        fit(&realign(), &world.store("text.safetensors"), &world.store("image.npy"), &FitOptions::default());
    let (whole, bytes) = whole.unwrap();
    let means: Vec<f32> = whole.text().mean().iter().map(|&mean| mean as f32).collect();
    assert_eq!(means, expected.text_mean(), "to the last bit");
    for (found, expected) in whole.centroids()[0].iter().zip(&expected.centroids()[0]) {
        assert!((found - f64::from(*expected)).abs() < 1e-7);
    }
    assert_eq!(bytes.read, ((1500 * 2 + 900) * DIM * 4) as u64);
}

#[test]
fn statistics_of_many_machines_merge_to_those_of_one() {
    let world = World::new();
    let image = world.store("image.npy");
    let options = FitOptions::default();
    let expected = world.fit(realign());
    let parts = ["text/part-0.npy", "text/part-[12].npy"].map(|pattern| world.store(pattern));
    let path = world.path("merged.safetensors");
    let mut merged = fit_moments(&realign(), Some(&parts[0]), None, &options).unwrap().0;
    merged.merge(&fit_moments(&realign(), Some(&parts[1]), None, &options).unwrap().0).unwrap();
    merged.merge(&fit_moments(&realign(), None, Some(&image), &options).unwrap().0).unwrap();
    merged.save(&path).unwrap();
    assert!(merged.closed_form().is_err(), "the centroid is missing");
    let passes = parts.each_ref().map(|part| {
        let mut statistics = Statistics::load(&path).unwrap();
        fit_centroid(&mut statistics, part, &options).unwrap();
        assert!(statistics.missing_centroid().is_some());
        statistics
    });
    let [mut merged, other] = passes;
    merged.merge(&other).unwrap();
    assert_eq!(merged.missing_centroid(), None);
    assert_eq!(merged.text().count(), expected.text().count());
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-15);
    assert!(close(merged.text().mean(), expected.text().mean()));
    assert!(close(&merged.centroids()[0], &expected.centroids()[0]));
    assert!((merged.text().trace() - expected.text().trace()).abs() < 1e-15);
    assert!(merged.merge(&other).is_err(), "the same rows twice");
}

/// A setting that came back with another last digit would be another method, which does not merge with its own file.
#[test]
fn statistics_with_any_settings_come_back_as_they_were() {
    let world = World::new();
    let path = world.path("statistics.safetensors");
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config::with_cases(64));
    runner
        .run(&(0.0_f64..1.0, 1e-12_f64..1e-3), |(sigma, eps)| {
            for method in [c3(sigma / 11.0), Method::ReAlign { eps: eps / 3.0, centroid_passes: 1 }] {
                let statistics = Statistics::new(method, NonFinite::Error, 4);
                statistics.save(&path).unwrap();
                let back = Statistics::load(&path).unwrap();
                proptest::prop_assert_eq!(back.fingerprint(), statistics.fingerprint());
                proptest::prop_assert_eq!(back, statistics);
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn statistics_come_back_from_their_file_bit_for_bit() {
    let world = World::new();
    for method in [realign(), Method::MeanShift, c3(0.07), Method::CapDec { sigma: 0.07 }, Method::Identity] {
        let statistics = world.fit(method);
        let path = world.path("statistics.safetensors");
        statistics.save(&path).unwrap();
        let back = Statistics::load(&path).unwrap();
        assert_eq!(back, statistics);
        assert_eq!(back.fingerprint(), statistics.fingerprint());
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(Statistics::load(&path), Err(Error::Format { .. })), "{length} bytes");
        }
    }
}

#[test]
fn host_and_device_agree() -> Result<()> {
    let world = World::new();
    let (text, image) = (world.store("text"), world.store("image.npy"));
    let device = Compute::Device(Device::default());
    for (number, method) in [
        realign(),
        Method::ReAlign { eps: 1e-10, centroid_passes: 3 },
        Method::MeanShift,
        c3(0.1),
        Method::CapDec { sigma: 0.1 },
        Method::Identity,
    ]
    .into_iter()
    .enumerate()
    {
        let rows = [Compute::Host, device.clone()].map(|compute| {
            let options = FitOptions { compute: compute.clone(), ..FitOptions::default() };
            let (statistics, _) = fit(&method, &text, &image, &options).unwrap();
            let out = world.path(&format!("{number} {}", compute.name()));
            let options = ApplyOptions { compute, seed: 9, ..ApplyOptions::default() };
            apply(&statistics, &text, &out, &options).unwrap();
            read_table(&out).unwrap()
        });
        assert_eq!(rows[0].ids(), rows[1].ids());
        assert_close(rows[0].rows(), rows[1].rows(), 1e-6);
    }
    Ok(())
}

#[test]
fn a_sample_of_the_centroid_pass_is_close_to_all_rows() {
    let world = World::new();
    let (text, image) = (world.store("text"), world.store("image.npy"));
    let sampled = |size| {
        let options = FitOptions { centroid_sample: Some(size), ..FitOptions::default() };
        fit(&realign(), &text, &image, &options).unwrap().0
    };
    let all = world.fit(realign());
    let distance = |statistics: &Statistics| {
        let pairs = statistics.centroids()[0].iter().zip(&all.centroids()[0]);
        pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    };
    assert!(distance(&sampled(1500)) < 1e-14, "every row is in a sample of all");
    let error = distance(&sampled(300));
    assert!(error > 0.0 && error < 3.0 * (all.text().trace() / 300.0).sqrt(), "{error}");
    assert_eq!(sampled(300), sampled(300));
}

#[test]
fn a_sample_of_the_centroid_pass_that_cannot_be_drawn_is_refused() {
    let world = World::new();
    let (text, image) = (world.store("text"), world.store("image.npy"));
    for (size, policy) in
        [(0, NonFinite::Error), (text.len() + 1, NonFinite::Error), (usize::MAX, NonFinite::Skip)]
    {
        let options = FitOptions { centroid_sample: Some(size), policy, ..FitOptions::default() };
        let error = fit(&realign(), &text, &image, &options).unwrap_err();
        assert!(matches!(&error, Error::Config { key, .. } if key == "centroid-sample"), "{error}");
        let (from, found) = (format!("1 to {}", text.len()), format!("found {size}"));
        assert!(error.to_string().contains(&from) && error.to_string().contains(&found), "{error}");
    }
    // A sample whose rows are all left out has no mean.
    let mut rows = read_table(world.path("text.safetensors")).unwrap().rows().to_vec();
    rows[DIM..].fill(f32::NAN);
    rows.rotate_left(DIM);
    write_table(&EmbeddingTable::numbered(rows, DIM).unwrap(), world.path("bad.npy")).unwrap();
    let (bad, policy) = (world.store("bad.npy"), NonFinite::Skip);
    let options = FitOptions { centroid_sample: Some(1), policy, ..FitOptions::default() };
    let mut statistics = fit_moments(&realign(), Some(&text), Some(&image), &options).unwrap().0;
    let error = fit_centroid(&mut statistics, &bad, &options).unwrap_err();
    assert!(matches!(error, Error::TooFewRows { .. }), "{error}");
}

#[test]
fn a_sample_over_many_machines_is_drawn_from_all_of_them() {
    let world = World::new();
    let image = world.store("image.npy");
    let options = FitOptions { centroid_sample: Some(300), ..FitOptions::default() };
    let parts = ["text/part-0.npy", "text/part-[12].npy"].map(|pattern| world.store(pattern));
    let mut moments = fit_moments(&realign(), Some(&parts[0]), Some(&image), &options).unwrap().0;
    moments.merge(&fit_moments(&realign(), Some(&parts[1]), None, &options).unwrap().0).unwrap();
    let path = world.path("moments.safetensors");
    let [mut merged, other] = parts.each_ref().map(|part| {
        let mut statistics = moments.clone();
        fit_centroid(&mut statistics, part, &options).unwrap();
        // Through a file, as between machines.
        statistics.save(&path).unwrap();
        let statistics = Statistics::load(&path).unwrap();
        assert_eq!(statistics.missing_centroid(), Some((part.len(), 1500)), "one machine is not all of them");
        statistics
    });
    merged.merge(&other).unwrap();
    assert_eq!(merged.missing_centroid(), None);
    let all = world.fit(realign());
    let pairs = merged.centroids()[0].iter().zip(&all.centroids()[0]);
    let error = pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    assert!(error > 0.0 && error < 3.0 * (all.text().trace() / 300.0).sqrt(), "{error}");
    // Another sample does not go on with the pass of this one.
    let mut begun = other.clone();
    let whole = FitOptions::default();
    assert!(fit_centroid(&mut begun, &parts[0], &whole).unwrap_err().to_string().contains("300 rows"));
}

#[test]
fn statistics_with_more_centroids_than_passes_are_refused() {
    let world = World::new();
    let Method::ReAlign { eps, .. } = realign() else { unreachable!() };
    let statistics = world.fit(Method::ReAlign { eps, centroid_passes: 2 });
    let path = world.path("statistics.safetensors");
    statistics.save(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let place = |what: &[u8]| bytes.windows(what.len()).position(|part| part == what).unwrap();
    let passes = place(br#"centroid_passes\":2"#) + br#"centroid_passes\":"#.len();
    let mut changed = bytes.clone();
    changed[passes] = b'1';
    std::fs::write(&path, changed).unwrap();
    let error = Statistics::load(&path).unwrap_err().to_string();
    assert!(error.contains("expected at most 1, found 2"), "{error}");
}
