use std::fmt::Write;

use burn_revision::revision::{CaptionScores, Conversation};

use crate::variants::{Variant, VariantResult};

/// Pictures whose captions are shown.
const SHOWN: usize = 12;

/// The table of the README, as Markdown.
pub fn table(blind: &CaptionScores, results: &[VariantResult]) -> String {
    let mut text = String::from(
        "| stage 1 is shown | NLL | word F1 | ROUGE-L | CIDEr-D | NLL | word F1 | ROUGE-L | CIDEr-D |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let cells = |scores: &CaptionScores| {
        let cider = scores.cider_d.map_or_else(|| "-".to_string(), |cider| format!("{cider:.3}"));
        format!(" {:.3} | {:.3} | {:.3} | {cider} |", scores.nll, scores.word_f1, scores.rouge_l)
    };
    let none = " | | | |";
    let _ = writeln!(text, "| the language model, blind |{}{none}", cells(blind));
    for result in results {
        let first = result.stage1.as_ref().map_or_else(|| none.to_string(), cells);
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
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            test[index].id,
            cell(truth),
            cell(&ours.stage1_captions[index]),
            cell(&ours.stage2_captions[index]),
            cell(&bound.stage2_captions[index]),
        );
    }
    text
}
