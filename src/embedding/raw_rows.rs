use super::FloatType;
use crate::{Error, Result};

/// Refuses a slice that is not a whole number of rows.
pub(crate) fn check_length<T>(values: &[T], dim: usize) -> Result<()> {
    if dim == 0 {
        return Err(Error::config("dim", "an embedding has at least one dimension, found 0"));
    }
    if !values.len().is_multiple_of(dim) {
        let whole = values.len().div_ceil(dim) * dim;
        return Err(Error::mismatch(format!("values in rows of {dim} dimensions"), whole, values.len()));
    }
    Ok(())
}

/// Rows as they lie in a file or in mapped memory: row-major `[n, dim]`, little-endian, of any alignment.
///
/// ```
/// use burn_revision::embedding::{FloatType, RawRows};
///
/// let bytes: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
/// let rows = RawRows::new(&bytes, FloatType::F32, 2).unwrap();
/// assert_eq!(rows.len(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct RawRows<'a> {
    bytes: &'a [u8],
    float: FloatType,
    dim: usize,
}

impl<'a> RawRows<'a> {
    /// Rows of `dim` values of type `float`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `bytes` is not a whole number of rows, [`Error::Config`] for `dim` zero.
    pub fn new(bytes: &'a [u8], float: FloatType, dim: usize) -> Result<Self> {
        if dim == 0 {
            return Err(Error::config("dim", "an embedding has at least one dimension, found 0"));
        }
        let row = dim * float.size();
        if !bytes.len().is_multiple_of(row) {
            let what = format!("bytes in rows of {dim} {float} values");
            return Err(Error::mismatch(what, bytes.len().div_ceil(row) * row, bytes.len()));
        }
        Ok(Self { bytes, float, dim })
    }

    /// Rows of float32 values in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `rows` is not a whole number of rows, [`Error::Config`] for `dim` zero.
    pub fn single(rows: &'a [f32], dim: usize) -> Result<Self> {
        check_length(rows, dim)?;
        Ok(Self { bytes: bytemuck::cast_slice(rows), float: FloatType::F32, dim })
    }

    /// Rows of float64 values in memory.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where `rows` is not a whole number of rows, [`Error::Config`] for `dim` zero.
    pub fn double(rows: &'a [f64], dim: usize) -> Result<Self> {
        check_length(rows, dim)?;
        Ok(Self { bytes: bytemuck::cast_slice(rows), float: FloatType::F64, dim })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.row_bytes()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The number of dimensions of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The type of the values.
    pub fn float(&self) -> FloatType {
        self.float
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Some of the rows.
    pub(crate) fn part(&self, rows: std::ops::Range<usize>) -> RawRows<'a> {
        let length = self.row_bytes();
        RawRows { bytes: &self.bytes[rows.start * length..rows.end * length], ..*self }
    }

    /// The bytes of one row.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [u8] {
        let length = self.row_bytes();
        &self.bytes[row * length..(row + 1) * length]
    }

    #[inline(always)]
    fn row_bytes(&self) -> usize {
        self.dim * self.float.size()
    }

    /// Parts of `rows` rows each; the last one may have fewer.
    pub(crate) fn blocks(&self, rows: usize) -> impl ExactSizeIterator<Item = RawRows<'a>> + use<'a> {
        let (float, dim) = (self.float, self.dim);
        self.bytes.chunks(rows * self.row_bytes()).map(move |bytes| Self { bytes, float, dim })
    }
}
