use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;

use super::config::ReportConfig;
use super::cosines::cosines;
use super::draws::Context;
use super::gap_report::{GapReport, VERSION};
use super::input::Input;
use super::methods::{Candidate, Measured};
use super::notes::notes;
use super::plane::Plane;
use super::rows::Rows;
use super::samples::SampleDump;
use super::sections::{DomainMatrix, GapSection, Geometry, LengthSection};
use super::{curves, gap, slices};
use crate::alignment::Aligner;
use crate::embedding::{EmbeddingTable, Progress, Store, check_cancelled};
use crate::{Error, Result};

/// Measures the gap between two stores of embeddings, and what the methods of the settings make of it.
///
/// Rows of both stores are read and divided into two halves; the fixed frame and all methods are fitted on one of them
/// and measured on the other. Products of large matrices run on `device`, everything else on the host. It takes seconds
/// for a few thousand rows, and minutes for large stores: `progress` is told how far it is, and may cancel. For tables
/// in memory, aligners of your own, and the rows that were measured, see [`Measurement`].
///
/// # Errors
///
/// [`Error::Config`] for a setting that cannot be used, [`Error::Mismatch`] for different numbers of dimensions,
/// [`Error::TooFewRows`] where a half has not more rows than neighbours are asked for or nothing is paired,
/// [`Error::DuplicateId`] for a double id, [`Error::NoSpread`] where all rows are alike, [`Error::NonFinite`] or
/// [`Error::ZeroRow`], naming file and row, under [`NonFinite::Error`](crate::embedding::NonFinite::Error),
/// [`Error::Io`] or [`Error::Format`] where a file cannot be read or written, [`Error::Interrupted`] where it was
/// cancelled.
pub fn measure(
    config: &ReportConfig,
    text: &Store,
    image: &Store,
    device: &Device,
    progress: &dyn Progress,
) -> Result<GapReport> {
    Measurement::new(config).of_stores(text, image, device, progress)
}

/// A measurement with more than [`measure`] takes: tables in memory, aligners that were fitted elsewhere, and the rows
/// that were measured as files.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_revision::alignment::WhiteningConfig;
/// use burn_revision::embedding::EmbeddingTable;
/// use burn_revision::report::{Measurement, ReportConfig};
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let rows = |mean| Tensor::<2>::random([120, 8], Distribution::Normal(mean, 1.0), &device);
/// let ids = || (0..120).map(|row| row.to_string()).collect();
/// let (text, image) = (rows(-0.5), rows(0.5));
///
/// let config = ReportConfig { methods: vec!["realign".parse()?], k: 5, ..ReportConfig::default() };
/// let whitening = WhiteningConfig::new().with_ridge(0.1).fit(text.clone(), image.clone())?;
/// let report = Measurement::new(&config).with_aligner("ridge_0.1", &whitening).of_tables(
///     &EmbeddingTable::from_tensor(ids(), text)?,
///     &EmbeddingTable::from_tensor(ids(), image)?,
///     &device,
///     &(),
/// )?;
/// assert_eq!(report.methods[1].name, "ridge_0.1");
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
pub struct Measurement<'a> {
    config: &'a ReportConfig,
    aligners: Vec<(&'a str, &'a dyn Aligner)>,
    samples: Option<&'a Path>,
}

impl<'a> Measurement<'a> {
    /// A measurement by these settings.
    pub fn new(config: &'a ReportConfig) -> Self {
        Self { config, aligners: Vec::new(), samples: None }
    }

    /// Measures an aligner as well, after the methods of the settings and under a name of its own. It is not fitted here:
    /// its gap on the held-out half is a fair one only if it was fitted on other rows. The curves of sample efficiency
    /// and the matrix of domains, which fit a method again, leave it out.
    pub fn with_aligner(mut self, name: &'a str, aligner: &'a dyn Aligner) -> Self {
        self.aligners.push((name, aligner));
        self
    }

