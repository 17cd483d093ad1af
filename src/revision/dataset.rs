use std::collections::HashMap;
use std::sync::Arc;

use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;

use super::id_match::{may_be_one, stem};
use super::stage_model::StepBatch;
use super::{
    BadSamples, Batch, Conversation, DatasetReport, IdMatch, ReVision, Sample, Template, VisualSource,
};
use crate::fingerprint::Fingerprint;
use crate::language::{LanguageModel, Tokenizer};
use crate::training::{Step, StepBatcher};
use crate::{Error, Result};

/// Conversations, joined by id with the embeddings that they are about.
///
/// It is a [`Dataset`] of [`Sample`]s with their embeddings, for Burn's samplers, mappers and data loaders: see
/// [`ConversationBatcher`](super::ConversationBatcher). Where the source adds noise, an item has that of step 0;
/// [`ReVisionLearner`](super::ReVisionLearner) draws it anew at every step.
#[derive(Clone, Debug)]
pub struct ConversationDataset {
    samples: Vec<Sample>,
    rows: Vec<Option<usize>>,
    stops: Vec<u32>,
    source: Option<Arc<VisualSource>>,
}

impl ConversationDataset {
    /// Tokenizes `conversations`, at most `max_len` text tokens each, and looks up their pictures in `source`.
    ///
    /// # Errors
    ///
    /// The first conversation that cannot be used: no embedding with its id, no label left, a picture that is never
    /// shown; [`Error::TooFewRows`] without conversations; [`Error::Config`] where the tokenizer does not go with the
    /// template.
    pub fn new(
        conversations: &[Conversation],
        template: Template,
        tokenizer: &Tokenizer,
        max_len: usize,
        source: Option<Arc<VisualSource>>,
    ) -> Result<Self> {
        let conversations = conversations.iter().cloned().map(Ok);
        let (dataset, report) =
            Self::collect(conversations, template, tokenizer, max_len, source, BadSamples::Error)?;
        debug_assert_eq!(report.kept, report.read);
        Ok(dataset)
    }

