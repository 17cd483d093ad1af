//! Rows and pairs of two sets, divided into halves.

use std::collections::HashMap;

use rand::seq::SliceRandom;

use super::config::ReportConfig;
use super::rows::{Chosen, Facts, Partners, Rows, texts_of};
use super::sections::{Data, PairCounts, SetReport};
use crate::embedding::{EmbeddingTable, Progress};
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

/// Both modalities in one half, and their pairs: the row of a text and the row of an image.
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

impl Input {
    /// Reads rows of both sets, at most as many as the settings allow, and divides them into halves.
    pub fn read(
        text: Rows<'_>,
        image: Rows<'_>,
        config: &ReportConfig,
        progress: &dyn Progress,
    ) -> Result<Self> {
        if text.dim() != image.dim() {
            let what = format!("dimensions of {} (as the images)", text.place());
            return Err(Error::mismatch(what, image.dim(), text.dim()));
        }
        text.check_ids()?;
        image.check_ids()?;
        let with_image = if config.paired { Some(texts_of(image, config)?) } else { None };
        let partners = with_image.as_ref().map_or(Partners::Unpaired, Partners::Texts);
        let texts = Chosen::read(text, config, partners, "text", progress)?;
        let known: Option<HashMap<&str, usize>> =
            config.paired.then(|| texts.ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect());
        let partners = known.as_ref().map_or(Partners::Unpaired, Partners::Images);
        let images = Chosen::read(image, config, partners, "images", progress)?;
        check_fields(&texts, &images, config, text)?;

        let (text_half, image_half, pairs) = match &known {
            Some(known) => {
                let partner = |row: usize| known[images.partners[row].as_str()];
                paired_halves(texts.ids.len(), images.ids.len(), partner, &image.place(), config.seed)?
            }
            None => (halves(texts.ids.len(), config.seed, 0), halves(images.ids.len(), config.seed, 1), None),
        };
        let half = |number: usize| -> Result<Half> {
            let text = Side::new(&texts, &text_half[number], text)?;
            let image = Side::new(&images, &image_half[number], image)?;
            let pairs = pairs.as_ref().map(|pairs| pairs[number].clone());
            Ok(Half { text, image, pairs })
        };
        let (fit, held_out) = (half(0)?, half(1)?);
        check_sizes(&fit, &held_out, config)?;
        let set = |rows: Rows<'_>, chosen: &Chosen, fit: &Side, held_out: &Side| SetReport {
            place: rows.place(),
            stored: rows.len(),
            read: chosen.read,
            left_out: chosen.left_out,
            fit: fit.unit.len(),
            held_out: held_out.unit.len(),
            probe: held_out.unit.len().min(config.probe),
        };
        let pairs = fit.pairs.as_ref().zip(held_out.pairs.as_ref());
        let data = Data {
            dim: text.dim(),
            text: set(text, &texts, &fit.text, &held_out.text),
            image: set(image, &images, &fit.image, &held_out.image),
            pairs: pairs.map(|(fit, held_out)| PairCounts { fit: fit.len(), held_out: held_out.len() }),
        };
        let caption_field = texts.caption_field;
        Ok(Self { fit, held_out, data, caption_field })
    }
}

/// Refuses names of fields that no record has.
fn check_fields(texts: &Chosen, images: &Chosen, config: &ReportConfig, text: Rows<'_>) -> Result<()> {
    if let Some(field) = &config.domain
        && !texts.facts.iter().chain(&images.facts).any(|facts| facts.domain.is_some())
    {
        return Err(Error::config("domain-by", format!("no record has a field {field:?}")));
    }
    if let (Some(field), None) = (&config.caption, &texts.caption_field) {
        let detail = format!("no record of {} has a field {field:?}", text.place());
        return Err(Error::config("caption", detail));
    }
    Ok(())
}

/// Refuses halves that have not more rows than neighbours are asked for.
fn check_sizes(fit: &Half, held_out: &Half, config: &ReportConfig) -> Result<()> {
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
    Ok(())
}

impl Side {
    fn new(chosen: &Chosen, rows: &[usize], set: Rows<'_>) -> Result<Self> {
        let dim = set.dim();
        let ids = rows.iter().map(|&row| chosen.ids[row].clone()).collect();
        let values =
            rows.iter().flat_map(|&row| &chosen.values[row * dim..(row + 1) * dim]).copied().collect();
        let table = EmbeddingTable::new(ids, values, dim)?;
        let unit = Cloud::unit(&table, &set.place())?;
        Ok(Self { table, unit, facts: rows.iter().map(|&row| chosen.facts[row].clone()).collect() })
    }
}

/// Two halves of `rows` rows in random order; the first one is not smaller.
fn halves(rows: usize, seed: u64, set: u64) -> [Vec<usize>; 2] {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut seeded_rng(seed, &[set]));
    let held_out = order.split_off(rows.div_ceil(2));
    [order, held_out]
}

/// The texts, the images and the pairs of both halves.
type Halves = ([Vec<usize>; 2], [Vec<usize>; 2], Option<[Vec<[u32; 2]>; 2]>);

/// Halves in which images follow their texts, so that no pair is torn; texts without image are left out.
fn paired_halves(
    texts: usize,
    images: usize,
    partner: impl Fn(usize) -> usize,
    place: &str,
    seed: u64,
) -> Result<Halves> {
    let mut images_of = vec![Vec::new(); texts];
    (0..images).for_each(|image| images_of[partner(image)].push(image));
    let with_image: Vec<usize> = (0..texts).filter(|&text| !images_of[text].is_empty()).collect();
    if with_image.len() < 2 {
        let what = format!("texts with an image in {place}");
        return Err(Error::TooFewRows { what, needed: 2, actual: with_image.len() });
    }
    let numbers = halves(with_image.len(), seed, 0);
    let mut text_half: [Vec<usize>; 2] = Default::default();
    let mut image_half: [Vec<usize>; 2] = Default::default();
    let mut pairs: [Vec<[u32; 2]>; 2] = Default::default();
    for half in 0..2 {
        for &number in &numbers[half] {
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
