use super::Conversation;
use crate::language::Tokenizer;
use crate::{Error, Result};

/// A conversation as tokens, the unit of training and evaluation; as an item of a
/// [`ConversationDataset`](crate::revision::ConversationDataset), with the embedding of its picture.
///
/// # Example
///
/// ```
/// use burn_revision::revision::Sample;
/// let sample = Sample::text("t", vec![3, 1, 2]);
/// assert_eq!((sample.num_labels(), sample.prompt_len()), (3, 0));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The id of the conversation.
    pub id: String,
    /// The id of its picture's embedding.
    pub image: Option<String>,
    /// All text tokens.
    pub tokens: Vec<u32>,
    /// Which of them are to be predicted.
    pub labelled: Vec<bool>,
    /// The position of the visual tokens, counted in `tokens`: they come before the token with this index.
    pub image_at: Option<usize>,
    /// The number of tokens that were cut off after these.
    pub truncated: usize,
    /// All tokens of the first answer, where some of them were cut off.
    pub first_answer: Option<Vec<u32>>,
    /// The embedding of the picture at unit length, where it was looked up.
    pub embedding: Option<Vec<f32>>,
}

impl Sample {
    /// A sample of `conversation` without tokens.
    pub(super) fn empty(conversation: &Conversation) -> Self {
        Self {
            id: conversation.id.clone(),
            image: conversation.image.clone(),
            tokens: Vec::new(),
            labelled: Vec::new(),
            image_at: None,
            truncated: 0,
            first_answer: None,
            embedding: None,
        }
    }

    /// A text of which every token is to be predicted.
    pub fn text(id: impl Into<String>, tokens: Vec<u32>) -> Self {
        let labelled = vec![true; tokens.len()];
        Self {
            id: id.into(),
            image: None,
            tokens,
            labelled,
            image_at: None,
            truncated: 0,
            first_answer: None,
            embedding: None,
        }
    }

    /// The number of labelled tokens.
    pub fn num_labels(&self) -> usize {
        self.labelled.iter().filter(|labelled| **labelled).count()
    }

    /// The number of tokens before the first label.
    pub fn prompt_len(&self) -> usize {
        self.labelled.iter().position(|labelled| *labelled).unwrap_or(self.tokens.len())
    }

    pub(super) fn push(&mut self, tokens: impl IntoIterator<Item = u32>, labelled: bool) {
        self.tokens.extend(tokens);
        self.labelled.resize(self.tokens.len(), labelled);
    }

    /// A text around the picture, or without one.
    pub(super) fn show(&mut self, before: &str, after: Option<&str>, tokenizer: &Tokenizer) {
        self.push(tokenizer.encode(before), false);
        if let Some(after) = after {
            self.image_at = Some(self.tokens.len());
            self.push(tokenizer.encode(after), false);
        }
    }

    /// Keeps the first `max_len` tokens, and refuses a sample without picture or label after that.
    pub(super) fn cut(mut self, max_len: usize) -> Result<Self> {
        let full = self.tokens.len();
        let answer = self.prompt_len();
        let end = answer + self.labelled[answer..].iter().take_while(|labelled| **labelled).count();
        if end > max_len {
            self.first_answer = Some(self.tokens[answer..end].to_vec());
        }
        self.tokens.truncate(max_len);
        self.labelled.truncate(max_len);
        self.truncated = full - self.tokens.len();
        if let Some(at) = self.image_at.filter(|at| *at > max_len) {
            let detail = format!("its picture comes after {at} text tokens; the maximum length is {max_len}");
            return Err(Error::sample(self.id, detail));
        }
        // The first token is predicted by nothing.
        if self.image_at != Some(0)
            && let Some(first) = self.labelled.first_mut()
        {
            *first = false;
        }
        match self.num_labels() {
            0 => Err(Error::NoLabel {
                detail: format!("{full} tokens of which the first {} are kept", self.tokens.len()),
                id: self.id,
            }),
            _ => Ok(self),
        }
    }
}