    /// Writes the rows and indexes that were measured into a folder, so that every number can be computed again by other
    /// means. `samples.safetensors` holds:
    ///
    /// | tensor | what it is |
    /// |---|---|
    /// | `text_fit`, `image_fit`, `text_held_out`, `image_held_out` | the rows as they were read, float32 |
    /// | `METHOD/text`, `METHOD/text_fit` | aligned text, held out and of the fit half |
    /// | `METHOD/image`, `METHOD/image_fit` | images, where the method moves them |
    /// | `text_probe`, `image_probe` | held-out rows that neighbours and cosines are measured on |
    /// | `pairs_fit`, `pairs_held_out` | text and image of each pair, within the half |
    /// | `cosine_pairs_*` | pairs of rows of the probes, of which cosines were taken |
    /// | `METHOD/neighbours` | nearest first, of all rows of the probes, texts before images |
    /// | `text_neighbours`, `METHOD/text_neighbours` | of the texts of the probe among themselves |
    /// | `frame_fit`, `frame_held_out` | orthonormal rows that span U, float64 |
    ///
    /// `samples.json` has the rows of the slices of `lengths` and of the `domains`.
    pub fn with_samples(mut self, folder: &'a Path) -> Self {
        self.samples = Some(folder);
        self
    }

    /// Measures two stores.
    ///
    /// # Errors
    ///
    /// Those of [`measure`], and [`Error::Config`] for a name that is used twice.
    pub fn of_stores(
        &self,
        text: &Store,
        image: &Store,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<GapReport> {
        self.run(Rows::Store(text), Rows::Store(image), device, progress)
    }

    /// Measures two tables, whose rows are paired by their ids if the settings say so; there are no records for domains
    /// or captions.
    ///
    /// # Errors
    ///
    /// Those of [`Measurement::of_stores`].
    pub fn of_tables(
        &self,
        text: &EmbeddingTable,
        image: &EmbeddingTable,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<GapReport> {
        let text = Rows::Table { name: "text table", table: text };
        self.run(text, Rows::Table { name: "image table", table: image }, device, progress)
    }

    fn run(
        &self,
        text: Rows<'_>,
        image: Rows<'_>,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<GapReport> {
        let candidates = self.candidates(text.dim())?;
        let config = self.config;
        let mut log = Log::new(progress);
        let input = Input::read(text, image, config, progress)?;
        log.lap("reading");
        let context = Context::new(config, input, device)?;
        log.dump = self.samples.map(|_| SampleDump::new(&context));

        let (geometry, gap, plane) = clouds(&context, &mut log)?;
        let mut notes = notes(&context.input, config, &geometry, &gap);
        let (mut measured, failures) = methods(&candidates, &context, &plane, &mut log)?;
        notes.extend(failures);
        let projected = measured.iter().map(|one| one.projected.clone()).collect();
        let projection = plane.projection(&context.input.held_out.image.unit, projected);
        let cosines = cosines(&context, &mut measured);
        log.lap("cosines");
        check_cancelled(progress)?;
        progress.begin("sample efficiency", context.text_rows());
        let sample_efficiency = curves::sample_efficiency(&context, &measured)?;
        log.lap("sample efficiency");
        let (domains, lengths) = slices(&context, &measured, &mut log)?;

        if let (Some(folder), Some(dump)) = (self.samples, &log.dump) {
            dump.save(folder)?;
        }
        Ok(GapReport {
            version: VERSION,
            created_by: concat!("burn-revision ", env!("CARGO_PKG_VERSION")).to_string(),
            settings: config.clone(),
            data: context.input.data,
            notes,
            geometry,
            gap,
            methods: measured.into_iter().map(|one| one.report).collect(),
            cosines,
            projection,
            sample_efficiency,
            domains,
            lengths,
            seconds: log.seconds,
        })
    }

    /// The methods of the settings and the aligners, under names that are all different.
    fn candidates(&self, dim: usize) -> Result<Vec<Candidate<'a>>> {
        self.config.check()?;
        let mut candidates: Vec<Candidate<'a>> =
            self.config.methods.iter().copied().map(Candidate::Method).collect();
        for &(name, aligner) in &self.aligners {
            if aligner.dim() != dim {
                return Err(Error::mismatch(
                    format!("dimensions of the rows for {name}"),
                    aligner.dim(),
                    dim,
                ));
            }
            if candidates.iter().any(|other| other.name() == name) {
                return Err(Error::config("methods", format!("{name} is named twice")));
            }
            candidates.push(Candidate::Aligner(name, aligner));
        }
        match candidates.is_empty() {
            true => Err(Error::config("methods", "expected at least one method")),
            false => Ok(candidates),
        }
    }
}

/// The two clouds and the gap between them, and the plane that rows are shown in.
fn clouds(context: &Context<'_>, log: &mut Log<'_>) -> Result<(Geometry, GapSection, Plane)> {
    let input = &context.input;
    log.progress.begin("the two clouds", context.text_rows());
    let (geometry, frames) = gap::geometry(input, context.config)?;
    let gap = gap::section(input, &frames.fit, context.config.ridge)?;
    if let Some(dump) = &mut log.dump {
        dump.frames(&frames);
    }
    log.lap("the two clouds");
    let plane = Plane::new(&input.fit.text.unit, &input.fit.image.unit)?;
    log.progress.advance(context.text_rows());
    Ok((geometry, gap, plane))
}

/// The methods that can be measured, and why the others cannot.
fn methods(
    candidates: &[Candidate<'_>],
    context: &Context<'_>,
    plane: &Plane,
    log: &mut Log<'_>,
) -> Result<(Vec<Measured>, Vec<String>)> {
    let (mut measured, mut failures) = (Vec::with_capacity(candidates.len()), Vec::new());
    log.progress.begin("methods", candidates.len() * context.text_rows());
    for candidate in candidates {
        check_cancelled(log.progress)?;
        match Measured::new(candidate, context, plane) {
            Ok((one, rows)) => {
                if let Some(dump) = &mut log.dump {
                    dump.method(&one.report.name, &rows);
                }
                measured.push(one);
            }
            Err(Error::NoSpread { what }) => {
                failures.push(format!("{candidate} cannot be fitted: all {what} are alike."));
            }
            Err(Error::TooFewRows { what, needed, actual }) => {
                failures.push(format!(
                    "{candidate} cannot be fitted: {what} need at least {needed} rows, and there are {actual}."
                ));
            }
            // AnisoAlign in one dimension.
            Err(Error::Config { key, detail }) if key == "rank" => {
                failures.push(format!("{candidate} cannot be fitted: rank: {detail}."));
            }
            Err(Error::ZeroRow { .. }) => {
                failures.push(format!("{candidate} leaves rows without direction and cannot be measured."));
            }
            Err(error) => return Err(error),
        }
        log.lap(&candidate.to_string());
        log.progress.advance(context.text_rows());
    }
    Ok((measured, failures))
}

/// Domains and lengths of captions.
fn slices(
    context: &Context<'_>,
    measured: &[Measured],
    log: &mut Log<'_>,
) -> Result<(Option<DomainMatrix>, Option<LengthSection>)> {
    let (domains, domain_rows) = slices::domains(context, measured)?.unzip();
    let (lengths, length_rows) = slices::lengths(context, measured)?.unzip();
    if let Some(dump) = &mut log.dump {
        dump.slices(domain_rows.as_ref(), length_rows.as_deref());
    }
    log.lap("slices");
    Ok((domains, lengths))
}

/// What goes along with a measurement: its progress, the seconds of each part, and the samples where they are asked for.
struct Log<'a> {
    progress: &'a dyn Progress,
    begun: Instant,
    seconds: Vec<(String, f64)>,
    dump: Option<SampleDump>,
}

impl<'a> Log<'a> {
    fn new(progress: &'a dyn Progress) -> Self {
        Self { progress, begun: Instant::now(), seconds: Vec::new(), dump: None }
    }

    /// A part ends here, and the next one begins.
    fn lap(&mut self, part: &str) {
        self.seconds.push((part.to_string(), self.begun.elapsed().as_secs_f64()));
        self.begun = Instant::now();
    }
}
