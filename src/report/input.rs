//! Rows, records and pairs of two stores, cut into halves.

use std::collections::{HashMap, HashSet};

use rand::seq::SliceRandom;
use serde_json::Value;

use super::ReportConfig;
use super::model::{Data, PairCounts, SetReport};
use crate::embedding::{
    BLOCK_ROWS, EmbeddingTable, MIN_NORM, NonFinite, Progress, Record, RowSample, Store, check_cancelled,
    clean_rows, record_id,
};
use crate::geometry::Cloud;
use crate::random::seeded_rng;
use crate::{Error, Result};

/// One modality in one half.
pub(super) struct Side {
    /// The rows as they were read.
    pub table: EmbeddingTable,
    /// The same as unit rows in float64.
    pub unit: Cloud,
    /// What the records say of the rows.
    pub facts: Vec<Facts>,
}

/// What a report needs of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// The words of the caption.
    pub words: Option<usize>,
    /// The domain.
    pub domain: Option<String>,
}

/// Both modalities in one half, and their pairs: the place of a text and the place of an image.
pub(super) struct Half {
    pub text: Side,
    pub image: Side,
    pub pairs: Option<Vec<[u32; 2]>>,
}

/// All that was read.
pub(super) struct Input {
    pub fit: Half,
    pub held_out: Half,
    pub data: Data,
    /// The field that captions were found in.
    pub caption_field: Option<String>,
}

/// Rows of one store that were chosen.
struct Chosen {
    ids: Vec<String>,
    rows: Vec<f32>,
    facts: Vec<Facts>,
    /// The ids of the texts that images belong to.
    partners: Vec<String>,
    left_out: usize,
    read: usize,
    caption_field: Option<String>,
}

const CAPTION_FIELDS: [&str; 2] = ["text", "caption"];

impl Input {
    /// Reads rows of both stores, at most as many as the settings allow, and deals them into halves.
    pub fn read(text: &Store, image: &Store, config: &ReportConfig, progress: &dyn Progress) -> Result<Self> {
        if text.dim() != image.dim() {
            let what = format!("dimensions of {} (as the images)", text.place().display());
            return Err(Error::mismatch(what, image.dim(), text.dim()));
        }
        text.check_ids()?;
        image.check_ids()?;
        let with_image = if config.paired { Some(partners(image, config)?) } else { None };
        let texts =
            choose(text, config, with_image.as_ref().map_or(Known::All, Known::Texts), "text", progress)?;
        let known: Option<HashMap<&str, usize>> =
            config.paired.then(|| texts.ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect());
        let images =
            choose(image, config, known.as_ref().map_or(Known::All, Known::Images), "images", progress)?;
        if let Some(field) = &config.domain
            && !texts.facts.iter().chain(&images.facts).any(|facts| facts.domain.is_some())
        {
            return Err(Error::config("domain-by", format!("no record has a field {field:?}")));
        }
        if let (Some(field), None) = (&config.caption, &texts.caption_field) {
            let place = text.place().display();
            return Err(Error::config("caption", format!("no record of {place} has a field {field:?}")));
        }
        let (text_half, image_half, pairs) = match &known {
            Some(known) => {
                let partner = |row: usize| known[images.partners[row].as_str()];
                paired_halves(texts.ids.len(), images.ids.len(), partner, image, config.seed)?
            }
            None => (halves(texts.ids.len(), config.seed, 0), halves(images.ids.len(), config.seed, 1), None),
        };
        let dim = text.dim();
        let half = |number: usize| -> Result<Half> {
            let text = texts.side(&text_half[number], dim, text)?;
            let image = images.side(&image_half[number], dim, image)?;
            let pairs = pairs.as_ref().map(|pairs| pairs[number].clone());
            Ok(Half { text, image, pairs })
        };
        let (fit, held_out) = (half(0)?, half(1)?);
        for (side, probe, what) in [
            (&fit.text, usize::MAX, "text rows of the fit half"),
            (&fit.image, usize::MAX, "image rows of the fit half"),
            (&held_out.text, config.probe, "held-out text rows"),
            (&held_out.image, config.probe, "held-out image rows"),
        ] {
            let (needed, actual) = (config.k + 1, side.unit.len().min(probe));
            if actual < needed {
                let limit = if probe < side.unit.len() { " and --probe" } else { "" };
                let what = format!("{what} for {} neighbours (--k{limit})", config.k);
                return Err(Error::TooFewRows { what, needed, actual });
            }
        }
        let report = |store: &Store, chosen: &Chosen, fit: &Side, held_out: &Side| SetReport {
            place: store.place().display().to_string(),
            stored: store.len(),
            read: chosen.read,
            left_out: chosen.left_out,
            fit: fit.unit.len(),
            held_out: held_out.unit.len(),
            probe: held_out.unit.len().min(config.probe),
        };
        let data = Data {
            dim,
            text: report(text, &texts, &fit.text, &held_out.text),
            image: report(image, &images, &fit.image, &held_out.image),
            pairs: fit
                .pairs
                .as_ref()
                .zip(held_out.pairs.as_ref())
                .map(|(fit, held_out)| PairCounts { fit: fit.len(), held_out: held_out.len() }),
        };
        let caption_field = texts.caption_field;
        Ok(Self { fit, held_out, data, caption_field })
    }
}

