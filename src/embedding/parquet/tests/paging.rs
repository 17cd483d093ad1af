//! Parts of a file, read in any order.

use std::fs::File;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::file::properties::WriterProperties;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, ListArray, RecordBatch};

use super::*;

/// A file of `rows` rows of `DIM` values in many small pages and three row groups.
fn write(path: &Path, rows: usize, dictionary: bool, index: bool) {
    let values = |row: usize| expected(row).into_iter().map(|value| Some(value as f32));
    let lists = ListArray::from_iter_primitive::<Float32Type, _, _>((0..rows).map(|row| Some(values(row))));
    let batch = RecordBatch::try_from_iter([("embed", Arc::new(lists) as ArrayRef)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows.div_ceil(3)))
        .set_data_page_row_count_limit(5)
        .set_write_batch_size(4)
        .set_dictionary_enabled(dictionary)
        .set_compression(Compression::SNAPPY)
        .set_offset_index_disabled(!index)
        .set_statistics_enabled(::parquet::file::properties::EnabledStatistics::None)
        .build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// Opens a file and reads its parts from the last to the first.
fn read_parts(path: &Path) -> Result<(ParquetShard, usize)> {
    let shard = ParquetShard::open(path, &StoreOptions::default())?;
    let pages = shard.pages()?;
    let (mut end, mut parts, mut bytes) = (shard.rows(), 0, Vec::new());
    while end > 0 {
        let part = pages.part(end - 1);
        assert!(!part.is_empty() && part.end == end, "{part:?} before {end}");
        let file = File::open(path).unwrap();
        let read = shard.rows_of_pages(&pages, part.clone(), file)?.read(part.len(), &mut bytes)?;
        assert_eq!(read, part.len());
        if decode(shard.float(), &bytes) != part.clone().flat_map(expected).collect::<Vec<_>>() {
            return Err(Error::format(path, format!("rows {part:?} hold other values")));
        }
        (end, parts) = (part.start, parts + 1);
    }
    Ok((shard, parts))
}

#[test]
fn parts_are_pages_where_there_is_an_index_and_else_pieces_of_groups() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    for dictionary in [false, true] {
        for (index, least) in [(true, 12), (false, 3)] {
            write(&path, 60, dictionary, index);
            let (shard, parts) = read_parts(&path).unwrap();
            assert_eq!((shard.rows(), shard.pages().unwrap().is_indexed()), (60, index));
            assert!(parts == 3 || index && parts >= least, "{parts} parts");
        }
    }
}

#[test]
fn an_index_that_is_damaged_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write(&path, 30, false, true);
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for place in 0..whole.len() {
        for byte in [0, 71, 255] {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            std::fs::write(&path, bytes).unwrap();
            refused += usize::from(read_parts(&path).is_err());
        }
    }
    assert!(refused > 0);
}
