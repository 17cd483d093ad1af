//! The ids and the other fields of a shard.

use std::path::{Path, PathBuf};

use super::{Layout, Shard};
use crate::embedding::Ids;
use crate::embedding::beside::{self, Beside};
use crate::embedding::records::{self, IdsFingerprint, Record, Records};
use crate::{Error, Result};

impl Shard {
    /// Whether the rows have ids of their own, and not their numbers in the store.
    pub(crate) fn has_ids(&self) -> bool {
        match self.ids {
            Ids::Rows => false,
            Ids::Shard => true,
            Ids::Own => self.has_own_ids(),
        }
    }

    fn has_own_ids(&self) -> bool {
        match &self.beside {
            Beside::Nothing => false,
            Beside::List(_) => true,
            Beside::Lines(lines) => lines.has_ids(),
            #[cfg(feature = "parquet")]
            Beside::Table(table) => table.has(self.column()),
            Beside::Inside => match &self.layout {
                #[cfg(feature = "parquet")]
                Layout::Encoded(shard) => shard.extras_schema().fields().find(self.column()).is_some(),
                _ => true,
            },
        }
    }

    /// The field that holds the ids.
    fn column(&self) -> &str {
        self.id_column.as_deref().unwrap_or("id")
    }

    /// Where there are other fields beside the rows but no ids: the file, and fields that might have been meant.
    pub(in crate::embedding) fn missing_ids(&self) -> Option<(&Path, Vec<String>)> {
        if self.ids != Ids::Own || self.has_own_ids() {
            return None;
        }
        match &self.beside {
            Beside::Lines(lines) => Some((&lines.path, lines.candidates.clone())),
            #[cfg(feature = "parquet")]
            Beside::Table(table) => Some((table.path(), table.candidates())),
            #[cfg(feature = "parquet")]
            Beside::Inside => self.encoded().map(|shard| (self.path(), shard.candidates())),
            _ => None,
        }
    }

    /// Whether the records are written as they stand in their file, ids and all.
    pub(crate) fn keeps_records(&self) -> bool {
        self.ids == Ids::Own && self.column() == "id" && self.has_own_ids()
    }

