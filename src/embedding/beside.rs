//! What stands beside the rows of a matrix: the other fields, in another file or another part of the same.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::ids;
#[cfg(feature = "parquet")]
use super::parquet::ParquetTable;
use super::records::{self, Records, Tally, of_id};
use super::{Ids, StoreOptions};
use crate::json::{Lines, Mended};
use crate::{Error, Result};

/// Where the fields beside the rows of a shard are.
#[derive(Debug)]
pub(super) enum Beside {
    Nothing,
    /// In the file of the rows, which the layout knows.
    Inside,
    /// The ids alone, in the file of the rows.
    List(Vec<Box<str>>),
    /// One JSON object a line in a file of their own.
    Lines(JsonLines),
    /// The columns of a Parquet file.
    #[cfg(feature = "parquet")]
    Table(Box<ParquetTable>),
}

/// A file of records, of which the first line has been read.
#[derive(Debug)]
pub(super) struct JsonLines {
    pub path: PathBuf,
    /// The field that holds the ids; `None` where there is none.
    column: Option<String>,
    /// Fields that might be ids, where none is.
    pub candidates: Vec<String>,
    tally: Tally,
}

impl Beside {
    /// Looks for the fields beside the matrix at `path`: in `NAME.jsonl`, else in `table`, a Parquet file.
    pub fn find(path: &Path, table: Option<&Path>, options: &StoreOptions) -> Result<Self> {
        let lines = records::sidecar(path);
        if let Some(file) = records::open_sidecar(&lines)? {
            return JsonLines::open(lines, file, options).map(Self::Lines);
        }
        match table {
            None => Ok(Self::Nothing),
            #[cfg(feature = "parquet")]
            Some(table) => {
                let table = ParquetTable::open(table)?;
                table.check_column(options.id_column.as_deref())?;
                Ok(Self::Table(Box::new(table)))
            }
            #[cfg(not(feature = "parquet"))]
            Some(_) if options.ids == Ids::Rows => Ok(Self::Nothing),
            #[cfg(not(feature = "parquet"))]
            Some(table) => {
                let detail = "the ids of the rows stand here, and Parquet files need the feature `parquet`";
                Err(Error::format(table, detail))
            }
        }
    }

    /// What has been mended so far.
    pub fn mended(&self) -> Mended {
        match self {
            Self::Lines(lines) => lines.tally.get(),
            _ => Mended::default(),
        }
    }
}

impl JsonLines {
    fn open(path: PathBuf, file: File, options: &StoreOptions) -> Result<Self> {
        let mut lines = Lines::new(file);
        let first = match lines.next() {
            Some((_, Ok(line), mended)) => records::parse(line, mended).ok(),
            _ => None,
        };
        let wanted = options.id_column.as_deref().unwrap_or("id");
        let mut candidates = Vec::new();
        let column = match first {
            // Rows that are numbered need no other ids.
            Some(record) if !record.contains_key(wanted) && options.ids != Ids::Rows => {
                let fields = record.keys().map(String::as_str);
                if options.id_column.is_some() {
                    let fields: Vec<&str> = fields.collect();
                    return Err(Error::format(path, format!("no field {wanted:?}; found {fields:?}")));
                }
                candidates = records::id_candidates(fields);
                None
            }
            // What is wrong with the first line is said when all are read.
            _ => (options.ids != Ids::Rows).then(|| wanted.to_string()),
        };
        Ok(Self { path, column, candidates, tally: Tally::default() })
    }

    pub fn has_ids(&self) -> bool {
        self.column.is_some()
    }

    /// The records, or what is needed for the ids alone.
    pub fn records(&self, only_ids: bool) -> Result<Records<'_>> {
        let file = File::open(&self.path).map_err(|error| Error::io(&self.path, error))?;
        Ok(match &self.column {
            None => records::read_lines(&self.path, file, &self.tally, records::parse),
            Some(column) if only_ids => {
                let parse = |line: &str, mended: &mut Mended| ids::parse(line, column, mended);
                records::read_lines(&self.path, file, &self.tally, parse)
            }
            Some(column) => {
                let parse = |line: &str, mended: &mut Mended| records::parse_with_id(line, column, mended);
                records::read_lines(&self.path, file, &self.tally, parse)
            }
        })
    }
}

/// The records of a list of ids.
pub(super) fn of_list(ids: &[Box<str>]) -> Records<'_> {
    Box::new(ids.iter().map(|id| Ok(of_id(id.to_string()))))
}
