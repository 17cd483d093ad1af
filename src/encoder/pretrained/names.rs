use std::path::Path;

use crate::weights::{PublishedNames, WeightSource};
use crate::{Error, Result};

/// What Hugging Face calls the weights of the towers and models here.
pub(super) struct HuggingFaceNames {
    /// What stands before the names of a tower in a file with more than the tower.
    pub prefix: &'static str,
    /// Beginnings of the names of weights that are left unread: those of the other tower, where one is wanted alone.
    pub others: &'static [&'static str],
}

impl PublishedNames for HuggingFaceNames {
    fn published(&self, path: &str) -> String {
        // Towers with their projections are fields of a model here, and lie side by side in its file.
        let path = path.strip_prefix("text.").or_else(|| path.strip_prefix("vision.")).unwrap_or(path);
        format!("{}{path}", self.prefix)
    }

    fn is_optional(&self, name: &str) -> bool {
        // Buffers of older files: the numbers 0, 1, 2 and so on.
        name.ends_with(".position_ids") || self.others.iter().any(|other| name.starts_with(other))
    }
}

/// Weights of which a scalar may be asked for as a list of one.
pub(super) struct WithScalars<S>(pub S);

impl<S: WeightSource> WeightSource for WithScalars<S> {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match shape {
            [1] => self.0.read(name, &[]).or_else(|_: Error| self.0.read(name, shape)),
            _ => self.0.read(name, shape),
        }
    }
}
