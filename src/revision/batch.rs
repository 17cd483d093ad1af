use burn::data::dataloader::batcher::Batcher;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::Sample;

/// Samples that go through the model together.
///
/// Text tokens are right-padded to `[batch_size, text_length]`. The spliced sequence, `[batch_size, seq_length]`, is
/// described by `layout`: for each of its positions the row to take from the text embeddings followed by the projected
/// pictures. A picture is projected once, and its row is taken once for each visual token.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Text tokens, `[batch_size, text_length]`.
    pub tokens: Tensor<2, Int>,
    /// Embeddings of the pictures, `[pictures, embedding_dim]`, where there are any.
    pub visual: Option<Tensor<2>>,
    /// The row at each position, `[batch_size * seq_length]`.
    pub layout: Tensor<1, Int>,
    /// The positions that predict a labelled token, `[labels]`, counted over the flattened batch.
    pub predicting: Tensor<1, Int>,
    /// The labelled tokens, `[labels]`.
    pub targets: Tensor<1, Int>,
    /// The number of sequences.
    pub batch_size: usize,
    /// The length of the spliced sequences.
    pub seq_length: usize,
    /// The visual tokens with which every sequence begins, all equal; 0 where some sequence begins with anything else. With 0,
    /// the loss is computed from all positions, whatever they are.
    pub leading: usize,
}

impl Batch {
    /// Lays out `samples` with their embeddings, each picture as `num_visual_tokens` positions.
    ///
    /// # Panics
    ///
    /// Panics if a sample shows a picture and has no embedding, or if two embeddings differ in dimension.
    ///
    /// # Example
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use burn_revision::revision::{Batch, Sample};
    ///
    /// let mut sample = Sample::text("a", vec![7, 8, 9]);
    /// (sample.image_at, sample.embedding) = (Some(0), Some(vec![0.6, 0.8]));
    /// let batch = Batch::new(&[sample, Sample::text("b", vec![4])], 2, &Device::default());
    /// assert_eq!((batch.batch_size, batch.seq_length), (2, 5));
    /// // The first token of "b" is predicted by nothing.
    /// assert_eq!(batch.num_labels(), 3);
    /// ```
    pub fn new(samples: &[Sample], num_visual_tokens: usize, device: &Device) -> Self {
        let shown = samples.iter().filter(|sample| sample.image_at.is_some());
        let embeddings: Vec<&[f32]> = shown
            .map(|sample| {
                let embedding = sample.embedding.as_deref();
                embedding
                    .unwrap_or_else(|| panic!("sample {:?} shows a picture without an embedding", sample.id))
            })
            .collect();
        let visual = embeddings.first().map(|first| {
            let dim = first.len();
            let other = embeddings.iter().find(|embedding| embedding.len() != dim);
            assert!(
                other.is_none(),
                "embeddings of dimension {dim} and {}",
                other.map_or(0, |other| other.len())
            );
            (embeddings.concat(), dim)
        });
        Self::lay_out(&samples.iter().collect::<Vec<_>>(), visual, num_visual_tokens, device)
    }

