//! `realign_centroid`: the pass over the texts that the moments must precede.

use std::fmt;

use burn_revision::alignment::{CentroidPart, Method, Statistics};
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use crate::argument::{self, OPAQUE};
use crate::border;
use crate::embedding::{Batch, check_type};

/// The name of the function.
const NAME: &str = "realign_centroid";

/// `realign_centroid(embedding, statistics)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct RealignCentroid {
    signature: Signature,
}

impl RealignCentroid {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for RealignCentroid {
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

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(OPAQUE)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        check_type(&argument::column(fields), fields[0].data_type())?;
        Ok(Field::new(NAME, OPAQUE, true).into())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Field::new(format_state_name(args.name, "statistics"), DataType::Binary, true).into()])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("{NAME}: DISTINCT is not supported: every row counts");
        }
        Ok(Box::new(Pass { column: argument::column(args.expr_fields), part: None, merged: None }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Reads statistics, and refuses those of another method.
pub fn realign_statistics(function: &str, bytes: Option<&[u8]>) -> Result<Statistics> {
    let Some(bytes) = bytes else {
        return exec_err!(
            "{function}: expected statistics, found null: no row was seen where they were made"
        );
    };
    let statistics = Statistics::from_bytes(bytes, &format!("{function}, statistics"));
    let statistics = statistics.map_err(border::of(function))?;
    match statistics.method() {
        Method::ReAlign { .. } => Ok(statistics),
        other => exec_err!("{function}: expected statistics of realign, found those of {other}"),
    }
}

/// The pass over the rows of a partition or a group, and what others have seen.
struct Pass {
    column: String,
    part: Option<Part>,
    merged: Option<Statistics>,
}

struct Part {
    /// The statistics that the pass began from, as they came and as they read.
    bytes: Vec<u8>,
    begun: Statistics,
    seen: CentroidPart,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.part.as_ref().map(|part| part.seen.rows());
        f.debug_struct("Pass").field("column", &self.column).field("rows", &rows).finish()
    }
}

impl Pass {
    /// The statistics with all that was seen; nothing where that was no row.
    fn finish(&self) -> Result<Option<Vec<u8>>> {
        let wrong = border::of_column(&self.column);
        let own = match &self.part {
            None => None,
            Some(part) => {
                let mut own = part.begun.clone();
                own.add_centroid_part(&part.seen).map_err(&wrong)?;
                Some(own)
            }
        };
        let all = match (self.merged.clone(), own) {
            (Some(mut merged), Some(own)) => {
                merged.merge(&own).map_err(&wrong)?;
                Some(merged)
            }
            (merged, own) => merged.or(own),
        };
        all.map(|statistics| statistics.to_bytes()).transpose().map_err(&wrong)
    }
}

impl Accumulator for Pass {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if values[0].is_empty() {
            return Ok(());
        }
        let bytes = argument::same_in_all_rows(NAME, &values[1])?;
        let wrong = border::of_column(&self.column);
        if self.part.is_none() {
            let begun = realign_statistics(NAME, bytes)?;
            if let Some((read, rows)) = begun.missing_centroid().filter(|(read, _)| *read > 0) {
                return exec_err!(
                    "{NAME}: expected statistics before a pass, found one that has read {read} of {rows} rows"
                );
            }
            let seen = begun.centroid_part().map_err(border::of(NAME))?;
            self.part = Some(Part { bytes: bytes.unwrap_or_default().to_vec(), begun, seen });
        }
        let Some(part) = &mut self.part else { return Ok(()) };
        if bytes != Some(&part.bytes) {
            return exec_err!(
                "{NAME}: expected the same statistics in all rows of a group, found others in a later batch"
            );
        }
        let (policy, dim) = (part.begun.policy(), part.begun.dim());
        let Some(batch) = Batch::read(&self.column, &values[0], policy, Some(dim))? else { return Ok(()) };
        part.seen.update(batch.rows().map_err(&wrong)?, &border::name(&self.column)).map_err(&wrong)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let wrong = border::of_column(&self.column);
        for bytes in states[0].as_binary::<i32>().iter().flatten() {
            let other = realign_statistics(NAME, Some(bytes))?;
            match &mut self.merged {
                None => self.merged = Some(other),
                Some(merged) => {
                    merged.merge(&other).map_err(&wrong)?;
                }
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(self.finish()?)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(argument::value(self.finish()?))
    }

    fn size(&self) -> usize {
        let vectors = |statistics: &Statistics| 8 * statistics.dim() * (3 + statistics.centroids().len());
        let part = self.part.as_ref().map_or(0, |part| part.bytes.len() + 2 * vectors(&part.begun));
        size_of_val(self) + self.column.len() + part + self.merged.as_ref().map_or(0, vectors)
    }
}
