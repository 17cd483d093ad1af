//! `modality_moments` and `modality_covariance`: the moments of the unit rows of a column.

use burn_revision::alignment::SetMoments;
use burn_revision::embedding::NonFinite;
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use crate::argument::{self, OPAQUE};
use crate::border;
use crate::embedding::{Batch, check_type};

/// `modality_moments(embedding [, policy])`, or with the covariance `modality_covariance`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ModalityMoments {
    signature: Signature,
    covariance: bool,
}

impl ModalityMoments {
    pub fn new(covariance: bool) -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable), covariance }
    }
}

impl AggregateUDFImpl for ModalityMoments {
    fn name(&self) -> &str {
        if self.covariance { "modality_covariance" } else { "modality_moments" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        argument::check_count(self.name(), "(embedding [, policy])", 1..=2, types.len())?;
        let policy = types.get(1).map(|_| DataType::Utf8);
        Ok(types[..1].iter().cloned().chain(policy).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(OPAQUE)
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        check_type(&argument::column(fields), fields[0].data_type())?;
        Ok(Field::new(self.name(), OPAQUE, true).into())
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Field::new(format_state_name(args.name, "moments"), DataType::Binary, true).into()])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("{}: DISTINCT is not supported: every row counts", self.name());
        }
        Ok(Box::new(Moments {
            column: argument::column(args.expr_fields),
            policy: argument::policy(self.name(), args.exprs)?,
            covariance: self.covariance,
            gathered: None,
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Moments of the rows of a partition or a group; nothing before the first row.
#[derive(Debug)]
struct Moments {
    column: String,
    policy: NonFinite,
    covariance: bool,
    gathered: Option<SetMoments>,
}

impl Accumulator for Moments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let dim = self.gathered.as_ref().map(SetMoments::dim);
        let Some(batch) = Batch::read(&self.column, &values[0], self.policy, dim)? else { return Ok(()) };
        let wrong = border::of_column(&self.column);
        let new = if self.covariance { SetMoments::with_covariance } else { SetMoments::new };
        let gathered = self.gathered.get_or_insert_with(|| new(self.policy, batch.dim()));
        gathered.update(batch.rows().map_err(&wrong)?, &border::name(&self.column)).map_err(&wrong)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        merge(&mut self.gathered, &self.column, states[0].as_binary::<i32>().iter())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(bytes(&self.gathered, &self.column)?)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(argument::value(bytes(&self.gathered, &self.column)?))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.column.len() + size(&self.gathered)
    }
}

/// Takes in moments as bytes; nulls are partitions without a row.
pub fn merge<'a>(
    gathered: &mut Option<SetMoments>,
    column: &str,
    values: impl Iterator<Item = Option<&'a [u8]>>,
) -> Result<()> {
    let wrong = border::of_column(column);
    for value in values.flatten() {
        let part = SetMoments::from_bytes(value, &border::name(column)).map_err(&wrong)?;
        match gathered {
            Some(gathered) => gathered.merge(&part).map_err(&wrong)?,
            None => *gathered = Some(part),
        }
    }
    Ok(())
}

/// Moments as bytes; null where there was no row.
pub fn bytes(gathered: &Option<SetMoments>, column: &str) -> Result<Option<Vec<u8>>> {
    gathered.as_ref().map(SetMoments::to_bytes).transpose().map_err(border::of_column(column))
}

/// Bytes of memory.
pub fn size(gathered: &Option<SetMoments>) -> usize {
    gathered.as_ref().map_or(0, |moments| {
        let dim = moments.dim();
        8 * if moments.moments().gathers_covariance() { dim * dim + dim } else { dim }
    })
}
