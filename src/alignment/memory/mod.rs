mod host;

use burn::config::Config;
use burn::module::{Module, Param};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::fitted::{Fit, fitted_method};
use super::realign::ReAlignStatistics;
use super::record::{self, FromStored, Stored};
use super::{Aligner, ClosedForm, Embeddings, ReAlignConfig, fitting};
use crate::device::function_dtype;
use crate::embedding::{normalize, normalize_bounded};
use crate::{Error, Result, assert_shape};

/// Whose rows a [`MemoryProjection`] remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryOf {
    /// Those of images: texts are projected before a model is trained on them.
    #[default]
    Images,
    /// Those of texts: texts stay, and images are projected when the model is asked (as in DeCap).
    Texts,
}

/// How to fit [`MemoryProjection`].
#[derive(Config, Debug, Copy, PartialEq)]
pub struct MemoryProjectionConfig {
    /// Whose rows are remembered.
    #[config(default = "MemoryOf::Images")]
    pub of: MemoryOf,
    /// Rows of the memory, drawn evenly.
    #[config(default = 8192)]
    pub rows: usize,
    /// `tau`, what cosines are divided by. DeCap uses one over 100 to 150.
    #[config(default = 0.01)]
    pub temperature: f64,
    /// How far a row goes towards its projection: 1 for all the way, as in DeCap.
    #[config(default = 1.0)]
    pub step: f64,
    /// Whether texts are moved by ReAlign before they are projected; for a memory of images.
    #[config(default = false)]
    pub realigned: bool,
    /// The seed of the sample.
    #[config(default = 0)]
    pub seed: u64,
}

/// Rows projected onto a memory of unpaired rows of the other modality: a mean of those of its neighbourhood (DeCap, arXiv
/// 2303.03032, Sec. 3.2).
///
/// ```text
/// w   = softmax(m_1 . e / tau, ..., m_N . e / tau)
/// out = unit((1 - step) e + step unit(sum_i w_i m_i))
/// ```
///
/// With [`MemoryOf::Texts`] and a step of 1 it is DeCap: texts stay as they are, and images are projected at inference. With
/// [`MemoryOf::Images`] it is the other direction. A partial step after ReAlign
/// ([`realigned`](MemoryProjectionConfig::realigned)) is a method of this crate: ReAlign matches what is global, and the
/// memory pulls towards images that are near.
///
/// Rows go through the memory in chunks, so that weights are held of some thousand rows at once.
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use burn_revision::alignment::MemoryProjectionConfig;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let rows = || Tensor::<2>::random([64, 4], Distribution::Normal(0.2, 1.0), &device);
/// let (text, image) = (rows(), rows());
/// let config = MemoryProjectionConfig::new().with_realigned(true).with_temperature(0.03).with_step(0.5);
/// assert_eq!(config.fit(text.clone(), image)?.forward(text).dims(), [64, 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct MemoryProjection {
    /// Unit rows, `[N, d]`.
    memory: Param<Tensor<2>>,
    /// Temperature, step, and 1 for a memory of texts.
    settings: Param<Tensor<1>>,
    /// What is done before: the scale of ReAlign as the sum of two numbers; 1 for nothing.
    scale: Param<Tensor<1>>,
    /// Its shifts, `[1 + passes, d]`; zeros for nothing.
    shifts: Param<Tensor<2>>,
}

fitted_method!(MemoryProjectionConfig => MemoryProjection);

impl Fit for MemoryProjectionConfig {
    type Fitted = MemoryProjection;

    fn fit_on(&self, text: &Embeddings<'_>, image: &Embeddings<'_>) -> Result<MemoryProjection> {
        self.check()?;
        let (set, what) = if self.of == MemoryOf::Texts { (text, "text") } else { (image, "image") };
        let memory = set.unit_sample(self.rows, self.seed, what)?;
        let realign = match self.realigned {
            false => None,
            true => Some(ReAlignConfig::new().fit_statistics(text, image)?),
        };
        self.of_rows(memory, text.dim(), realign.as_ref(), text.device())
    }
}

