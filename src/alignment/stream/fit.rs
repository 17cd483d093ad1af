use burn::tensor::Device;

use super::{Compute, device};
use crate::alignment::anisoalign::FitCheckpoint;
use crate::alignment::gather::{Gather, Gathered};
use crate::alignment::record::{self, Parameters};
use crate::alignment::statistics::{MEMORY, check_sample};
use crate::alignment::{MemoryOf, Method, Provenance, Statistics};
use crate::embedding::{BLOCK_ROWS, BytesMoved, NonFinite, Progress, RowSample, Store};
use crate::geometry::{COVARIANCE_ROWS, unit_covariance, unit_moments};
use crate::{Error, Result};

/// How a fit runs.
#[derive(Clone)]
pub struct FitOptions<'a> {
    /// What to do with rows without direction.
    pub policy: NonFinite,
    /// The number of threads; as many as the machine has cores by default.
    pub threads: Option<usize>,
    /// Where the arithmetic is done.
    pub compute: Compute,
    /// How many of the text rows a centroid pass is made of, drawn evenly; all of them by default. Where the moments were
    /// made of the rows of several machines, it is the number of all of them together, and each machine draws its share.
    pub centroid_sample: Option<usize>,
    /// The seed of that sample.
    pub seed: u64,
    /// Where a fit that trains, as AnisoAlign's does, keeps its state to go on from; nowhere by default.
    pub checkpoint: Option<FitCheckpoint>,
    /// What is told how far the fit has come, and may end it.
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
            checkpoint: None,
            progress: &(),
        }
    }
}

impl FitOptions<'_> {
    fn gather(&self) -> Gather<'_> {
        Gather {
            policy: self.policy,
            threads: self.threads,
            piece_rows: self.compute.piece_rows(BLOCK_ROWS),
            covariance: false,
            progress: self.progress,
        }
    }

    /// For products, which want many rows at once.
    fn gather_large(&self, covariance: bool) -> Gather<'_> {
        Gather { piece_rows: self.compute.piece_rows(COVARIANCE_ROWS), covariance, ..self.gather() }
    }
}