    /// Lays out `samples`; `visual` holds the embeddings of those with a picture, in order, and their dimension.
    ///
    /// # Panics
    ///
    /// Panics if the number of embeddings is not that of samples with a picture.
    pub(super) fn lay_out(
        samples: &[&Sample],
        visual: Option<(Vec<f32>, usize)>,
        num_visual_tokens: usize,
        device: &Device,
    ) -> Self {
        // At least one, of padding: not every backend can embed nothing.
        let text_length = samples.iter().map(|sample| sample.tokens.len()).max().unwrap_or(0).max(1);
        let spliced = |sample: &Sample| {
            sample.tokens.len() + if sample.image_at.is_some() { num_visual_tokens } else { 0 }
        };
        let seq_length = samples.iter().map(|sample| spliced(sample)).max().unwrap_or(0);
        let text_rows = samples.len() * text_length;

        let mut tokens = vec![0i64; text_rows];
        let mut layout = Vec::with_capacity(samples.len() * seq_length);
        let (mut predicting, mut targets) = (Vec::new(), Vec::new());
        let mut pictures = 0;
        for (row, sample) in samples.iter().enumerate() {
            let text = row * text_length;
            for (slot, token) in tokens[text..].iter_mut().zip(&sample.tokens) {
                *slot = *token as i64;
            }
            let start = layout.len();
            for (position, labelled) in sample.labelled.iter().enumerate() {
                if sample.image_at == Some(position) {
                    layout.extend(std::iter::repeat_n((text_rows + pictures) as i64, num_visual_tokens));
                }
                if *labelled && layout.len() > start {
                    predicting.push((layout.len() - 1) as i64);
                    targets.push(sample.tokens[position] as i64);
                }
                layout.push((text + position) as i64);
            }
            if sample.image_at == Some(sample.tokens.len()) {
                layout.extend(std::iter::repeat_n((text_rows + pictures) as i64, num_visual_tokens));
            }
            pictures += usize::from(sample.image_at.is_some());
            // Padding comes after all labels, where causal attention hides it: any row will do.
            layout.resize(start + seq_length, text as i64);
        }

        let visual = visual.map(|(rows, dim)| {
            assert_eq!(rows.len(), pictures * dim, "embeddings for {pictures} pictures of dimension {dim}");
            Tensor::from_data(TensorData::new(rows, [pictures, dim]), device)
        });
        let ints = |values: Vec<i64>| {
            let len = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [len]), device)
        };
        Self {
            tokens: ints(tokens).reshape([samples.len(), text_length]),
            visual,
            layout: ints(layout),
            predicting: ints(predicting),
            targets: ints(targets),
            batch_size: samples.len(),
            seq_length,
            leading: if samples.iter().all(|sample| sample.image_at == Some(0)) {
                num_visual_tokens
            } else {
                0
            },
        }
    }

    /// Of the positions that predict a labelled token, where the [`leading`](Self::leading) visual tokens have one position
    /// together.
    pub(super) fn predicting_after_one(&self) -> Tensor<1, Int> {
        let saved = (self.leading - 1) as i64;
        let rows = self.predicting.clone().div_scalar(self.seq_length as i64);
        self.predicting.clone() - rows.add_scalar(1).mul_scalar(saved)
    }

    /// The number of labelled tokens.
    pub fn num_labels(&self) -> usize {
        self.targets.dims()[0]
    }

    /// The number of positions that go through the model, visual tokens and padding included.
    pub(super) fn num_tokens(&self) -> usize {
        self.batch_size * self.seq_length
    }
}

/// Makes [`Batch`]es of [`Sample`]s, for Burn's own data loader over a
/// [`ConversationDataset`](super::ConversationDataset).
///
/// # Example
///
/// ```
/// use std::sync::Arc;
///
/// use burn::data::dataloader::DataLoaderBuilder;
/// use burn::data::dataset::transform::{PartialDataset, SamplerDataset};
/// use burn::tensor::Device;
/// use burn_revision::embedding::{EmbeddingTable, NonFinite};
/// use burn_revision::language::{LlamaConfig, Tokenizer};
/// use burn_revision::revision::*;
///
/// # fn main() -> burn_revision::Result<()> {
/// let device = Device::default();
/// let tokenizer = Tokenizer::train(&["a red apple", "a green pear"], 280)?;
/// let language = LlamaConfig::new(tokenizer.vocab_size(), 32, 64, 1, 2).init(&device)?;
/// let model = ReVisionConfig::new(2).with_num_visual_tokens(3).init(language, &device)?;
///
/// let table = EmbeddingTable::new(vec!["apple".into(), "pear".into()], vec![1.0, 0.0, 0.0, 1.0], 2)?;
/// let source = Arc::new(VisualSource::new(table, 0.0, NonFinite::Error)?);
/// let conversations =
///     [Conversation::caption("1", "apple", "a red apple"), Conversation::caption("2", "pear", "a green pear")];
/// let data = ConversationDataset::new(&conversations, Template::Plain, &tokenizer, 64, Some(source))?;
///
/// let second: PartialDataset<_, Sample> = PartialDataset::new(data, 1, 2);
/// let loader = DataLoaderBuilder::new(ConversationBatcher::new(model.num_visual_tokens()))
///     .batch_size(4)
///     .build(SamplerDataset::new(second, 8));
/// for batch in loader.iter() {
///     let batch = batch.unwrap();
///     assert_eq!(batch.batch_size, 4);
///     assert!(model.loss(&batch).into_scalar::<f32>().is_finite());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ConversationBatcher {
    num_visual_tokens: usize,
}

