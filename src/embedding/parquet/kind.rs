use arrow_schema::{DataType, FieldRef};

use crate::embedding::FloatType;

/// How a column holds embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Lists of floats.
    Lists(FloatType),
    /// The bytes of the values, as `numpy.ndarray.tobytes` gives them: the column does not say of which type.
    Bytes,
    /// Texts such as `[0.1, 0.2]`.
    Texts,
}

impl Kind {
    /// How a column of a type holds embeddings, if it may at all, and the length of a row where the type tells it.
    pub fn of(data_type: &DataType) -> Option<(Self, Option<usize>)> {
        use DataType::*;
        match data_type {
            Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Some((Self::Bytes, None)),
            Utf8 | LargeUtf8 | Utf8View => Some((Self::Texts, None)),
            lists => {
                let (_, float, length) = list_item(lists)?;
                Some((Self::Lists(float), length.map(|length| usize::try_from(length).unwrap_or(0))))
            }
        }
    }
}

/// The item of a list of floats, the type of its values, and its length where the type fixes one.
pub(super) fn list_item(data_type: &DataType) -> Option<(&FieldRef, FloatType, Option<i32>)> {
    let (item, length) = match data_type {
        DataType::List(item) | DataType::LargeList(item) => (item, None),
        DataType::ListView(item) | DataType::LargeListView(item) => (item, None),
        DataType::FixedSizeList(item, length) => (item, Some(*length)),
        _ => return None,
    };
    Some((item, super::float_of(item.data_type())?, length))
}
