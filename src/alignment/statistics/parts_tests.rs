//! Statistics made of parts: of sets in batches, and of shares of a centroid pass.

use approx::assert_abs_diff_eq;

use super::*;
use crate::alignment::stream::{FitOptions, fit, fit_moments};
use crate::alignment::{Method, ReAlignConfig};
use crate::embedding::{EmbeddingTable, RawRows, Store, write_table};

fn cloud(n: usize, seed: usize) -> Vec<f32> {
    (0..n * 6).map(|at| ((at * 7919 + seed * 31) % 1009) as f32 / 504.5 - 0.3 * seed as f32).collect()
}

fn source(set: &str, rows: usize) -> Provenance {
    Provenance { set: set.into(), place: "memory".into(), files: 0, rows }
}

fn gathered(rows: &[f32], parts: usize, covariance: bool) -> SetMoments {
    let new = if covariance { SetMoments::with_covariance } else { SetMoments::new };
    let mut whole = new(NonFinite::Error, 6);
    for part in rows.chunks(rows.len() / 6 / parts * 6) {
        let mut moments = new(NonFinite::Error, 6);
        moments.update(RawRows::single(part, 6).unwrap(), "rows").unwrap();
        whole.merge(&SetMoments::from_bytes(&moments.to_bytes().unwrap(), "part").unwrap()).unwrap();
    }
    whole
}

/// In parts, out of order, and by way of bytes.
#[test]
fn parts_make_the_statistics_of_the_stream() {
    let (text, image) = (cloud(700, 1), cloud(400, 2));
    let folder = tempfile::tempdir().unwrap();
    let store = |name: &str, rows: &[f32]| {
        let path = folder.path().join(name);
        write_table(&EmbeddingTable::numbered(rows.to_vec(), 6).unwrap(), &path).unwrap();
        Store::open(&path).unwrap()
    };
    let stores = (store("text.npy", &text), store("image.npy", &image));
    let method: Method = "realign".parse().unwrap();
    let (whole, _) = fit(&method, &stores.0, &stores.1, &FitOptions::default()).unwrap();

    let mut statistics = Statistics::new(method, NonFinite::Error, 6);
    statistics.add_set(source("image", 400), &gathered(&image, 3, false)).unwrap();
    statistics.add_set(source("text", 700), &gathered(&text, 7, false)).unwrap();
    let begun = Statistics::from_bytes(&statistics.to_bytes().unwrap(), "begun").unwrap();
    assert_eq!(begun, statistics);
    for rows in text.chunks(300 * 6).rev() {
        let mut part = begun.centroid_part().unwrap();
        part.update(RawRows::single(rows, 6).unwrap(), "text").unwrap();
        assert!(statistics.missing_centroid().is_some());
        statistics.add_centroid_part(&part).unwrap();
    }
    let pairs = [
        (statistics.text().mean(), whole.text().mean()),
        (statistics.image().mean(), whole.image().mean()),
        (&statistics.centroids()[0], &whole.centroids()[0]),
    ];
    for (found, expected) in pairs {
        for (found, expected) in found.iter().zip(expected) {
            assert_abs_diff_eq!(*found, *expected, epsilon = 1e-14);
        }
    }
    assert_abs_diff_eq!(statistics.text().trace(), whole.text().trace(), epsilon = 1e-14);
    assert_eq!(statistics.report(), whole.report());
    let mut again = begun.centroid_part().map_err(|error| error.to_string()).unwrap();
    again.update(RawRows::single(&text, 6).unwrap(), "text").unwrap();
    again.update(RawRows::single(&text[..6], 6).unwrap(), "text").unwrap();
    let error = begun.clone().add_centroid_part(&again).unwrap_err().to_string();
    assert!(error.contains("expected 700, found 701"), "{error}");
    assert!(statistics.centroid_part().is_err(), "no pass is missing any more");
}

