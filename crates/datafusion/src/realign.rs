//! `realign`: the map.

use std::sync::Arc;

use burn_revision::alignment::{ClosedForm, Statistics};
use burn_revision::embedding::NonFinite;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array, GenericListArray, OffsetSizeTrait,
    new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::concat;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use crate::argument;
use crate::border;
use crate::centroid::realign_statistics;
use crate::embedding::{Batch, aligned_type, check_type};

/// The name of the function.
const NAME: &str = "realign";

/// `realign(embedding, statistics)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Realign {
    signature: Signature,
}

impl Realign {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Realign {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        argument::check_count(NAME, "(embedding, statistics)", 2..=2, types.len())?;
        Ok(vec![types[0].clone(), argument::opaque(NAME, "statistics", &types[1])?])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        check_type("embedding", &types[0])?;
        Ok(aligned_type(&types[0]))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let embedding = &args.arg_fields[0];
        check_type(embedding.name(), embedding.data_type())?;
        Ok(Field::new(NAME, aligned_type(embedding.data_type()), true).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let column = args.arg_fields.first().map_or("embedding", |field| field.name());
        let scalar = matches!(&args.args[0], ColumnarValue::Scalar(_));
        let rows = args.args[0].to_array(if scalar { 1 } else { args.number_rows })?;
        match &args.args[1] {
            ColumnarValue::Scalar(value) => {
                let bytes = match value {
                    ScalarValue::BinaryView(bytes) => bytes.as_deref(),
                    other => {
                        return exec_err!("{NAME}: expected statistics as a binary value, found {other:?}");
                    }
                };
                if rows.is_empty() {
                    return Ok(ColumnarValue::Array(new_null_array(&aligned_type(rows.data_type()), 0)));
                }
                let aligned = Map::new(bytes)?.apply(column, &rows)?;
                match scalar {
                    true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&aligned, 0)?)),
                    false => Ok(ColumnarValue::Array(aligned)),
                }
            }
            ColumnarValue::Array(statistics) => {
                let rows = args.args[0].to_array(args.number_rows)?;
                by_runs(column, &rows, statistics).map(ColumnarValue::Array)
            }
        }
    }
}

/// Each run of rows with the same statistics in one go.
fn by_runs(column: &str, rows: &ArrayRef, statistics: &ArrayRef) -> Result<ArrayRef> {
    let views = statistics.as_binary_view();
    let value = |row: usize| views.is_valid(row).then(|| views.value(row));
    let (mut parts, mut start) = (Vec::new(), 0);
    while start < rows.len() {
        let same = |row: &usize| {
            views.is_valid(start) && views.is_valid(*row) && views.views()[*row] == views.views()[start]
                || value(*row) == value(start)
        };
        let end = (start + 1..rows.len()).take_while(same).last().map_or(start + 1, |row| row + 1);
        parts.push(Map::new(value(start))?.apply(column, &rows.slice(start, end - start))?);
        start = end;
    }
    if parts.is_empty() {
        return Ok(new_null_array(&aligned_type(rows.data_type()), 0));
    }
    Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

/// The map that statistics come to.
struct Map {
    form: ClosedForm,
    policy: NonFinite,
}

impl Map {
    fn new(bytes: Option<&[u8]>) -> Result<Self> {
        let statistics: Statistics = realign_statistics(NAME, bytes)?;
        let form = statistics.closed_form().map_err(border::of(NAME))?;
        Ok(Self { form, policy: statistics.policy() })
    }

    /// Aligned rows; null where the policy leaves a row out.
    fn apply(&self, column: &str, rows: &ArrayRef) -> Result<ArrayRef> {
        let wrong = border::of_column(column);
        let (data_type, dim) = (aligned_type(rows.data_type()), self.form.dim());
        let Some(batch) = Batch::read(column, rows, self.policy, Some(dim))? else {
            return Ok(new_null_array(&data_type, rows.len()));
        };
        let raw = batch.rows().map_err(&wrong)?;
        let mut values = vec![0.0; raw.len() * dim];
        let (skipped, report) =
            self.form.align_block(raw, self.policy, &border::name(column), &mut values).map_err(&wrong)?;
        values.truncate(report.kept * dim);
        let nulls = nulls(rows.len(), batch.valid.as_ref(), &skipped);
        Ok(match &data_type {
            DataType::LargeList(item) => lists::<i64>(item, values, dim, rows.len(), nulls),
            DataType::FixedSizeList(item, _) => {
                let values = spread(values, dim, nulls.as_ref());
                Arc::new(FixedSizeListArray::new(
                    Arc::clone(item),
                    dim as i32,
                    Arc::new(Float32Array::from(values)),
                    nulls,
                ))
            }
            DataType::List(item) => lists::<i32>(item, values, dim, rows.len(), nulls),
            other => return exec_err!("column {column:?}: expected lists, found {other}"),
        })
    }
}

/// Which rows are there: those that were null before are not, and neither are those that were left out, which are counted
/// among the others.
fn nulls(rows: usize, valid: Option<&NullBuffer>, skipped: &[usize]) -> Option<NullBuffer> {
    if valid.is_none() && skipped.is_empty() {
        return None;
    }
    let (mut number, mut left_out) = (0, skipped.iter().peekable());
    let there = (0..rows).map(|row| {
        if valid.is_some_and(|valid| valid.is_null(row)) {
            return false;
        }
        number += 1;
        left_out.next_if_eq(&&(number - 1)).is_none()
    });
    Some(NullBuffer::from(there.collect::<Vec<bool>>()))
}

fn lists<O: OffsetSizeTrait>(
    item: &FieldRef,
    values: Vec<f32>,
    dim: usize,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let there = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let offsets = OffsetBuffer::from_lengths((0..rows).map(|row| if there(row) { dim } else { 0 }));
    Arc::new(GenericListArray::<O>::new(
        Arc::clone(item),
        offsets,
        Arc::new(Float32Array::from(values)),
        nulls,
    ))
}

/// Rows with room for those that are null, which lists of fixed size need.
fn spread(values: Vec<f32>, dim: usize, nulls: Option<&NullBuffer>) -> Vec<f32> {
    let Some(nulls) = nulls else { return values };
    let mut spread = vec![0.0; nulls.len() * dim];
    let rows = (0..nulls.len()).filter(|&row| nulls.is_valid(row));
    for (row, values) in rows.zip(values.chunks_exact(dim)) {
        spread[row * dim..(row + 1) * dim].copy_from_slice(values);
    }
    spread
}
