use std::path::Path;

use crate::Result;
use crate::embedding::output::{MatrixOutput, write_sidecar};
use crate::embedding::{FloatType, Format, Store};

/// Rows that are copied at once.
const ROWS: usize = 1024;

/// Writes the rows of all shards of a store as one `.npy` file of float32, with their records beside it.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) or [`Error::Format`](crate::Error::Format) where a file cannot be read or written.
///
/// # Example
///
/// ```
/// use burn_revision::embedding::{EmbeddingTable, Store, write_table};
/// use burn_revision::encoder::join_shards;
///
/// # fn main() -> burn_revision::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = |name: &str| folder.path().join(name);
/// write_table(&EmbeddingTable::new(vec!["a".into()], vec![1.0, 0.0], 2)?, path("part_0.npy"))?;
/// write_table(&EmbeddingTable::new(vec!["b".into()], vec![0.0, 1.0], 2)?, path("part_1.npy"))?;
/// join_shards(&Store::open(path("part_*.npy"))?, &path("whole.npy"))?;
/// assert_eq!(Store::open(path("whole.npy"))?.read_table()?.ids(), ["a", "b"]);
/// # Ok(())
/// # }
/// ```
pub fn join_shards(store: &Store, path: &Path) -> Result<()> {
    let output = MatrixOutput::create(path, Format::Npy, FloatType::F32, store.dim(), false)?;
    let (mut pieces, mut bytes, mut first, mut written) = (store.pieces(ROWS), Vec::new(), 0, Vec::new());
    while let Some(piece) = pieces.next(&mut bytes)? {
        written.clear();
        piece.read(&mut bytes)?.convert(FloatType::F32, &mut written);
        output.write(first, &written)?;
        first += piece.rows.len();
    }
    let ids = write_sidecar(path, store.records())?;
    output.finish(first, Some(&ids), false)
}
