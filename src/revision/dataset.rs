use std::sync::Arc;

use burn::tensor::Device;

use super::{Batch, Conversation, MicroBatch, Template, TokenizedSample, VisualSource};
use crate::language::Tokenizer;
use crate::training::{Step, StepBatcher};
use crate::{Error, Result};

/// Conversations, joined by id with the embeddings that they are about.
#[derive(Clone, Debug)]
pub struct ConversationDataset {
    samples: Vec<TokenizedSample>,
    rows: Vec<Option<usize>>,
    source: Option<Arc<VisualSource>>,
}

impl ConversationDataset {
    /// Tokenizes `conversations`, at most `max_len` text tokens each, and looks up their pictures in `source`.
    ///
    /// # Errors
    ///
    /// The first conversation that cannot be used: no embedding with its id, no label left, a picture that is never
    /// shown; [`Error::TooFewRows`] without conversations.
    pub fn new(
        conversations: &[Conversation],
        template: Template,
        tokenizer: &Tokenizer,
        max_len: usize,
        source: Option<Arc<VisualSource>>,
    ) -> Result<Self> {
        if conversations.is_empty() {
            return Err(Error::TooFewRows { what: "conversations".into(), needed: 1, actual: 0 });
        }
        let samples: Vec<TokenizedSample> = conversations
            .iter()
            .map(|conversation| template.tokenize(conversation, tokenizer, max_len))
            .collect::<Result<_>>()?;
        let rows = samples
            .iter()
            .map(|sample| match (&sample.image, &source) {
                (None, _) => Ok(None),
                (Some(image), Some(source)) => source.position(image).map(Some),
                (Some(image), None) => Err(Error::MissingId {
                    what: format!("sample {:?}: no embeddings were given", sample.id),
                    id: image.clone(),
                }),
            })
            .collect::<Result<_>>()?;
        Ok(Self { samples, rows, source })
    }

    /// The samples.
    pub fn samples(&self) -> &[TokenizedSample] {
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
    pub fn dim(&self) -> Option<usize> {
        self.source.as_ref().map(|source| source.dim())
    }

    /// A batch of the samples `items`, with noise drawn from `seed`.
    pub fn micro_batch(
        &self,
        items: &[usize],
        num_visual_tokens: usize,
        seed: u64,
        device: &Device,
    ) -> MicroBatch {
        let samples: Vec<&TokenizedSample> = items.iter().map(|item| &self.samples[*item]).collect();
        let rows: Vec<usize> = items.iter().filter_map(|item| self.rows[*item]).collect();
        let visual = match &self.source {
            Some(source) if !rows.is_empty() => Some((source.show(&rows, seed), source.dim())),
            _ => None,
        };
        MicroBatch::new(&samples, visual, num_visual_tokens, device)
    }
}

/// Cuts optimizer steps into micro-batches of a [`ConversationDataset`].
pub(super) struct ConversationBatcher {
    pub dataset: Arc<ConversationDataset>,
    pub micro_batch_size: usize,
    pub num_visual_tokens: usize,
    pub seed: u64,
}

impl StepBatcher<Batch> for ConversationBatcher {
    fn num_items(&self) -> usize {
        self.dataset.len()
    }

    fn batch(&self, step: &Step, device: &Device) -> Result<Batch> {
        // Samples of similar length go through the model together: less padding, and the step stays the same, since
        // its gradient is the mean over all its labels however it is cut.
        let mut items = step.items.clone();
        items.sort_by_key(|item| self.dataset.samples[*item].tokens.len());
        let micro = items
            .chunks(self.micro_batch_size)
            .enumerate()
            .map(|(part, items)| {
                // Every sample of every step has noise of its own.
                let seed = self.seed.wrapping_add(((step.index as u64) << 20) + part as u64 + 1);
                self.dataset.micro_batch(items, self.num_visual_tokens, seed, device)
            })
            .collect();
        Ok(Batch { micro })
    }
}
