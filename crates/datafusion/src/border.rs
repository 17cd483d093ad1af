//! The border to the library: plain slices and bytes, since DataFusion and the library are on different versions of Arrow.

use burn_revision::embedding::FloatType;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::DataFusionError;

/// An error of the library, in the words of a query: with what it is about.
pub fn of(what: impl Into<String>) -> impl Fn(burn_revision::Error) -> DataFusionError {
    let what = what.into();
    move |error| {
        let detail = error.to_string();
        match detail.contains(&what) {
            true => DataFusionError::Execution(detail),
            false => DataFusionError::Execution(format!("{what}: {detail}")),
        }
    }
}

/// An error that is about a column.
pub fn of_column(column: &str) -> impl Fn(burn_revision::Error) -> DataFusionError + use<> {
    of(name(column))
}

/// How a column is named in errors.
pub fn name(column: &str) -> String {
    format!("column {column:?}")
}

/// The float type of the library.
pub fn float(data_type: &DataType) -> Option<FloatType> {
    match data_type {
        DataType::Float16 => Some(FloatType::F16),
        DataType::Float32 => Some(FloatType::F32),
        DataType::Float64 => Some(FloatType::F64),
        _ => None,
    }
}
