//! What all variants of one seed have in common: the encoder, its embeddings, the language model, and the texts.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use burn_revision::Result;
use burn_revision::alignment::ReAlignConfig;
use burn_revision::embedding::EmbeddingTable;
use burn_revision::encoder::DualEncoder;
use burn_revision::revision::{Conversation, IMAGE_PLACEHOLDER, Role, Turn};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::encoder::{self, TrainedEncoder};
use super::language::Language;
use super::pictures::{Picture, PictureSet, Shares};
use super::settings::Settings;
use super::words::{ANSWERS, Concept, Question};

/// The folders of encoder and language model, beside those of the variants.
pub const ENCODER: &str = "encoder";
pub const LANGUAGE: &str = "language";

/// Something to talk about: a picture, or a caption that stands for one.
pub struct Subject<'a> {
    /// The id of its embedding.
    pub id: &'a str,
    pub caption: Option<String>,
    pub questions: &'a [Question],
}

/// A caption that stage 1 is shown in place of a picture, and questions about what it says. No picture is behind it.
pub struct Text {
    pub id: String,
    pub caption: String,
    pub questions: Vec<Question>,
}

/// Everything that comes before the variants.
pub struct World {
    pub seed: u64,
    pub device: Device,
    pub settings: Settings,
    pub held_out: Vec<Concept>,
    pub shares: Shares,
    pub test: Vec<&'static Picture>,
    pub texts: Vec<Text>,
    pub language: Arc<Language>,
    pub encoder: DualEncoder,
    /// Embeddings of [`texts`](Self::texts), and of the pictures of the shares.
    pub text_rows: EmbeddingTable,
    pub unpaired_rows: EmbeddingTable,
    pub pair_rows: EmbeddingTable,
    pub test_rows: EmbeddingTable,
    pub encoder_seconds: f64,
}

impl World {
    /// Draws the texts of stage 1, and embeds everything.
    ///
    /// `validate` measures on training pictures that nothing else uses: settings are chosen there.
    pub fn new(
        set: &'static PictureSet,
        shares: Shares,
        language: Arc<Language>,
        encoder: TrainedEncoder,
        seed: u64,
        held_out: &[Concept],
        validate: bool,
    ) -> Result<Self> {
        let TrainedEncoder { encoder, settings, device, seconds: encoder_seconds } = encoder;
        let mut test: Vec<&Picture> =
            if validate { shares.validation.clone() } else { set.test.iter().collect() };
        test.truncate(settings.test_pictures);

        let mut rng = StdRng::seed_from_u64(seed);
        let seen: Vec<Concept> = Concept::all().filter(|concept| !held_out.contains(concept)).collect();
        let texts: Vec<Text> = (0..settings.stage1_texts)
            .map(|number| {
                let concept = seen.choose(&mut rng).expect("not all concepts are held out");
                let (caption, questions) = (concept.caption(&mut rng), concept.questions(0.5, &mut rng));
                Text { id: format!("text-{number}"), caption, questions }
            })
            .collect();

        let captions: Vec<(String, String)> =
            texts.iter().map(|text| (text.id.clone(), text.caption.clone())).collect();
        let pictures = |pictures: &[&Picture]| encoder::embed_pictures(&encoder, pictures, &device);
        Ok(Self {
            text_rows: encoder::embed_texts(&encoder, &captions, &language.tokenizer, &device)?,
            unpaired_rows: pictures(&shares.unpaired)?,
            pair_rows: pictures(&shares.pairs)?,
            test_rows: pictures(&test)?,
            seed,
            device,
            settings,
            held_out: held_out.to_vec(),
            shares,
            test,
            texts,
            language,
            encoder,
            encoder_seconds,
        })
    }

    /// The distance between the means of captions and pictures, and the scale that would give the captions the spread of
    /// the pictures: `s` of ReAlign.
    pub fn gap(&self) -> Result<(f64, f64)> {
        let realign = ReAlignConfig::new().fit(&self.text_rows, &self.unpaired_rows)?;
        let differences = realign.text_mean().into_iter().zip(realign.image_mean());
        let squares: f64 = differences.map(|(text, image)| f64::from(text - image).powi(2)).sum();
        Ok((squares.sqrt(), realign.scale()))
    }

    /// How often the caption nearest to a test picture is a true one.
    pub fn concept_accuracy(&self) -> Result<f64> {
        let tokenizer = &self.language.tokenizer;
        encoder::concept_accuracy(&self.encoder, &self.test, &self.test_rows, tokenizer, &self.device)
    }

    /// Saves encoder and language model as folders, in the forms of published ones.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let tokenizer = &self.language.tokenizer;
        let encoder = folder.join(ENCODER);
        self.encoder.save_pretrained(&encoder::config(&self.settings, tokenizer.vocab_size()), &encoder)?;
        tokenizer.save(encoder.join("tokenizer.json"))?;
        self.language.save(&folder.join(LANGUAGE))
    }
}

/// The conversations about subjects whose embeddings have their ids: for each its caption, where it has one, and its
/// questions.
pub fn conversations<'a>(subjects: impl Iterator<Item = Subject<'a>>) -> Vec<Conversation> {
    let mut all = Vec::new();
    for subject in subjects {
        if let Some(caption) = &subject.caption {
            all.push(Conversation::caption(format!("{} caption", subject.id), subject.id, caption));
        }
        for (number, question) in subject.questions.iter().enumerate() {
            let asked = Turn::new(Role::Human, format!("{IMAGE_PLACEHOLDER}\n{}", question.text));
            all.push(Conversation {
                id: format!("{} question {number}", subject.id),
                image: Some(subject.id.to_string()),
                turns: vec![asked, Turn::new(Role::Gpt, ANSWERS[question.answer])],
            });
        }
    }
    all
}
