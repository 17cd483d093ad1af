//! What is read and what is kept in memory stays small, however large the files are.

use super::*;
#[cfg(feature = "parquet")]
use crate::embedding::StoreOptions;

/// Bytes that this thread has read so far.
#[cfg(target_os = "linux")]
fn bytes_read() -> u64 {
    let counts = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let count = counts.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap();
    count.parse().unwrap()
}

#[test]
fn an_id_takes_24_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.npy");
    write(&path, FloatType::F16, Some(&names("a rather long id of an image ", 5000)), &vec![1.0; 5000], 1);
    assert_eq!(open(&path).unwrap().ids.bytes(), 24 * 5000);
}

/// A file of 64 GiB of which the disk holds a few pages: rows at its end are read as fast as any, and nothing else is.
#[cfg(target_os = "linux")]
#[test]
fn only_rows_that_are_asked_for_are_read() {
    const DIM: usize = 1280;
    const ROWS: usize = (64 << 30) / (2 * DIM);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.npy");
    let output = MatrixOutput::create(&path, Format::Npy, FloatType::F16, DIM, false).unwrap();
    let asked = [ROWS - 1, 0, ROWS / 2, ROWS / 2 + 1];
    let expected: Vec<Vec<f32>> = (0..4).map(|seed| values(seed, 1, DIM)).collect();
    for (row, values) in asked.iter().zip(&expected) {
        let mut bytes = Vec::new();
        encode(values, FloatType::F16, &mut bytes);
        output.write(*row, &bytes).unwrap();
    }
    output.finish(ROWS, None, false).unwrap();
    let before = bytes_read();
    let lookup = open(&path).unwrap();
    assert!(bytes_read() - before < 200 << 10, "opening reads the header and both ends");
    assert_eq!(lookup.position(&(ROWS - 1).to_string()), Some(ROWS - 1));
    let mut out = vec![0.0; 4 * DIM];
    let before = bytes_read();
    lookup.read(&asked, &mut out).unwrap();
    let read = bytes_read() - before;
    assert_eq!(out, expected.concat());
    assert!(read >= 4 * 2 * DIM as u64 && read < 4 * 2 * DIM as u64 + 1000, "{read} bytes for four rows");
}

#[cfg(all(target_os = "linux", feature = "parquet"))]
mod parquet {
    use super::*;
    use crate::embedding::parquet::ParquetShard;

    const DIM: usize = 512;
    const ROWS: usize = 30_000;

    #[test]
    fn a_row_of_a_parquet_file_costs_its_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let values = values(1, ROWS, DIM);
        write(&path, FloatType::F16, None, &values, DIM);
        let shard = ParquetShard::open(&path, &StoreOptions::default()).unwrap();
        let (pages, row_bytes) = (shard.pages().unwrap(), 2 * DIM);
        assert!(pages.is_indexed(), "our own files have an index");
        let lookup = open(&path).unwrap().with_cache(2 << 20);
        let mut out = [0.0; DIM];
        for row in [ROWS - 1, 12_345, 0] {
            let page = pages.part(row);
            assert!(page.len() * row_bytes <= 4 << 20, "{page:?}");
            let before = bytes_read();
            lookup.read(&[row], &mut out).unwrap();
            let read = bytes_read() - before;
            assert_eq!(out, values[row * DIM..(row + 1) * DIM]);
            assert!(read < (2 * page.len() * row_bytes + (64 << 10)) as u64, "{read} bytes for {page:?}");
            let before = bytes_read();
            lookup.read(&[row], &mut out).unwrap();
            assert!(bytes_read() - before < 1000, "the page is kept");
        }
        let rows: Vec<usize> = (0..ROWS).rev().step_by(97).collect();
        let mut out = vec![0.0; rows.len() * DIM];
        lookup.read(&rows, &mut out).unwrap();
        for (row, out) in rows.iter().zip(out.chunks(DIM)) {
            assert_eq!(out, &values[row * DIM..(row + 1) * DIM]);
        }
        assert!(lookup.reader.cached_bytes() <= 2 << 20);
    }
}