/// Two halves of `rows` rows in random order; the first one is not smaller.
fn halves(rows: usize, seed: u64, set: u64) -> [Vec<usize>; 2] {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut seeded_rng(seed, &[set]));
    let held_out = order.split_off(rows.div_ceil(2));
    [order, held_out]
}

type Dealt = ([Vec<usize>; 2], [Vec<usize>; 2], Option<[Vec<[u32; 2]>; 2]>);

/// Halves in which images follow their texts, so that no pair is torn; texts without image are left out.
fn paired_halves(
    texts: usize,
    images: usize,
    partner: impl Fn(usize) -> usize,
    store: &Store,
    seed: u64,
) -> Result<Dealt> {
    let mut images_of = vec![Vec::new(); texts];
    (0..images).for_each(|image| images_of[partner(image)].push(image));
    let with_image: Vec<usize> = (0..texts).filter(|&text| !images_of[text].is_empty()).collect();
    if with_image.len() < 2 {
        let what = format!("texts with an image in {}", store.place().display());
        return Err(Error::TooFewRows { what, needed: 2, actual: with_image.len() });
    }
    let dealt = halves(with_image.len(), seed, 0);
    let mut text_half: [Vec<usize>; 2] = Default::default();
    let mut image_half: [Vec<usize>; 2] = Default::default();
    let mut pairs: [Vec<[u32; 2]>; 2] = Default::default();
    for half in 0..2 {
        for &number in &dealt[half] {
            let text = with_image[number];
            for &image in &images_of[text] {
                pairs[half].push([text_half[half].len() as u32, image_half[half].len() as u32]);
                image_half[half].push(image);
            }
            text_half[half].push(text);
        }
    }
    Ok((text_half, image_half, Some(pairs)))
}

impl Chosen {
    fn side(&self, rows: &[usize], dim: usize, store: &Store) -> Result<Side> {
        let ids = rows.iter().map(|&row| self.ids[row].clone()).collect();
        let values = rows.iter().flat_map(|&row| &self.rows[row * dim..(row + 1) * dim]).copied().collect();
        let table = EmbeddingTable::new(ids, values, dim)?;
        let unit = Cloud::unit(&table, &store.place().display().to_string())?;
        Ok(Side { table, unit, facts: rows.iter().map(|&row| self.facts[row].clone()).collect() })
    }
}

/// The rows that pairs leave.
#[derive(Clone, Copy)]
enum Known<'a> {
    All,
    /// Texts of these ids.
    Texts(&'a HashSet<String>),
    /// Images of these texts.
    Images(&'a HashMap<&'a str, usize>),
}

impl Known<'_> {
    fn has(&self, id: &str, partner: impl Fn() -> String) -> bool {
        match self {
            Self::All => true,
            Self::Texts(ids) => ids.contains(id),
            Self::Images(texts) => texts.contains_key(partner().as_str()),
        }
    }
}

