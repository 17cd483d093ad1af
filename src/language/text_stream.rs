use std::iter::FusedIterator;

use serde::{Deserialize, Serialize};

use super::{Detokenizer, Tokenizer};
use crate::Result;

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended it, or a stop string did.
    Stop,
    /// It has as many tokens as it was allowed, or as the model has positions for.
    Length,
}

/// A text as it is written, in pieces: a [`TokenStream`](super::TokenStream), or any other iterator of tokens, through a
/// [`Detokenizer`].
///
/// # Example
///
/// ```
/// use burn_revision::language::{FinishReason, TextStream, Tokenizer};
///
/// # fn main() -> burn_revision::Result<()> {
/// let tokenizer = Tokenizer::train(&["red apple"], 270)?;
/// let tokens = tokenizer.encode("red apple. And more");
/// let mut text = TextStream::new(tokens.into_iter().map(Ok), &tokenizer, &["."], 100);
/// let pieces = text.by_ref().collect::<burn_revision::Result<Vec<String>>>()?;
/// assert_eq!((pieces.concat().as_str(), text.finish_reason()), ("red apple", Some(FinishReason::Stop)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TextStream<'a, I> {
    tokens: I,
    text: Detokenizer<'a>,
    limit: usize,
    count: usize,
    finish_reason: Option<FinishReason>,
    is_over: bool,
}

impl<'a, I: Iterator<Item = Result<u32>>> TextStream<'a, I> {
    /// The text of `tokens`, which ends before the first of the strings `stops`. `limit` is how many tokens there may be: a
    /// text of so many was cut off.
    pub fn new<S: AsRef<str>>(tokens: I, tokenizer: &'a Tokenizer, stops: &[S], limit: usize) -> Self {
        let text = Detokenizer::new(tokenizer, stops);
        Self { tokens, text, limit, count: 0, finish_reason: None, is_over: false }
    }

    /// The number of tokens so far.
    pub fn num_tokens(&self) -> usize {
        self.count
    }

    /// Why the text ended; `None` before that, and after an error.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    fn end(&mut self, reason: FinishReason) -> Option<Result<String>> {
        self.is_over = true;
        self.finish_reason = Some(reason);
        Some(self.text.finish()).filter(|rest| !rest.is_empty()).map(Ok)
    }
}

/// Pieces of text, none of them empty.
impl<I: Iterator<Item = Result<u32>>> Iterator for TextStream<'_, I> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.is_over {
            match self.tokens.next() {
                Some(Ok(token)) => {
                    self.count += 1;
                    let piece = self.text.push(token);
                    if self.text.is_stopped() {
                        self.is_over = true;
                        self.finish_reason = Some(FinishReason::Stop);
                    }
                    if !piece.is_empty() {
                        return Some(Ok(piece));
                    }
                }
                Some(Err(error)) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
                None if self.count >= self.limit => return self.end(FinishReason::Length),
                None => return self.end(FinishReason::Stop),
            }
        }
        None
    }
}

impl<I: Iterator<Item = Result<u32>>> FusedIterator for TextStream<'_, I> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn it_says_why_it_ended() {
        let tokenizer = Tokenizer::train(&["a"], 258).unwrap();
        let tokens = tokenizer.encode("abcdef");
        for (stops, limit, text, count, reason) in [
            (&[][..], 100, "abcdef", 6, FinishReason::Stop),
            (&[], 6, "abcdef", 6, FinishReason::Length),
            (&["de"], 6, "abc", 5, FinishReason::Stop),
            // The beginning of a stop string that never came.
            (&["fg"], 6, "abcdef", 6, FinishReason::Length),
        ] {
            let mut stream = TextStream::new(tokens.iter().copied().map(Ok), &tokenizer, stops, limit);
            assert_eq!(stream.finish_reason(), None);
            let pieces: Vec<String> = stream.by_ref().map(Result::unwrap).collect();
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
            assert_eq!(
                (pieces.concat().as_str(), stream.num_tokens(), stream.finish_reason()),
                (text, count, Some(reason))
            );
            assert!(stream.next().is_none());
        }
    }

    #[test]
    fn after_an_error_there_is_nothing() {
        let tokenizer = Tokenizer::train(&["a"], 258).unwrap();
        let tokens = [Ok(tokenizer.encode("a")[0]), Err(Error::Interrupted), Ok(0)];
        let mut stream = TextStream::new(tokens.into_iter(), &tokenizer, &[""], 9);
        assert_eq!(stream.next().unwrap().unwrap(), "a");
        assert!(stream.next().unwrap().is_err());
        assert!(stream.next().is_none() && stream.finish_reason().is_none());
    }
}
