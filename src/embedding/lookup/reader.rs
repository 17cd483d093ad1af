use std::fs::File;
#[cfg(feature = "parquet")]
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::lru::WeightedLru;
#[cfg(feature = "parquet")]
use crate::embedding::encoded::{Encoded, Parts};
use crate::embedding::kernel::{Kernel, Lane, vectorized};
use crate::embedding::{FloatType, RawRows, Shard};
use crate::{Error, Result};

/// Files that are open at once: a process may as a rule have 1024.
const OPEN_FILES: usize = 128;
/// Bytes that are read at once, where neighbours are asked for.
const RUN_BYTES: usize = 1 << 20;
/// Decoded bytes of Parquet files that are kept by default.
#[cfg(feature = "parquet")]
const CACHE_BYTES: usize = 64 << 20;

/// Reads rows of shards at any place.
pub(super) struct Reader {
    shards: Arc<[Shard]>,
    /// The number of the first row of every shard, and then that of all rows.
    starts: Vec<usize>,
    files: WeightedLru<usize, File>,
    #[cfg(feature = "parquet")]
    pages: Vec<Option<Parts>>,
    /// Decoded parts by shard and first row, as they are stored.
    #[cfg(feature = "parquet")]
    parts: WeightedLru<(usize, usize), Vec<u8>>,
}

impl Reader {
    pub fn new(shards: Arc<[Shard]>) -> Result<Self> {
        let ends = shards.iter().scan(0, |end, shard| {
            *end += shard.len();
            Some(*end)
        });
        let starts = [0].into_iter().chain(ends).collect();
        #[cfg(feature = "parquet")]
        let pages = {
            let pages = |shard: &Shard| shard.encoded().map(Encoded::parts).transpose();
            shards.iter().map(pages).collect::<Result<_>>()?
        };
        Ok(Self {
            shards,
            starts,
            files: WeightedLru::new(OPEN_FILES),
            #[cfg(feature = "parquet")]
            pages,
            #[cfg(feature = "parquet")]
            parts: WeightedLru::new(CACHE_BYTES),
        })
    }

    #[cfg(test)]
    #[cfg_attr(not(feature = "parquet"), expect(unused_mut, unused_variables))]
    pub fn with_cache(mut self, bytes: usize) -> Self {
        #[cfg(feature = "parquet")]
        {
            self.parts = WeightedLru::new(bytes);
        }
        self
    }

    /// The decoded bytes that are kept.
    #[cfg(all(test, feature = "parquet"))]
    pub fn cached_bytes(&self) -> usize {
        self.parts.weight()
    }

    /// All shards.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The file of a row, and the row's number there.
    pub fn locate(&self, row: usize) -> (&Path, usize) {
        let shard = self.starts.partition_point(|start| *start <= row).saturating_sub(1);
        let shard = shard.min(self.shards.len() - 1);
        (self.shards[shard].path(), row - self.starts[shard])
    }

    pub fn len(&self) -> usize {
        self.starts[self.shards.len()]
    }

    pub fn dim(&self) -> usize {
        self.shards[0].dim()
    }

