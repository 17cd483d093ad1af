use burn::tensor::{Device, Int, Tensor, TensorData};

use super::TokenizedSample;

/// The input of one optimizer step: micro-batches whose gradients are averaged over all labelled tokens together,
/// so that the step does not depend on how it was cut.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The parts that go through the model one after the other.
    pub micro: Vec<MicroBatch>,
}

impl Batch {
    /// The number of labelled tokens.
    pub fn num_labels(&self) -> usize {
        self.micro.iter().map(MicroBatch::num_labels).sum()
    }

    /// The number of positions that go through the model, visual ones and padding included.
    pub fn num_tokens(&self) -> usize {
        self.micro.iter().map(|micro| micro.batch * micro.time).sum()
    }
}

/// Samples that go through the model together.
///
/// Text tokens are right-padded to `[batch, text_time]`. The spliced sequence, `[batch, time]`, is described by
/// `layout`: for each of its positions the row to take from the text embeddings followed by the projected visual
/// rows. A visual row is projected once and taken as often as there are visual tokens.
#[derive(Clone, Debug)]
pub struct MicroBatch {
    /// Text tokens, `[batch, text_time]`.
    pub tokens: Tensor<2, Int>,
    /// Embeddings of the pictures, `[pictures, dim]`, where there are any.
    pub visual: Option<Tensor<2>>,
    /// Which row stands at each position, `[batch * time]`.
    pub layout: Tensor<1, Int>,
    /// The positions that predict a labelled token, `[labels]`, counted over the flattened batch.
    pub predicting: Tensor<1, Int>,
    /// The labelled tokens, `[labels]`.
    pub targets: Tensor<1, Int>,
    /// The number of sequences.
    pub batch: usize,
    /// The length of the spliced sequences.
    pub time: usize,
}

impl MicroBatch {
    /// Lays out `samples`; `visual` holds the embeddings of those with a picture, in order, and their dimension.
    ///
    /// # Panics
    ///
    /// Panics if the number of embeddings is not that of samples with a picture.
    pub fn new(
        samples: &[&TokenizedSample],
        visual: Option<(Vec<f32>, usize)>,
        num_visual_tokens: usize,
        device: &Device,
    ) -> Self {
        // At least one, of padding: not every backend can embed nothing.
        let text_time = samples.iter().map(|sample| sample.tokens.len()).max().unwrap_or(0).max(1);
        let spliced = |sample: &TokenizedSample| {
            sample.tokens.len() + if sample.image_at.is_some() { num_visual_tokens } else { 0 }
        };
        let time = samples.iter().map(|sample| spliced(sample)).max().unwrap_or(0);
        let text_rows = samples.len() * text_time;

        let mut tokens = vec![0i64; text_rows];
        let mut layout = Vec::with_capacity(samples.len() * time);
        let (mut predicting, mut targets) = (Vec::new(), Vec::new());
        let mut pictures = 0;
        for (row, sample) in samples.iter().enumerate() {
            let text = row * text_time;
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
            // Padding stands behind all labels, where causal attention hides it: any row will do.
            layout.resize(start + time, text as i64);
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
            tokens: ints(tokens).reshape([samples.len(), text_time]),
            visual,
            layout: ints(layout),
            predicting: ints(predicting),
            targets: ints(targets),
            batch: samples.len(),
            time,
        }
    }

    /// The number of labelled tokens.
    pub fn num_labels(&self) -> usize {
        self.targets.dims()[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tokens: &[u32], prompt: usize, image_at: Option<usize>) -> TokenizedSample {
        TokenizedSample {
            id: "s".into(),
            image: image_at.map(|_| "p".into()),
            tokens: tokens.to_vec(),
            labelled: (0..tokens.len()).map(|i| i >= prompt).collect(),
            image_at,
            truncated: 0,
        }
    }

    fn ints<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i64> {
        tensor.into_data().iter().collect()
    }

    #[test]
    fn visual_tokens_stand_where_the_sample_says() {
        let (with, without) = (sample(&[1, 5, 6], 1, Some(1)), sample(&[1, 7], 1, None));
        let batch = MicroBatch::new(&[&with, &without], Some((vec![0.5, 0.25], 2)), 2, &Device::default());
        assert_eq!((batch.batch, batch.time), (2, 5));
        assert_eq!(ints(batch.tokens), [1, 5, 6, 1, 7, 0]);
        // Rows 0 to 5 are text, row 6 is the picture.
        assert_eq!(ints(batch.layout), [0, 6, 6, 1, 2, 3, 4, 3, 3, 3]);
        // The last visual token predicts the first word of the caption.
        assert_eq!(ints(batch.predicting), [2, 3, 5]);
        assert_eq!(ints(batch.targets), [5, 6, 7]);
    }

    #[test]
    fn a_picture_may_stand_at_the_end() {
        let prompt = sample(&[1, 2], 2, Some(2));
        let batch = MicroBatch::new(&[&prompt], Some((vec![1.0], 1)), 3, &Device::default());
        assert_eq!(ints(batch.layout), [0, 1, 2, 2, 2]);
        assert_eq!(batch.targets.dims(), [0]);
    }
}
