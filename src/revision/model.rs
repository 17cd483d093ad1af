use std::io::Write;
use std::path::Path;

use burn::config::Config;
use burn::module::{Module, ParamGroup};
use burn::tensor::{Device, Tensor};

use super::{Batch, Projector, ProjectorKind, Sample, label_loss, tensor_file};
use crate::embedding::normalize;
use crate::language::{GenerationConfig, LanguageModel, LlamaConfig, LlamaDecoder, TokenStream, generate};
use crate::{Error, Result, atomic};

/// Configuration of [`ReVision`].
#[derive(Config, Debug)]
pub struct ReVisionConfig {
    /// The dimension of the contrastive embeddings.
    pub embedding_dim: usize,
    /// The kind of the projector.
    #[config(default = "ProjectorKind::MlpGelu(2)")]
    pub projector: ProjectorKind,
    /// The number of visual tokens a picture. The authors' code makes 576 equal ones.
    #[config(default = 576)]
    pub num_visual_tokens: usize,
}

/// A language model that sees: embeddings of a contrastive encoder enter it through a projector.
///
/// Source: arXiv 2602.07026, Sec. 5.
#[derive(Module, Debug)]
pub struct ReVision<L: LanguageModel> {
    /// The projector, `T_phi`.
    pub projector: Projector,
    /// The language model, `p_theta`.
    pub language: L,
    pub(super) num_visual_tokens: usize,
}

impl ReVisionConfig {
    /// A model of a projector with initial weights and `language`.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for an identity projector between different widths, [`Error::Config`] without visual
    /// tokens.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use burn_revision::language::{GenerationConfig, LlamaConfig};
    /// use burn_revision::revision::ReVisionConfig;
    ///
    /// let device = Device::default();
    /// let language = LlamaConfig::new(300, 32, 64, 1, 2).init(&device).unwrap();
    /// let model = ReVisionConfig::new(16).with_num_visual_tokens(4).init(language, &device).unwrap();
    /// let pictures = Tensor::random([2, 16], Distribution::Normal(0.0, 1.0), &device);
    /// let captions = model.caption(pictures, Some(1), 2, &GenerationConfig::new().with_max_new_tokens(5));
    /// assert_eq!(captions.unwrap().len(), 2);
    /// ```
    pub fn init<L: LanguageModel>(&self, language: L, device: &Device) -> Result<ReVision<L>> {
        if self.num_visual_tokens == 0 {
            return Err(Error::config("num_visual_tokens", "must be at least 1, found 0"));
        }
        let projector = Projector::init(self.projector, self.embedding_dim, language.width(), device)?;
        Ok(ReVision { projector, language, num_visual_tokens: self.num_visual_tokens })
    }
}

impl<L: LanguageModel> ReVision<L> {
    /// Its configuration.
    pub fn config(&self) -> ReVisionConfig {
        ReVisionConfig::new(self.projector.input())
            .with_projector(self.projector.kind())
            .with_num_visual_tokens(self.num_visual_tokens)
    }

    /// Refuses a projector with another output width than that of the language model's embeddings.
    pub(super) fn check_widths(&self) -> Result<()> {
        match (self.language.width(), self.projector.output()) {
            (width, output) if width == output => Ok(()),
            (width, output) => {
                Err(Error::mismatch("output of the projector for the language model", width, output))
            }
        }
    }

    /// Replaces the projector.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] where its output width is not that of the language model's embeddings.
    pub fn with_projector(mut self, projector: Projector) -> Result<Self> {
        self.projector = projector;
        self.check_widths()?;
        Ok(self)
    }

    /// The number of visual tokens a picture.
    pub fn num_visual_tokens(&self) -> usize {
        self.num_visual_tokens
    }

    /// The embeddings of a batch with its visual tokens in place, `[batch_size, seq_length, width]`.
    pub fn splice(&self, batch: &Batch) -> Tensor<3> {
        let text = self.language.embed(batch.tokens.clone());
        let [rows, time, width] = text.dims();
        let text = text.reshape([rows * time, width]);
        let rows = match &batch.visual {
            // The projector may compute in another precision than the language model.
            Some(visual) => {
                let projected = self.projector.forward(visual.clone()).cast(text.dtype());
                Tensor::cat(vec![text, projected], 0)
            }
            None => text,
        };
        rows.select(0, batch.layout.clone()).reshape([batch.batch_size, batch.seq_length, width])
    }

