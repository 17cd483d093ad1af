//! The model card beside the saved weights: what they are, what they were trained on, and how right they are.

use std::fmt::Write as _;

use super::report::Report;
use super::words::{COLOURS, SHAPES};
use crate::common::table::markdown;

/// The card of the models of the first seed, in Markdown.
pub fn card(report: &Report) -> Option<String> {
    let seed = report.seeds.first()?;
    let settings = &report.settings;
    let mut out = String::new();
    let _ = write!(
        out,
        "# Models of `revision_tiny`\n\n\
         An encoder of pictures and captions (`encoder`), a language model (`language`), and for each way to align texts a model that \
         answers questions about pictures of one shape, made by burn-revision {} on {}, seed {}. `burn-revision ask --model \
         FOLDER PICTURE QUESTION` asks one.\n\n\
         **For**: showing what training on text alone does. The models know {} shapes in {} colours, the words for them, and nothing \
         else; asked about another picture they answer with one of these words.\n\n\
         **Data**: {}. The encoder saw {} training pictures with captions made from their answers, and their mirror images; statistics \
         are of {} others without words; stage 1 had {} captions with questions, made from words alone (\"real pairs\": {} pictures with \
         their questions and captions); stage 2 had {} of them.\n",
        report.burn_revision,
        report.device,
        seed.seed,
        SHAPES.len(),
        COLOURS.len(),
        report.pictures,
        settings.encoder_pictures,
        settings.unpaired_pictures,
        settings.stage1_texts,
        settings.pairs,
        settings.stage2_pictures,
    );
    if !report.held_out.is_empty() {
        let _ = write!(out, "\n**Kept from training**: {}.\n", report.held_out.join(", "));
    }
    let _ = write!(
        out,
        "\n**Measured** on {} questions about {}: the share of right answers, of the saved weights after both stages. The encoder's \
         gap is {:.2}, and the caption nearest to a picture is true for {:.3} of them.\n\n",
        report.questions,
        if report.validation { "training pictures that nothing else uses" } else { "the test pictures" },
        seed.gap,
        seed.concept_accuracy,
    );
    let mut rows =
        vec![["folder", "stage 1 is shown", "right", "yes/no", "shape", "colour"].map(String::from).to_vec()];
    for result in &seed.variants {
        let found = &result.stage2;
        let mut row = vec![result.variant.folder(), result.variant.title.clone()];
        row.extend([found.all, found.yes_no, found.shape, found.colour].map(|share| format!("{share:.3}")));
        rows.push(row);
    }
    out.push_str(&markdown(&rows));
    Some(out)
}
