//! The state of a fit in a file, from which a fit that was broken off goes on.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alignment::changed::changed;
use crate::embedding::read_bytes;
use crate::{Error, Result, atomic};

const VERSION: u32 = 1;
const KEY: &str = "anisoalign_fit";

/// Where a fit that trains keeps its state, so that one that was broken off goes on from there, on `flex` to the same bits.
///
/// It is one file, written under another name first: networks, the best of them, the optimizer's moments, and how many steps
/// of which stage are done. (Random numbers follow from seed and step.) Rows are read again by a fit that goes on, and not
/// trained on again. The file stays until whoever began the fit removes it.
///
/// ```
/// use burn_revision::alignment::Method;
/// use burn_revision::alignment::stream::{FitCheckpoint, FitOptions, fit};
/// use burn_revision::embedding::{EmbeddingTable, Store, write_table};
///
/// # fn main() -> burn_revision::Result<()> {
/// # let folder = tempfile::tempdir().unwrap();
/// # let place = |name: &str| folder.path().join(name);
/// # let rows = |shift: f32| (0..600).map(|i| (i * i % 97) as f32 / 40.0 + shift).collect();
/// # write_table(&EmbeddingTable::numbered(rows(0.5), 6)?, place("text.npy"))?;
/// # write_table(&EmbeddingTable::numbered(rows(-0.9), 6)?, place("image.npy"))?;
/// let (text, image) = (Store::open(place("text.npy"))?, Store::open(place("image.npy"))?);
/// let checkpoint = FitCheckpoint { resume: true, ..FitCheckpoint::new(place("anisoalign.fit")) };
/// let options = FitOptions { checkpoint: Some(checkpoint), ..FitOptions::default() };
/// let (statistics, _) = fit(&"anisoalign".parse::<Method>()?, &text, &image, &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FitCheckpoint {
    /// The file. Without [`FitCheckpoint::resume`] one that is there is replaced.
    pub path: PathBuf,
    /// Go on with the fit in the file, where there is one; that of other settings or rows is refused.
    pub resume: bool,
    /// How often the state is saved.
    pub every: Duration,
}

impl FitCheckpoint {
    /// A fit that begins anew, and saves its state every five seconds.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), resume: false, every: Duration::from_secs(5) }
    }
}

/// All that a step of a stage changes.
pub(super) struct State<M> {
    /// The steps that are done.
    pub step: usize,
    pub module: M,
    pub optimizer: ModuleOptimizer,
    /// The lowest loss on held-out rows so far, and its module.
    pub best: Option<(f64, M)>,
    /// Evaluations since then.
    pub waited: usize,
    /// The loss as it is shown.
    pub smoothed: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    /// What the result depends on.
    job: BTreeMap<String, Value>,
    /// The stage under way.
    position: Option<Position>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Position {
    stage: u64,
    step: usize,
    best: Option<f64>,
    waited: usize,
    smoothed: Option<f64>,
}

/// The file of a fit under way.
pub(super) struct Checkpoint<'a> {
    file: &'a FitCheckpoint,
    header: Header,
    /// Records of Burn by name: those of the stage under way, and the networks of stages that are done.
    records: BTreeMap<String, Vec<u8>>,
    saved: Instant,
}

/// The record of the network that a stage came to.
fn network(stage: u64) -> String {
    format!("stage{stage}")
}

impl<'a> Checkpoint<'a> {
    /// The state that is there to go on with, or none yet.
    pub fn open(file: &'a FitCheckpoint, job: BTreeMap<String, Value>) -> Result<Self> {
        let header = Header { version: VERSION, job, position: None };
        let fresh = Self { file, header, records: BTreeMap::new(), saved: Instant::now() };
        if !(file.resume && file.path.exists()) {
            return Ok(fresh);
        }
        let (header, records) = fresh.read()?;
        if let Some(changed) = changed(&header.job, &fresh.header.job) {
            return Err(fresh.wrong(format!("another fit: {changed}; without `resume` it begins anew")));
        }
        Ok(Self { header, records, ..fresh })
    }

    fn wrong(&self, detail: impl std::fmt::Display) -> Error {
        Error::format(&self.file.path, detail.to_string())
    }

