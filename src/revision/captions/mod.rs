//! Captions measured against references.
//!
//! * [`word_f1`] counts the words that two captions share;
//! * [`cider_d`](cider::cider_d) weighs the words that two captions share by how rare they are;
//! * [`CaptionOverlap`] adds burn-train's BLEU-4 and ROUGE-L.

mod cider;
mod overlap;
mod word_f1;
mod words;

pub(super) use overlap::CaptionOverlap;
pub(super) use word_f1::word_f1;