    /// As [`new`](Self::new) for conversations from an iterator, such as a file of any length; with
    /// [`BadSamples::Drop`] it leaves out those that cannot be used, and reports which and why.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and [`Error::Config`] for two pictures that an embedding is found for by their stems
    /// ([`IdMatch::Stem`]), and that are different by their folders. An error of the iterator other than
    /// [`Error::Sample`] is returned in any case.
    ///
    /// # Example
    ///
    /// ```
    /// use burn_revision::language::Tokenizer;
    /// use burn_revision::revision::{BadSamples, Conversation, ConversationDataset, Template};
    ///
    /// # fn main() -> burn_revision::Result<()> {
    /// let tokenizer = Tokenizer::train(&["a red apple"], 270)?;
    /// let texts = [Conversation::text("1", "a red apple"), Conversation::text("2", "")].map(Ok);
    /// let (data, report) =
    ///     ConversationDataset::collect(texts, Template::Plain, &tokenizer, 64, None, BadSamples::Drop)?;
    /// assert_eq!((data.len(), report.read, report.kept), (1, 2, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn collect(
        conversations: impl IntoIterator<Item = Result<Conversation>>,
        template: Template,
        tokenizer: &Tokenizer,
        max_len: usize,
        source: Option<Arc<VisualSource>>,
        bad: BadSamples,
    ) -> Result<(Self, DatasetReport)> {
        let mut dataset =
            Self { samples: Vec::new(), rows: Vec::new(), stops: template.stops(tokenizer)?, source };
        let mut report = DatasetReport::default();
        let mut pictures = HashMap::new();
        for conversation in conversations {
            let sample = match conversation {
                Err(error) if !matches!(error, Error::Sample { .. }) => return Err(error),
                conversation => conversation
                    .and_then(|conversation| template.tokenize(&conversation, tokenizer, max_len))
                    .and_then(|sample| Ok((dataset.row(&sample)?, sample))),
            };
            report.read += 1;
            match sample {
                Ok((row, sample)) => {
                    dataset.check_stem(row, &sample, &mut pictures)?;
                    report.kept += 1;
                    report.truncated += usize::from(sample.truncated > 0);
                    dataset.samples.push(sample);
                    dataset.rows.push(row);
                }
                Err(error) if bad == BadSamples::Drop => report.drop(error)?,
                Err(error) => return Err(error),
            }
        }
        if dataset.samples.is_empty() {
            let what = match report.read {
                0 => "conversations".to_string(),
                _ => format!("conversations that can be used ({report})"),
            };
            return Err(Error::TooFewRows { what, needed: 1, actual: 0 });
        }
        Ok((dataset, report))
    }

    /// The row of the embedding of a sample's picture.
    fn row(&self, sample: &Sample) -> Result<Option<usize>> {
        let Some(image) = &sample.image else { return Ok(None) };
        let missing = |what: String| Error::MissingId { what, id: image.clone() };
        let Some(source) = &self.source else {
            return Err(missing(format!("sample {:?}: no embeddings were given", sample.id)));
        };
        let row = source.position(image);
        row.map(Some).ok_or_else(|| {
            let by_stem = source.id_match() == IdMatch::Exact && source.position_of_stem(image).is_some();
            let hint = if by_stem { " (id_match = \"stem\" would find one)" } else { "" };
            missing(format!("sample {:?}, its embedding{hint}", sample.id))
        })
    }

    /// Refuses a second picture for an embedding that was found by its stem; `pictures` are those before, by row.
    fn check_stem(
        &self,
        row: Option<usize>,
        sample: &Sample,
        pictures: &mut HashMap<usize, String>,
    ) -> Result<()> {
        let by_stem = self.source.as_ref().is_some_and(|source| source.id_match() == IdMatch::Stem);
        let (Some(row), Some(image), true) = (row, &sample.image, by_stem) else { return Ok(()) };
        match pictures.get(&row) {
            Some(first) if !may_be_one(first, image) => {
                let detail = format!(
                    "the pictures {first:?} and {image:?} (sample {:?}) have the same stem, {:?}, and one embedding",
                    sample.id,
                    stem(image)
                );
                Err(Error::config("id_match", detail))
            }
            Some(_) => Ok(()),
            None => {
                pictures.insert(row, image.clone());
                Ok(())
            }
        }
    }

    /// The token that ends an answer.
    pub(super) fn end(&self) -> u32 {
        self.stops[0]
    }

    /// The tokens at which generation ends, that of an answer first.
    pub(super) fn stops(&self) -> &[u32] {
        &self.stops
    }

    /// The samples, without their embeddings.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether there are no samples; never true.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// The dimension of the embeddings, where there are any.
    fn dim(&self) -> Option<usize> {
        self.source.as_ref().map(|source| source.dim())
    }

    /// Whether any sample has a picture.
    pub(super) fn has_pictures(&self) -> bool {
        self.rows.iter().any(Option::is_some)
    }

    /// The numbers of all samples, from the shortest sequence to the longest: batches of neighbours have little padding.
    pub(super) fn by_length(&self) -> Vec<usize> {
        let mut items: Vec<usize> = (0..self.len()).collect();
        items.sort_by_key(|item| self.samples[*item].tokens.len());
        items
    }

    /// Refuses what `model` cannot process: embeddings of another width, sequences too long, tokens outside its
    /// vocabulary.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for the dimension, [`Error::Sample`] for the first such sample, with both values.
    pub fn check<L: LanguageModel>(&self, model: &ReVision<L>) -> Result<()> {
        if let Some(dim) = self.dim().filter(|dim| *dim != model.projector.input()) {
            return Err(Error::mismatch(
                "dimension of embeddings for the projector",
                model.projector.input(),
                dim,
            ));
        }
        let (max_positions, vocab_size) = (model.language.max_positions(), model.language.vocab_size());
        for sample in &self.samples {
            let visual = if sample.image_at.is_some() { model.num_visual_tokens() } else { 0 };
            let length = sample.tokens.len() + visual;
            if length > max_positions {
                let detail =
                    format!("{length} positions, {visual} of them visual; the model has {max_positions}");
                return Err(Error::sample(&sample.id, detail));
            }
            if let Some(token) = sample.tokens.iter().find(|token| **token as usize >= vocab_size) {
                return Err(Error::sample(
                    &sample.id,
                    format!("token {token}; the model knows {vocab_size} tokens"),
                ));
            }
        }
        Ok(())
    }

    /// A number that changes with the samples, their pictures and the noise: a resumed run must have the same.
    pub(super) fn fingerprint(&self) -> String {
        let mut hash = Fingerprint::new();
        for (sample, row) in self.samples.iter().zip(&self.rows) {
            sample.tokens.iter().for_each(|token| hash.add(&token.to_le_bytes()));
            sample.labelled.iter().for_each(|labelled| hash.add(&[u8::from(*labelled)]));
            hash.add(&sample.image_at.map_or(0, |at| at as u64 + 1).to_le_bytes());
            hash.add(&row.map_or(0, |row| row as u64 + 1).to_le_bytes());
        }
        if let Some(source) = &self.source {
            hash.add(source.fingerprint().as_bytes());
        }
        hash.finish()
    }

    /// A batch of the samples `items`, with the noise of a step.
    ///
    /// # Errors
    ///
    /// Those of [`VisualSource::show`].
    pub(super) fn batch(
        &self,
        items: &[usize],
        num_visual_tokens: usize,
        (seed, step): (u64, usize),
        device: &Device,
    ) -> Result<Batch> {
        let samples: Vec<&Sample> = items.iter().map(|item| &self.samples[*item]).collect();
        let rows: Vec<usize> = items.iter().filter_map(|item| self.rows[*item]).collect();
        let visual = match &self.source {
            Some(source) if !rows.is_empty() => Some((source.show(&rows, seed, step)?, source.dim())),
            _ => None,
        };
        Ok(Batch::lay_out(&samples, visual, num_visual_tokens, device))
    }
}

