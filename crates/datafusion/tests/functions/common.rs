//! Clouds of embeddings, in Parquet files for queries and in `.npy` files for the library.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn_revision::alignment::{Method, Statistics, stream};
use burn_revision::embedding::{Store, read_table};
use datafusion::arrow::array::{
    ArrayRef, AsArray, FixedSizeListArray, Float16Array, Float32Array, Float64Array, GenericListArray,
    Int64Array, RecordBatch,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Float32Type};
use datafusion::dataframe::DataFrame;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use tempfile::TempDir;

/// The dimensions of the clouds.
pub const DIM: usize = 12;

/// The types of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Float {
    Half,
    Single,
    Double,
}

/// The types of lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum List {
    Small,
    Large,
    Fixed,
}

/// Rows about a point of their own, unevenly spread; the same for the same seed.
pub fn cloud(rows: usize, seed: usize) -> Vec<f32> {
    let value = |at: usize| {
        let (row, column) = (at / DIM, at % DIM);
        let noise = ((row * 7919 + column * 104_729 + seed * 31) % 10_007) as f32 / 5003.5 - 1.0;
        noise / (1.0 + column as f32) + ((column + seed) as f32).sin() / 3.0
    };
    (0..rows * DIM).map(value).collect()
}

/// A column of lists.
pub fn lists(values: &[f32], dim: usize, float: Float, list: List) -> ArrayRef {
    let half = || values.iter().map(|&value| half::f16::from_f32(value));
    let (item, array): (_, ArrayRef) = match float {
        Float::Half => (DataType::Float16, Arc::new(Float16Array::from_iter_values(half()))),
        Float::Single => (DataType::Float32, Arc::new(Float32Array::from(values.to_vec()))),
        Float::Double => (
            DataType::Float64,
            Arc::new(Float64Array::from_iter_values(values.iter().map(|&v| f64::from(v)))),
        ),
    };
    let item = Arc::new(Field::new_list_field(item, true));
    let lengths = || std::iter::repeat_n(dim, values.len() / dim);
    match list {
        List::Small => {
            Arc::new(GenericListArray::<i32>::new(item, OffsetBuffer::from_lengths(lengths()), array, None))
        }
        List::Large => {
            Arc::new(GenericListArray::<i64>::new(item, OffsetBuffer::from_lengths(lengths()), array, None))
        }
        List::Fixed => Arc::new(FixedSizeListArray::new(item, dim as i32, array, None)),
    }
}

/// A batch of ids and embeddings.
pub fn batch(embedding: ArrayRef, first: usize) -> RecordBatch {
    let ids: ArrayRef =
        Arc::new(Int64Array::from_iter_values((first..first + embedding.len()).map(|id| id as i64)));
    RecordBatch::try_from_iter([("id", ids), ("embedding", embedding)]).unwrap()
}

/// Writes a batch as a Parquet file, in groups of a few rows.
pub fn write_parquet(batch: &RecordBatch, path: &Path) {
    let properties = datafusion::parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Writes rows as a `.npy` file.
pub fn write_npy(values: &[f32], dim: usize, float: Float, path: &Path) {
    let descr = match float {
        Float::Half => "<f2",
        Float::Single => "<f4",
        Float::Double => "<f8",
    };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}, {dim}), }}", values.len() / dim);
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut file = File::create(path).unwrap();
    file.write_all(b"\x93NUMPY\x01\x00").unwrap();
    file.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    for &value in values {
        match float {
            Float::Half => file.write_all(&half::f16::from_f32(value).to_le_bytes()),
            Float::Single => file.write_all(&value.to_le_bytes()),
            Float::Double => file.write_all(&f64::from(value).to_le_bytes()),
        }
        .unwrap();
    }
}

/// Two sets in a folder: `captions/` and `pictures/` of several Parquet files, and `captions.npy` and `pictures.npy`.
pub struct Sets {
    pub folder: TempDir,
    pub captions: Vec<f32>,
    pub pictures: Vec<f32>,
}

