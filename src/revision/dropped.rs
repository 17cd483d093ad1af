use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::json::Mended;
use crate::{Error, Result};

/// The policy for conversations that cannot be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BadSamples {
    /// Refuse the data set, naming the first.
    #[default]
    Error,
    /// Leave them out and count them.
    Drop,
}

/// How many conversations were read, used and left out when a data set was built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DatasetReport {
    /// The conversations that were read.
    pub read: usize,
    /// Those that became samples.
    pub kept: usize,
    /// Those of the kept that were cut to fit.
    pub truncated: usize,
    /// What JSON does not allow and was read nevertheless: for whoever builds the data set to fill in, from
    /// [`Conversations::mended`](super::Conversations::mended).
    #[serde(skip_serializing_if = "Mended::is_empty")]
    pub mended: Mended,
    /// The others, by reason.
    pub(super) dropped: BTreeMap<&'static str, Dropped>,
}

/// The conversations that were left out for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Dropped {
    /// Their number.
    pub count: usize,
    /// The errors of the first of them.
    pub examples: Vec<String>,
}

const EXAMPLES: usize = 3;

impl DatasetReport {
    /// Counts a conversation that was left out; returns errors that concern more than one sample.
    pub(super) fn drop(&mut self, error: Error) -> Result<()> {
        let reason = match &error {
            Error::MissingId { .. } => "no embedding",
            Error::NoLabel { .. } => "no label left",
            Error::Sample { .. } => "unusable",
            _ => return Err(error),
        };
        let dropped = self.dropped.entry(reason).or_default();
        dropped.count += 1;
        if dropped.examples.len() < EXAMPLES {
            dropped.examples.push(error.to_string());
        }
        Ok(())
    }
}

impl fmt::Display for DatasetReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} conversations, {} kept", self.read, self.kept)?;
        if self.truncated > 0 {
            write!(f, ", {} of them cut to fit", self.truncated)?;
        }
        for (reason, dropped) in &self.dropped {
            write!(f, "; {} dropped ({reason}), such as {}", dropped.count, dropped.examples[0])?;
        }
        if !self.mended.is_empty() {
            write!(f, "; mended: {}", self.mended)?;
        }
        Ok(())
    }
}
