use std::collections::HashMap;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::raw_rows::check_length;
use crate::{Error, Result};

/// Embeddings with the ids of the samples that they came from: `n` rows of `d` float32 values.
///
/// ```
/// use burn_revision::embedding::EmbeddingTable;
///
/// # fn main() -> burn_revision::Result<()> {
/// let ids = vec!["cat".to_string(), "dog".to_string()];
/// let table = EmbeddingTable::new(ids, vec![1.0, 0.0, 0.6, 0.8], 2)?;
/// assert_eq!(table.get("dog")?, [0.6, 0.8]);
/// assert!(table.get("cow").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddingTable {
    ids: Vec<String>,
    rows: Vec<f32>,
    dim: usize,
    positions: HashMap<String, usize>,
}

impl EmbeddingTable {
    /// A table of `ids.len()` rows of `dim` values; `rows` is row-major, `[n, dim]`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for `dim` zero, [`Error::Mismatch`] where `rows` does not hold `n * dim` values,
    /// [`Error::DuplicateId`] for an id that stands at two rows.
    pub fn new(ids: Vec<String>, rows: Vec<f32>, dim: usize) -> Result<Self> {
        if dim == 0 {
            return Err(Error::config("dim", "an embedding has at least one dimension, found 0"));
        }
        if rows.len() != ids.len() * dim {
            let what = format!("values in a table of {} ids and {dim} dimensions", ids.len());
            return Err(Error::mismatch(what, ids.len() * dim, rows.len()));
        }
        let mut positions = HashMap::with_capacity(ids.len());
        for (second, id) in ids.iter().enumerate() {
            if let Some(first) = positions.insert(id.clone(), second) {
                let what = "embedding table".to_string();
                return Err(Error::DuplicateId { what, id: id.clone(), first, second });
            }
        }
        Ok(Self { ids, rows, dim, positions })
    }

    /// A table whose ids are the row numbers, from `"0"`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for `dim` zero, [`Error::Mismatch`] where `rows` is not a whole number of rows.
    pub fn numbered(rows: Vec<f32>, dim: usize) -> Result<Self> {
        check_length(&rows, dim)?;
        Self::new((0..rows.len() / dim).map(|row| row.to_string()).collect(), rows, dim)
    }

    /// A table of the rows of a tensor `[n, d]` of any float type on any device; the values are kept as float32.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another number of rows than ids, [`Error::DuplicateId`] for an id that stands at two rows.
    pub fn from_tensor(ids: Vec<String>, rows: Tensor<2>) -> Result<Self> {
        let [n, dim] = rows.dims();
        if n != ids.len() {
            return Err(Error::mismatch("rows in the tensor (one an id)", ids.len(), n));
        }
        let rows = rows.into_data().try_into_vec_as::<f32>().expect("the data was converted to f32");
        Self::new(ids, rows, dim)
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The number of dimensions of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The ids, one a row.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// All values, row-major `[n, d]`.
    pub fn rows(&self) -> &[f32] {
        &self.rows
    }

    /// The values of one row.
    ///
    /// # Panics
    ///
    /// If `row` is not less than [`EmbeddingTable::len`].
    pub fn row(&self, row: usize) -> &[f32] {
        &self.rows[row * self.dim..(row + 1) * self.dim]
    }

    /// The row at which `id` stands.
    pub fn position(&self, id: &str) -> Option<usize> {
        self.positions.get(id).copied()
    }

    /// The values that stand under `id`.
    ///
    /// # Errors
    ///
    /// [`Error::MissingId`] where there is no such id.
    pub fn get(&self, id: &str) -> Result<&[f32]> {
        let missing = || Error::MissingId { what: "embedding table".to_string(), id: id.to_string() };
        self.position(id).map(|row| self.row(row)).ok_or_else(missing)
    }

    /// The table of the given rows, in the given order.
    ///
    /// # Errors
    ///
    /// [`Error::DuplicateId`] where a row is asked for twice.
    ///
    /// # Panics
    ///
    /// If a row is not less than [`EmbeddingTable::len`].
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        let ids = rows.iter().map(|&row| self.ids[row].clone()).collect();
        let values = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Self::new(ids, values, self.dim)
    }

    /// The rows as a float32 tensor `[n, d]` on `device`.
    pub fn tensor(&self, device: &Device) -> Tensor<2> {
        let data = TensorData::new(self.rows.clone(), [self.len(), self.dim]);
        Tensor::from_data(data, (device, DType::F32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn wrong_sizes_and_double_ids_are_refused_with_both_places() {
        let error = EmbeddingTable::new(ids(&["a", "b"]), vec![0.0; 5], 3).unwrap_err();
        assert!(matches!(error, Error::Mismatch { expected: 6, actual: 5, .. }), "{error}");
        let error = EmbeddingTable::new(ids(&["a", "b", "a"]), vec![0.0; 3], 1).unwrap_err();
        assert!(matches!(error, Error::DuplicateId { first: 0, second: 2, .. }), "{error}");
        assert!(EmbeddingTable::new(Vec::new(), Vec::new(), 0).is_err());
        assert!(EmbeddingTable::numbered(vec![0.0; 5], 2).is_err());
    }

    #[test]
    fn every_id_finds_its_own_row() {
        let table =
            EmbeddingTable::new(ids(&["a", "b", "c"]), (0..6).map(|v| v as f32).collect(), 2).unwrap();
        for (row, id) in table.ids().iter().enumerate() {
            assert_eq!(table.position(id), Some(row));
            assert_eq!(table.get(id).unwrap(), table.row(row));
        }
        let turned = table.select(&[2, 0]).unwrap();
        assert_eq!(turned.get("c").unwrap(), table.get("c").unwrap());
        assert_eq!(turned.ids(), ["c", "a"]);
        assert!(matches!(turned.get("b"), Err(Error::MissingId { .. })));
        assert!(matches!(table.select(&[1, 1]), Err(Error::DuplicateId { .. })));
    }

    #[test]
    fn tensors_of_every_float_type_make_a_table() {
        let device = Device::default();
        let table = EmbeddingTable::numbered(vec![0.5, -2.0, 0.25, 8.0], 2).unwrap();
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            let tensor = table.tensor(&device).cast(dtype);
            assert_eq!(EmbeddingTable::from_tensor(table.ids().to_vec(), tensor).unwrap(), table);
        }
        assert!(EmbeddingTable::from_tensor(ids(&["a"]), table.tensor(&device)).is_err());
    }
}
