use std::sync::atomic::{AtomicU64, Ordering};

use super::{Compute, device, threads};
use crate::Result;
use crate::alignment::{Method, Source, Statistics};
use crate::embedding::{
    BLOCK_ROWS, BytesMoved, NonFinite, Progress, RawRows, RowReport, RowSample, Store, Terms,
    check_cancelled, pipeline,
};
use crate::geometry::{Moments, unit_moments};

/// How a fit runs.
#[derive(Clone)]
pub struct FitOptions<'a> {
    /// What to do with rows without direction.
    pub policy: NonFinite,
    /// The number of threads; as many as the machine has cores, where nothing is said.
    pub threads: Option<usize>,
    /// Where the arithmetic is done.
    pub compute: Compute,
    /// The number of text rows that the centroid pass sees, drawn evenly; all of them, where nothing is said.
    pub centroid_sample: Option<usize>,
    /// The seed of that sample.
    pub seed: u64,
    /// The observer.
    pub progress: &'a dyn Progress,
}

impl Default for FitOptions<'_> {
    fn default() -> Self {
        Self {
            policy: NonFinite::default(),
            threads: None,
            compute: Compute::default(),
            centroid_sample: None,
            seed: 0,
            progress: &(),
        }
    }
}

/// Fits a method on stores of text and image embeddings: images are read once, text once and, for ReAlign, once more
/// for each centroid pass.
///
/// # Errors
///
/// [`crate::Error::Mismatch`] for different numbers of dimensions, [`crate::Error::TooFewRows`] for too small a set,
/// [`crate::Error::NonFinite`] or [`crate::Error::ZeroRow`], naming file and row, under [`NonFinite::Error`],
/// [`crate::Error::Io`] or [`crate::Error::Format`] where a file cannot be read.
pub fn fit(
    method: &Method,
    text: &Store,
    image: &Store,
    options: &FitOptions<'_>,
) -> Result<(Statistics, BytesMoved)> {
    let (mut statistics, mut bytes) = fit_moments(method, Some(text), Some(image), options)?;
    // A pass that ends without having seen every row is not begun again: the rows have changed.
    while let Some((0, _)) = statistics.missing_centroid() {
        bytes += fit_centroid(&mut statistics, text, options)?;
    }
    Ok((statistics, bytes))
}

/// The first half of a fit: the moments of either set or of both, to be merged with those of other machines.
///
/// # Errors
///
/// As for [`fit`]; the number of rows is not looked at.
pub fn fit_moments(
    method: &Method,
    text: Option<&Store>,
    image: Option<&Store>,
    options: &FitOptions<'_>,
) -> Result<(Statistics, BytesMoved)> {
    if method.needs_covariance() {
        return Err(Statistics::without_covariance(method));
    }
    let sets = [("image", image), ("text", text)];
    let mut dims = sets.iter().filter_map(|(_, store)| store.map(Store::dim));
    let Some(dim) = dims.next() else {
        return Err(crate::Error::config("stores", "expected text, images or both, found neither"));
    };
    if let Some(other) = dims.find(|&other| other != dim) {
        return Err(crate::Error::mismatch("dimensions of text rows (as the image rows)", dim, other));
    }
    let mut statistics = Statistics::new(*method, options.policy, dim);
    let mut bytes = BytesMoved::default();
    for (set, store) in sets {
        let Some(store) = store else { continue };
        let (moments, rows, read) =
            gather(store, options, &format!("moments of {set}"), None, |rows, terms| {
                match &options.compute {
                    Compute::Host => unit_moments(rows, terms),
                    Compute::Device(device) => device::moments(rows, terms, device, None),
                }
            })?;
        bytes += read;
        let place = store.place().display().to_string();
        let source = Source { set: set.to_string(), place, files: store.shards().len(), rows: store.len() };
        statistics.add(source, &moments, rows)?;
    }
    Ok((statistics, bytes))
}

/// The second half of a fit of ReAlign: one centroid pass over the text rows of a store. Where the moments were made of
/// more rows than these, the pass stays open until what the other machines saw is merged.
///
/// # Errors
///
/// As for [`fit`], and [`crate::Error::Config`] for a method without centroid pass or where none is missing.
pub fn fit_centroid(
    statistics: &mut Statistics,
    text: &Store,
    options: &FitOptions<'_>,
) -> Result<BytesMoved> {
    if text.dim() != statistics.dim() {
        let what = format!("dimensions of {} (as the statistics)", text.place().display());
        return Err(crate::Error::mismatch(what, statistics.dim(), text.dim()));
    }
    let fit = statistics.realign()?;
    let form = fit.closed_form();
    let sample = options.centroid_sample.map(|size| RowSample::new(text.len(), size, options.seed));
    let method = match &options.compute {
        Compute::Host => None,
        Compute::Device(device) => Some((fit.partial().init(device), device)),
    };
    let (moments, _, bytes) =
        gather(text, options, "centroid of text", sample, |rows, terms| match &method {
            None => form.moments(rows, terms),
            Some((method, device)) => device::moments(rows, terms, device, Some(method)),
        })?;
    let seen = moments.count();
    statistics.add_to_pass(&moments, sample.map(|_| seen))?;
    Ok(bytes)
}

/// Merges the moments of fixed blocks of rows in their order.
fn gather(
    store: &Store,
    options: &FitOptions<'_>,
    stage: &str,
    sample: Option<RowSample>,
    block: impl Fn(RawRows<'_>, Terms<'_>) -> Result<(Moments, RowReport)> + Sync,
) -> Result<(Moments, RowReport, BytesMoved)> {
    let progress = options.progress;
    let read = AtomicU64::new(0);
    progress.begin(stage, store.len());
    let mut pieces = store.pieces(options.compute.piece_rows(BLOCK_ROWS));
    let (mut gathered, mut report) = (Moments::new(store.dim()), RowReport::default());
    let mut seen = 0;
    pipeline::run(
        threads(options.threads),
        Vec::new,
        |bytes| {
            check_cancelled(progress)?;
            let piece = pieces.next(bytes)?;
            let first = seen;
            seen += piece.as_ref().map_or(0, |piece| piece.rows.len());
            Ok(piece.map(|piece| (first, piece)))
        },
        |bytes, (first, piece)| {
            let what = piece.shard.path().to_string_lossy();
            let terms = Terms { policy: options.policy, what: &what, first: piece.rows.start };
            let rows = piece.rows.len();
            let count = || read.fetch_add((rows * piece.shard.row_bytes()) as u64, Ordering::Relaxed);
            let part = match &sample {
                None => {
                    count();
                    block(piece.read(bytes)?, terms)?
                }
                Some(sample) => {
                    // One at a time, so that an error names the right row.
                    let mut part = (Moments::new(piece.shard.dim()), RowReport::default());
                    let chosen: Vec<usize> = sample.within(first..first + rows).collect();
                    if !chosen.is_empty() {
                        count();
                        let all = piece.read(bytes)?;
                        for row in chosen {
                            let row = row - first;
                            let terms = Terms { first: terms.first + row, ..terms };
                            let (moments, report) = block(all.part(row..row + 1), terms)?;
                            part.0.merge(&moments)?;
                            part.1.merge(&report);
                        }
                    }
                    part
                }
            };
            progress.advance(rows);
            Ok(part)
        },
        |(moments, part)| {
            report.merge(&part);
            gathered.merge(&moments)
        },
    )?;
    Ok((gathered, report, BytesMoved { read: read.into_inner(), written: 0 }))
}
