//! `merge_moments` and `alignment_statistics`: parts put together.

use burn_revision::alignment::{Method, Provenance, SetMoments, Statistics};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryViewBuilder};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

use crate::argument::{self, OPAQUE};
use crate::{border, moments};

/// `merge_moments(moments)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MergeMoments {
    signature: Signature,
}

impl MergeMoments {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for MergeMoments {
    fn name(&self) -> &str {
        "merge_moments"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        argument::check_count(self.name(), "(moments)", 1..=1, types.len())?;
        Ok(vec![argument::opaque(self.name(), "moments", &types[0])?])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(OPAQUE)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Field::new(format_state_name(args.name, "moments"), DataType::Binary, true).into()])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Merged { column: argument::column(args.expr_fields), gathered: None }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct Merged {
    column: String,
    gathered: Option<SetMoments>,
}

impl Accumulator for Merged {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        moments::merge(&mut self.gathered, &self.column, values[0].as_binary_view().iter())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        moments::merge(&mut self.gathered, &self.column, states[0].as_binary::<i32>().iter())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(moments::bytes(&self.gathered, &self.column)?)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(argument::value(moments::bytes(&self.gathered, &self.column)?))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.column.len() + moments::size(&self.gathered)
    }
}

/// `alignment_statistics(text, image [, method])`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct AlignmentStatistics {
    signature: Signature,
}

impl AlignmentStatistics {
    pub fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for AlignmentStatistics {
    fn name(&self) -> &str {
        "alignment_statistics"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        argument::check_count(self.name(), "(text, image [, method])", 2..=3, types.len())?;
        let text = argument::opaque(self.name(), "the moments of text", &types[0])?;
        let image = argument::opaque(self.name(), "the moments of images", &types[1])?;
        Ok([text, image].into_iter().chain(types.get(2).map(|_| DataType::Utf8)).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(OPAQUE)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (text, image) = (arrays[0].as_binary_view(), arrays[1].as_binary_view());
        let names = arrays.get(2).map(|names| names.as_string::<i32>());
        let mut built = BinaryViewBuilder::with_capacity(text.len());
        for row in 0..text.len() {
            let name = names.filter(|names| names.is_valid(row)).map_or("realign", |names| names.value(row));
            let method: Method = name.parse().map_err(border::of(self.name()))?;
            let set = |views: &datafusion::arrow::array::BinaryViewArray, name: &str| {
                let value = views.is_valid(row).then(|| SetMoments::from_bytes(views.value(row), name));
                value.transpose().map_err(border::of(name))
            };
            built.append_value(statistics(method, set(text, "text")?, set(image, "image")?)?);
        }
        let built: ArrayRef = Arc::new(built.finish());
        match args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_))) {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&built, 0)?)),
            false => Ok(ColumnarValue::Array(built)),
        }
    }
}

/// The statistics of a method as a file: from the moments of either set or of both.
fn statistics(method: Method, text: Option<SetMoments>, image: Option<SetMoments>) -> Result<Vec<u8>> {
    let sets = [("text", &text), ("image", &image)];
    let Some(first) = text.as_ref().or(image.as_ref()) else {
        return exec_err!(
            "alignment_statistics: expected moments of text, of images or of both, found null for both"
        );
    };
    let mut statistics = Statistics::new(method, first.policy(), first.dim());
    for (name, set) in sets {
        let Some(set) = set else { continue };
        let rows = set.rows().rows;
        let source = Provenance { set: name.into(), place: "a query".into(), files: 0, rows };
        statistics.add_set(source, set).map_err(border::of(name))?;
    }
    statistics.to_bytes().map_err(border::of("statistics"))
}
