use std::path::Path;

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

use super::shown_alignment::ShownAlignment;
use super::{
    Answers, Conversation, IMAGE_PLACEHOLDER, ReVision, Role, Sample, SavedReVision, Template, Turn,
};
use crate::encoder::{
    EncoderRecord, ImageEncoder, MAX_PIXELS, PictureProcessor, PretrainedEncoder, decode_picture,
};
use crate::language::{
    GenerationConfig, InferenceDecoder, LanguageModel, TextStream, TokenStream, Tokenizer, WeightStorage,
};
use crate::{Error, Result};

/// The text of an answer, piece by piece as it is written.
pub type Answer<'a> = TextStream<'a, TokenStream<'a, InferenceDecoder>>;

/// A trained model with the encoder through which it sees: from the bytes of a picture and a question to an answer.
///
/// # Example
///
/// ```no_run
/// use std::io::Write;
///
/// use burn::tensor::Device;
/// use burn_revision::language::GenerationConfig;
/// use burn_revision::revision::Assistant;
///
/// # fn main() -> burn_revision::Result<()> {
/// let assistant = Assistant::open("runs/stage2/model".as_ref(), None, &Device::default())?;
/// let picture = assistant.see(&std::fs::read("cat.jpg").unwrap(), "cat.jpg".as_ref())?;
/// let prompt = assistant.prompt(&[assistant.question(Some("What colour is it?"))?], true)?;
/// let writing = GenerationConfig::new().with_max_new_tokens(100);
/// for piece in assistant.answer(&prompt, Some(&picture), &writing, &["\n\n"])? {
///     print!("{}", piece?);
///     std::io::stdout().flush().ok();
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Assistant {
    model: ReVision<InferenceDecoder>,
    tokenizer: Tokenizer,
    template: Template,
    end: Vec<u32>,
    encoder: ImageEncoder,
    record: EncoderRecord,
    alignment: Option<ShownAlignment>,
    device: Device,
}

impl Assistant {
    /// Reads the model in `folder`, and its encoder from where it was when the model was trained, or from `encoder`. A
    /// language model whose file has quantised weights keeps them where that has advantages, see [`WeightStorage::Auto`].
    ///
    /// # Errors
    ///
    /// Those of [`SavedReVision::load_for_inference`] and [`PretrainedEncoder::image`]; [`Error::Config`] where the model does not know its
    /// encoder and none is given, where its encoder is not there any more, and for another one than it was trained with;
    /// [`Error::Mismatch`] for one of another width.
    pub fn open(folder: &Path, encoder: Option<&Path>, device: &Device) -> Result<Self> {
        let saved = SavedReVision::load_for_inference(folder, WeightStorage::Auto, device)?;
        Self::new(saved, encoder, device)
    }

