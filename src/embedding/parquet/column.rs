use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, UInt8Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, Float32Array, ListArray, PrimitiveArray};
use arrow_cast::cast;
use arrow_schema::DataType;
use half::{bf16, f16};

use super::arrow_error;
use super::kind::{Kind, list_item};
use crate::embedding::{FloatType, StoreOptions};
use crate::{Error, Result};

/// The column of embeddings of a file.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub path: PathBuf,
    pub name: String,
    kind: Kind,
    pub float: FloatType,
    /// `None` as long as any length will do for the first row.
    pub dim: Option<usize>,
    /// Whether nulls are read as NaN.
    pub null_as_nan: bool,
    /// Whether nobody has said of which type bytes are.
    unsure: bool,
}

impl Column {
    pub fn new(path: &Path, name: &str, kind: Kind, options: &StoreOptions) -> Self {
        let float = match kind {
            Kind::Lists(float) => float,
            Kind::Bytes => options.dtype_in.unwrap_or(FloatType::F32),
            Kind::Texts => FloatType::F32,
        };
        let unsure = kind == Kind::Bytes && options.dtype_in.is_none();
        let (path, name, null_as_nan) = (path.to_path_buf(), name.to_string(), options.null_as_nan);
        Self { path, name, kind, float, dim: None, null_as_nan, unsure }
    }

    /// Sets the length of rows, where it is known.
    pub fn set_dim(&mut self, dim: Option<usize>) -> Result<()> {
        if let Some(dim) = dim {
            let wrong =
                |detail: String| Error::format(&self.path, format!("column {:?}: {detail}", self.name));
            if dim == 0 {
                return Err(wrong("rows of 0 dimensions".to_string()));
            }
            if dim.checked_mul(self.float.size()).is_none() {
                return Err(wrong(format!("rows of {dim} values")));
            }
        }
        self.dim = dim;
        Ok(())
    }

    /// Learns the length of rows from the values of one, and the type of bytes that nobody has told.
    pub fn settle(&mut self, row: &ArrayRef) -> Result<()> {
        let Some(bytes) = row.as_primitive_opt::<UInt8Type>().filter(|_| self.kind == Kind::Bytes) else {
            return self.set_dim(Some(row.len()));
        };
        let bytes = bytes.values();
        if self.unsure {
            let fits = [FloatType::F16, FloatType::F32, FloatType::F64]
                .into_iter()
                .filter(|float| looks_like(bytes, *float));
            let fits: Vec<FloatType> = fits.collect();
            let &[float] = fits.as_slice() else {
                let length = bytes.len();
                return self.fail(
                    0,
                    format!("{length} bytes, whose values may be of several types; name it by `dtype_in`"),
                );
            };
            self.float = float;
        }
        if !bytes.len().is_multiple_of(self.float.size()) {
            return self.fail(0, format!("{} bytes are no {} values", bytes.len(), self.float));
        }
        self.set_dim(Some(bytes.len() / self.float.size()))
    }

    /// The values of rows, of which `first` is the number of the first, after a check of each row.
    pub fn values(&self, array: &ArrayRef, first: usize) -> Result<ArrayRef> {
        match self.kind {
            Kind::Lists(_) => self.of_lists(array, first),
            Kind::Bytes => self.of_bytes(array, first),
            Kind::Texts => self.of_texts(array, first),
        }
    }

    fn fail<T>(&self, row: usize, what: impl AsRef<str>) -> Result<T> {
        let detail = format!("column {:?}, row {row}: {}", self.name, what.as_ref());
        Err(Error::format(&self.path, detail))
    }

    fn null<T>(&self, row: usize) -> Result<T> {
        self.fail(
            row,
            "null in place of an embedding; the policy `skip` for rows that are not finite leaves it out",
        )
    }

    fn check_length(&self, row: usize, length: usize) -> Result<()> {
        match self.dim {
            Some(dim) if length != dim => self.fail(row, format!("expected {dim} values, found {length}")),
            _ => Ok(()),
        }
    }

    fn of_lists(&self, array: &ArrayRef, first: usize) -> Result<ArrayRef> {
        let list = |item: &arrow_schema::FieldRef| DataType::List(Arc::clone(item));
        let as_lists = match array.data_type() {
            DataType::List(_) => Arc::clone(array),
            other => {
                let (item, ..) = list_item(other).expect("a list of floats");
                cast(array, &list(item)).map_err(|error| arrow_error(&self.path, error))?
            }
        };
        let lists = as_lists.as_list::<i32>();
        let (offsets, values) = (lists.value_offsets(), lists.values());
        let mut has_null_row = false;
        for (row, bounds) in offsets.windows(2).enumerate() {
            if lists.is_null(row) {
                if !self.null_as_nan {
                    return self.null(first + row);
                }
                has_null_row = true;
                continue;
            }
            self.check_length(first + row, (bounds[1] - bounds[0]) as usize)?;
        }
        let has_null = values.null_count() > 0
            && (offsets[0]..offsets[lists.len()]).any(|value| values.is_null(value as usize));
        if has_null && !self.null_as_nan {
            let of_row = |row: usize| offsets[row]..offsets[row + 1];
            for row in (0..lists.len()).filter(|row| lists.is_valid(*row)) {
                if let Some(value) = of_row(row).find(|value| values.is_null(*value as usize)) {
                    return self.fail(first + row, format!("value {} is null", value - offsets[row]));
                }
            }
        }
        if has_null_row || has_null {
            return Ok(match self.float {
                FloatType::F16 | FloatType::BF16 => self.filled::<Float16Type>(lists, f16::NAN),
                FloatType::F32 => self.filled::<Float32Type>(lists, f32::NAN),
                FloatType::F64 => self.filled::<Float64Type>(lists, f64::NAN),
            });
        }
        let (start, end) = (offsets[0] as usize, offsets[lists.len()] as usize);
        Ok(values.slice(start, end - start))
    }

