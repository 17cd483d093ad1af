use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::ReportConfig;
use super::sections::{
    CosineSection, Data, DomainMatrix, EfficiencyCurve, GapSection, Geometry, LengthSection, MethodReport,
    Projection,
};
use crate::{Error, Result, atomic};

/// The number of the layout of `report.json`.
pub(super) const VERSION: u32 = 1;

/// The geometry of two sets of embeddings and what each method of alignment makes of it.
///
/// Every number belongs to a section that says on which rows it was measured: the *fit* half, of which the statistics of
/// all methods and the fixed frame were made, or the *held-out* half, which they have not seen. Printed, it is a table
/// of the main measures by method.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GapReport {
    /// The number of the layout of `report.json`: 1.
    pub version: u32,
    /// The program that wrote it.
    pub created_by: String,
    /// What was asked for.
    pub settings: ReportConfig,
    /// What was read.
    pub data: Data,
    /// What a reader should know before believing a number: small samples, covariances without full rank.
    pub notes: Vec<String>,
    /// The two modalities as they are, and the frame; fit half.
    pub geometry: Geometry,
    /// The gap along and across the frame; held-out half, in the frame of the fit half.
    pub gap: GapSection,
    /// The methods, in the order asked for; held-out half unless a field says otherwise.
    pub methods: Vec<MethodReport>,
    /// The densities of cosines from which the divergences follow; held-out half.
    pub cosines: CosineSection,
    /// Rows in the plane of two principal components; held-out half.
    pub projection: Projection,
    /// The gap on held-out rows against the number of rows of which the statistics were made.
    pub sample_efficiency: Vec<EfficiencyCurve>,
    /// Statistics of one domain applied to another; `None` where there are no domains.
    pub domains: Option<DomainMatrix>,
    /// Captions by length; `None` where there are no captions.
    pub lengths: Option<LengthSection>,
    /// Seconds that each part took.
    pub seconds: Vec<(String, f64)>,
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