#[test]
fn covariances_are_gathered_and_left_out_where_the_method_has_no_use_for_them() {
    let rows = cloud(500, 3);
    let covariance = gathered(&rows, 4, true);
    let mut whitening = Statistics::new("whitening".parse().unwrap(), NonFinite::Error, 6);
    let error = whitening.add_set(source("text", 500), &gathered(&rows, 1, false)).unwrap_err();
    assert!(error.to_string().contains("whitening needs covariances"), "{error}");
    whitening.add_set(source("text", 500), &covariance).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.npy");
    write_table(&EmbeddingTable::numbered(rows.clone(), 6).unwrap(), &path).unwrap();
    let store = Store::open(&path).unwrap();
    let method = whitening.method();
    let (whole, _) = fit_moments(&method, Some(&store), None, &FitOptions::default()).unwrap();
    let pairs = [whitening.text(), whole.text()].map(|moments| moments.covariance().unwrap());
    for (found, expected) in pairs[0].iter().zip(&pairs[1]) {
        assert_abs_diff_eq!(*found, *expected, epsilon = 1e-14);
    }

    let mut realign = Statistics::new("realign".parse().unwrap(), NonFinite::Error, 6);
    realign.add_set(source("text", 500), &covariance).unwrap();
    assert_eq!(realign.text().covariance(), None);
    assert_eq!(realign.text().mean(), covariance.moments().mean());
}

#[test]
fn what_does_not_fit_is_refused_with_both_values() {
    let mut moments = SetMoments::new(NonFinite::Error, 6);
    let rows = [1.0_f32; 4];
    let error = moments.update(RawRows::single(&rows, 4).unwrap(), "captions").unwrap_err().to_string();
    assert!(error.contains("captions") && error.contains("expected 6, found 4"), "{error}");
    let error = moments.merge(&SetMoments::new(NonFinite::Skip, 6)).unwrap_err().to_string();
    assert!(error.contains("expected the policy error, found skip"), "{error}");
    assert!(moments.merge(&SetMoments::new(NonFinite::Error, 5)).is_err());
    assert!(moments.merge(&SetMoments::with_covariance(NonFinite::Error, 6)).is_err());

    let mut statistics = Statistics::new(Method::MeanShift, NonFinite::Error, 6);
    let error = statistics.add_set(source("audio", 0), &moments).unwrap_err().to_string();
    assert!(error.contains("expected text or image, found \"audio\""), "{error}");
    let error = statistics.centroid_part().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("mean-shift has no centroid pass"), "{error}");
    let bytes = moments.to_bytes().unwrap();
    for length in 0..bytes.len() {
        assert!(SetMoments::from_bytes(&bytes[..length], "cut off").is_err(), "{length} bytes");
    }
    let error = SetMoments::from_bytes(&statistics.to_bytes().unwrap(), "column").unwrap_err().to_string();
    assert!(error.contains("column: no moments of a set"), "{error}");
}

#[test]
fn rows_that_are_left_out_are_counted_and_named_by_their_number() {
    let mut rows = cloud(10, 1);
    rows[6 * 7 + 2] = f32::NAN;
    let (first, second) = rows.split_at(6 * 5);
    let mut strict = SetMoments::new(NonFinite::Error, 6);
    strict.update(RawRows::single(first, 6).unwrap(), "captions").unwrap();
    let error = strict.update(RawRows::single(second, 6).unwrap(), "captions").unwrap_err().to_string();
    assert!(error.contains("captions: row 7, column 2 is NaN"), "{error}");
    let mut lenient = SetMoments::new(NonFinite::Skip, 6);
    lenient.update(RawRows::single(&rows, 6).unwrap(), "captions").unwrap();
    assert_eq!((lenient.rows().rows, lenient.rows().kept, lenient.moments().count()), (10, 9, 9));
}

#[test]
fn blocks_are_aligned_to_the_bits_of_the_whole() {
    let (text, image) = (cloud(300, 1), cloud(200, 2));
    let raw = |rows| RawRows::single(rows, 6).unwrap();
    let realign = ReAlignConfig::new().fit(raw(&text), raw(&image)).unwrap();
    let form = crate::alignment::Aligner::closed_form(&realign).unwrap();
    let (mut whole, mut blocks) = (vec![0.0; text.len()], vec![0.0; text.len()]);
    form.align_into(raw(&text), NonFinite::Error, 0, &mut whole).unwrap();
    for (rows, out) in text.chunks(6 * 37).zip(blocks.chunks_mut(6 * 37)) {
        form.align_block(raw(rows), NonFinite::Error, "text", out).unwrap();
    }
    assert_eq!(whole, blocks);
}
