mod chatting;
mod forms;
mod plain;
mod reading;

use super::*;
use crate::language::Tokenizer;
use crate::{Error, Result};

fn tokenizer() -> Tokenizer {
    Tokenizer::train(&["red apple", "green pear"], 270).unwrap()
}

/// The labelled tokens, or the others, in the pieces that `end` closes.
fn pieces(sample: &Sample, labelled: bool, end: u32) -> Vec<Vec<u32>> {
    let tokens = sample.tokens.iter().zip(&sample.labelled);
    let chosen: Vec<u32> = tokens.filter(|(_, label)| **label == labelled).map(|(token, _)| *token).collect();
    chosen.split_inclusive(|token| *token == end).map(<[u32]>::to_vec).collect()
}