impl ConversationBatcher {
    /// Batches for a model with this number of visual tokens a picture.
    pub fn new(num_visual_tokens: usize) -> Self {
        Self { num_visual_tokens }
    }
}

impl Batcher<Sample, Batch> for ConversationBatcher {
    /// As [`Batch::new`].
    fn batch(&self, samples: Vec<Sample>, device: &Device) -> Batch {
        Batch::new(&samples, self.num_visual_tokens, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tokens: &[u32], prompt: usize, image_at: Option<usize>, embedding: &[f32]) -> Sample {
        Sample {
            image: image_at.map(|_| "p".into()),
            labelled: (0..tokens.len()).map(|i| i >= prompt).collect(),
            image_at,
            embedding: image_at.map(|_| embedding.to_vec()),
            ..Sample::text("s", tokens.to_vec())
        }
    }

    fn ints<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn visual_tokens_come_where_the_sample_says() {
        let (with, without) = (sample(&[1, 5, 6], 1, Some(1), &[0.5, 0.25]), sample(&[1, 7], 1, None, &[]));
        let batch = Batch::new(&[with, without], 2, &Device::default());
        assert_eq!((batch.batch_size, batch.seq_length), (2, 5));
        assert_eq!(batch.visual.unwrap().into_data(), TensorData::from([[0.5f32, 0.25]]));
        assert_eq!(ints(batch.tokens), [1, 5, 6, 1, 7, 0]);
        // Rows 0 to 5 are text, row 6 is the picture.
        assert_eq!(ints(batch.layout), [0, 6, 6, 1, 2, 3, 4, 3, 3, 3]);
        // The last visual token predicts the first word of the caption.
        assert_eq!(ints(batch.predicting), [2, 3, 5]);
        assert_eq!(ints(batch.targets), [5, 6, 7]);
    }

    /// Positions of the sequences with one visual token are found again in those with several.
    #[test]
    fn leading_pictures_may_have_one_position_together() {
        let (short, long) = (sample(&[5, 6], 0, Some(0), &[0.5]), sample(&[7, 8, 9], 1, Some(0), &[0.25]));
        let laid_out = |tokens| Batch::new(&[short.clone(), long.clone()], tokens, &Device::default());
        let one = laid_out(1);
        assert_eq!(ints(one.predicting.clone()), [0, 1, 5, 6]);
        for tokens in [1, 2, 7] {
            let batch = laid_out(tokens);
            assert_eq!(batch.leading, tokens);
            assert_eq!(ints(batch.predicting_after_one()), ints(one.predicting.clone()));
        }
        let other = sample(&[1, 5], 1, Some(1), &[0.5]);
        assert_eq!(Batch::new(&[short, other], 2, &Device::default()).leading, 0);
    }

    #[test]
    fn a_picture_may_come_at_the_end() {
        let batch = Batch::new(&[sample(&[1, 2], 2, Some(2), &[1.0])], 3, &Device::default());
        assert_eq!(ints(batch.layout), [0, 1, 2, 2, 2]);
        assert_eq!(batch.targets.dims(), [0]);
    }

    #[test]
    #[should_panic(expected = "\"s\" shows a picture without an embedding")]
    fn a_picture_without_an_embedding_panics_with_the_sample() {
        let sample = Sample { embedding: None, ..sample(&[1], 0, Some(0), &[]) };
        Batch::new(&[sample], 1, &Device::default());
    }
}