    /// The mean negative log-likelihood of the labelled tokens, `[1]`, in nats.
    ///
    /// Where every sequence begins with its picture, one of its visual tokens goes through the language model, whatever their
    /// number, since all are equal in all layers ([`LanguageModel::forward_copies`]).
    /// Logits are computed only at positions that predict a label, and only for a part of them at a time where all would
    /// take more than 64 MB: then backward needs the gradient by the states in memory, but not the logits. With a
    /// vocabulary that is trained, a part has at least as many labels as the language model is wide.
    ///
    /// # Panics
    ///
    /// Panics if no token is labelled: the mean over none would be NaN.
    pub fn loss(&self, batch: &Batch) -> Tensor<1> {
        assert!(batch.num_labels() > 0, "a batch without a labelled token has no loss");
        let (hidden, predicting) = match batch.leading {
            0 | 1 => (self.language.forward(self.splice(batch), None), batch.predicting.clone()),
            copies => {
                let hidden = self.language.forward_copies(self.leading(batch), copies);
                (hidden, batch.predicting_after_one())
            }
        };
        let [rows, time, width] = hidden.dims();
        let hidden = hidden.reshape([rows * time, width]).select(0, predicting);
        label_loss::mean_nll(&self.language, hidden, batch.targets.clone())
    }

    /// The embeddings of a batch whose sequences begin with their pictures, one position for all visual tokens of each:
    /// `[batch_size, 1 + text_length, width]`.
    fn leading(&self, batch: &Batch) -> Tensor<3> {
        let text = self.language.embed(batch.tokens.clone());
        let [rows, text_length, width] = text.dims();
        // A number that is not the batch's own would give another loss without a word.
        assert_eq!(
            batch.leading + text_length,
            batch.seq_length,
            "leading visual tokens and text tokens make up a sequence"
        );
        let visual = batch.visual.clone().expect("sequences that begin with pictures have them");
        let visual = self.projector.forward(visual).cast(text.dtype());
        Tensor::cat(vec![visual.reshape([rows, 1, width]), text], 1)
    }

    /// Continues a prompt about each picture, `[pictures, embedding_dim]`, up to one of the tokens `end`; see
    /// [`Template::prompt`](super::Template::prompt).
    ///
    /// Pictures are scaled to unit length, as in training, and go through the model in batches of `config.batch_size`, on
    /// which no text depends.
    ///
    /// # Errors
    ///
    /// Those of [`generate`](crate::language::generate).
    ///
    /// # Panics
    ///
    /// Panics if the prompt shows no picture.
    pub fn generate(
        &self,
        prompt: &Sample,
        pictures: Tensor<2>,
        end: &[u32],
        config: &GenerationConfig,
    ) -> Result<Vec<Vec<u32>>> {
        assert!(prompt.image_at.is_some(), "the prompt {:?} shows no picture", prompt.id);
        config.validate()?;
        let device = pictures.device();
        let [count, dim] = pictures.dims();
        let mut texts = Vec::with_capacity(count);
        for first in (0..count).step_by(config.batch_size) {
            let size = config.batch_size.min(count - first);
            let zeros = (vec![0.0; size * dim], dim);
            let mut batch = Batch::lay_out(&vec![prompt; size], Some(zeros), self.num_visual_tokens, &device);
            batch.visual = Some(normalize(pictures.clone().narrow(0, first, size)));
            let config = config.clone().with_first_sequence(config.first_sequence + first as u64);
            texts.extend(generate(&self.language, self.splice(&batch), end, &config)?);
        }
        Ok(texts)
    }

