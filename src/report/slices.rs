//! Domains and lengths of captions.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Device;
use rand::seq::index;

use super::ReportConfig;
use super::curves::aligned_mean;
use super::input::{Half, Input};
use super::methods::Measured;
use super::model::{DomainMatrix, LengthSection, LengthSlice};
use super::samples::Samples;
use crate::Result;
use crate::alignment::{Embeddings, Method};
use crate::geometry::{Spectrum, difference, norm};
use crate::random::seeded_rng;

/// The fewest rows of each modality, in each half, that make a domain.
const DOMAIN_ROWS: usize = 20;
/// The most domains; the largest ones, where there are more.
const DOMAINS: usize = 12;
/// Slices of lengths.
const SLICES: usize = 4;
/// The fewest captions that make a slice, and the most that are measured.
const SLICE_ROWS: [usize; 2] = [20, 2_000];

/// The method that the slices are aligned by: ReAlign, or else the first one with vectors for statistics.
fn slice_method(measured: &[Measured]) -> Option<&Measured> {
    let realign = measured.iter().find(|one| matches!(one.method, Method::ReAlign { .. }));
    realign.or_else(|| measured.iter().find(|one| one.has_vectors()))
}

/// The rows of each domain: texts by their own record or, without, by those of their images, and then perhaps in several.
fn rows_by_domain(half: &Half) -> [BTreeMap<String, Vec<usize>>; 2] {
    let mut texts: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut images: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (row, facts) in half.text.facts.iter().enumerate() {
        if let Some(domain) = &facts.domain {
            texts.entry(domain.clone()).or_default().insert(row);
        }
    }
    for (row, facts) in half.image.facts.iter().enumerate() {
        if let Some(domain) = &facts.domain {
            images.entry(domain.clone()).or_default().push(row);
        }
    }
    for [text, image] in half.pairs.iter().flatten() {
        let (own, of_image) = (&half.text.facts[*text as usize], &half.image.facts[*image as usize]);
        if let (None, Some(domain)) = (&own.domain, &of_image.domain) {
            texts.entry(domain.clone()).or_default().insert(*text as usize);
        }
    }
    let texts = texts.into_iter().map(|(domain, rows)| (domain, rows.into_iter().collect())).collect();
    [texts, images]
}

/// The matrix of domains; nothing without a field that names them, or where fewer than two are large enough.
pub(super) fn domains(
    input: &Input,
    config: &ReportConfig,
    measured: &[Measured],
    device: &Device,
    samples: &mut Samples,
) -> Result<Option<DomainMatrix>> {
    let (Some(field), Some(aligned)) = (&config.domain, slice_method(measured)) else { return Ok(None) };
    let (fit, held_out) = (rows_by_domain(&input.fit), rows_by_domain(&input.held_out));
    let sets = [&fit[0], &fit[1], &held_out[0], &held_out[1]];
    let size = |name: &String| sets.iter().map(|set| set.get(name).map_or(0, Vec::len)).min().unwrap_or(0);
    let mut names: Vec<String> = fit[0].keys().filter(|name| size(name) >= DOMAIN_ROWS).cloned().collect();
    names.sort_by_key(|name| std::cmp::Reverse(size(name)));
    names.truncate(DOMAINS);
    names.sort();
    if names.len() < 2 {
        return Ok(None);
    }
    let rows = |set: usize| names.iter().map(|name| sets[set][name].clone()).collect::<Vec<_>>();
    let counts = |text: usize| {
        names.iter().map(|name| [sets[text][name].len(), sets[text + 1][name].len()]).collect::<Vec<_>>()
    };
    samples.domains(
        ["text_fit", "image_fit", "text_held_out", "image_held_out"]
            .into_iter()
            .enumerate()
            .map(|(set, name)| (name, rows(set)))
            .collect(),
    );
    let held_out_half = &input.held_out;
    let image_means: Vec<Vec<f64>> =
        rows(3).iter().map(|rows| held_out_half.image.unit.select(rows).mean()).collect();
    let texts =
        rows(2).iter().map(|rows| held_out_half.text.table.select(rows)).collect::<Result<Vec<_>>>()?;
    let raw = rows(2)
        .iter()
        .zip(&image_means)
        .map(|(rows, mean)| norm(&difference(mean, &held_out_half.text.unit.select(rows).mean())))
        .collect();
    let mut gap = Vec::with_capacity(names.len());
    for (text, image) in rows(0).iter().zip(rows(1)) {
        let (text, image) = (input.fit.text.table.select(text)?, input.fit.image.table.select(&image)?);
        let aligner = aligned.method.fit(Embeddings::from(&text).with_device(device), &image)?;
        let form = aligner.closed_form().expect("a method whose statistics are vectors has a closed form");
        let row = texts
            .iter()
            .zip(&image_means)
            .map(|(text, mean)| Ok(norm(&difference(mean, &aligned_mean(&form, text, !config.seed)?))));
        gap.push(row.collect::<Result<Vec<f64>>>()?);
    }
    Ok(Some(DomainMatrix {
        field: field.clone(),
        method: aligned.report.name.clone(),
        fit_rows: counts(0),
        held_out_rows: counts(2),
        names,
        raw,
        gap,
    }))
}

