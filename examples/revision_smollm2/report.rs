use std::fmt::Write;

use burn_revision::revision::{CaptionScores, Conversation};

use crate::variants::{Variant, VariantResult};
use crate::world::Measured;

/// Pictures whose captions are shown.
const SHOWN: usize = 12;

/// The table of the README, as Markdown.
pub fn table(blind: &CaptionScores, results: &[VariantResult]) -> String {
    let mut text = format!(
        "{} held-out pictures. The language model as it came, without a picture: NLL {:.3}.\n\n\
         | stage 1 is shown | NLL | another picture | word F1 | CIDEr-D | NLL | another picture | word F1 | CIDEr-D |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        blind.samples, blind.nll
    );
    let cells = |found: &Measured| {
        let cider = found.scores.cider_d.map_or_else(|| "-".to_string(), |cider| format!("{cider:.3}"));
        let (scores, other) = (&found.scores, found.other_nll - found.scores.nll);
        format!(" {:.3} | {other:+.3} | {:.3} | {cider} |", scores.nll, scores.word_f1)
    };
    for result in results {
        let first = result.stage1.as_ref().map_or_else(|| " | | | |".to_string(), cells);
        let _ = writeln!(text, "| {} |{first}{}", result.variant.title(), cells(&result.stage2));
    }
    text
}

/// Captions of held-out pictures: the truth, and what ReAlign and the upper bound write after each stage.
pub fn captions(test: &[Conversation], results: &[VariantResult]) -> String {
    let find = |variant| results.iter().find(|result| result.variant == variant);
    let mut text = String::from(
        "| picture | truth | ReAlign, stage 1 | ReAlign, stage 2 | real pairs, stage 2 |\n|---|---|---|---|---|\n",
    );
    let (Some(ours), Some(bound)) = (find(Variant::ReAlign), find(Variant::RealPairs)) else {
        return String::new();
    };
    let cell = |caption: &str| caption.trim().replace(['\n', '|'], " ");
    for index in (0..SHOWN.min(test.len())).map(|index| index * test.len() / SHOWN.min(test.len())) {
        let truth = test[index].turns.last().map_or("", |turn| &turn.value);
        let written = |found: &Measured| cell(&found.captions[index]);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            test[index].id,
            cell(truth),
            ours.stage1.as_ref().map_or_else(String::new, written),
            written(&ours.stage2),
            written(&bound.stage2),
        );
    }
    text
}
