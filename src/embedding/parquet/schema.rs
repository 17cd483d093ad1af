use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arrow_cast::can_cast_types;
use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};

use super::kind::{Kind, list_item};
use crate::embedding::records;
use crate::{Error, Result};

/// Names that mark the embedding where a file has several list columns of floats, best first.
const EMBEDDING_NAMES: [&str; 3] = ["embedding", "embeddings", "embed"];

/// The position of the embedding column: the one called `column` or, without a name, the only list of floats or
/// the one with a usual name.
///
/// # Errors
///
/// [`Error::Format`] listing what there is where none or several columns fit.
pub(super) fn embedding_column(path: &Path, schema: &Schema, column: Option<&str>) -> Result<usize> {
    let fields = schema.fields();
    let mut names = HashSet::new();
    if let Some(field) = fields.iter().find(|field| !names.insert(field.name())) {
        return Err(Error::format(path, format!("two columns are called {:?}", field.name())));
    }
    if let Some(name) = column {
        let Some((index, field)) = fields.find(name) else {
            return Err(Error::format(path, format!("no column {name:?}; found {}", list(fields.iter()))));
        };
        return match Kind::of(field.data_type()) {
            Some(_) => Ok(index),
            None => Err(Error::format(
                path,
                format!("column {name:?}: expected a list of floats, found {}", field.data_type()),
            )),
        };
    }
    let fits = |index: &usize| list_item(fields[*index].data_type()).is_some();
    let candidates: Vec<usize> = (0..fields.len()).filter(fits).collect();
    let usual = || {
        let named = |name: &&str| candidates.iter().find(|index| fields[**index].name() == name);
        EMBEDDING_NAMES.iter().find_map(named)
    };
    let unusual = || {
        let named = |name: &&str| {
            let (index, field) = fields.find(name)?;
            Kind::of(field.data_type()).map(|_| index)
        };
        EMBEDDING_NAMES.iter().find_map(named)
    };
    match candidates.as_slice() {
        // Bytes and texts are embeddings where their name says so, and values are found in them.
        [] if unusual().is_some() => Ok(unusual().expect("just found")),
        [] => {
            Err(Error::format(path, format!("no column is a list of floats; found {}", list(fields.iter()))))
        }
        [index] => Ok(*index),
        several => usual().copied().ok_or_else(|| {
            let columns = list(several.iter().map(|index| &fields[*index]));
            Error::format(path, format!("several columns are lists of floats, name one: {columns}"))
        }),
    }
}

/// Refuses a column of ids that is not there.
pub(super) fn check_column(path: &Path, extras: &Schema, column: Option<&str>) -> Result<()> {
    match column {
        Some(column) if extras.fields().find(column).is_none() => {
            let detail = format!("no column {column:?} of ids; found {}", list(extras.fields().iter()));
            Err(Error::format(path, detail))
        }
        _ => Ok(()),
    }
}

/// Columns that might hold ids, by type and name.
pub(super) fn id_candidates(extras: &Schema) -> Vec<String> {
    let is_id = |field: &&FieldRef| {
        field.data_type().is_integer()
            || matches!(
                json_type(field.data_type()),
                Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
            )
    };
    let names: Vec<&str> = extras.fields().iter().filter(is_id).map(|field| field.name().as_str()).collect();
    records::id_candidates(names.iter().copied())
}

/// The schema with a column `id` of text in front, in place of one that is there.
pub(crate) fn with_ids(schema: &Schema) -> Schema {
    let id = Arc::new(Field::new("id", DataType::Utf8, true));
    let others = schema.fields().iter().filter(|field| field.name() != "id").cloned();
    let fields: Fields = [id].into_iter().chain(others).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// Names and types of columns for an error.
fn list<'a>(fields: impl Iterator<Item = &'a FieldRef>) -> String {
    let columns: Vec<_> = fields.map(|field| format!("{:?} ({})", field.name(), field.data_type())).collect();
    if columns.is_empty() { "no columns".into() } else { columns.join(", ") }
}

