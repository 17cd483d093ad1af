use burn::data::dataset::{Dataset, DatasetError};

use super::{EmbeddingTable, StoreLookup};

/// One embedding of a table or a store, as Burn's data loaders take it.
///
/// [`EmbeddingTable`] and [`StoreLookup`] are Burn datasets of them, so that samplers, transforms and loaders work on
/// embeddings in memory and on disk alike:
///
/// ```
/// use burn::data::dataset::Dataset;
/// use burn::data::dataset::transform::PartialDataset;
/// use burn_revision::embedding::EmbeddingTable;
///
/// # fn main() -> burn_revision::Result<()> {
/// let table = EmbeddingTable::numbered(vec![1.0, 0.0, 0.6, 0.8, 0.0, 1.0], 2)?;
/// let last = PartialDataset::new(table, 1, 3);
/// assert_eq!(last.len(), 2);
/// assert_eq!(last.get(0).unwrap().values, [0.6, 0.8]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The number of the row, counted over all shards.
    pub row: usize,
    /// The values, `[d]`, as they are stored.
    pub values: Vec<f32>,
}

impl Dataset<Embedding> for EmbeddingTable {
    fn get(&self, index: usize) -> Result<Embedding, DatasetError> {
        Ok(Embedding { row: index, values: self.row(index).to_vec() })
    }

    fn len(&self) -> usize {
        EmbeddingTable::len(self)
    }
}

impl Dataset<Embedding> for StoreLookup {
    fn get(&self, index: usize) -> Result<Embedding, DatasetError> {
        Ok(self.get_many(vec![index])?.remove(0))
    }

    /// One read for rows that lie beside each other.
    fn get_many(&self, indexes: Vec<usize>) -> Result<Vec<Embedding>, DatasetError> {
        let (rows, dim) = (StoreLookup::len(self), self.dim());
        if let Some(index) = indexes.iter().find(|index| **index >= rows) {
            panic!("index out of bounds for a store of embeddings: {index} >= {rows}");
        }
        let mut values = vec![0.0; indexes.len() * dim];
        self.read(&indexes, &mut values).map_err(DatasetError::new)?;
        let rows = indexes.into_iter().zip(values.chunks_exact(dim));
        Ok(rows.map(|(row, values)| Embedding { row, values: values.to_vec() }).collect())
    }

    fn len(&self) -> usize {
        StoreLookup::len(self)
    }
}

#[cfg(test)]
mod tests {
    use burn::data::dataset::transform::{Mapper, MapperDataset, SamplerDataset};

    use super::*;
    use crate::embedding::{Store, write_table};

    struct First;

    impl Mapper<Embedding, f32> for First {
        fn map(&self, embedding: &Embedding) -> f32 {
            embedding.values[0]
        }
    }

    #[test]
    fn a_store_and_its_table_are_the_same_dataset() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.npy");
        let table = EmbeddingTable::numbered((0..60).map(|value| value as f32).collect(), 4).unwrap();
        write_table(&table, &path).unwrap();
        let store = StoreLookup::open(&Store::open(&path).unwrap()).unwrap();
        let items = |dataset: &dyn Dataset<Embedding>| -> Vec<Embedding> {
            (0..dataset.len()).map(|row| dataset.get(row).unwrap()).collect()
        };
        assert_eq!(items(&table), items(&store));
        assert_eq!(store.get_many(vec![7, 2, 7]).unwrap()[1].values, table.row(2));

        let sampled = SamplerDataset::new(store, 9);
        assert_eq!(sampled.len(), 9);
        let mapped = MapperDataset::new(sampled, First);
        assert!((0..9).all(|item| mapped.get(item).unwrap() % 4.0 == 0.0), "first values of rows");
    }

    #[test]
    #[should_panic(expected = "15 >= 15")]
    fn a_row_behind_the_last_panics_as_for_a_slice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.npy");
        write_table(&EmbeddingTable::numbered(vec![1.0; 60], 4).unwrap(), &path).unwrap();
        let _ = StoreLookup::open(&Store::open(&path).unwrap()).unwrap().get(15);
    }
}