    /// The values with NaN for what is null; nothing for a row that is null, as long as the length is not known.
    fn filled<T: ArrowPrimitiveType>(&self, lists: &ListArray, nan: T::Native) -> ArrayRef {
        let (values, offsets) = (lists.values().as_primitive::<T>(), lists.value_offsets());
        let mut filled = Vec::new();
        for row in 0..lists.len() {
            if lists.is_null(row) {
                filled.extend(std::iter::repeat_n(nan, self.dim.unwrap_or(0)));
                continue;
            }
            let value = |at: usize| if values.is_null(at) { nan } else { values.value(at) };
            filled.extend((offsets[row] as usize..offsets[row + 1] as usize).map(value));
        }
        Arc::new(PrimitiveArray::<T>::from_iter_values(filled))
    }

    fn of_bytes(&self, array: &ArrayRef, first: usize) -> Result<ArrayRef> {
        let array = cast(array, &DataType::LargeBinary).map_err(|error| arrow_error(&self.path, error))?;
        let (array, size) = (array.as_binary::<i64>(), self.float.size());
        let nan: &[u8] = match self.float {
            FloatType::F16 => &f16::NAN.to_le_bytes(),
            FloatType::BF16 => &bf16::NAN.to_le_bytes(),
            FloatType::F32 => &f32::NAN.to_le_bytes(),
            FloatType::F64 => &f64::NAN.to_le_bytes(),
        };
        let mut bytes = Vec::new();
        for row in 0..array.len() {
            if array.is_null(row) {
                if !self.null_as_nan {
                    return self.null(first + row);
                }
                (0..self.dim.unwrap_or(0)).for_each(|_| bytes.extend(nan));
                continue;
            }
            let value = array.value(row);
            if let Some(dim) = self.dim
                && value.len() != dim * size
            {
                return self
                    .fail(first + row, format!("expected {} bytes, found {}", dim * size, value.len()));
            }
            bytes.extend_from_slice(value);
        }
        Ok(match self.float {
            // Of a row that has not been settled.
            _ if self.dim.is_none() => Arc::new(PrimitiveArray::<UInt8Type>::from_iter_values(bytes)),
            FloatType::F16 | FloatType::BF16 => of_bytes::<Float16Type, 2>(&bytes, f16::from_le_bytes),
            FloatType::F32 => of_bytes::<Float32Type, 4>(&bytes, f32::from_le_bytes),
            FloatType::F64 => of_bytes::<Float64Type, 8>(&bytes, f64::from_le_bytes),
        })
    }

    fn of_texts(&self, array: &ArrayRef, first: usize) -> Result<ArrayRef> {
        let array = cast(array, &DataType::LargeUtf8).map_err(|error| arrow_error(&self.path, error))?;
        let array = array.as_string::<i64>();
        let mut values = Vec::new();
        for row in 0..array.len() {
            if array.is_null(row) {
                if !self.null_as_nan {
                    return self.null(first + row);
                }
                values.extend(std::iter::repeat_n(f32::NAN, self.dim.unwrap_or(0)));
                continue;
            }
            let text = array.value(row);
            let found: Vec<f32> = match serde_json::from_str(text) {
                Ok(found) => found,
                Err(error) => {
                    let start: String = text.chars().take(40).collect();
                    return self.fail(
                        first + row,
                        format!("expected a list of numbers as JSON, or a column of lists of floats, found {start:?}: {error}"),
                    );
                }
            };
            self.check_length(first + row, found.len())?;
            values.extend(found);
        }
        Ok(Arc::new(Float32Array::from(values)))
    }
}

fn of_bytes<T: ArrowPrimitiveType, const N: usize>(
    bytes: &[u8],
    value: impl Fn([u8; N]) -> T::Native,
) -> ArrayRef {
    let values = bytes.as_chunks::<N>().0.iter().map(|bytes| value(*bytes));
    Arc::new(PrimitiveArray::<T>::from_iter_values(values))
}

/// Whether bytes taken for values of a type are such as encoders make: of another type, some would be none.
fn looks_like(bytes: &[u8], float: FloatType) -> bool {
    let value = |bytes: &[u8]| match *bytes {
        [a, b] => f16::from_le_bytes([a, b]).to_f64(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => f64::NAN,
    };
    let values = bytes.chunks(float.size()).map(|bytes| value(bytes).abs());
    let fits = |value: f64| value == 0.0 || (1e-6..1e3).contains(&value);
    !bytes.is_empty() && values.clone().all(fits) && values.sum::<f64>() > 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_look_like_values_of_their_own_type_only() {
        let values: Vec<f64> = (0..512).map(|i| (f64::from(i) * 0.7 + 0.3).sin() / 8.0).collect();
        let bytes = |float: FloatType| -> Vec<u8> {
            match float {
                FloatType::F16 => {
                    values.iter().flat_map(|value| f16::from_f64(*value).to_le_bytes()).collect()
                }
                FloatType::F32 => values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect(),
                _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            }
        };
        let types = [FloatType::F16, FloatType::F32, FloatType::F64];
        for stored in types {
            for taken in types {
                assert_eq!(looks_like(&bytes(stored), taken), stored == taken, "{stored} as {taken}");
            }
        }
        assert!(!looks_like(&[0; 16], FloatType::F32) && !looks_like(&[], FloatType::F16));
    }
}
