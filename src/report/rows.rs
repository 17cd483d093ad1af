//! Rows of one set, chosen by their records and read.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::config::ReportConfig;
use crate::embedding::{
    BLOCK_ROWS, EmbeddingTable, MIN_NORM, NonFinite, Progress, Record, RowSample, Store, check_cancelled,
    clean_rows, record_id,
};
use crate::{Error, Result};

/// The fields that captions are looked for in, where the settings name none.
const CAPTION_FIELDS: [&str; 2] = ["text", "caption"];

/// A set of embeddings with its records.
#[derive(Clone, Copy)]
pub(super) enum Rows<'a> {
    /// On disk.
    Store(&'a Store),
    /// In memory, under a name for errors; its records have no other field than the id.
    Table { name: &'static str, table: &'a EmbeddingTable },
}

/// A row that is read: its number in the set, its values, the file that it is in, and its number there.
struct Row<'a> {
    number: usize,
    values: &'a [f32],
    file: &'a str,
    number_in_file: usize,
}

impl Rows<'_> {
    pub fn len(&self) -> usize {
        match self {
            Self::Store(store) => store.len(),
            Self::Table { table, .. } => table.len(),
        }
    }

    pub fn dim(&self) -> usize {
        match self {
            Self::Store(store) => store.dim(),
            Self::Table { table, .. } => table.dim(),
        }
    }

    /// The file, folder or pattern, or the name of a table.
    pub fn place(&self) -> String {
        match self {
            Self::Store(store) => store.place().display().to_string(),
            Self::Table { name, .. } => (*name).to_string(),
        }
    }

    /// Checks that all ids are different; those of a table are.
    pub fn check_ids(&self) -> Result<()> {
        match self {
            Self::Store(store) => store.check_ids(),
            Self::Table { .. } => Ok(()),
        }
    }

    /// Visits all rows with their records, where there are any.
    fn each_record(&self, mut visit: impl FnMut(usize, Option<&Record>) -> Result<()>) -> Result<()> {
        let store = match self {
            Self::Store(store) => store,
            Self::Table { table, .. } => {
                return table.ids().iter().enumerate().try_for_each(|(row, id)| {
                    visit(row, Some(&Record::from_iter([("id".to_string(), Value::String(id.clone()))])))
                });
            }
        };
        let mut first = 0;
        for shard in store.shards() {
            match shard.records()? {
                Some(records) => {
                    for (row, record) in records.enumerate() {
                        visit(first + row, Some(&record?))?;
                    }
                }
                None => (first..first + shard.len()).try_for_each(|row| visit(row, None))?,
            }
            first += shard.len();
        }
        Ok(())
    }

    /// Visits the values of the wanted rows, in order.
    fn each_row(
        &self,
        wanted: &HashSet<usize>,
        progress: &dyn Progress,
        mut visit: impl FnMut(Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let store = match self {
            Self::Store(store) => store,
            Self::Table { name: file, table } => {
                check_cancelled(progress)?;
                for number in (0..table.len()).filter(|row| wanted.contains(row)) {
                    visit(Row { number, values: table.row(number), file, number_in_file: number })?;
                }
                progress.advance(table.len());
                return Ok(());
            }
        };
        let (mut pieces, mut bytes, mut seen) = (store.pieces(BLOCK_ROWS), Vec::new(), 0);
        while let Some(piece) = pieces.next(&mut bytes)? {
            check_cancelled(progress)?;
            let first = seen;
            seen += piece.rows.len();
            if (first..seen).any(|row| wanted.contains(&row)) {
                let rows = piece.read(&mut bytes)?.to_single();
                let file = piece.shard.path().display().to_string();
                for (at, values) in rows.chunks_exact(store.dim()).enumerate() {
                    if wanted.contains(&(first + at)) {
                        let number_in_file = piece.rows.start + at;
                        visit(Row { number: first + at, values, file: &file, number_in_file })?;
                    }
                }
            }
            progress.advance(piece.rows.len());
        }
        Ok(())
    }
}

/// What a report needs of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// The words of the caption.
    pub words: Option<usize>,
    /// The domain.
    pub domain: Option<String>,
}

/// Rows of one set that were chosen and read.
pub(super) struct Chosen {
    pub ids: Vec<String>,
    /// Row-major, `[n, d]`.
    pub values: Vec<f32>,
    pub facts: Vec<Facts>,
    /// The ids of the texts that images belong to.
    pub partners: Vec<String>,
    pub left_out: usize,
    pub read: usize,
    /// The field that captions were found in.
    pub caption_field: Option<String>,
}

/// Which rows have a partner in the other set.
#[derive(Clone, Copy)]
pub(super) enum Partners<'a> {
    /// Rows are not paired, and all take part.
    Unpaired,
    /// Texts of these ids have an image.
    Texts(&'a HashSet<String>),
    /// Images of these texts have their text.
    Images(&'a HashMap<&'a str, usize>),
}

impl Partners<'_> {
    fn has(&self, id: &str, partner: impl Fn() -> String) -> bool {
        match self {
            Self::Unpaired => true,
            Self::Texts(ids) => ids.contains(id),
            Self::Images(texts) => texts.contains_key(partner().as_str()),
        }
    }
}

