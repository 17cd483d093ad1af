//! Captions measured against references.
//!
//! * [`cider_d`] weighs the words that two captions share by how rare they are.
//!
//! BLEU-4 and ROUGE-L are those of burn-train.

mod cider;
mod overlap;
mod words;

pub use cider::{CiderScores, cider_d};
pub use overlap::CaptionOverlap;
