//! A column of embeddings: lists of floats, all of one length, read in place.

use std::borrow::Cow;

use burn_revision::embedding::{FloatType, NonFinite, RawRows};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use datafusion::arrow::buffer::{NullBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, Float16Type, Float32Type, Float64Type,
};
use datafusion::common::{Result, exec_err, plan_err};

use crate::border;

/// Refuses a column that holds no lists of floats; its float type.
pub fn check_type(column: &str, data_type: &DataType) -> Result<FloatType> {
    let item = match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            border::float(item.data_type())
        }
        _ => None,
    };
    match item {
        Some(float) => Ok(float),
        None => plan_err!(
            "column {column:?}: expected a list, large list or list of fixed size of Float16, Float32 or Float64, \
             found {data_type}"
        ),
    }
}

/// The type of aligned rows: lists of the same kind, of float32.
pub fn aligned_type(data_type: &DataType) -> DataType {
    let item = || std::sync::Arc::new(Field::new_list_field(DataType::Float32, true));
    match data_type {
        DataType::LargeList(_) => DataType::LargeList(item()),
        DataType::FixedSizeList(_, dim) => DataType::FixedSizeList(item(), *dim),
        _ => DataType::List(item()),
    }
}

/// The rows of a batch, one after the other, without those that are null.
pub struct Batch<'a> {
    bytes: Cow<'a, [u8]>,
    float: FloatType,
    dim: usize,
    /// Which rows of the batch are there, where some are null.
    pub valid: Option<NullBuffer>,
}

impl<'a> Batch<'a> {
    /// Reads a batch of a column. `dim` is the number of dimensions of the rows before, where there were some. A batch without
    /// a row that is not null is nothing.
    ///
    /// A null in place of an embedding is left out under [`NonFinite::Skip`], and a null in one is a NaN where the policy
    /// decides about those; otherwise they are errors.
    pub fn read(
        column: &str,
        array: &'a ArrayRef,
        policy: NonFinite,
        dim: Option<usize>,
    ) -> Result<Option<Self>> {
        let float = check_type(column, array.data_type())?;
        let valid = array.nulls().filter(|nulls| nulls.null_count() > 0).cloned();
        if let Some(valid) = &valid
            && policy != NonFinite::Skip
        {
            let row = (0..valid.len()).find(|&row| valid.is_null(row)).unwrap_or(0);
            return exec_err!(
                "column {column:?}: row {row} of a batch is null in place of an embedding; the policy `skip` leaves \
                 it out, found `{policy}`"
            );
        }
        if valid.as_ref().map_or(array.len(), |valid| valid.len() - valid.null_count()) == 0 {
            return Ok(None);
        }
        let is_valid = |row: usize| valid.as_ref().is_none_or(|valid| valid.is_valid(row));
        let numbers: Vec<usize> = (0..array.len()).filter(|&row| is_valid(row)).collect();
        let (values, bounds): (_, Vec<(usize, usize)>) = match array.data_type() {
            DataType::List(_) => {
                let lists = array.as_list::<i32>();
                (lists.values(), offsets(lists.value_offsets(), &numbers))
            }
            DataType::LargeList(_) => {
                let lists = array.as_list::<i64>();
                (lists.values(), offsets(lists.value_offsets(), &numbers))
            }
            _ => {
                let lists = array.as_fixed_size_list();
                let length = lists.value_length() as usize;
                (lists.values(), numbers.iter().map(|row| (row * length, (row + 1) * length)).collect())
            }
        };
        let dim = dim.unwrap_or(bounds[0].1 - bounds[0].0);
        let wrong = bounds.iter().zip(&numbers).find(|((start, end), _)| end - start != dim || dim == 0);
        if let Some(((start, end), row)) = wrong {
            let (expected, found) = (dim.max(1), end - start);
            return exec_err!(
                "column {column:?}: row {row} of a batch: expected {expected} dimensions, found {found}"
            );
        }
        let rows = Rows { column, policy, numbers, bounds, dim };
        let bytes = match float {
            FloatType::F16 => rows.bytes::<Float16Type>(values, half::f16::NAN)?,
            FloatType::F32 => rows.bytes::<Float32Type>(values, f32::NAN)?,
            _ => rows.bytes::<Float64Type>(values, f64::NAN)?,
        };
        Ok(Some(Self { bytes, float, dim, valid }))
    }

    /// The rows for the library.
    pub fn rows(&self) -> burn_revision::Result<RawRows<'_>> {
        RawRows::new(&self.bytes, self.float, self.dim)
    }

    /// The number of dimensions.
    pub fn dim(&self) -> usize {
        self.dim
    }
}

fn offsets<O: OffsetSizeTrait>(offsets: &[O], rows: &[usize]) -> Vec<(usize, usize)> {
    rows.iter().map(|&row| (offsets[row].as_usize(), offsets[row + 1].as_usize())).collect()
}

/// Where the rows of a batch lie among the values.
struct Rows<'a> {
    column: &'a str,
    policy: NonFinite,
    /// The numbers of the rows that are not null.
    numbers: Vec<usize>,
    /// Where each of them begins and ends.
    bounds: Vec<(usize, usize)>,
    dim: usize,
}

impl Rows<'_> {
    /// The bytes of the rows, one after the other: as they lie, where they do so and no value is null.
    fn bytes<'a, T: ArrowPrimitiveType>(
        &self,
        values: &'a ArrayRef,
        nan: T::Native,
    ) -> Result<Cow<'a, [u8]>> {
        let values = values.as_primitive::<T>();
        let size = size_of::<T::Native>();
        let (first, last) = (self.bounds[0].0, self.bounds[self.bounds.len() - 1].1);
        let no_null = values.null_count() == 0 || values.slice(first, last - first).null_count() == 0;
        if no_null && last - first == self.bounds.len() * self.dim {
            return Ok(Cow::Borrowed(&values.values().inner().as_slice()[first * size..last * size]));
        }
        let mut copied: Vec<T::Native> = Vec::with_capacity(self.bounds.len() * self.dim);
        for (&(start, end), row) in self.bounds.iter().zip(&self.numbers) {
            let from = copied.len();
            copied.extend_from_slice(&values.values()[start..end]);
            for at in (start..end).filter(|&at| values.is_null(at)) {
                if self.policy == NonFinite::Error {
                    let (column, value) = (self.column, at - start);
                    return exec_err!(
                        "column {column:?}: value {value} in row {row} of a batch is null, expected a number; the \
                         policies `skip` and `zero` take it for NaN"
                    );
                }
                copied[from + at - start] = nan;
            }
        }
        let bytes = ScalarBuffer::from(copied).into_inner();
        Ok(Cow::Owned(bytes.as_slice().to_vec()))
    }
}