/// The type of which JSON can say every value exactly, and into which and back from which a column is cast.
///
/// Dictionaries become their values, instants are told in UTC (other time zones need a data base of them), and
/// durations become counts. `None` where a column of this type cannot travel through JSON.
pub(super) fn json_type(data_type: &DataType) -> Option<DataType> {
    use DataType::*;
    let target = match data_type {
        Null | Boolean | Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => data_type.clone(),
        Float16 | Float32 | Float64 | Utf8 | LargeUtf8 | Utf8View => data_type.clone(),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => data_type.clone(),
        Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(_, None) => data_type.clone(),
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => data_type.clone(),
        Timestamp(unit, Some(_)) => Timestamp(*unit, Some("+00:00".into())),
        Duration(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond) => {
            Int64
        }
        Dictionary(_, value) => json_type(value)?,
        List(item) => List(json_field(item)?),
        LargeList(item) => LargeList(json_field(item)?),
        FixedSizeList(item, length) => FixedSizeList(json_field(item)?, *length),
        Struct(fields) => Struct(fields.iter().map(json_field).collect::<Option<Fields>>()?),
        Map(entries, sorted) => match entries.data_type() {
            // The keys of an object are strings.
            Struct(pair) if matches!(pair.first()?.data_type(), Utf8 | LargeUtf8) => {
                Map(json_field(entries)?, *sorted)
            }
            _ => return None,
        },
        _ => return None,
    };
    let both_ways = can_cast_types(data_type, &target) && can_cast_types(&target, data_type);
    (target == *data_type || both_ways).then_some(target)
}

fn json_field(field: &FieldRef) -> Option<FieldRef> {
    let data_type = json_type(field.data_type())?;
    Some(Arc::new(field.as_ref().clone().with_data_type(data_type)))
}

/// The schema of [`json_type`]s.
///
/// # Errors
///
/// [`Error::Format`] naming a column that cannot travel.
pub(super) fn json_schema(path: &Path, schema: &Schema) -> Result<Schema> {
    let convert = |field: &FieldRef| {
        json_field(field).ok_or_else(|| {
            let detail = format!("column {:?} of type {} cannot travel", field.name(), field.data_type());
            Error::format(path, detail)
        })
    };
    Ok(Schema::new(schema.fields().iter().map(convert).collect::<Result<Fields>>()?))
}

/// Whether values of a type are few words or numbers: not bytes, and no rows of floats.
pub(super) fn is_readable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            false
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            !item.data_type().is_floating() && is_readable(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().all(|field| is_readable(field.data_type())),
        _ => true,
    }
}

/// The columns but the embedding as another file can hold them.
///
/// JSON has no NaN and says null, so floats may be null. A dictionary gets keys of 32 bits, since several files
/// may meet in one and hold more values together than either.
pub(super) fn extras(schema: &Schema, embedding: Option<usize>) -> Schema {
    let extra = |(index, field): (usize, &FieldRef)| {
        if Some(index) == embedding {
            return None;
        }
        let field = field.as_ref().clone();
        Some(match field.data_type().clone() {
            DataType::Float16 | DataType::Float32 | DataType::Float64 => field.with_nullable(true),
            DataType::Dictionary(_, value) => {
                field.with_data_type(DataType::Dictionary(Box::new(DataType::Int32), value))
            }
            _ => field,
        })
    };
    let fields: Vec<Field> = schema.fields().iter().enumerate().filter_map(extra).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// `schema` with another type in place of that of the column `index`.
pub(super) fn with_type(schema: &Schema, index: usize, data_type: DataType) -> Schema {
    let mut fields: Vec<FieldRef> = schema.fields().to_vec();
    fields[index] = Arc::new(fields[index].as_ref().clone().with_data_type(data_type));
    Schema::new_with_metadata(fields, schema.metadata().clone())
}
