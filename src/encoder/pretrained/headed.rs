use burn::tensor::{Device, FloatDType};

use super::configuration::Architecture;
use super::{ImageEncoder, PretrainedEncoder, TextEncoder};
use crate::encoder::{HeadsFolder, TowerReference};
use crate::{Error, Result};

/// Towers with heads that were trained on them.
impl PretrainedEncoder {
    /// A tower of heads, which must be the one that they were trained on.
    pub(super) fn tower(&self, reference: &TowerReference) -> Result<Self> {
        let path = reference.resolve(&self.folder);
        let config = self.folder.join("config.json");
        let tower = Self::open(&path)
            .map_err(|error| Error::format(&config, format!("the tower {}: {error}", path.display())))?;
        if matches!(tower.architecture, Architecture::Heads(_)) {
            let detail = format!("expected a tower in {}, found heads", path.display());
            return Err(Error::format(config, detail));
        }
        let found = tower.fingerprint()?;
        if found != reference.fingerprint {
            let detail = format!(
                "expected the tower {} as it was when the heads were trained, fingerprint {}, found {found}",
                path.display(),
                reference.fingerprint
            );
            return Err(Error::format(config, detail));
        }
        Ok(tower)
    }

    pub(super) fn headed_image(
        &self,
        folder: &HeadsFolder,
        precision: FloatDType,
        device: &Device,
    ) -> Result<ImageEncoder> {
        let mut encoder = self.tower(&folder.image_tower)?.image(precision, device)?;
        let head = folder.heads(&self.folder, device)?.image;
        if head.input_dim() != encoder.dim {
            let what =
                format!("features of the tower of pictures, for the heads of {}", self.folder.display());
            return Err(Error::mismatch(what, head.input_dim(), encoder.dim));
        }
        encoder.dim = head.output_dim();
        encoder.head = Some(head);
        encoder.fingerprint = self.headed_fingerprint(&encoder.fingerprint)?;
        Ok(encoder)
    }

    pub(super) fn headed_text(
        &self,
        folder: &HeadsFolder,
        precision: FloatDType,
        device: &Device,
    ) -> Result<TextEncoder> {
        let mut encoder = self.tower(&folder.text_tower)?.text(precision, device)?;
        let head = folder.heads(&self.folder, device)?.text;
        if head.input_dim() != encoder.dim {
            let what = format!("features of the tower of texts, for the heads of {}", self.folder.display());
            return Err(Error::mismatch(what, head.input_dim(), encoder.dim));
        }
        encoder.dim = head.output_dim();
        encoder.head = Some(head);
        encoder.fingerprint = self.headed_fingerprint(&encoder.fingerprint)?;
        Ok(encoder)
    }
}
