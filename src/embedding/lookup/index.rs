use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use crate::Result;
use crate::embedding::Shard;

/// Where every id of a store stands, or a part of every id.
///
/// An id is kept as a hash of 128 bits, whose keys are chosen at random when the index is made: among `n` ids, two
/// share one with a probability of `n^2 / 2^129`, which is `10^-21` for a thousand million, and ids
/// that do cannot be constructed. So the ids themselves need neither be kept nor read again.
#[derive(Debug)]
pub(crate) struct IdIndex {
    keys: [RandomState; 2],
    rows: usize,
    /// By their hashes; empty where no shard has ids, so that all are row numbers.
    entries: Vec<Entry>,
}

/// 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: [u64; 2],
    row: usize,
}

impl IdIndex {
    /// Reads all ids of a store once, and keeps where `part` of each stands.
    ///
    /// # Errors
    ///
    /// Those of [`super::StoreLookup::open`] but for ids that stand twice: see [`first_double`](Self::first_double).
    pub(super) fn read(shards: &[Shard], part: fn(&str) -> &str) -> Result<Self> {
        let keys = [RandomState::new(), RandomState::new()];
        let rows = shards.iter().map(Shard::len).sum();
        let mut index = Self { keys, rows, entries: Vec::new() };
        let mut numbered = Vec::new();
        for (shard, rows) in with_rows(shards) {
            let has_ids = shard.each_id(|row, id| index.add(rows.start + row, part(id)))?;
            if !has_ids {
                numbered.push(rows);
            }
        }
        if index.entries.is_empty() {
            return Ok(index);
        }
        for row in numbered.into_iter().flatten() {
            index.add(row, &row.to_string());
        }
        index.entries.sort_unstable();
        Ok(index)
    }

    fn add(&mut self, row: usize, id: &str) {
        if self.entries.is_empty() {
            // Once and for all: growing would take twice the memory.
            self.entries.reserve_exact(self.rows);
        }
        self.entries.push(Entry { hash: self.hash(id), row });
    }

    fn hash(&self, id: &str) -> [u64; 2] {
        [self.keys[0].hash_one(id), self.keys[1].hash_one(id)]
    }

    /// The two rows of the id that is the first to be repeated.
    pub(crate) fn first_double(&self) -> Option<(usize, usize)> {
        let doubles = self.entries.windows(2).filter(|pair| pair[0].hash == pair[1].hash);
        doubles.map(|pair| (pair[0].row, pair[1].row)).min_by_key(|(_, second)| *second)
    }

    /// The row of an id.
    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        if self.entries.is_empty() {
            return row_number(id).filter(|row| *row < self.rows);
        }
        let hash = self.hash(id);
        let found = self.entries.binary_search_by_key(&hash, |entry| entry.hash).ok()?;
        Some(self.entries[found].row)
    }

    /// The memory that it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}

/// The shards, each with the numbers of its rows in the store.
fn with_rows(shards: &[Shard]) -> impl Iterator<Item = (&Shard, Range<usize>)> {
    shards.iter().scan(0, |first, shard| {
        let rows = *first..*first + shard.len();
        *first = rows.end;
        Some((shard, rows))
    })
}

/// The id of one row, for an error: it takes as long as reading all ids of its shard.
pub(super) fn id_at(shards: &[Shard], row: usize) -> Result<String> {
    let mut id = row.to_string();
    if let Some((shard, rows)) = with_rows(shards).find(|(_, rows)| rows.contains(&row)) {
        shard.each_id(|number, found| {
            if rows.start + number == row {
                id = found.to_string();
            }
        })?;
    }
    Ok(id)
}

/// The number that is written so and not otherwise: "7", but neither "07" nor "+7".
fn row_number(id: &str) -> Option<usize> {
    let plain = id == "0" || id.starts_with(|first: char| matches!(first, '1'..='9'));
    id.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_written_in_one_way() {
        for (id, row) in [("0", Some(0)), ("10", Some(10)), ("18446744073709551615", Some(usize::MAX))] {
            assert_eq!(super::row_number(id), row);
        }
        for id in ["", "00", "07", "+7", "-0", " 7", "7 ", "7.0", "18446744073709551616", "٣", "x"] {
            assert_eq!(super::row_number(id), None, "{id:?}");
        }
    }
}
