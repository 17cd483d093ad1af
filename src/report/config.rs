use std::path::Path;
use std::time::Instant;

use burn::tensor::Device;

use super::input::Input;
use super::methods::Measured;
use super::model::{GapReport, Settings, VERSION};
use super::plane::Plane;
use super::samples::Samples;
use super::{curves, gap, methods, slices};
use crate::alignment::{C3Config, Method};
use crate::embedding::{NonFinite, Progress, Store, check_cancelled};
use crate::{Error, Result, atomic};

/// What a report measures, and on how many rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportConfig {
    /// The methods; all of [`Method::NAMES`] by default, [`Method::Identity`] first.
    pub methods: Vec<Method>,
    /// Whether rows of the two stores are pairs: an image belongs to the text of the same id, or to the one that
    /// `pair_by` names. Default: false.
    pub paired: bool,
    /// The field of an image's record that holds the id of its text.
    pub pair_by: Option<String>,
    /// The field of the records that names the domain, for the matrix of domains.
    pub domain: Option<String>,
    /// The field of a text's record that holds the caption; `text` or `caption` where nothing is said.
    pub caption: Option<String>,
    /// Rows whose record has this field take part only where it has this value, or holds it among several.
    pub only: Option<(String, String)>,
    /// The rows of each store that may be read: an even sample of larger ones. Default: 40,000.
    pub rows: usize,
    /// The held-out rows of each set that neighbours and cosines are measured on. Default: 10,000.
    pub probe: usize,
    /// The neighbours of a row. Default: 20, as in both papers.
    pub k: usize,
    /// The share of the energy that the fixed frame holds. Default: 0.9; the paper does not state its own.
    pub energy: f64,
    /// The ridge of covariances that are inverted, relative to their mean eigenvalue. Default: 1e-3.
    pub ridge: f64,
    /// The standard deviation of the noise of C3, for each coordinate. Default: that of [`C3Config`](crate::alignment::C3Config).
    pub sigma: f64,
    /// Pairs of rows for each density of cosines. Default: 20,000.
    pub cosine_pairs: usize,
    /// Draws for each number of rows of the sample-efficiency curves. Default: 5, as in arXiv 2602.07026, App. E.1.
    pub draws: usize,
    /// Whether to keep the rows and indexes that were measured, for [`Samples::save`]. Default: false.
    pub keep_samples: bool,
    /// What to do with rows without direction.
    pub non_finite: NonFinite,
    /// The seed of the halves, of all samples and of noise.
    pub seed: u64,
}

impl Default for ReportConfig {
    fn default() -> Self {
        let mut methods: Vec<Method> =
            Method::NAMES.iter().map(|name| name.parse().expect("every name is a method")).collect();
        methods.rotate_right(1);
        Self {
            methods,
            paired: false,
            pair_by: None,
            domain: None,
            caption: None,
            only: None,
            rows: 40_000,
            probe: 10_000,
            k: 20,
            energy: 0.9,
            ridge: 1e-3,
            sigma: C3Config::new().sigma,
            cosine_pairs: 20_000,
            draws: 5,
            keep_samples: false,
            non_finite: NonFinite::default(),
            seed: 0,
        }
    }
}

