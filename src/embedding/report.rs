use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::json::Mended;

/// What is worth knowing of how a store was read, beside its rows; see [`Store::report`](super::Store::report).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// Files without a row, which were passed over.
    pub empty_files: Vec<PathBuf>,
    /// Samples of `.tar` files that have no embedding, and so are no rows.
    pub samples_without_embedding: usize,
    /// A file that has fields beside its rows and no ids among them, so that the numbers of its rows are their ids.
    pub numbered: Option<Numbered>,
    /// What had to be mended in files of records, as far as they have been read.
    pub mended: Mended,
}

/// Fields without ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// The first file that is such.
    pub path: PathBuf,
    /// Fields that might have been meant: [`StoreOptions::id_column`](super::StoreOptions::id_column).
    pub fields: Vec<String>,
}

impl StoreReport {
    /// A line for people for each thing; none as a rule.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match self.empty_files.as_slice() {
            [] => {}
            [file] => notes.push(format!("{} has no row and was passed over", file.display())),
            [first, ..] => {
                let count = self.empty_files.len();
                notes.push(format!(
                    "{count} files without a row were passed over, such as {}",
                    first.display()
                ));
            }
        }
        if self.samples_without_embedding > 0 {
            notes.push(format!(
                "{} samples have no embedding and are no rows",
                self.samples_without_embedding
            ));
        }
        if let Some(Numbered { path, fields }) = &self.numbered {
            let fields = fields.iter().map(|field| format!("{field:?}")).collect::<Vec<_>>().join(", ");
            let path = path.display();
            notes.push(format!(
                "{path} has no \"id\": the numbers of the rows are their ids; another field is named by `id-column`: {fields}"
            ));
        }
        if !self.mended.is_empty() {
            notes.push(format!("mended in files of records: {}", self.mended));
        }
        notes
    }
}