/// The ids of the texts that the images of a store belong to.
fn partners(image: &Store, config: &ReportConfig) -> Result<HashSet<String>> {
    let mut ids = HashSet::new();
    let mut named = config.pair_by.is_none();
    each_record(image, |row, record| {
        named |= config.pair_by.as_ref().is_some_and(|field| record.is_some_and(|r| r.contains_key(field)));
        let id = record.and_then(record_id).unwrap_or_else(|| row.to_string());
        if config.only.as_ref().is_none_or(|only| passes(record, only)) {
            ids.insert(partner(record, &id, config));
        }
        Ok(())
    })?;
    match (&config.pair_by, named) {
        (Some(field), false) => {
            let place = image.place().display();
            Err(Error::config("pair-by", format!("no record of {place} has a field {field:?}")))
        }
        _ => Ok(ids),
    }
}

/// Reads the rows of a store that pass the filter and that pairs leave: all or an even sample.
fn choose(
    store: &Store,
    config: &ReportConfig,
    known: Known<'_>,
    what: &str,
    progress: &dyn Progress,
) -> Result<Chosen> {
    // Where records decide, they are read before the rows.
    let allowed = match !matches!(known, Known::All) || config.only.is_some() {
        true => Some(allowed(store, config, known)?),
        false => None,
    };
    let total = allowed.as_ref().map_or(store.len(), Vec::len);
    let sample = RowSample::new(total, config.rows, config.seed);
    let wanted: HashSet<usize> =
        sample.within(0..total).map(|at| allowed.as_ref().map_or(at, |allowed| allowed[at])).collect();

    progress.begin(&format!("reading {what}"), store.len());
    let mut chosen = Chosen {
        ids: Vec::with_capacity(wanted.len()),
        rows: Vec::with_capacity(wanted.len() * store.dim()),
        facts: Vec::with_capacity(wanted.len()),
        partners: Vec::new(),
        left_out: 0,
        read: wanted.len(),
        caption_field: None,
    };
    let mut kept = HashSet::with_capacity(wanted.len());
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
                    match cleaned(values, config.non_finite, &file, piece.rows.start + at)? {
                        Some(values) => {
                            chosen.rows.extend(values);
                            kept.insert(first + at);
                        }
                        None => chosen.left_out += 1,
                    }
                }
            }
        }
        progress.advance(piece.rows.len());
    }
    each_record(store, |row, record| {
        if kept.contains(&row) {
            chosen.add_record(row, record, config);
        }
        Ok(())
    })?;
    Ok(chosen)
}

impl Chosen {
    fn add_record(&mut self, row: usize, record: Option<&Record>, config: &ReportConfig) {
        let text = |field: &str| record.and_then(|record| record.get(field)).and_then(Value::as_str);
        let caption = match &config.caption {
            Some(field) => text(field).map(|caption| (field.as_str(), caption)),
            None => CAPTION_FIELDS.iter().find_map(|field| text(field).map(|caption| (*field, caption))),
        };
        if let (None, Some((field, _))) = (&self.caption_field, caption) {
            self.caption_field = Some(field.to_string());
        }
        let id = record.and_then(record_id).unwrap_or_else(|| row.to_string());
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
fn allowed(store: &Store, config: &ReportConfig, known: Known<'_>) -> Result<Vec<usize>> {
    let mut rows = Vec::new();
    each_record(store, |row, record| {
        let id = record.and_then(record_id).unwrap_or_else(|| row.to_string());
        if known.has(&id, || partner(record, &id, config))
            && config.only.as_ref().is_none_or(|only| passes(record, only))
        {
            rows.push(row);
        }
        Ok(())
    })?;
    if rows.is_empty() {
        let place = store.place().display();
        let what = match (known, &config.only) {
            (_, Some((field, value))) => format!("{place}: rows with {field}={value}"),
            (Known::Texts(_), None) => format!("{place}: texts that an image belongs to (--paired)"),
            _ => format!("{place}: images that belong to a text (--paired)"),
        };
        return Err(Error::TooFewRows { what, needed: 1, actual: 0 });
    }
    Ok(rows)
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

/// Visits all rows with their records, where there are any.
fn each_record(store: &Store, mut visit: impl FnMut(usize, Option<&Record>) -> Result<()>) -> Result<()> {
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

/// A row under the policy; nothing where it is left out. A row that has no direction after it was cleaned is left out as
/// well: it has no cosine with anything.
fn cleaned(values: &[f32], policy: NonFinite, file: &str, row: usize) -> Result<Option<Vec<f32>>> {
    let (values, kept, _) = clean_rows(values, values.len(), policy, file, row)?;
    let norm = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    Ok((!kept.is_empty() && norm >= MIN_NORM).then_some(values))
}
