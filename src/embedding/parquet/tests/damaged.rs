use std::fs;

use proptest::prelude::*;

use super::*;

/// Opens `bytes` as a file and reads all of it: the error, if any, names the file.
fn read_all(path: &Path, bytes: &[u8]) -> Result<usize> {
    fs::write(path, bytes).unwrap();
    let checked = |error: Error| {
        assert!(!cause(path, clone(&error)).is_empty());
        error
    };
    let shard = ParquetShard::open(path, &StoreOptions::default()).map_err(checked)?;
    let from_the_middle = bytes_from(&shard, shard.rows() / 2, 3).map(drop);
    let told = records(&shard).map(drop);
    bytes_from(&shard, 0, 2).map_err(checked)?;
    told.map_err(checked)?;
    from_the_middle.map_err(checked)?;
    Ok(shard.rows())
}

fn clone(error: &Error) -> Error {
    match error {
        Error::Format { path, detail } => Error::Format { path: path.clone(), detail: detail.clone() },
        other => panic!("expected a format error, found {other:?}"),
    }
}

fn refused(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.parquet");
    cause(&path, read_all(&path, bytes).unwrap_err())
}

#[test]
fn an_empty_file_and_one_of_another_kind_are_refused() {
    assert_eq!(refused(b""), "the file is empty");
    for bytes in [b"PAR1".as_slice(), b"PAR1PAR1", b"{\"id\": \"a\"}\n{\"id\": \"b\"}\n", &[0; 100]] {
        assert!(!refused(bytes).is_empty());
    }
}

#[test]
fn every_beginning_of_a_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.parquet");
    for name in ["list_f32", "fixed_f32", "fixed_f16"] {
        let whole = fs::read(corpus(name)).unwrap();
        assert_eq!(read_all(&path, &whole).unwrap(), ROWS);
        for length in 0..whole.len() {
            assert!(read_all(&path, &whole[..length]).is_err(), "{name}: {length} of {} bytes", whole.len());
        }
    }
}

#[test]
fn a_page_that_claims_a_huge_size_is_refused_before_memory_is_reserved() {
    let mut bytes = fs::read(corpus("only_embedding")).unwrap();
    // A page header says the type of the page, then its size: a mark before each, and seven bits a byte.
    let start = open("only_embedding").first_page(0);
    assert_eq!((bytes[start], bytes[start + 2]), (0x15, 0x15));
    let size = start + 3;
    let end = size + bytes[size..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
    bytes.splice(size..end, [0xfe, 0xff, 0xff, 0xff, 0x0f]);
    assert!(refused(&bytes).contains("claims that its"));
}

#[test]
fn every_changed_byte_is_an_error_or_goes_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.parquet");
    let whole = fs::read(corpus("list_f16")).unwrap();
    let mut causes = Vec::new();
    for place in 0..whole.len() {
        for byte in [0, 71, 255] {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            causes.extend(read_all(&path, &bytes).err().map(|error| cause(&path, error)));
        }
    }
    assert!(causes.iter().any(|cause| cause.contains("the file is damaged")), "the library panics no more");
}

fn names() -> impl Strategy<Value = &'static str> {
    let names =
        ["list_f16", "list_f32", "list_f64", "large_list_f64", "fixed_f16", "fixed_f32", "fixed_f64_split"];
    prop::sample::select([names.as_slice(), &["kinds", "pandas", "only_embedding", "no_rows_fixed"]].concat())
}

/// Changes of single bytes, most of them in the footer, where one byte has most to say.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, bool, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Damage is an error or goes unseen (a changed letter of a caption is another caption), and never a panic.
    #[test]
    fn changed_bytes_never_panic(name in names(), changes in changes()) {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = fs::read(corpus(name)).unwrap();
        let length = bytes.len();
        let footer = u32::from_le_bytes(bytes[length - 8..length - 4].try_into().unwrap()) as usize + 8;
        for (index, in_footer, byte) in changes {
            let start = if in_footer { length - footer } else { 0 };
            bytes[start + index.index(length - start)] = byte;
        }
        let _ = read_all(&folder.path().join("changed.parquet"), &bytes);
    }
}
