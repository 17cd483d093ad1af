//! The file of statistics.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::fitted::MEMORY;
use super::{CentroidPass, Provenance, Statistics, host_device};
use crate::alignment::record::{self, Parameters};
use crate::alignment::{Aligner, AnisoAlign, FitReport, Method};
use crate::embedding::{NonFinite, read_bytes};
use crate::geometry::Moments;
use crate::{Error, Result, atomic};

const VERSION: u32 = 1;
const KEY: &str = "statistics";
/// What the names begin with of what a method fits on a sample of rows.
fn prefix(method: &Method) -> &'static str {
    match method {
        Method::AnisoAlign(_) => "anisoalign.",
        _ => "sample.",
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    created_by: String,
    method: Method,
    non_finite: NonFinite,
    dim: usize,
    counts: Counts,
    rows: FitReport,
    centroid_sample: Option<usize>,
    sources: Vec<Provenance>,
}

#[derive(Serialize, Deserialize)]
struct Counts {
    text: u64,
    image: u64,
    centroid: Option<u64>,
    /// Text rows read in the pass; as many as were gathered in files of before there was this count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    centroid_read: Option<u64>,
    /// Texts on the mean of the images, of blockwise covariance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved: Option<u64>,
}

impl Statistics {
    pub(super) fn tensors(&self) -> BTreeMap<&'static str, Vec<f64>> {
        let mut tensors = BTreeMap::from([
            ("text_mean", self.text.mean().to_vec()),
            ("image_mean", self.image.mean().to_vec()),
            ("squares", vec![self.text.squares(), self.image.squares()]),
            ("centroids", self.centroids.concat()),
        ]);
        if let Some(pass) = &self.pass {
            tensors.insert("pass_mean", pass.projected.mean().to_vec());
            tensors.insert("pass_squares", vec![pass.projected.squares()]);
        }
        if let Some(moved) = &self.moved {
            tensors.insert("moved_mean", moved.mean().to_vec());
            tensors.insert("moved_squares", vec![moved.squares()]);
        }
        let scatters = [
            ("text_scatter", Some(&self.text)),
            ("image_scatter", Some(&self.image)),
            ("pass_scatter", self.pass.as_ref().map(|pass| &pass.projected)),
            ("moved_scatter", self.moved.as_ref()),
        ];
        for (name, moments) in scatters {
            if let Some(scatter) = moments.and_then(Moments::packed_scatter) {
                tensors.insert(name, scatter);
            }
        }
        tensors
    }

    /// What the file says beside the vectors, as a JSON object.
    pub fn describe(&self) -> serde_json::Value {
        serde_json::to_value(self.header()).expect("a header is plain data")
    }

    fn header(&self) -> Header {
        let centroid = self.pass.as_ref().map(|pass| pass.projected.count() as u64);
        let centroid_read = self.pass.as_ref().map(|pass| pass.read as u64);
        Header {
            version: VERSION,
            created_by: concat!("burn-revision ", env!("CARGO_PKG_VERSION")).to_string(),
            method: self.method,
            non_finite: self.policy,
            dim: self.dim(),
            counts: Counts {
                text: self.text.count() as u64,
                image: self.image.count() as u64,
                centroid,
                centroid_read,
                moved: self.moved.as_ref().map(|moved| moved.count() as u64),
            },
            rows: self.report,
            centroid_sample: self.sample,
            sources: self.sources.clone(),
        }
    }

    /// Writes the statistics at `path`; a name that ends in `.safetensors` is customary.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let bytes = self.serialized(path.as_ref())?;
        atomic::write(path.as_ref(), |file| std::io::Write::write_all(file, &bytes))
    }

    /// What [`Statistics::save`] writes, for places that are no files: a column of a database, an object store.
    ///
    /// ```
    /// use burn_revision::alignment::{Method, Statistics};
    /// use burn_revision::embedding::NonFinite;
    ///
    /// let statistics = Statistics::new("realign".parse::<Method>()?, NonFinite::Error, 8);
    /// let bytes = statistics.to_bytes()?;
    /// assert_eq!(Statistics::from_bytes(&bytes, "statistics")?, statistics);
    /// # Ok::<(), burn_revision::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where they cannot be written down.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.serialized(Path::new("statistics"))
    }

    /// The bytes of the file; `path` names it in errors.
    fn serialized(&self, path: &Path) -> Result<Vec<u8>> {
        let failed = |error: &dyn std::fmt::Display| Error::format(path, error.to_string());
        let tensors = self.tensors();
        let mut views = Vec::with_capacity(tensors.len());
        for (name, values) in &tensors {
            let shape = match *name {
                "centroids" => vec![self.centroids.len(), self.dim()],
                _ => vec![values.len()],
            };
            let view = TensorView::new(Dtype::F64, shape, bytemuck::cast_slice(values));
            views.push((name.to_string(), view.map_err(|error| failed(&error))?));
        }
        for (name, (shape, values)) in self.sampled.iter().flatten() {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values));
            views.push((format!("{}{name}", prefix(&self.method)), view.map_err(|error| failed(&error))?));
        }
        let header = serde_json::to_string(&self.header()).map_err(|error| failed(&error))?;
        let metadata = Some(std::collections::HashMap::from([(KEY.to_string(), header)]));
        safetensors::serialize(views, metadata).map_err(|error| failed(&error))
    }

    /// Reads what [`Statistics::save`] wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read, [`Error::Format`] where it holds something else.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::deserialized(&read_bytes(path.as_ref())?, path.as_ref())
    }

    /// Reads what [`Statistics::to_bytes`] made; `name` says in errors where they were.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where they hold something else.
    pub fn from_bytes(bytes: &[u8], name: &str) -> Result<Self> {
        Self::deserialized(bytes, Path::new(name))
    }

    fn deserialized(bytes: &[u8], path: &Path) -> Result<Self> {
        let wrong = |detail: String| Error::format(path, detail);
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| wrong(error.to_string()))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let header =
            header.ok_or_else(|| wrong("not a file of statistics: no entry \"statistics\"".to_string()))?;
        let header: Header = serde_json::from_str(header).map_err(|error| wrong(error.to_string()))?;
        if header.version != VERSION {
            return Err(wrong(format!(
                "expected version {VERSION} of the statistics, found {}",
                header.version
            )));
        }
        let dim = header.dim;
        let file = SafeTensors::deserialize(bytes).map_err(|error| wrong(error.to_string()))?;
        let read = |name: &str, length: Option<usize>| -> Result<Vec<f64>> {
            let view = file.tensor(name).map_err(|_| wrong(format!("no statistic {name:?}")))?;
            if view.dtype() != Dtype::F64 {
                return Err(wrong(format!("{name}: expected F64, found {:?}", view.dtype())));
            }
            let values: Vec<f64> =
                view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
            if let Some(length) = length.filter(|&length| length != values.len()) {
                return Err(wrong(format!("{name}: expected {length} values, found {}", values.len())));
            }
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                return Err(wrong(format!("{name}: value {at} is {}", values[at])));
            }
            Ok(values)
        };
        let moments = |count: u64, set: &str, squares: f64| {
            let (mean, scatter) = (format!("{set}_mean"), format!("{set}_scatter"));
            let packed = match file.tensor(&scatter) {
                Ok(_) => Some(read(&scatter, None)?),
                Err(_) if matches!(set, "text" | "image") && header.method.needs_covariance() => {
                    return Err(wrong(format!("no statistic {scatter:?}, which {} needs", header.method)));
                }
                Err(_) => None,
            };
            Moments::from_parts(count, read(&mean, Some(dim))?, squares, packed)
                .map_err(|error| wrong(error.to_string()))
        };
        let mut sampled = Parameters::new();
        for (name, view) in file.tensors() {
            let Some(name) = name.strip_prefix(prefix(&header.method)) else { continue };
            if view.dtype() != Dtype::F32 {
                return Err(wrong(format!("{name}: expected F32, found {:?}", view.dtype())));
            }
            let bytes = view.data().as_chunks::<4>().0.iter();
            let values = bytes.map(|bytes| f32::from_le_bytes(*bytes)).collect();
            sampled.insert(name.to_string(), (view.shape().to_vec(), values));
        }
        let sampled = (!sampled.is_empty()).then_some(sampled);
        let squares = read("squares", Some(2))?;
        let centroids = read("centroids", None)?;
        if dim == 0 || !centroids.len().is_multiple_of(dim) {
            return Err(wrong(format!("centroids: {} values for {dim} dimensions", centroids.len())));
        }
        let (passes, found) = (header.method.text_passes(), centroids.len() / dim);
        if found > passes {
            return Err(wrong(format!("centroids: expected at most {passes}, found {found}")));
        }
        let pass = match header.counts.centroid {
            None => None,
            Some(count) => {
                let projected = moments(count, "pass", read("pass_squares", Some(1))?[0])?;
                let read = header.counts.centroid_read.unwrap_or(count) as usize;
                Some(CentroidPass { projected, read })
            }
        };
        let moved = match header.counts.moved {
            Some(count) => Some(moments(count, "moved", read("moved_squares", Some(1))?[0])?),
            None => None,
        };
        let statistics = Self {
            method: header.method,
            policy: header.non_finite,
            text: moments(header.counts.text, "text", squares[0])?,
            image: moments(header.counts.image, "image", squares[1])?,
            moved,
            sampled,
            report: header.rows,
            centroids: centroids.chunks_exact(dim).map(<[f64]>::to_vec).collect(),
            pass,
            sample: header.centroid_sample,
            sources: header.sources,
        };
        if let Some(sampled) = &statistics.sampled {
            check_sampled(&statistics.method, sampled, dim, path)?;
        }
        Ok(statistics)
    }
}

/// Refuses what cannot have been fitted on a sample of rows, with the name of the file.
fn check_sampled(method: &Method, sampled: &Parameters, dim: usize, path: &Path) -> Result<()> {
    let wrong = |detail: String| Err(Error::format(path, detail));
    if matches!(method, Method::AnisoAlign(_)) {
        // Networks of other sizes than the settings say are found here.
        let fitted: AnisoAlign = record::of_parameters(sampled, path, &host_device())?;
        return match fitted.dim() == dim {
            true => Ok(()),
            false => wrong(format!("networks of {} dimensions, statistics of {dim}", fitted.dim())),
        };
    }
    let Some((shape, values)) = sampled.get(MEMORY) else {
        return wrong("no rows of the memory".to_string());
    };
    if shape.len() != 2 || shape[0] == 0 || shape[1] != dim {
        return wrong(format!("memory: expected rows of {dim} dimensions, found shape {shape:?}"));
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => wrong(format!("memory: value {at} is {}", values[at])),
        None => Ok(()),
    }
}
