//! Archives that are cut off, changed or not what they say.

use super::super::read as read_arrays;
use super::*;

#[test]
fn a_truncated_archive_is_an_error_wherever_it_ends() {
    for name in ["f16.bin", "deflated.bin"] {
        let whole = fs::read(fixture(name)).unwrap();
        // All ends within the directory at the end, and some of the others.
        for end in (0..whole.len()).filter(|end| end % 17 == 0 || end + 150 > whole.len()) {
            assert!(matches!(read(&whole[..end]), Err(Error::Format { .. })), "{name}, {end} bytes");
        }
    }
}

#[test]
fn a_changed_value_does_not_fit_its_checksum() {
    for name in ["f32.bin", "checkpoint.bin", "strided.bin"] {
        let mut bytes = fs::read(fixture(name)).unwrap();
        let arrays = read(&bytes).unwrap();
        let stored: Vec<u8> = match name {
            "checkpoint.bin" => burn::tensor::f16::from_f32(arrays[0].values[5]).to_le_bytes().to_vec(),
            _ => arrays[0].values[..1].iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let at = bytes.windows(stored.len()).rposition(|window| window == stored).unwrap();
        bytes[at] ^= 1;
        let error = error_of(&bytes);
        assert!(error.contains("/data/") && error.contains("checksum"), "{error}");
    }
}

#[test]
fn archives_are_checked_before_they_are_believed() {
    let pickle = dict(&[tensor("FloatStorage", "0", 6, 0, &[6], &[1])]);
    let stored = CompressionMethod::Stored;
    let zip = |entries: &[(&str, &[u8])]| error_of(&archive(entries, stored));
    assert!(zip(&[("a/other", b"")]).contains("expected one entry NAME/data.pkl, found 0"));
    assert!(zip(&[("data.pkl", b""), ("a/b/data.pkl", b"")]).contains("found 0"));
    assert!(zip(&[("a/data.pkl", &pickle), ("b/data.pkl", &pickle)]).contains("found 2"));
    let order = zip(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 24]), ("a/byteorder", b"middle")]);
    assert!(order.contains("byteorder: expected little or big, found \"middle\""), "{order}");
    assert!(
        zip(&[("a/data.pkl", &pickle), ("a/byteorder", &[b' '; 17])]).contains("at most 16 bytes, found 17")
    );
    assert!(error_of(b"").contains("no zip archive"));
    assert!(error_of(b"\x80\x02}.").contains("no zip archive"));

    // The size that the directory at the end declares, in an archive of a stored or deflated entry.
    for (method, expected) in [
        (stored, "a/data/0: declares 1000000 bytes, and 24 hold at most 24"),
        (CompressionMethod::Deflated, "a/data/0: declares 1000000 bytes, and "),
    ] {
        let mut bytes = archive(&[("a/data.pkl", &pickle), ("a/data/0", &[7; 24])], method);
        let entry = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
        bytes[entry + 24..entry + 28].copy_from_slice(&1_000_000_u32.to_le_bytes());
        let error = error_of(&bytes);
        assert!(error.contains(expected), "{error}");
        // A little more than there is.
        bytes[entry + 24..entry + 28].copy_from_slice(&28_u32.to_le_bytes());
        assert!(read(&bytes).is_err());
    }
}

#[test]
fn entries_upon_each_other_are_refused() {
    let values = [0_u8; 4000];
    let part = |key| tensor("FloatStorage", key, 1000, 0, &[1000], &[1]);
    let pickle = dict(&[part("0"), part("1"), part("2"), part("3")]);
    let mut bytes = archive(
        &[
            ("a/data.pkl", &pickle),
            ("a/data/0", &values),
            ("a/data/1", b""),
            ("a/data/2", b""),
            ("a/data/3", b""),
        ],
        CompressionMethod::Stored,
    );
    // All four entries of the directory become those of the first storage but for their names.
    let places: Vec<usize> = (0..bytes.len() - 4).filter(|at| &bytes[*at..at + 4] == b"PK\x01\x02").collect();
    let first: Vec<u8> = bytes[places[1]..places[1] + 46].to_vec();
    for place in &places[2..] {
        bytes[*place..place + 46].copy_from_slice(&first);
    }
    let error = error_of(&bytes);
    assert!(error.contains("a/data/1: with it, entries have "), "{error}");
}

#[test]
fn names_are_chosen_before_any_values_are_read() {
    let entry = join(&[&text("lm_head.weight"), &tensor("FloatStorage", "99", 6, 0, &[6], &[1])]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.bin");
    fs::write(&path, with_storage(&join(&[b"\x80\x02}(", &entry, b"u."]))).unwrap();
    let refuse = |names: &[&str]| Err(Error::config("names", format!("{names:?}")));
    assert_eq!(read_arrays(&path, refuse).unwrap_err().to_string(), "names: [\"lm_head.weight\"]");
    assert!(read_arrays(&path, |_| Ok(Vec::new())).unwrap().is_empty());
    fs::write(&path, with_storage(b"\x80\x02}.")).unwrap();
    assert_eq!(read_arrays(&path, refuse).unwrap_err().to_string(), "names: []");
}