impl Dataset<Sample> for ConversationDataset {
    fn get(&self, index: usize) -> Result<Sample, DatasetError> {
        let mut sample = self.samples[index].clone();
        if let (Some(source), Some(row)) = (&self.source, self.rows[index]) {
            sample.embedding =
                Some(source.show(&[row], FIXED_DRAW.0, FIXED_DRAW.1).map_err(DatasetError::new)?);
        }
        Ok(sample)
    }

    fn len(&self) -> usize {
        self.samples.len()
    }
}

/// Cuts optimizer steps into micro-batches of a [`ConversationDataset`].
pub(super) struct StageBatcher {
    pub dataset: Arc<ConversationDataset>,
    /// The devices that take turns with the loader's in having a micro-batch.
    pub other_devices: Vec<Device>,
    pub micro_batch_size: usize,
    pub num_visual_tokens: usize,
    pub seed: u64,
    /// In validation, all noise is that of [`FIXED_DRAW`], so that losses compare, and a step has the samples of these numbers
    /// in [`ConversationDataset::by_length`].
    pub validation: Option<Vec<usize>>,
}

/// The seed and the step of noise that must be the same whenever it is drawn.
pub(super) const FIXED_DRAW: (u64, usize) = (0, 0);

impl StepBatcher<StepBatch> for StageBatcher {
    fn num_items(&self) -> usize {
        self.dataset.len()
    }

    fn batch(&self, step: &Step, device: &Device) -> Result<StepBatch> {
        // Samples of similar length go through the model together: less padding, and the step stays the same, since
        // its gradient is the mean over all its labels however it is cut.
        let (mut items, draw) = match &self.validation {
            Some(order) => (step.items.iter().map(|item| order[*item]).collect::<Vec<_>>(), FIXED_DRAW),
            None => (step.items.clone(), (self.seed, step.index)),
        };
        items.sort_by_key(|item| self.dataset.samples[*item].tokens.len());
        let devices = std::iter::once(device).chain(&self.other_devices).cycle();
        let micro_batches = items
            .chunks(self.micro_batch_size)
            .zip(devices)
            .map(|(items, device)| self.dataset.batch(items, self.num_visual_tokens, draw, device))
            .collect::<Result<_>>()?;
        Ok(StepBatch { micro_batches })
    }
}

/// Validation without data: burn-train requires a loader.
pub(super) struct NoSamples;