impl ReportConfig {
    /// Reads, fits and measures. Products of large matrices run on `device`, everything else on the host.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a setting that cannot be used, [`Error::Mismatch`] for different numbers of dimensions,
    /// [`Error::TooFewRows`] where a half has not more rows than neighbours are asked for or nothing is paired,
    /// [`Error::DuplicateId`] for a double id, [`Error::NoSpread`] where all rows are alike, [`Error::NonFinite`] or
    /// [`Error::ZeroRow`], naming file and row, under [`NonFinite::Error`], [`Error::Io`] or [`Error::Format`] where a
    /// file cannot be read, [`Error::Interrupted`] where `progress` asks to stop.
    pub fn build(
        &self,
        text: &Store,
        image: &Store,
        device: &Device,
        progress: &dyn Progress,
    ) -> Result<(GapReport, Samples)> {
        self.check()?;
        let mut clock = Clock::new();
        let input = Input::read(text, image, self, progress)?;
        clock.lap("reading");
        let mut samples = Samples::new(&input, self, device)?;

        let rows = input.fit.text.unit.len() + input.held_out.text.unit.len();
        progress.begin("the two clouds", rows);
        let (geometry, frame) = gap::geometry(&input, self, &mut samples)?;
        let section = gap::section(&input, &frame, self.ridge)?;
        clock.lap("the two clouds");

        let plane = Plane::new(&input)?;
        progress.advance(rows);
        progress.begin("methods", self.methods.len() * rows);
        let (mut measured, mut notes) = (Vec::with_capacity(self.methods.len()), Vec::new());
        for method in &self.methods {
            check_cancelled(progress)?;
            match Measured::new(method, &input, self, (&plane, device), &mut samples) {
                Ok(one) => measured.push(one),
                Err(Error::NoSpread { what }) => {
                    notes.push(format!("{method} cannot be fitted: all {what} are alike."));
                }
                Err(Error::ZeroRow { .. }) => {
                    notes.push(format!("{method} leaves rows without direction and cannot be measured."));
                }
                Err(error) => return Err(error),
            }
            clock.lap(&method.to_string());
            progress.advance(rows);
        }
        let projection = plane.finish(&input, &measured);
        let (cosines, measured) = methods::cosines(&input, measured, &samples);
        clock.lap("cosines");

        check_cancelled(progress)?;
        progress.begin("sample efficiency", rows);
        let sample_efficiency = curves::sample_efficiency(&input, self, &measured, device)?;
        clock.lap("sample efficiency");
        let domains = slices::domains(&input, self, &measured, device, &mut samples)?;
        let lengths = slices::lengths(&input, self, &measured, &mut samples)?;
        clock.lap("slices");

        let report = GapReport {
            version: VERSION,
            created_by: concat!("burn-revision ", env!("CARGO_PKG_VERSION")).to_string(),
            settings: self.settings(),
            notes: gap::notes(&input, self, &geometry, &section).into_iter().chain(notes).collect(),
            data: input.data,
            geometry,
            gap: section,
            methods: measured.into_iter().map(|one| one.report).collect(),
            cosines,
            projection,
            sample_efficiency,
            domains,
            lengths,
            seconds: clock.laps,
        };
        Ok((report, samples))
    }

    fn settings(&self) -> Settings {
        Settings {
            seed: self.seed,
            paired: self.paired,
            pair_by: self.pair_by.clone(),
            only: self.only.as_ref().map(|(field, value)| format!("{field}={value}")),
            methods: self.methods.iter().map(methods::name).collect(),
            k: self.k,
            energy: self.energy,
            rows: self.rows,
            probe: self.probe,
            ridge: self.ridge,
            sigma: self.sigma,
            cosine_pairs: self.cosine_pairs,
            draws: self.draws,
            domain: self.domain.clone(),
            caption: self.caption.clone(),
            non_finite: self.non_finite.to_string(),
        }
    }

    fn check(&self) -> Result<()> {
        let wrong = |key: &str, detail: String| Err(Error::config(key, detail));
        if self.methods.is_empty() {
            return wrong("methods", "expected at least one method".to_string());
        }
        for (at, method) in self.methods.iter().enumerate() {
            if self.methods[..at].iter().any(|other| other.to_string() == method.to_string()) {
                return wrong("methods", format!("{method} stands there twice"));
            }
        }
        if self.pair_by.is_some() && !self.paired {
            return wrong("pair-by", "says how rows are paired, but they are not: see `paired`".to_string());
        }
        let counts = [("k", self.k), ("cosine-pairs", self.cosine_pairs), ("draws", self.draws)];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return wrong(key, "expected at least 1, found 0".to_string());
        }
        if !(self.energy > 0.0 && self.energy <= 1.0) {
            return wrong("energy", format!("expected a share above 0 and up to 1, found {}", self.energy));
        }
        if !(self.ridge.is_finite() && self.ridge >= 0.0) {
            return wrong("ridge", format!("expected at least 0, found {}", self.ridge));
        }
        Ok(())
    }
}

impl GapReport {
    /// Writes the report as JSON, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        atomic::write(path.as_ref(), |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            std::io::Write::write_all(file, b"\n")
        })
    }

    /// Reads what [`GapReport::save`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it holds something else or another version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = crate::embedding::read_bytes(path)?;
        let report: Self =
            serde_json::from_slice(&bytes).map_err(|error| Error::format(path, error.to_string()))?;
        match report.version == VERSION {
            true => Ok(report),
            false => {
                let detail = format!("expected version {VERSION} of the report, found {}", report.version);
                Err(Error::format(path, detail))
            }
        }
    }
}

/// The time that each part took.
struct Clock {
    begun: Instant,
    laps: Vec<(String, f64)>,
}

impl Clock {
    fn new() -> Self {
        Self { begun: Instant::now(), laps: Vec::new() }
    }

    fn lap(&mut self, part: &str) {
        self.laps.push((part.to_string(), self.begun.elapsed().as_secs_f64()));
        self.begun = Instant::now();
    }
}