    fn read(&self) -> Result<(Header, BTreeMap<String, Vec<u8>>)> {
        let bytes = read_bytes(&self.file.path)?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| self.wrong(error))?;
        let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let header = header.ok_or_else(|| self.wrong(format!("not the state of a fit: no entry {KEY:?}")))?;
        let header: Header = serde_json::from_str(header).map_err(|error| self.wrong(error))?;
        if header.version != VERSION {
            let found = header.version;
            return Err(self.wrong(format!("expected version {VERSION} of the state, found {found}")));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| self.wrong(error))?;
        Ok((header, file.iter().map(|(name, view)| (name.to_string(), view.data().to_vec())).collect()))
    }

    /// The network that a stage came to, in the form of `module`, where the stage is done.
    pub fn finished<M: Module>(&self, stage: u64, module: &M) -> Result<Option<M>> {
        let name = network(stage);
        self.records.contains_key(&name).then(|| self.module(&name, module)).transpose()
    }

    /// Puts back what the steps of a stage have changed that are done.
    pub fn restore<M: Module>(&self, stage: u64, state: State<M>) -> Result<State<M>> {
        let Some(position) = self.header.position.filter(|position| position.stage == stage) else {
            return Ok(state);
        };
        let record = OptimizerRecord::from_bytes(self.bytes("optimizer")?);
        let optimizer = state.optimizer.load_record(record.map_err(|error| self.wrong(error))?);
        let best = |lowest| self.module("best", &state.module).map(|module| (lowest, module));
        Ok(State {
            step: position.step,
            best: position.best.map(best).transpose()?,
            module: self.module("module", &state.module)?,
            optimizer,
            waited: position.waited,
            smoothed: position.smoothed,
        })
    }

    fn bytes(&self, name: &str) -> Result<Bytes> {
        let bytes = self.records.get(name).ok_or_else(|| self.wrong(format!("no record {name:?}")))?;
        Ok(Bytes::from_bytes_vec(bytes.clone()))
    }

    fn module<M: Module>(&self, name: &str, like: &M) -> Result<M> {
        let record = ModuleRecord::from_bytes(self.bytes(name)?).map_err(|error| self.wrong(error))?;
        like.clone().try_load_record(record).map_err(|error| self.wrong(format!("{name}: {error}")))
    }

    /// Whether it is time to save.
    pub fn is_due(&self) -> bool {
        self.saved.elapsed() >= self.file.every
    }

    /// Saves the state of a stage under way.
    pub fn save<M: Module>(&mut self, stage: u64, state: &State<M>) -> Result<()> {
        let optimizer = state.optimizer.to_record().into_bytes().map_err(|error| self.wrong(error))?;
        self.records.insert("optimizer".to_string(), optimizer.to_vec());
        self.insert("module", &state.module)?;
        if let Some((_, best)) = &state.best {
            self.insert("best", best)?;
        }
        self.header.position = Some(Position {
            stage,
            step: state.step,
            best: state.best.as_ref().map(|(lowest, _)| *lowest),
            waited: state.waited,
            smoothed: state.smoothed,
        });
        self.write()
    }

    /// Saves what a stage has come to.
    pub fn finish<M: Module>(&mut self, stage: u64, module: &M) -> Result<()> {
        self.header.position = None;
        self.records.retain(|name, _| name.starts_with("stage"));
        self.insert(&network(stage), module)?;
        self.write()
    }

    fn insert<M: Module>(&mut self, name: &str, module: &M) -> Result<()> {
        let record = module.clone().into_record().into_bytes().map_err(|error| self.wrong(error))?;
        self.records.insert(name.to_string(), record.to_vec());
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let header = serde_json::to_string(&self.header).map_err(|error| self.wrong(error))?;
        let mut views = Vec::with_capacity(self.records.len());
        for (name, bytes) in &self.records {
            let view = TensorView::new(Dtype::U8, vec![bytes.len()], bytes);
            views.push((name, view.map_err(|error| self.wrong(error))?));
        }
        let metadata = Some(HashMap::from([(KEY.to_string(), header)]));
        let bytes = safetensors::serialize(views, metadata).map_err(|error| self.wrong(error))?;
        atomic::write(&self.file.path, |file| std::io::Write::write_all(file, &bytes))?;
        self.saved = Instant::now();
        Ok(())
    }
}