    /// Continues a prompt token by token, about a picture where it shows one: the tokens of [`generate`](Self::generate), each
    /// when it is asked for.
    ///
    /// # Shapes
    ///
    /// - picture: `[1, embedding_dim]`, scaled to unit length here
    ///
    /// # Errors
    ///
    /// Those of [`TokenStream::new`].
    ///
    /// # Panics
    ///
    /// Panics if the prompt shows a picture and there is none, or the other way round.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::{Device, Distribution, Tensor};
    /// use burn_revision::language::{GenerationConfig, LlamaConfig, TextStream, Tokenizer};
    /// use burn_revision::revision::{Conversation, ReVisionConfig, Template};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let device = Device::default();
    /// let tokenizer = Tokenizer::train(&["a red apple"], 270)?;
    /// let language = LlamaConfig::new(tokenizer.vocab_size(), 32, 64, 1, 2).init(&device)?;
    /// let model = ReVisionConfig::new(16).with_num_visual_tokens(4).init(language, &device)?;
    ///
    /// let mut question = Conversation::caption("question", "apple.jpg", "");
    /// question.turns.pop();
    /// let (prompt, end) = (Template::Plain.prompt(&question, &tokenizer)?, Template::Plain.stops(&tokenizer)?);
    /// let picture = Tensor::random([1, 16], Distribution::Normal(0.0, 1.0), &device);
    /// let tokens = model.stream(&prompt, Some(picture), &end, &GenerationConfig::new().with_max_new_tokens(8))?;
    /// for piece in TextStream::new(tokens, &tokenizer, &["\n"], 8) {
    ///     print!("{}", piece?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(
        &self,
        prompt: &Sample,
        picture: Option<Tensor<2>>,
        end: &[u32],
        config: &GenerationConfig,
    ) -> Result<TokenStream<'_, L>> {
        TokenStream::new(&self.language, self.spliced(prompt, picture), end, config)
    }

    /// The embeddings of a prompt with its picture, `[1, time, width]`.
    ///
    /// # Panics
    ///
    /// Panics if the prompt shows a picture and there is none, or the other way round.
    pub(super) fn spliced(&self, prompt: &Sample, picture: Option<Tensor<2>>) -> Tensor<3> {
        assert_eq!(
            prompt.image_at.is_some(),
            picture.is_some(),
            "whether the prompt {:?} shows a picture, and whether there is one",
            prompt.id
        );
        let device = match &picture {
            Some(picture) => picture.device(),
            None => self.device(),
        };
        let zeros = picture.as_ref().map(|_| (vec![0.0; self.projector.input()], self.projector.input()));
        let mut batch = Batch::lay_out(&[prompt], zeros, self.num_visual_tokens, &device);
        batch.visual = picture.map(normalize);
        self.splice(&batch)
    }

    /// The device of its weights.
    pub(super) fn device(&self) -> Device {
        // A quantised language model has no parameters, nor has a projector that changes nothing.
        self.devices().into_iter().next().unwrap_or_default()
    }

    /// Generates a caption for each picture, `[pictures, embedding_dim]`: the tokens between `bos` and `eos`.
    ///
    /// The prompt is that of the template `plain`: beginning of text and the visual tokens.
    ///
    /// # Errors
    ///
    /// Those of [`generate`](Self::generate).
    pub fn caption(
        &self,
        pictures: Tensor<2>,
        bos: Option<u32>,
        eos: u32,
        config: &GenerationConfig,
    ) -> Result<Vec<Vec<u32>>> {
        let mut prompt = Sample::text("", bos.into_iter().collect());
        prompt.labelled.fill(false);
        prompt.image_at = Some(usize::from(bos.is_some()));
        self.generate(&prompt, pictures, &[eos], config)
    }
}

/// The content of `config.json`.
#[derive(serde::Serialize, serde::Deserialize)]
struct SavedConfig {
    revision: ReVisionConfig,
    language: LlamaConfig,
}

const CONFIG_FILE: &str = "config.json";
const WEIGHTS: &str = "model";

impl ReVision<LlamaDecoder> {
    /// Writes the whole model into a folder, which is created: `config.json` and `model.safetensors`, each complete or
    /// absent. For a published language model, [`SavedReVision`](super::SavedReVision) writes what training changed.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).map_err(|source| Error::io(folder, source))?;
        tensor_file::write(&folder.join(format!("{WEIGHTS}.safetensors")), self, ParamGroup::all())?;
        let saved = SavedConfig { revision: self.config(), language: self.language.config() };
        let json = serde_json::to_vec_pretty(&saved).expect("configurations are plain data");
        atomic::write(&folder.join(CONFIG_FILE), |file| file.write_all(&json))
    }

    /// Reads a model that [`save`](Self::save) wrote, also with the Burn record `model.bpk` of earlier versions.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] for a missing file, [`Error::Format`] for one that is damaged or belongs to another model.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let path = folder.join(CONFIG_FILE);
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let saved: SavedConfig =
            serde_json::from_slice(&json).map_err(|source| Error::format(&path, source.to_string()))?;
        let model = saved.revision.init(saved.language.init(device)?, device)?;
        tensor_file::read(folder, WEIGHTS, model, ParamGroup::all())
    }
}