impl Sets {
    /// As many files as are named; rows of files differ in number.
    pub fn new(captions: usize, pictures: usize, files: usize, float: Float, list: List) -> Self {
        let sets = Self {
            folder: tempfile::tempdir().unwrap(),
            captions: cloud(captions, 1),
            pictures: cloud(pictures, 4),
        };
        for (name, values) in [("captions", &sets.captions), ("pictures", &sets.pictures)] {
            std::fs::create_dir(sets.path(name)).unwrap();
            write_npy(values, DIM, float, &sets.path(&format!("{name}.npy")));
            let rows = values.len() / DIM;
            let (mut first, mut left) = (0, rows);
            for file in 0..files {
                let share = if file + 1 == files { left } else { left / 3 };
                let part = &values[first * DIM..(first + share) * DIM];
                let path = sets.path(name).join(format!("part-{file}.parquet"));
                write_parquet(&batch(lists(part, DIM, float, list), first), &path);
                (first, left) = (first + share, left - share);
            }
        }
        sets
    }

    /// A place in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn place(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A set as a table.
    pub async fn table(&self, ctx: &SessionContext, name: &str) -> DataFrame {
        ctx.read_parquet(self.place(name), ParquetReadOptions::default()).await.unwrap()
    }

    /// Both sets as tables of a session, by their names.
    pub async fn register(&self, ctx: &SessionContext) {
        for name in ["captions", "pictures"] {
            ctx.register_parquet(name, self.place(name), ParquetReadOptions::default()).await.unwrap();
        }
    }

    /// The statistics of one pass of the library.
    pub fn fitted(&self) -> Statistics {
        let store = |name: &str| Store::open(self.path(name)).unwrap();
        let method: Method = "realign".parse().unwrap();
        stream::fit(&method, &store("captions.npy"), &store("pictures.npy"), &stream::FitOptions::default())
            .unwrap()
            .0
    }

    /// The captions as the library aligns them.
    pub fn aligned(&self, statistics: &Statistics) -> Vec<f32> {
        let output = self.path("aligned.npy");
        let options = stream::ApplyOptions { overwrite: true, ..stream::ApplyOptions::default() };
        stream::apply(statistics, &Store::open(self.path("captions.npy")).unwrap(), &output, &options)
            .unwrap();
        read_table(&output).unwrap().rows().to_vec()
    }
}

/// A session with the functions and a number of partitions.
pub fn session(partitions: usize) -> SessionContext {
    let config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_repartition_file_min_size(0)
        .with_batch_size(64);
    let ctx = SessionContext::new_with_config(config);
    burn_revision_datafusion::register(&ctx);
    ctx
}

/// The first value of a query as bytes.
pub async fn bytes(ctx: &SessionContext, query: &str) -> Vec<u8> {
    let batches = ctx.sql(query).await.unwrap().collect().await.unwrap();
    batches[0].column(0).as_binary_view().value(0).to_vec()
}

/// Rows of a column of lists of float32, one after the other.
pub fn values(batches: &[RecordBatch], column: &str) -> Vec<f32> {
    let lists = batches.iter().map(|batch| batch.column_by_name(column).unwrap());
    let floats = |list: &ArrayRef| -> Vec<f32> {
        let values = match list.data_type() {
            DataType::List(_) => list.as_list::<i32>().iter().flatten().collect::<Vec<_>>(),
            DataType::LargeList(_) => list.as_list::<i64>().iter().flatten().collect(),
            _ => list.as_fixed_size_list().iter().flatten().collect(),
        };
        values.iter().flat_map(|row| row.as_primitive::<Float32Type>().values().to_vec()).collect()
    };
    lists.flat_map(floats).collect()
}

/// Holds statistics against others: counts to the number, all else to 1e-12 of the largest value.
pub fn assert_same(found: &Statistics, expected: &Statistics) {
    assert_eq!(found.method(), expected.method());
    assert_eq!(found.report(), expected.report());
    assert_eq!(found.missing_centroid(), None);
    let moments = |statistics: &Statistics| {
        [statistics.text(), statistics.image()]
            .map(|moments| (moments.count(), moments.mean().to_vec(), moments.trace()))
    };
    for (found, expected) in moments(found).iter().zip(&moments(expected)) {
        assert_eq!(found.0, expected.0);
        assert_close(&found.1, &expected.1);
        assert_close(&[found.2], &[expected.2]);
    }
    assert_eq!(found.centroids().len(), expected.centroids().len());
    for (found, expected) in found.centroids().iter().zip(expected.centroids()) {
        assert_close(found, expected);
    }
}

fn assert_close(found: &[f64], expected: &[f64]) {
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-12 * largest, "{found} instead of {expected}");
    }
}

/// The message of an error of a query, planned or run.
pub async fn refused(ctx: &SessionContext, query: &str) -> String {
    let frame = match ctx.sql(query).await {
        Err(error) => return error.to_string(),
        Ok(frame) => frame,
    };
    frame.collect().await.expect_err(query).to_string()
}
