//! The arguments beside the embedding: policies, methods, and opaque values.

use burn_revision::embedding::NonFinite;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use crate::border;

/// The type that opaque values have in the functions: one that repeats a value for each row of a batch without copies.
pub const OPAQUE: DataType = DataType::BinaryView;

/// The type to read an opaque argument as.
///
/// # Errors
///
/// Where it is no binary value.
pub fn opaque(function: &str, argument: &str, data_type: &DataType) -> Result<DataType> {
    match data_type {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Null => Ok(OPAQUE),
        DataType::Dictionary(_, value) => opaque(function, argument, value),
        other => plan_err!("{function}: expected {argument} as a binary value, found {other}"),
    }
}

/// Refuses another number of arguments.
pub fn check_count(
    function: &str,
    form: &str,
    range: std::ops::RangeInclusive<usize>,
    found: usize,
) -> Result<()> {
    match range.contains(&found) {
        true => Ok(()),
        false => plan_err!(
            "{form}: {function} has from {} to {} arguments, found {found}",
            range.start(),
            range.end()
        ),
    }
}

/// The name of the column that an argument is.
pub fn column(fields: &[FieldRef]) -> String {
    fields.first().map_or_else(|| "embedding".to_string(), |field| field.name().clone())
}

/// The policy among the arguments of an aggregate function: the second one, or the default.
pub fn policy(function: &str, exprs: &[std::sync::Arc<dyn PhysicalExpr>]) -> Result<NonFinite> {
    let Some(expr) = exprs.get(1) else { return Ok(NonFinite::default()) };
    let literal = expr.downcast_ref::<Literal>().map(Literal::value);
    match literal.and_then(|value| value.try_as_str()).flatten() {
        Some(name) => name.parse().map_err(border::of(function)),
        None => plan_err!("{function}: expected the policy as a literal, error, skip or zero, found {expr}"),
    }
}

/// The one opaque value that all rows of a batch have; nothing where it is null.
///
/// # Errors
///
/// Where rows have different ones.
pub fn same_in_all_rows<'a>(function: &str, array: &'a ArrayRef) -> Result<Option<&'a [u8]>> {
    let Some(views) = array.as_binary_view_opt() else {
        return exec_err!("{function}: expected statistics as {OPAQUE}, found {}", array.data_type());
    };
    if views.is_empty() || views.is_null(0) {
        return match (0..views.len()).all(|row| views.is_null(row)) {
            true => Ok(None),
            false => {
                exec_err!("{function}: expected the same statistics in all rows, found null in the first")
            }
        };
    }
    // The same view is the same value, without a look at its bytes.
    let (view, value) = (views.views()[0], views.value(0));
    let differs =
        |row: &usize| views.is_null(*row) || (views.views()[*row] != view && views.value(*row) != value);
    match (1..views.len()).find(differs) {
        None => Ok(Some(value)),
        Some(row) => exec_err!(
            "{function}: expected the same statistics in all rows of a group, found others in row {row} of a batch: \
             group by what tells them apart"
        ),
    }
}

/// An opaque value of a function.
pub fn value(bytes: Option<Vec<u8>>) -> ScalarValue {
    ScalarValue::BinaryView(bytes)
}