/// The ids of the texts that the images of a set belong to.
pub(super) fn texts_of(image: Rows<'_>, config: &ReportConfig) -> Result<HashSet<String>> {
    let mut ids = HashSet::new();
    let mut named = config.pair_by.is_none();
    image.each_record(|row, record| {
        named |= config.pair_by.as_ref().is_some_and(|field| record.is_some_and(|r| r.contains_key(field)));
        if config.only.as_ref().is_none_or(|only| passes(record, only)) {
            ids.insert(partner(record, &id(row, record), config));
        }
        Ok(())
    })?;
    match (&config.pair_by, named) {
        (Some(field), false) => {
            Err(Error::config("pair-by", format!("no record of {} has a field {field:?}", image.place())))
        }
        _ => Ok(ids),
    }
}

impl Chosen {
    /// Reads the rows of a set that pass the filter and have a partner: all, or an even sample.
    pub fn read(
        rows: Rows<'_>,
        config: &ReportConfig,
        partners: Partners<'_>,
        what: &str,
        progress: &dyn Progress,
    ) -> Result<Self> {
        // Where records decide, they are read before the rows.
        let allowed = match !matches!(partners, Partners::Unpaired) || config.only.is_some() {
            true => Some(allowed(rows, config, partners)?),
            false => None,
        };
        let total = allowed.as_ref().map_or(rows.len(), Vec::len);
        let sample = RowSample::new(total, config.rows, config.seed);
        let wanted: HashSet<usize> =
            sample.within(0..total).map(|at| allowed.as_ref().map_or(at, |allowed| allowed[at])).collect();

        progress.begin(&format!("reading {what}"), rows.len());
        let mut chosen = Self {
            ids: Vec::with_capacity(wanted.len()),
            values: Vec::with_capacity(wanted.len() * rows.dim()),
            facts: Vec::with_capacity(wanted.len()),
            partners: Vec::new(),
            left_out: 0,
            read: wanted.len(),
            caption_field: None,
        };
        let mut kept = HashSet::with_capacity(wanted.len());
        rows.each_row(&wanted, progress, |row| {
            match cleaned(row.values, config.non_finite, row.file, row.number_in_file)? {
                Some(values) => {
                    chosen.values.extend(values);
                    kept.insert(row.number);
                }
                None => chosen.left_out += 1,
            }
            Ok(())
        })?;
        rows.each_record(|row, record| {
            if kept.contains(&row) {
                chosen.add_record(row, record, config);
            }
            Ok(())
        })?;
        Ok(chosen)
    }

    fn add_record(&mut self, row: usize, record: Option<&Record>, config: &ReportConfig) {
        let text = |field: &str| record.and_then(|record| record.get(field)).and_then(Value::as_str);
        let caption = match &config.caption {
            Some(field) => text(field).map(|caption| (field.as_str(), caption)),
            None => CAPTION_FIELDS.iter().find_map(|field| text(field).map(|caption| (*field, caption))),
        };
        if let (None, Some((field, _))) = (&self.caption_field, caption) {
            self.caption_field = Some(field.to_string());
        }
        let id = id(row, record);
        self.partners.push(partner(record, &id, config));
        self.ids.push(id);
        self.facts.push(Facts {
            words: caption.map(|(_, caption)| caption.split_whitespace().count()),
            domain: config.domain.as_ref().and_then(|field| record?.get(field)).and_then(
                |value| match value {
                    Value::String(domain) => Some(domain.clone()),
                    Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
                    _ => None,
                },
            ),
        });
    }
}

/// The id of a row: that of its record, or else its number.
fn id(row: usize, record: Option<&Record>) -> String {
    record.and_then(record_id).unwrap_or_else(|| row.to_string())
}

/// The id of the text that an image belongs to.
fn partner(record: Option<&Record>, id: &str, config: &ReportConfig) -> String {
    match &config.pair_by {
        None => id.to_string(),
        Some(field) => match record.and_then(|record| record.get(field)) {
            Some(Value::String(partner)) => partner.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        },
    }
}

/// The rows that may be chosen.
fn allowed(rows: Rows<'_>, config: &ReportConfig, partners: Partners<'_>) -> Result<Vec<usize>> {
    let mut allowed = Vec::new();
    rows.each_record(|row, record| {
        let id = id(row, record);
        if partners.has(&id, || partner(record, &id, config))
            && config.only.as_ref().is_none_or(|only| passes(record, only))
        {
            allowed.push(row);
        }
        Ok(())
    })?;
    if allowed.is_empty() {
        let place = rows.place();
        let what = match (partners, &config.only) {
            (_, Some((field, value))) => format!("{place}: rows with {field}={value}"),
            (Partners::Texts(_), None) => format!("{place}: texts that an image belongs to (`paired`)"),
            _ => format!("{place}: images that belong to a text (`paired`)"),
        };
        return Err(Error::TooFewRows { what, needed: 1, actual: 0 });
    }
    Ok(allowed)
}

/// Whether a record has this value in this field, or among several there; a record without the field passes.
fn passes(record: Option<&Record>, (field, wanted): &(String, String)) -> bool {
    let is = |value: &Value| match value {
        Value::String(value) => value == wanted,
        other => format!("{other}") == *wanted,
    };
    match record.and_then(|record| record.get(field)) {
        None => true,
        Some(Value::Array(values)) => values.iter().any(is),
        Some(value) => is(value),
    }
}

/// A row under the policy; `None` where it is left out. A row that has no direction after it was cleaned is left out as
/// well: it has no cosine with anything.
fn cleaned(values: &[f32], policy: NonFinite, file: &str, row: usize) -> Result<Option<Vec<f32>>> {
    let (values, kept, _) = clean_rows(values, values.len(), policy, file, row)?;
    let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    Ok((!kept.is_empty() && norm >= MIN_NORM).then_some(values))
}