impl MemoryProjectionConfig {
    /// Refuses settings that cannot be used.
    pub(super) fn check(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            let detail = format!("expected a number above 0, found {}", self.temperature);
            return Err(Error::config("temperature", detail));
        }
        if !(0.0..=1.0).contains(&self.step) {
            return Err(Error::config("step", format!("expected from 0 to 1, found {}", self.step)));
        }
        if self.rows == 0 {
            return Err(Error::config("rows", "expected at least 1 row in the memory, found 0"));
        }
        if self.of == MemoryOf::Texts && self.realigned {
            return Err(Error::config(
                "realigned",
                "texts stay as they are where the memory is one of texts",
            ));
        }
        Ok(())
    }

    /// The module with unit rows `[N, d]` as its memory, and ReAlign before it where the settings say so.
    pub(super) fn of_rows(
        &self,
        memory: Vec<f32>,
        dim: usize,
        realign: Option<&ReAlignStatistics>,
        device: &Device,
    ) -> Result<MemoryProjection> {
        if memory.is_empty() {
            let what = "rows for the memory".to_string();
            return Err(Error::TooFewRows { what, needed: 1, actual: 0 });
        }
        let (scale, shifts) = match realign {
            None => (vec![1.0, 0.0], vec![vec![0.0; dim]]),
            Some(realign) => {
                let form = realign.closed_form();
                let shifts = form.vectors().iter().map(|shift| fitting::rounded(shift)).collect();
                (record::split(realign.scale).to_vec(), shifts)
            }
        };
        let of_texts = f32::from(u8::from(self.of == MemoryOf::Texts));
        let settings = vec![self.temperature as f32, self.step as f32, of_texts];
        let rows = memory.len() / dim;
        Ok(MemoryProjection {
            memory: record::constant(memory, [rows, dim], device),
            settings: record::constant(settings, [3], device),
            scale: record::constant(scale, [2], device),
            shifts: record::constant(shifts.concat(), [shifts.len(), dim], device),
        })
    }

    /// The settings of a name: `memory`, `decap`, or `realign-memory`, a quarter of a step after ReAlign.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "memory" => Some(Self::new()),
            "decap" => Some(Self::new().with_of(MemoryOf::Texts)),
            "realign-memory" => Some(Self::new().with_realigned(true).with_temperature(0.03).with_step(0.25)),
            _ => None,
        }
    }

    /// The name that these settings go by.
    pub(super) fn name(&self) -> &'static str {
        match (self.of, self.realigned) {
            (MemoryOf::Texts, _) => "decap",
            (MemoryOf::Images, false) => "memory",
            (MemoryOf::Images, true) => "realign-memory",
        }
    }
}

impl FromStored for MemoryProjection {
    fn from_stored(stored: &mut Stored, device: &Device) -> Result<Self> {
        let (memory, [_, dim]) = stored.take("memory", device)?;
        let (shifts, [_, found]) = stored.take::<2>("shifts", device)?;
        if found != dim {
            return Err(stored.error(format!("shifts: expected {dim} dimensions, found {found}")));
        }
        Ok(Self {
            memory,
            settings: stored.take_shaped("settings", [3], device)?,
            scale: stored.take_shaped("scale", [2], device)?,
            shifts,
        })
    }
}

/// Weights that are held at once: 64 MiB of float32.
const WEIGHTS: usize = 16 << 20;

impl MemoryProjection {
    /// Whose rows it remembers.
    pub fn of(&self) -> MemoryOf {
        match record::host(&self.settings)[2] {
            0.0 => MemoryOf::Images,
            _ => MemoryOf::Texts,
        }
    }

    /// Whether ReAlign goes before it: its projection has a shift of its own.
    fn realigned(&self) -> bool {
        self.shifts.dims()[0] > 1
    }

    /// A step of unit rows towards their projection.
    fn project(&self, rows: Tensor<2>) -> Tensor<2> {
        let (dtype, functions) = (rows.dtype(), function_dtype(rows.dtype(), &rows.device()));
        let memory = record::value(&self.memory, dtype);
        let settings = record::host(&self.settings);
        let (temperature, step) = (f64::from(settings[0]), f64::from(settings[1]));
        let chunk = (WEIGHTS / memory.dims()[0]).max(1);
        let [n, _] = rows.dims();
        let mut parts = Vec::with_capacity(n.div_ceil(chunk));
        for start in (0..n).step_by(chunk) {
            let rows = rows.clone().narrow(0, start, chunk.min(n - start));
            let scores = rows.clone().matmul(memory.clone().transpose()) / temperature;
            let weights = softmax(scores.cast(functions), 1).cast(dtype);
            let projected = normalize_bounded(weights.matmul(memory.clone()));
            parts.push(rows * (1.0 - step) + projected * step);
        }
        if parts.is_empty() { rows } else { Tensor::cat(parts, 0) }
    }
}

impl Aligner for MemoryProjection {
    fn name(&self) -> &'static str {
        match (self.of(), self.realigned()) {
            (MemoryOf::Texts, _) => "decap",
            (MemoryOf::Images, false) => "memory",
            (MemoryOf::Images, true) => "realign_memory",
        }
    }

    fn dim(&self) -> usize {
        self.memory.dims()[1]
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let dim = self.dim();
        assert_shape!(text, [_, dim], "memory: text rows");
        let rows = normalize(text);
        if self.of() == MemoryOf::Texts {
            return rows;
        }
        let dtype = rows.dtype();
        let scale: Tensor<2> = record::value(&self.scale, dtype).sum().unsqueeze();
        let shifts = record::value(&self.shifts, dtype);
        let mut rows = rows * scale;
        for pass in 0..shifts.dims()[0] {
            rows = normalize_bounded(rows + shifts.clone().narrow(0, pass, 1));
        }
        self.project(rows)
    }

    fn closed_form(&self) -> Option<ClosedForm> {
        let stay = || ClosedForm::new(1.0, vec![0.0; self.dim()], Vec::new(), 0.0);
        (self.of() == MemoryOf::Texts).then(stay)
    }

    fn moves_images(&self) -> bool {
        self.of() == MemoryOf::Texts
    }

    fn align_image(&self, image: Tensor<2>) -> Tensor<2> {
        match self.of() {
            MemoryOf::Images => image,
            MemoryOf::Texts => {
                let dtype = image.dtype();
                normalize_bounded(self.project(normalize(image))).cast(dtype)
            }
        }
    }
}