impl StepBatcher<StepBatch> for NoSamples {
    fn num_items(&self) -> usize {
        0
    }

    fn batch(&self, _step: &Step, _device: &Device) -> Result<StepBatch> {
        unreachable!("there are no steps without samples")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revision::testing::{CAPTIONS, VISUAL_TOKENS, dataset};
    use burn::data::dataset::transform::{MapperDataset, PartialDataset, SamplerDataset};

    #[test]
    fn items_make_the_batch_of_the_first_step() {
        let (data, device) = (dataset(0.1), Device::default());
        let items = [4, 0, 5];
        let content = |batch: Batch| {
            let ints = [batch.tokens.into_data(), batch.layout.into_data(), batch.targets.into_data()];
            (ints, batch.visual.unwrap().into_data())
        };
        let expected = data.batch(&items, VISUAL_TOKENS, (0, 0), &device).unwrap();
        let found = Batch::new(&data.get_many(items.to_vec()).unwrap(), VISUAL_TOKENS, &device);
        assert_eq!(content(found), content(expected));
    }

    #[test]
    fn pictures_are_found_by_their_stems() {
        use crate::embedding::{EmbeddingTable, NonFinite};
        let tokenizer = Tokenizer::train(&["a cat"], 270).unwrap();
        let collect = |images: &[&str], id_match, bad| {
            let ids = vec!["000123".to_string(), "7".to_string()];
            let table = EmbeddingTable::new(ids, vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
            let source = VisualSource::new(table, 0.0, NonFinite::Error)?.with_id_match(id_match)?;
            let conversations: Vec<_> =
                images.iter().map(|image| Ok(Conversation::caption(*image, *image, "a cat"))).collect();
            let source = Some(Arc::new(source));
            ConversationDataset::collect(conversations, Template::Plain, &tokenizer, 64, source, bad)
        };
        let images = ["coco/000123.jpg", "000123.png", "7"];
        let (dataset, _) = collect(&images, IdMatch::Stem, BadSamples::Error).unwrap();
        assert_eq!(dataset.rows, [Some(0), Some(0), Some(1)]);

        let error = collect(&images, IdMatch::Exact, BadSamples::Error).unwrap_err().to_string();
        assert!(error.contains("id_match = \"stem\"") && error.contains("coco/000123.jpg"), "{error}");
        let (dataset, report) = collect(&images, IdMatch::Exact, BadSamples::Drop).unwrap();
        assert_eq!((dataset.len(), report.read), (1, 3));
        assert!(report.to_string().contains("2 dropped (no embedding)"), "{report}");
        let error = collect(&["8"], IdMatch::Exact, BadSamples::Error).unwrap_err().to_string();
        assert!(!error.contains("stem"), "{error}");

        // Which of the two the embedding is of, nobody knows: this is no matter of one sample.
        let images = ["coco/000123.jpg", "vg/000123.jpg"];
        let error = collect(&images, IdMatch::Stem, BadSamples::Drop).unwrap_err().to_string();
        assert!(images.iter().all(|image| error.contains(image)) && error.contains("id_match"), "{error}");
    }

    #[test]
    fn burns_transforms_take_it() {
        let part: PartialDataset<_, Sample> = PartialDataset::new(dataset(0.0), 2, 4);
        let ids: Vec<String> = part.iter().map(|sample| sample.unwrap().id).collect();
        assert_eq!(ids, ["c2", "c3"]);
        let sampler: SamplerDataset<_, Sample> = SamplerDataset::new(part, 7);
        assert!(sampler.iter().all(|sample| ids.contains(&sample.unwrap().id)));
        assert_eq!(sampler.len(), 7);
        let lengths = MapperDataset::new(dataset(0.0), Length);
        assert_eq!(Dataset::<usize>::len(&lengths), CAPTIONS.len());
        assert_eq!(lengths.get(0).unwrap(), dataset(0.0).samples()[0].tokens.len());

        struct Length;
        impl burn::data::dataset::transform::Mapper<Sample, usize> for Length {
            fn map(&self, sample: &Sample) -> usize {
                sample.tokens.len()
            }
        }
    }
}
