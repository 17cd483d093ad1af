//! Domains and lengths of captions.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::index;

use super::curves::aligned_mean;
use super::draws::Context;
use super::input::Half;
use super::methods::Measured;
use super::pairs::{mean_product, paired};
use super::sections::{DomainMatrix, LengthSection, LengthSlice};
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

/// The method that the slices are aligned by: ReAlign, or else the first one whose statistics are vectors.
fn slice_method(measured: &[Measured]) -> Option<(&Measured, &Method)> {
    let refittable = || measured.iter().filter_map(|one| Some((one, one.refittable()?)));
    refittable().find(|(_, method)| matches!(method, Method::ReAlign { .. })).or_else(|| refittable().next())
}

/// The rows of each domain, texts and images, in both halves.
pub(super) struct DomainRows {
    pub fit: [Vec<Vec<usize>>; 2],
    pub held_out: [Vec<Vec<usize>>; 2],
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

/// The matrix of domains and the rows that it was measured on; `None` without a field that names domains, or where fewer
/// than two are large enough.
pub(super) fn domains(
    context: &Context<'_>,
    measured: &[Measured],
) -> Result<Option<(DomainMatrix, DomainRows)>> {
    let Context { input, config, device, .. } = context;
    let (Some(field), Some((aligned, method))) = (&config.domain, slice_method(measured)) else {
        return Ok(None);
    };
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
    let rows = |half: &[BTreeMap<String, Vec<usize>>; 2]| {
        [0, 1].map(|set| names.iter().map(|name| half[set][name].clone()).collect::<Vec<_>>())
    };
    let rows = DomainRows { fit: rows(&fit), held_out: rows(&held_out) };
    let (text, image) = (&input.held_out.text, &input.held_out.image.unit);
    let image_means: Vec<Vec<f64>> = rows.held_out[1].iter().map(|rows| image.select(rows).mean()).collect();
    let texts = rows.held_out[0].iter().map(|rows| text.table.select(rows)).collect::<Result<Vec<_>>>()?;
    let raw = rows.held_out[0].iter().zip(&image_means);
    let raw = raw.map(|(rows, mean)| norm(&difference(mean, &text.unit.select(rows).mean()))).collect();
    let mut gap = Vec::with_capacity(names.len());
    for (text, image) in rows.fit[0].iter().zip(&rows.fit[1]) {
        let (text, image) = (input.fit.text.table.select(text)?, input.fit.image.table.select(image)?);
        let aligner = method.fit(Embeddings::from(&text).with_device(device), &image)?;
        let form = aligner.closed_form().expect("a method whose statistics are vectors has a closed form");
        let row = texts
            .iter()
            .zip(&image_means)
            .map(|(text, mean)| Ok(norm(&difference(mean, &aligned_mean(&form, text, !config.seed)?))));
        gap.push(row.collect::<Result<Vec<f64>>>()?);
    }
    let counts = |[text, image]: &[Vec<Vec<usize>>; 2]| {
        text.iter().zip(image).map(|(text, image)| [text.len(), image.len()]).collect()
    };
    let matrix = DomainMatrix {
        field: field.clone(),
        method: aligned.report.name.clone(),
        fit_rows: counts(&rows.fit),
        held_out_rows: counts(&rows.held_out),
        names,
        raw,
        gap,
    };
    Ok(Some((matrix, rows)))
}

/// Captions by length, and the held-out texts that each slice was measured on; `None` where there are no captions, or too
/// few.
pub(super) fn lengths(
    context: &Context<'_>,
    measured: &[Measured],
) -> Result<Option<(LengthSection, Vec<Vec<usize>>)>> {
    let Context { input, config, .. } = context;
    let (Some(field), Some((aligned, _))) = (&input.caption_field, slice_method(measured)) else {
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
    let method = aligned.report.name.clone();
    Ok(Some((LengthSection { field: field.clone(), method, slices: described }, measured_rows)))
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

/// The mean cosine of pairs whose text is among some rows; `None` without such pairs.
fn paired_cosine(half: &Half, rows: &[usize]) -> Option<f64> {
    let rows: BTreeSet<u32> = rows.iter().map(|&row| row as u32).collect();
    let pairs: Vec<[u32; 2]> =
        half.pairs.as_ref()?.iter().filter(|pair| rows.contains(&pair[0])).copied().collect();
    if pairs.is_empty() {
        return None;
    }
    let (text, image) = paired(&half.text.unit, &half.image.unit, &pairs);
    Some(mean_product(&text, &image))
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
