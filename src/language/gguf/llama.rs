use std::collections::HashSet;
use std::path::Path;

use super::GgufTokenizer;
use super::names::{Weight, weights};
use super::parameters::LlamaParameters;
use crate::weights::gguf::{BlockMatrix, GgufFile};
use crate::{Error, Result};

/// The factors by which LLaMA 3 divides its rotary frequencies. Hugging Face computes them instead.
const FREQUENCY_FACTORS: &str = "rope_freqs.weight";

/// A model of the LLaMA family in a GGUF file, all of whose tensors are accounted for.
#[derive(Debug)]
pub(crate) struct LlamaGguf {
    file: GgufFile,
    parameters: LlamaParameters,
    weights: Vec<Weight>,
}

impl LlamaGguf {
    /// Opens a file and checks that its tensors are those of the model that its metadata describes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the file cannot be read; [`Error::Format`] where it is not a GGUF file, where it holds
    /// another kind of model, or where a tensor is missing, of another shape or not of the model.
    pub(crate) fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::new(GgufFile::open(path)?)
    }

    /// The model of a file that is open already.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open), but for files that cannot be opened.
    pub(super) fn new(file: GgufFile) -> Result<Self> {
        let parameters = LlamaParameters::read(&file)?;
        let weights = weights(&parameters);
        for weight in &weights {
            check_shape(&file, &weight.gguf_name, &weight.stored_shape())?;
        }
        let mut known: HashSet<&str> = weights.iter().map(|weight| weight.gguf_name.as_str()).collect();
        if file.tensor(FREQUENCY_FACTORS).is_some() {
            check_shape(&file, FREQUENCY_FACTORS, &[parameters.head_dim / 2])?;
            known.insert(FREQUENCY_FACTORS);
        }
        let unused: Vec<_> =
            file.tensors().iter().map(|tensor| tensor.name()).filter(|name| !known.contains(name)).collect();
        if !unused.is_empty() {
            return Err(Error::format(
                file.path(),
                format!(
                    "expected the {} tensors of a {} model of {} layers, found {} more: {}{}",
                    known.len(),
                    parameters.architecture.name(),
                    parameters.num_hidden_layers,
                    unused.len(),
                    unused[..unused.len().min(5)].join(", "),
                    if unused.len() > 5 { ", ..." } else { "" }
                ),
            ));
        }
        Ok(Self { file, parameters, weights })
    }

    /// The file.
    pub(super) fn file(&self) -> &GgufFile {
        &self.file
    }

    /// The hyper-parameters.
    pub(super) fn parameters(&self) -> &LlamaParameters {
        &self.parameters
    }

    /// All weights of the model; without a head of its own where that is the embedding matrix.
    pub(super) fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The values of one of [`weights`](Self::weights), row by row in the order of Hugging Face: query and key
    /// projections are those for rotary positions that rotate coordinate `i` together with `i + head_dim / 2`.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] where the file stores the weight in a type that is not read, [`Error::Io`] where it cannot be
    /// read.
    pub(super) fn read(&self, weight: &Weight) -> Result<Vec<f32>> {
        // A weight of another file may have heads that this one's rows do not divide into.
        check_shape(&self.file, &weight.gguf_name, &weight.stored_shape())?;
        let values = match &weight.part {
            Some((rows, _)) => self.file.read_rows(&weight.gguf_name, rows.clone())?,
            None => self.file.read(&weight.gguf_name)?,
        };
        Ok(weight.in_order(values))
    }

    /// The matrix of a name of Hugging Face, its rows as [`read`](Self::read) orders them, in the blocks of the file.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub(super) fn read_blocks(&self, name: &str) -> Result<BlockMatrix> {
        let weight = self.weight(name)?;
        let rows = weight.part.as_ref().map(|(rows, _)| rows.clone());
        let matrix = self.file.read_blocks(&weight.gguf_name, rows)?;
        Ok(match weight.row_order() {
            Some(order) => matrix.with_rows(order.into_iter()),
            None => matrix,
        })
    }

    /// The values of a weight by its name of Hugging Face; `None` where the model has none.
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub(super) fn read_optional(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let weight = self.weights.iter().find(|weight| weight.name() == name);
        weight.map(|weight| self.read(weight)).transpose()
    }

    fn weight(&self, name: &str) -> Result<&Weight> {
        let found = self.weights.iter().find(|weight| weight.name() == name);
        found.ok_or_else(|| Error::format(self.file.path(), format!("no weight {name:?}")))
    }

    /// The factors by which rotary frequencies are divided, where the file holds them (LLaMA 3.1 and later).
    ///
    /// # Errors
    ///
    /// Those of [`read`](Self::read).
    pub(super) fn frequency_factors(&self) -> Result<Option<Vec<f32>>> {
        self.file.tensor(FREQUENCY_FACTORS).map(|_| self.file.read(FREQUENCY_FACTORS)).transpose()
    }

    /// The tokenizer, and what the file says about its use.
    ///
    /// # Errors
    ///
    /// Those of [`GgufTokenizer::new`].
    pub(super) fn tokenizer_parts(&self) -> Result<GgufTokenizer> {
        GgufTokenizer::new(self.file.metadata())
    }
}

fn check_shape(file: &GgufFile, name: &str, shape: &[usize]) -> Result<()> {
    let wrong = |found: String| {
        Err(Error::format(file.path(), format!("tensor {name:?}: expected shape {shape:?}, found {found}")))
    };
    match file.tensor(name) {
        Some(tensor) if tensor.shape() == shape => Ok(()),
        Some(tensor) => wrong(format!("{:?}", tensor.shape())),
        None => wrong("no such tensor".to_string()),
    }
}
