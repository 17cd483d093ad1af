use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};
use half::f16;
use serde_json::{Map, Number, Value};

/// One value of a column of a [`json_type`](super::schema::json_type), as JSON that turns into the same value again.
///
/// Built value by value instead of by printing and parsing, which would cost the last bit of some float64 and the
/// later digits of a decimal number.
///
/// # Errors
///
/// An [`ArrowError`] where a date lies outside of what can be printed, or the type is none of those.
pub(super) fn json(array: &ArrayRef, row: usize) -> Result<Value, ArrowError> {
    use DataType::*;
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        Null => Value::Null,
        Boolean => array.as_boolean().value(row).into(),
        Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        Float16 => half_precision(array.as_primitive::<Float16Type>().value(row)),
        Float32 => single_precision(array.as_primitive::<Float32Type>().value(row)),
        Float64 => number(array.as_primitive::<Float64Type>().value(row)),
        Utf8 => array.as_string::<i32>().value(row).into(),
        LargeUtf8 => array.as_string::<i64>().value(row).into(),
        Utf8View => array.as_string_view().value(row).into(),
        Binary => hexadecimal(array.as_binary::<i32>().value(row)),
        LargeBinary => hexadecimal(array.as_binary::<i64>().value(row)),
        BinaryView => hexadecimal(array.as_binary_view().value(row)),
        FixedSizeBinary(_) => hexadecimal(array.as_fixed_size_binary().value(row)),
        List(_) => list(&array.as_list::<i32>().value(row))?,
        LargeList(_) => list(&array.as_list::<i64>().value(row))?,
        FixedSizeList(..) => list(&array.as_fixed_size_list().value(row))?,
        Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let member = |(field, column): (&arrow_schema::FieldRef, &ArrayRef)| {
                Ok::<_, ArrowError>((field.name().clone(), json(column, row)?))
            };
            Value::Object(columns.map(member).collect::<Result<_, _>>()?)
        }
        Map(..) => map(array, row)?,
        _ => {
            let options = FormatOptions::new().with_display_error(false);
            let text = ArrayFormatter::try_new(array, &options)?.value(row).try_to_string()?;
            Value::String(text)
        }
    })
}

fn list(items: &ArrayRef) -> Result<Value, ArrowError> {
    (0..items.len()).map(|item| json(items, item)).collect()
}

fn map(array: &ArrayRef, row: usize) -> Result<Value, ArrowError> {
    let entries = array.as_map().value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let mut object = Map::new();
    for entry in 0..entries.len() {
        let Value::String(key) = json(keys, entry)? else {
            return Err(ArrowError::JsonError("a key of a map is no text".into()));
        };
        object.insert(key, json(values, entry)?);
    }
    Ok(Value::Object(object))
}

fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// The float64 with the fewest digits that rounds to `value`: 0.1 reads better than 0.10000000149011612.
fn single_precision(value: f32) -> Value {
    let short: f64 = value.to_string().parse().unwrap_or(f64::from(value));
    number(if short as f32 == value { short } else { f64::from(value) })
}

fn half_precision(value: f16) -> Value {
    let short: f64 = value.to_string().parse().unwrap_or(f64::from(value));
    number(if f16::from_f64(short) == value { short } else { f64::from(value) })
}

fn hexadecimal(bytes: &[u8]) -> Value {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    Value::String(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
}