    /// As [`open`](Self::open), with a model that is there already.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn new(
        saved: impl Into<SavedReVision<InferenceDecoder>>,
        encoder: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let saved = saved.into();
        let path = match (encoder, saved.encoder()) {
            (Some(path), _) => path,
            (None, Some(record)) => record.encoder.as_path(),
            (None, None) => {
                let detail = "the model does not say which encoder made the embeddings that it was trained on: name it";
                return Err(Error::config("encoder", detail));
            }
        };
        let found = PretrainedEncoder::open(path).map_err(|error| match error {
            Error::Io { path: file, source } if encoder.is_none() && !path.exists() => {
                let detail = format!(
                    "the model was trained with {}, which is not there now ({}: {source}): name its new place",
                    path.display(),
                    file.display()
                );
                Error::config("encoder", detail)
            }
            other => other,
        })?;
        let Some(record) = found.record()? else {
            let detail = format!("{} has no image tower", path.display());
            return Err(Error::config("encoder", detail));
        };
        saved.check_encoder(&record)?;
        let encoder = found.image(FloatDType::F32, device)?;
        let alignment = match saved.alignment() {
            Some(statistics) => {
                let dim = encoder.dim();
                Some(ShownAlignment::new(statistics.init(device)?, device, true, dim)?)
            }
            None => None,
        };
        let SavedReVision { model, tokenizer, template, .. } = saved;
        let end = template.stops(&tokenizer)?;
        let device = device.clone();
        Ok(Self { model, tokenizer, template, end, encoder, record, alignment, device })
    }

    /// What is done to pictures before [`embed`](Self::embed), for programs that do so elsewhere.
    pub fn processor(&self) -> &PictureProcessor {
        self.encoder.processor()
    }

    /// The encoder.
    pub fn encoder(&self) -> &EncoderRecord {
        &self.record
    }

    /// The template of its training data.
    pub fn template(&self) -> Template {
        self.template
    }

    /// Whether it takes questions: those trained with the template `plain` caption pictures and nothing else.
    pub fn takes_questions(&self) -> bool {
        self.template != Template::Plain
    }

    /// Whether the weights of its language model are as a GGUF file stores them, and not floats.
    pub fn is_quantized(&self) -> bool {
        self.model.language.is_quantized()
    }

    /// The number of positions that a prompt and its answer may have together.
    pub fn max_positions(&self) -> usize {
        self.model.language.max_positions()
    }

    /// The embedding of a picture, as the model was trained to be shown pictures. `name` stands in errors.
    ///
    /// # Errors
    ///
    /// Those of [`decode_picture`], with its usual limit on pixels.
    pub fn see(&self, bytes: &[u8], name: &Path) -> Result<Vec<f32>> {
        let picture = decode_picture(bytes, name, MAX_PIXELS)?;
        Ok(self.embed(self.processor().process(&picture)))
    }

    /// The embedding of one processed picture, `[3, image_size, image_size]` row-major.
    ///
    /// # Panics
    ///
    /// If these are not the pixels of a picture.
    pub fn embed(&self, pixels: Vec<f32>) -> Vec<f32> {
        let row = self.encoder.embed(pixels);
        assert_eq!(row.len(), self.encoder.dim(), "values of the embedding of one picture");
        match &self.alignment {
            Some(alignment) => alignment.apply(row, &[0]),
            None => row,
        }
    }

    /// A turn that asks about a picture, which is in front of the text unless `<image>` marks another place in it. Without a
    /// text it asks for a description.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a text to a model that takes no questions.
    pub fn question(&self, text: Option<&str>) -> Result<Turn> {
        let text = match (text, self.template) {
            (Some(text), _) if !text.replace(IMAGE_PLACEHOLDER, "").trim().is_empty() => {
                if !self.takes_questions() {
                    let detail = "the model was trained with the template `plain`, which has pictures and no questions: \
                        ask without one for a caption";
                    return Err(Error::config("question", detail));
                }
                text
            }
            (_, Template::Plain | Template::Completion) => "",
            _ => "Describe the picture.",
        };
        if text.contains(IMAGE_PLACEHOLDER) {
            return Ok(Turn::new(Role::Human, text));
        }
        Ok(Turn::new(Role::Human, format!("{IMAGE_PLACEHOLDER}\n{text}").trim_end()))
    }

    /// The tokens that ask for the next answer of a conversation, which shows a picture or not.
    ///
    /// # Errors
    ///
    /// Those of [`Template::prompt`]; [`Error::Config`] where the model has no position left for an answer.
    pub fn prompt(&self, turns: &[Turn], has_picture: bool) -> Result<Sample> {
        let image = has_picture.then(String::new);
        let conversation = Conversation { id: "question".into(), image, turns: turns.to_vec() };
        let prompt = self.template.prompt(&conversation, &self.tokenizer)?;
        let (length, positions) = (self.num_positions(&prompt), self.max_positions());
        if length >= positions {
            let detail = format!(
                "expected at most {} positions, found {length}: {} of text and {} of the picture; ask a shorter question, or \
                 begin a new conversation",
                positions - 1,
                prompt.tokens.len(),
                length - prompt.tokens.len()
            );
            return Err(Error::config("prompt", detail));
        }
        Ok(prompt)
    }

    /// The number of positions of a prompt, visual tokens among them.
    pub fn num_positions(&self, prompt: &Sample) -> usize {
        let pictures = usize::from(prompt.image_at.is_some());
        prompt.tokens.len() + pictures * self.model.num_visual_tokens()
    }

    /// Writes the answer to a prompt, which ends before the first of the strings `stops`. `picture` is the embedding of the
    /// picture that the prompt shows.
    ///
    /// # Errors
    ///
    /// Those of [`TokenStream::new`], and of [`TokenStream`] while it is read.
    ///
    /// # Panics
    ///
    /// Panics if the prompt shows a picture and there is none, or the other way round.
    pub fn answer<S: AsRef<str>>(
        &self,
        prompt: &Sample,
        picture: Option<&[f32]>,
        config: &GenerationConfig,
        stops: &[S],
    ) -> Result<Answer<'_>> {
        let tokens =
            TokenStream::new(&self.model.language, self.spliced(prompt, picture), &self.end, config)?;
        let room = self.max_positions().saturating_sub(self.num_positions(prompt));
        Ok(TextStream::new(tokens, &self.tokenizer, stops, config.max_new_tokens.min(room)))
    }

    /// Answers that are written side by side, none yet: each begins and ends on its own.
    pub fn answers(&self) -> Answers<'_> {
        Answers::new(&self.model.language, &self.tokenizer, &self.end)
    }

    /// The embeddings of a prompt with its picture, `[1, time, width]`: what [`Answers::add`] takes.
    ///
    /// # Panics
    ///
    /// Panics if the prompt shows a picture and there is none, or the other way round.
    pub fn spliced(&self, prompt: &Sample, picture: Option<&[f32]>) -> Tensor<3> {
        let picture = picture.map(|row| {
            let data = TensorData::new(row.to_vec(), [1, row.len()]);
            Tensor::<2>::from_data(data, (&self.device, DType::F32))
        });
        self.model.spliced(prompt, picture)
    }
}