/// Captions by length; nothing where there are no captions, or too few.
pub(super) fn lengths(
    input: &Input,
    config: &ReportConfig,
    measured: &[Measured],
    samples: &mut Samples,
) -> Result<Option<LengthSection>> {
    let (Some(field), Some(aligned)) = (&input.caption_field, slice_method(measured)) else {
        return Ok(None);
    };
    let Some(aligned_text) = &aligned.text else { return Ok(None) };
    let half = &input.held_out;
    let words: Vec<(usize, usize)> = half
        .text
        .facts
        .iter()
        .enumerate()
        .filter_map(|(row, facts)| facts.words.map(|words| (words, row)))
        .collect();
    let slices = slice(words);
    if slices.len() < 2 {
        return Ok(None);
    }
    let rows = slices.iter().map(Vec::len).min().unwrap_or(0).min(SLICE_ROWS[1]);
    let image_mean = half.image.unit.mean();
    let mut measured_rows = Vec::new();
    let mut described = Vec::new();
    for (number, slice) in slices.iter().enumerate() {
        let mut rng = seeded_rng(config.seed, &[number as u64, 7]);
        let mut chosen: Vec<usize> =
            index::sample(&mut rng, slice.len(), rows).into_iter().map(|at| slice[at].1).collect();
        chosen.sort_unstable();
        let text = half.text.unit.select(&chosen);
        let spectrum = Spectrum::values_of(&text.covariance(), text.dim(), text.len())?;
        let gap = |mean: Vec<f64>| norm(&difference(&image_mean, &mean));
        described.push(LengthSlice {
            shortest: slice[0].0,
            longest: slice[slice.len() - 1].0,
            captions: slice.len(),
            rows,
            raw_gap: gap(text.mean()),
            gap: gap(aligned_text.select(&chosen).mean()),
            effective_rank: spectrum.effective_rank(),
            trace: text.trace(),
            paired_cosine: paired_cosine(half, &chosen),
        });
        measured_rows.push(chosen);
    }
    samples.lengths(&measured_rows);
    Ok(Some(LengthSection { field: field.clone(), method: aligned.report.name.clone(), slices: described }))
}

/// Captions in slices of about equal size, from short to long; captions of one length stay together.
fn slice(mut words: Vec<(usize, usize)>) -> Vec<Vec<(usize, usize)>> {
    words.sort_unstable();
    let mut slices: Vec<Vec<(usize, usize)>> = Vec::new();
    let total = words.len();
    for (at, caption) in words.into_iter().enumerate() {
        let full = slices.last().is_some_and(|slice: &Vec<(usize, usize)>| {
            at >= total * slices.len() / SLICES && slice.len() >= SLICE_ROWS[0]
        });
        let longer = slices.last().is_none_or(|slice| slice[slice.len() - 1].0 < caption.0);
        match slices.last_mut() {
            Some(slice) if !(full && longer) => slice.push(caption),
            _ => slices.push(vec![caption]),
        }
    }
    slices.retain(|slice| slice.len() >= SLICE_ROWS[0]);
    slices
}

/// The mean cosine of pairs whose text is among some rows; nothing without such pairs.
fn paired_cosine(half: &Half, rows: &[usize]) -> Option<f64> {
    let rows: BTreeSet<u32> = rows.iter().map(|&row| row as u32).collect();
    let pairs: Vec<[u32; 2]> =
        half.pairs.as_ref()?.iter().filter(|pair| rows.contains(&pair[0])).copied().collect();
    let (text, image) = super::gap::paired(&half.text.unit, &half.image.unit, &pairs);
    let sum: f64 = text.values().iter().zip(image.values()).map(|(text, image)| text * image).sum();
    (!pairs.is_empty()).then(|| sum / pairs.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_hold_every_caption_once_and_cut_no_length_in_two() {
        let words: Vec<(usize, usize)> = (0..500).map(|row| (row * row % 23, row)).collect();
        let slices = slice(words);
        assert_eq!(slices.len(), SLICES);
        assert_eq!(slices.iter().map(Vec::len).sum::<usize>(), 500);
        for pair in slices.windows(2) {
            assert!(pair[0].last().unwrap().0 < pair[1][0].0);
        }
        assert!(slice((0..10).map(|row| (row, row)).collect()).is_empty());
        assert_eq!(slice((0..100).map(|row| (7, row)).collect()).len(), 1);
    }
}