    /// The fields beside the vectors, where there are any: ids, captions and whatever else. Where the rows have ids, those
    /// are in `id`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] where the file of the ids cannot be read. Each record may be an error too,
    /// and the last one is where there are fewer or more records than rows, or those of another matrix.
    pub fn records(&self) -> Result<Option<Records<'_>>> {
        let own = self.own_records(false)?;
        self.identified(own)
    }

    /// The ids alone, as [`Shard::records`], where there are any; the other fields are not read and need not be there.
    pub(in crate::embedding) fn ids(&self) -> Result<Option<Records<'_>>> {
        if !self.has_ids() {
            return Ok(None);
        }
        let own = if self.has_own_ids() { self.own_records(true)? } else { None };
        self.identified(own)
    }

    /// What the files say, with the ids of the field that holds them.
    fn own_records(&self, only_ids: bool) -> Result<Option<Records<'_>>> {
        Ok(Some(match (&self.beside, &self.layout) {
            (Beside::Nothing, _) => return Ok(None),
            (Beside::List(ids), _) => beside::of_list(ids),
            (Beside::Lines(lines), _) => {
                let records = lines.records(only_ids)?;
                Box::new(Checked::new(self, lines.path.clone(), records))
            }
            #[cfg(feature = "parquet")]
            (Beside::Table(table), _) => match only_ids {
                true => self.with_id(Box::new(table.column(self.column())?)),
                false => self.with_id(Box::new(table.records()?)),
            },
            (Beside::Inside, Layout::Scattered(shard)) => match only_ids && self.id_column.is_none() {
                true => Box::new(shard.ids()?),
                false => self.with_id(Box::new(shard.records()?)),
            },
            (Beside::Inside, Layout::Members(shard)) => {
                self.with_id(shard.records(only_ids && self.id_column.is_none())?)
            }
            #[cfg(feature = "parquet")]
            (Beside::Inside, Layout::Encoded(shard)) => {
                self.with_id(Box::new(shard.records(only_ids.then(|| self.column()))?))
            }
            (Beside::Inside, Layout::Contiguous { .. } | Layout::Odd { .. }) => return Ok(None),
        }))
    }

    /// Puts the field that was named for it into `id`.
    fn with_id<'a>(&'a self, records: Records<'a>) -> Records<'a> {
        let Some(column) = self.id_column.as_deref().filter(|_| self.ids != Ids::Rows) else {
            return records;
        };
        Box::new(records.enumerate().map(move |(row, record)| {
            let mut record = record?;
            match records::identify(&mut record, column) {
                Ok(()) => Ok(record),
                Err(found) => {
                    let detail = format!("row {row}: expected an id in {column:?}: {found}");
                    Err(Error::format(self.other_file().unwrap_or(&self.path), detail))
                }
            }
        }))
    }

    /// Gives records the ids that are wanted.
    fn identified<'a>(&'a self, own: Option<Records<'a>>) -> Result<Option<Records<'a>>> {
        match self.ids {
            Ids::Own => Ok(own),
            Ids::Rows => Ok(own.map(|records| -> Records<'a> {
                Box::new(records.enumerate().map(|(row, record)| {
                    let mut record = record?;
                    record.insert("id".to_string(), (self.first + row).to_string().into());
                    Ok(record)
                }))
            })),
            Ids::Shard => {
                let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let has_own = self.has_own_ids();
                let records = own.unwrap_or_else(|| Box::new((0..self.rows).map(|_| Ok(Record::new()))));
                Ok(Some(Box::new(records.enumerate().map(move |(row, record)| {
                    let mut record = record?;
                    let own = records::id(&record).filter(|_| has_own).unwrap_or_else(|| row.to_string());
                    record.insert("id".to_string(), format!("{stem}/{own}").into());
                    Ok(record)
                }))))
            }
        }
    }

    /// The columns beside the rows with their types, where they have some; ids that were chosen are text.
    #[cfg(feature = "parquet")]
    pub(crate) fn extras_schema(&self) -> Option<arrow_schema::SchemaRef> {
        let schema = match (&self.beside, &self.layout) {
            (Beside::Table(table), _) => table.extras_schema(),
            (_, Layout::Encoded(shard)) => shard.extras_schema(),
            _ => return None,
        };
        let chosen = self.ids != Ids::Own || self.id_column.as_deref().is_some_and(|column| column != "id");
        Some(if chosen { std::sync::Arc::new(crate::embedding::parquet::with_ids(&schema)) } else { schema })
    }

    /// Calls with every row of this shard and its id, and returns whether there are ids at all.
    ///
    /// # Errors
    ///
    /// Those of [`Shard::records`], and [`Error::MissingId`] where a record has none.
    pub(in crate::embedding) fn each_id(&self, mut visit: impl FnMut(usize, &str)) -> Result<bool> {
        let Some(records) = self.ids()? else { return Ok(false) };
        for (row, record) in records.enumerate() {
            let id = records::id(&record?).ok_or_else(|| Error::MissingId {
                what: format!("{}: row {row}", self.path().display()),
                id: self.column().to_string(),
            })?;
            visit(row, &id);
        }
        Ok(true)
    }
}

/// Records that are counted and fingerprinted while they go by: at their end it is known whether they belong to the
/// rows.
struct Checked<'a> {
    shard: &'a Shard,
    path: PathBuf,
    records: Records<'a>,
    seen: usize,
    fingerprint: Option<IdsFingerprint>,
}

impl<'a> Checked<'a> {
    fn new(shard: &'a Shard, path: PathBuf, records: Records<'a>) -> Self {
        Self { shard, path, records, seen: 0, fingerprint: Some(IdsFingerprint::new()) }
    }

    fn finish(&mut self) -> Option<Result<Record>> {
        let fingerprint = self.fingerprint.take()?.finish();
        let (rows, matrix) = (self.shard.rows, self.shard.path.display());
        let detail = match &self.shard.ids_fingerprint {
            _ if self.seen != rows => {
                format!("expected {rows} ids, one a row of {matrix}, found {}", self.seen)
            }
            // Of the field `id`; another one may have been named.
            Some(written)
                if *written != fingerprint && self.shard.column() == "id" && self.shard.has_ids() =>
            {
                format!("these are not the ids that {matrix} was written with ({written})")
            }
            _ => return None,
        };
        Some(Err(Error::format(&self.path, detail)))
    }
}

impl Iterator for Checked<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        let Some(record) = self.records.next() else { return self.finish() };
        self.seen += 1;
        if let (Ok(record), Some(fingerprint)) = (&record, &mut self.fingerprint) {
            fingerprint.add(&records::id(record).unwrap_or_default());
        }
        Some(record)
    }
}