/// Fits a method on stores of text and image embeddings: images are read once, text once and, for ReAlign, AnisoAlign and
/// blockwise covariance, once more for each further pass; AnisoAlign reads a sample of both to train on, a memory one of its rows.
///
/// # Errors
///
/// [`Error::Mismatch`] for different numbers of dimensions, [`Error::TooFewRows`] for too small a set,
/// [`Error::NonFinite`] or [`Error::ZeroRow`], naming file and row, under [`NonFinite::Error`],
/// [`Error::Io`] or [`Error::Format`] where a file cannot be read.
pub fn fit(
    method: &Method,
    text: &Store,
    image: &Store,
    options: &FitOptions<'_>,
) -> Result<(Statistics, BytesMoved)> {
    // Before the work, not after the half of it.
    options.centroid_sample.map_or(Ok(()), |sample| check_sample(sample, text.len()))?;
    let (mut statistics, mut bytes) = fit_moments(method, Some(text), Some(image), options)?;
    if statistics.lacks_sample() {
        bytes += fit_sample(&mut statistics, text, image, options)?;
    }
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
/// Those of [`fit`], but for the number of rows.
pub fn fit_moments(
    method: &Method,
    text: Option<&Store>,
    image: Option<&Store>,
    options: &FitOptions<'_>,
) -> Result<(Statistics, BytesMoved)> {
    let sets = [("image", image), ("text", text)];
    let mut dims = sets.iter().filter_map(|(_, store)| store.map(Store::dim));
    let Some(dim) = dims.next() else {
        return Err(Error::config("stores", "expected text, images or both, found neither"));
    };
    if let Some(other) = dims.find(|&other| other != dim) {
        return Err(Error::mismatch("dimensions of text rows (as the image rows)", dim, other));
    }
    let mut statistics = Statistics::new(*method, options.policy, dim);
    let mut bytes = BytesMoved::default();
    for (set, store) in sets {
        let Some(store) = store else { continue };
        let stage = format!("moments of {set}");
        let covariance = method.needs_covariance();
        let gathered = match &options.compute {
            // Covariances are products in float64, which not every device has.
            _ if covariance => options.gather_large(true).run(store, &stage, None, unit_covariance)?,
            Compute::Host => options.gather().run(store, &stage, None, unit_moments)?,
            Compute::Device(device) => options
                .gather()
                .run(store, &stage, None, |rows, terms| device::moments(rows, terms, device, None))?,
        };
        bytes += gathered.bytes;
        let place = store.place().display().to_string();
        let source =
            Provenance { set: set.to_string(), place, files: store.shards().len(), rows: store.len() };
        statistics.add(source, &gathered.moments, gathered.rows)?;
    }
    Ok((statistics, bytes))
}

/// Fits what a method needs a sample of rows for, drawn evenly from both stores, from statistics that hold the moments of all
/// rows: the networks of AnisoAlign, or the rows of a memory. Of several machines one does this; the others then run the
/// centroid pass over their own texts.
///
/// # Errors
///
/// Those of [`fit`], [`Error::Config`] for another method, [`Error::Training`] where the loss is not finite, and [`Error::Format`]
/// for a checkpoint of other settings or rows.
pub fn fit_sample(
    statistics: &mut Statistics,
    text: &Store,
    image: &Store,
    options: &FitOptions<'_>,
) -> Result<BytesMoved> {
    for store in [text, image] {
        if store.dim() != statistics.dim() {
            let what = format!("dimensions of {} (as the statistics)", store.place().display());
            return Err(Error::mismatch(what, statistics.dim(), store.dim()));
        }
    }
    let sample = |store: &Store, what: &str, size: usize, seed: u64| {
        let sample = RowSample::new(store.len(), size, seed);
        options.gather().unit_sample(store, &format!("sample of {what}"), sample)
    };
    let read = |rows: &[f32]| BytesMoved { read: 4 * rows.len() as u64, written: 0 };
    match statistics.method() {
        Method::AnisoAlign(config) => {
            let device = match &options.compute {
                Compute::Host => Device::default(),
                Compute::Device(device) => device.clone(),
            };
            let texts = sample(text, "text", config.sample, config.seed)?;
            let images = sample(image, "images", config.sample, config.seed ^ 1)?;
            let fitted = config.fit_networks(
                (statistics.text(), &texts),
                (statistics.image(), &images),
                &device,
                options.progress,
                options.checkpoint.as_ref(),
            )?;
            statistics.set_sampled(record::parameters(&fitted));
            let mut bytes = read(&texts);
            bytes += read(&images);
            Ok(bytes)
        }
        Method::Memory(config) => {
            config.check()?;
            let (store, what) = if config.of == MemoryOf::Texts { (text, "text") } else { (image, "images") };
            let rows = sample(store, what, config.rows, config.seed)?;
            if rows.is_empty() {
                let what = format!("{what} for the memory");
                return Err(Error::TooFewRows { what, needed: 1, actual: 0 });
            }
            let (bytes, shape) = (read(&rows), vec![rows.len() / store.dim(), store.dim()]);
            statistics.set_sampled(Parameters::from([(MEMORY.to_string(), (shape, rows))]));
            Ok(bytes)
        }
        method => {
            let detail = format!("{method} fits nothing on a sample of rows");
            Err(Error::config("method", detail))
        }
    }
}

/// The second half of a fit of ReAlign: one centroid pass over the text rows of a store. Where the moments were made of
/// more rows than these, the pass stays open until what the other machines saw is merged.
///
/// # Errors
///
/// Those of [`fit`], and [`Error::Config`] for a method without centroid pass or where none is missing.
pub fn fit_centroid(
    statistics: &mut Statistics,
    text: &Store,
    options: &FitOptions<'_>,
) -> Result<BytesMoved> {
    if text.dim() != statistics.dim() {
        let what = format!("dimensions of {} (as the statistics)", text.place().display());
        return Err(Error::mismatch(what, statistics.dim(), text.dim()));
    }
    let (map, covariance) = statistics.pass_map()?;
    let rows = text.len();
    let share = options.centroid_sample.map(|sample| statistics.share_of_sample(sample, rows)).transpose()?;
    let sample = share.map(|share| RowSample::new(rows, share, options.seed));
    let method = match &options.compute {
        Compute::Host => None,
        Compute::Device(device) => statistics.pass_method(device)?.map(|method| (method, device)),
    };
    let stage = if covariance { "covariance of moved text" } else { "centroid of text" };
    let gather = match covariance || map.piece_rows() > BLOCK_ROWS {
        true => options.gather_large(covariance),
        false => options.gather(),
    };
    let Gathered { moments, bytes, .. } = gather.run(text, stage, sample, |rows, terms| match &method {
        None if covariance => map.covariance(rows, terms),
        None => map.moments(rows, terms),
        Some((method, device)) => device::moments(rows, terms, device, Some(method)),
    })?;
    statistics.add_to_pass(&moments, rows, options.centroid_sample)?;
    Ok(bytes)
}