    /// Reads rows, all of which are there, into as many places of `out`.
    pub fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<()> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_unstable_by_key(|&place| rows[place]);
        let (mut left, mut bytes) = (order.as_slice(), Vec::new());
        while let Some(&first) = left.first() {
            let number = self.starts.partition_point(|start| *start <= rows[first]) - 1;
            let (start, end) = (self.starts[number], self.starts[number + 1]);
            let (places, rest) = left.split_at(left.partition_point(|&place| rows[place] < end));
            let wanted: Vec<Wanted> =
                places.iter().map(|&place| Wanted { row: rows[place] - start, place }).collect();
            self.read_shard(number, &wanted, &mut bytes, out)?;
            left = rest;
        }
        Ok(())
    }

    fn read_shard(
        &self,
        number: usize,
        wanted: &[Wanted],
        bytes: &mut Vec<u8>,
        out: &mut [f32],
    ) -> Result<()> {
        let shard = &self.shards[number];
        #[cfg(feature = "parquet")]
        if let Some((encoded, pages)) = shard.encoded().zip(self.pages[number].as_ref()) {
            let part = |wanted: &Wanted| pages.part(wanted.row);
            for run in wanted.chunk_by(|a, b| part(a) == part(b)) {
                let rows = part(&run[0]);
                let decoded = match self.parts.get(&(number, rows.start)) {
                    Some(decoded) => decoded,
                    None => self
                        .decode_part(number, encoded, pages, rows.clone())
                        .map_err(|error| while_reading(error, run[0].row))?,
                };
                put(shard, &decoded, rows.start, run, out)?;
            }
            return Ok(());
        }
        let file = self.file(number).map_err(|error| while_reading(error, wanted[0].row))?;
        let most = (RUN_BYTES / shard.row_bytes()).max(1);
        for run in wanted.chunk_by(|a, b| b.row - a.row <= 1).flat_map(|run| run.chunks(most)) {
            let rows = run[0].row..run[run.len() - 1].row + 1;
            shard.read_rows(&file, rows.clone(), bytes)?;
            put(shard, bytes, rows.start, run, out)?;
        }
        Ok(())
    }

    /// The file of a shard, which is what it was.
    fn file(&self, number: usize) -> Result<Arc<File>> {
        let shard = &self.shards[number];
        if let Some(file) = self.files.get(&number) {
            shard.check_unchanged(&file)?;
            return Ok(file);
        }
        let file = Arc::new(shard.file()?);
        shard.check_unchanged(&file)?;
        self.files.put(number, Arc::clone(&file), 1);
        Ok(file)
    }

    /// The stored values of a part of a Parquet file. Each time the file is opened anew: the library moves about in
    /// it, which two threads cannot do in one open file.
    #[cfg(feature = "parquet")]
    fn decode_part(
        &self,
        number: usize,
        encoded: &Encoded,
        pages: &Parts,
        rows: Range<usize>,
    ) -> Result<Arc<Vec<u8>>> {
        let shard = &self.shards[number];
        let file = shard.file()?;
        shard.check_unchanged(&file)?;
        // A file may claim rows of any size: beyond this, memory is taken as values come.
        let mut bytes = Vec::with_capacity((rows.len() * shard.row_bytes()).min(CACHE_BYTES));
        let read = encoded.rows_of_part(pages, rows.clone(), file)?.read(rows.len(), &mut bytes)?;
        if read != rows.len() {
            let detail = format!("expected rows {rows:?}, found {read} of them");
            return Err(Error::format(shard.path(), detail));
        }
        let bytes = Arc::new(bytes);
        self.parts.put((number, rows.start), Arc::clone(&bytes), bytes.capacity());
        Ok(bytes)
    }
}

/// A row of a shard, and its place in the output.
#[derive(Clone, Copy)]
struct Wanted {
    row: usize,
    place: usize,
}

/// Converts rows into their places; `bytes` holds the stored values from row `first` of the shard on.
fn put(shard: &Shard, bytes: &[u8], first: usize, wanted: &[Wanted], out: &mut [f32]) -> Result<()> {
    let rows = RawRows::new(bytes, shard.float(), shard.dim())?;
    vectorized(Put { rows, first, wanted, out });
    Ok(())
}

struct Put<'a> {
    rows: RawRows<'a>,
    first: usize,
    wanted: &'a [Wanted],
    out: &'a mut [f32],
}

impl Kernel for Put<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let (float, dim) = (self.rows.float(), self.rows.dim());
        for wanted in self.wanted {
            let stored = self.rows.row(wanted.row - self.first);
            let out = &mut self.out[wanted.place * dim..(wanted.place + 1) * dim];
            match float {
                FloatType::F64 => {
                    for (out, bytes) in out.iter_mut().zip(stored.as_chunks::<8>().0) {
                        *out = f64::from_le_bytes(*bytes) as f32;
                    }
                }
                float => f32::decode(stored, float, out),
            }
        }
    }
}

/// Says in an error about a file for which row it was read.
fn while_reading(error: Error, row: usize) -> Error {
    match error {
        Error::Format { path, detail } => {
            Error::Format { path, detail: format!("while reading row {row}: {detail}") }
        }
        error => error,
    }
}
