use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::PretrainedEncoder;
use super::configuration::Architecture;
use crate::{Error, Result, atomic};

/// Which encoder made the rows of a store, or shows pictures to a model.
///
/// It is kept beside a store: `images.encoder.json` beside `images.npy`, `encoder.json` in a folder of shards. Rows of a text
/// tower have the record of the encoder as a whole, whose image tower will show the pictures later.
///
/// # Example
///
/// ```
/// use burn_revision::encoder::EncoderRecord;
///
/// assert_eq!(EncoderRecord::beside("images.npy".as_ref()), std::path::Path::new("images.encoder.json"));
/// assert!(EncoderRecord::find("no/such/store.npy".as_ref())?.is_none());
/// # Ok::<(), burn_revision::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderRecord {
    /// The folder, or the name on the Hugging Face Hub.
    pub encoder: PathBuf,
    /// [`ImageEncoder::fingerprint`](super::ImageEncoder::fingerprint): weights, configuration and processing of pictures.
    pub fingerprint: String,
    /// The width of the embeddings.
    pub dim: usize,
    /// The side of the pictures that the tower takes, in pixels.
    pub image_size: usize,
    /// Whether the rows have unit length.
    pub normalised: bool,
    /// What is done to pictures first, where it was understood when the record was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Value>,
}

impl PretrainedEncoder {
    /// The record of rows that this encoder makes; `None` for an encoder of texts alone, which sees nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] for a file that cannot be read.
    pub fn record(&self) -> Result<Option<EncoderRecord>> {
        let (dim, image_size) = match &self.architecture {
            Architecture::Clip(clip) => (clip.projection_dim, clip.vision_config.image_size),
            Architecture::ClipVision(config) | Architecture::Llm2ClipVision(config) => {
                (config.projection_dim, config.image_size)
            }
            Architecture::Siglip(siglip) => {
                (siglip.vision_config.hidden_size, siglip.vision_config.image_size)
            }
            Architecture::SiglipVision(config) => (config.hidden_size, config.image_size),
            Architecture::EfficientNetLite(config, _) => (config.hidden_dim, config.image_size),
            Architecture::Dual(config) => (config.image.embed_dim, config.image.image_size),
            Architecture::ClipText(_) | Architecture::SiglipText(_) | Architecture::Bert(..) => {
                return Ok(None);
            }
            Architecture::Heads(heads) => {
                // The head changes the rows, and the tower sees the pictures.
                let Some(tower) = self.tower(&heads.image_tower)?.record()? else { return Ok(None) };
                let fingerprint = self.headed_fingerprint(&tower.fingerprint)?;
                let (encoder, dim) = (self.name.clone(), heads.heads.image.output_dim);
                return Ok(Some(EncoderRecord { encoder, fingerprint, dim, ..tower }));
            }
        };
        // A folder of texts and weights alone may lack the file.
        #[cfg(feature = "image")]
        let processor = self.picture_processor(image_size).ok();
        #[cfg(feature = "image")]
        let image_size = match (&self.architecture, processor.as_ref().and_then(|found| found.output_size()))
        {
            // A convolutional tower takes pictures of any size.
            (Architecture::EfficientNetLite(..), Some([height, _])) => height as usize,
            _ => image_size,
        };
        #[cfg(feature = "image")]
        let preprocessing = processor.and_then(|processor| serde_json::to_value(processor).ok());
        #[cfg(not(feature = "image"))]
        let preprocessing = None;
        Ok(Some(EncoderRecord {
            encoder: self.name.clone(),
            fingerprint: self.picture_fingerprint()?,
            dim,
            image_size,
            normalised: true,
            preprocessing,
        }))
    }
}

const NAME: &str = "encoder.json";

impl EncoderRecord {
    /// Where the record of a store is kept: beside a file, in a folder, and for a pattern of names in their folder.
    pub fn beside(store: &Path) -> PathBuf {
        let is_pattern = store.to_string_lossy().contains(['*', '?', '[']) && !store.exists();
        match store {
            store if store.is_dir() => store.join(NAME),
            store if is_pattern || store.extension().is_none() => store.with_file_name(NAME),
            store => store.with_extension(NAME),
        }
    }

    /// The record of a store, where it has one; that of its folder where a file has none of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] naming the file, for one that cannot be read.
    pub fn find(store: &Path) -> Result<Option<Self>> {
        let of_folder = (!store.is_dir()).then(|| store.with_file_name(NAME));
        let mut places = std::iter::once(Self::beside(store)).chain(of_folder);
        let Some(path) = places.find(|path| path.is_file()) else { return Ok(None) };
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        serde_json::from_slice(&json).map(Some).map_err(|source| Error::format(&path, source.to_string()))
    }

    /// Writes the record of a store, which must be there already.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where it cannot be written.
    pub fn write(&self, store: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).expect("a record is plain data");
        atomic::write(&Self::beside(store), |file| file.write_all(&json))
    }
}

/// The encoder and its fingerprint, as errors name them.
impl std::fmt::Display for EncoderRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (fingerprint {})", self.encoder.display(), self.fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_where_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let record = |name: &str| EncoderRecord {
            encoder: name.into(),
            fingerprint: format!("{name} f"),
            dim: 3,
            image_size: 8,
            normalised: true,
            preprocessing: None,
        };
        std::fs::create_dir(path("shards")).unwrap();
        for file in ["one.npy", "shards/part_0.npy"] {
            std::fs::write(path(file), "").unwrap();
        }
        for (written, found) in [
            ("one.npy", vec!["one.npy"]),
            ("shards", vec!["shards", "shards/part_0.npy", "shards/part_*.npy"]),
        ] {
            record(written).write(&path(written)).unwrap();
            for store in found {
                assert_eq!(EncoderRecord::find(&path(store)).unwrap(), Some(record(written)), "{store}");
            }
        }
        assert_eq!(EncoderRecord::find(&path("other.npy")).unwrap(), None);
        std::fs::write(path("one.encoder.json"), "{\"encoder\": 3").unwrap();
        let error = EncoderRecord::find(&path("one.npy")).unwrap_err().to_string();
        assert!(error.contains("one.encoder.json"), "{error}");
    }

    #[test]
    fn the_record_of_an_encoder_is_that_of_its_image_tower() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoder");
        let record = PretrainedEncoder::open(folder.join("clip")).unwrap().record().unwrap().unwrap();
        let device = burn::tensor::Device::default();
        let tower = PretrainedEncoder::open(folder.join("clip"))
            .unwrap()
            .image(burn::tensor::FloatDType::F32, &device)
            .unwrap();
        assert_eq!(
            (record.fingerprint.as_str(), record.dim, record.image_size),
            (tower.fingerprint(), tower.dim(), tower.image_size())
        );
        #[cfg(feature = "image")]
        assert_eq!(record.preprocessing, serde_json::to_value(tower.processor()).ok());
        assert!(PretrainedEncoder::open(folder.join("clip-text")).unwrap().record().unwrap().is_none());
    }
}
