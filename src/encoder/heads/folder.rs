use std::io::Write;
use std::path::{Component, Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, FloatDType};
use serde::{Deserialize, Serialize};

use super::{ContrastiveHeads, ContrastiveHeadsConfig};
use crate::weights::{self, OwnNames, Shards, fill};
use crate::{Error, Result, atomic};

/// The kind of encoder that `config.json` names.
pub(in crate::encoder) const HEADS_MODEL_TYPE: &str = "contrastive_heads";

/// A folder with trained heads: `config.json`, `model.safetensors`, and references to the towers they stand on.
///
/// [`PretrainedEncoder::open`](crate::encoder::PretrainedEncoder::open) reads it as an encoder of pictures and texts. Towers are
/// not copied: they are named by their path from the folder, and told by a fingerprint of their files.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HeadsFolder {
    model_type: String,
    /// The tower of pictures.
    pub image_tower: TowerReference,
    /// The tower of texts.
    pub text_tower: TowerReference,
    /// The heads.
    pub heads: ContrastiveHeadsConfig,
}

/// A tower that heads stand on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TowerReference {
    /// Where it is: a path from the folder of the heads, or an absolute one.
    pub path: PathBuf,
    /// [`PretrainedEncoder::fingerprint`](crate::encoder::PretrainedEncoder::fingerprint) of its files.
    pub fingerprint: String,
}

impl TowerReference {
    /// The tower at `path`, as the folder `from` will name it: by a path from there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where the tower is not there, or the place of `from` is none.
    pub fn new(path: &Path, fingerprint: &str, from: &Path) -> Result<Self> {
        let tower = std::fs::canonicalize(path).map_err(|source| Error::io(path, source))?;
        let absolute = std::path::absolute(from).map_err(|source| Error::io(from, source))?;
        // The folder itself may not be there yet; what leads to it is, as far as it can be followed.
        let existing = absolute.ancestors().find(|place| place.exists()).unwrap_or(Path::new("/"));
        let resolved = std::fs::canonicalize(existing).map_err(|source| Error::io(existing, source))?;
        let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
        let path = relative(&tower, &resolved.join(rest)).unwrap_or(tower);
        Ok(Self { path, fingerprint: fingerprint.to_string() })
    }

    /// The tower's place, for heads in `folder`.
    pub fn resolve(&self, folder: &Path) -> PathBuf {
        folder.join(&self.path)
    }
}

/// The way from a folder to a place; `None` where they have no common beginning.
fn relative(to: &Path, from: &Path) -> Option<PathBuf> {
    let (to, from): (Vec<Component<'_>>, Vec<_>) = (to.components().collect(), from.components().collect());
    let common = to.iter().zip(&from).take_while(|(a, b)| a == b).count();
    if common == 0 {
        return None;
    }
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - common);
    Some(up.chain(to[common..].iter().copied()).collect())
}

impl HeadsFolder {
    /// Heads of this configuration on these towers.
    pub fn new(
        heads: ContrastiveHeadsConfig,
        image_tower: TowerReference,
        text_tower: TowerReference,
    ) -> Self {
        Self { model_type: HEADS_MODEL_TYPE.to_string(), image_tower, text_tower, heads }
    }

    /// Reads `config.json` of a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] without it, [`Error::Format`] for one that does not describe heads.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("config.json");
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let found: Self =
            serde_json::from_slice(&json).map_err(|source| Error::format(&path, source.to_string()))?;
        if found.model_type != HEADS_MODEL_TYPE {
            let detail =
                format!("key \"model_type\": expected {HEADS_MODEL_TYPE}, found {:?}", found.model_type);
            return Err(Error::format(&path, detail));
        }
        Ok(found)
    }

    /// Writes the folder: weights first, `config.json` last, each complete or not there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file cannot be written.
    pub fn write(&self, folder: &Path, heads: &ContrastiveHeads) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        weights::write(&folder.join("model.safetensors"), heads, &OwnNames)?;
        let json = serde_json::to_string_pretty(self).expect("a configuration is plain data");
        atomic::write(&folder.join("config.json"), |file| file.write_all(json.as_bytes()))
    }

    /// The heads of a folder, on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] for weights that are missing, damaged or of other shapes.
    pub fn heads(&self, folder: &Path, device: &Device) -> Result<ContrastiveHeads> {
        let columns = |dim| vec![(0.0, 1.0); dim];
        let (image, text) = (columns(self.heads.image.input_dim), columns(self.heads.text.input_dim));
        let heads = self.heads.init(&image, &text, device)?;
        Ok(fill(heads, &OwnNames, &Shards::open(folder)?, FloatDType::F32, device)?.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::{HeadConfig, LogitScaleConfig};

    #[test]
    fn paths_lead_from_the_folder_to_the_tower() {
        for (to, from, expected) in [
            ("/a/towers/lite0", "/a/mine", "../towers/lite0"),
            ("/a/mine/lite0", "/a/mine", "lite0"),
            ("/b", "/a/x/y", "../../../b"),
        ] {
            assert_eq!(relative(to.as_ref(), from.as_ref()), Some(PathBuf::from(expected)));
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tower")).unwrap();
        let heads = folder.path().join("not/yet");
        let tower = TowerReference::new(&folder.path().join("tower"), "1", &heads).unwrap();
        assert_eq!(tower.path, Path::new("../../tower"));
        std::fs::create_dir_all(&heads).unwrap();
        assert!(tower.resolve(&heads).is_dir());
        assert!(TowerReference::new(&folder.path().join("none"), "1", &heads).is_err());
    }

    #[test]
    fn heads_come_back_with_their_embeddings_and_scale() {
        let device = Device::default();
        let folder = tempfile::tempdir().unwrap();
        let config =
            ContrastiveHeadsConfig::new(HeadConfig::new(5, 4).with_hidden_dim(6), HeadConfig::new(3, 4))
                .with_logit_scale(LogitScaleConfig::Learned { init: 14.0, max: 100.0 });
        let heads = config.init(&[(0.5, 2.0); 5], &[(0.0, 0.1); 3], &device).unwrap();
        let tower = TowerReference { path: "t".into(), fingerprint: "f".into() };
        let written = HeadsFolder::new(config, tower.clone(), tower);
        written.write(folder.path(), &heads).unwrap();
        let read = HeadsFolder::read(folder.path()).unwrap();
        assert_eq!(read.image_tower, written.image_tower);
        let back = read.heads(folder.path(), &device).unwrap();
        let rows =
            |dim| burn::tensor::Tensor::<2>::random([7, dim], burn::tensor::Distribution::Default, &device);
        let (images, texts) = (rows(5), rows(3));
        assert_eq!(back.embed_images(images.clone()).into_data(), heads.embed_images(images).into_data());
        assert_eq!(back.embed_texts(texts.clone()).into_data(), heads.embed_texts(texts).into_data());
        assert_eq!(back.logit_scale().into_data(), heads.logit_scale().into_data());

        std::fs::write(folder.path().join("config.json"), "{\"model_type\": \"clip\"}").unwrap();
        assert!(HeadsFolder::read(folder.path()).unwrap_err().to_string().contains("config.json"));
    }
}
