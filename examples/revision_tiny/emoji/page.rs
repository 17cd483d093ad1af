//! `report.html` of the captions.

use super::report::Report;
use super::variants::Variant;
use crate::common::{charts, html};

const TITLE: &str = "Trained on names, captions emoji";

/// The page, with the sheet of captions after stage 2.
pub fn html(report: &Report, sheet: &str) -> String {
    let mut body = format!(
        "<h1>{TITLE}</h1>\n<p class=\"lead\">{} pictures · {} seeds · burn-revision {}</p>\n",
        report.pictures,
        report.seeds.len(),
        report.burn_revision
    );
    body.push_str(
        "<h2>Words that are right</h2>\n<p>The F1 of the words of a caption. Bars are standard deviations over seeds, small dots \
         single seeds. The dashed line is the language model without a picture.</p>\n",
    );
    body.push_str(&drawing(report));
    html::table(&mut body, &report.table());
    body.push_str("<h2>How the gap came about</h2>\n");
    html::table(&mut body, &report.gap_table());
    body.push_str("<h2>Captions</h2>\n<p>After stage 2; held-out pictures at equal distances.</p>\n");
    body.push_str(sheet);
    html::settings(&mut body, &report.settings);
    html::page(TITLE, &body)
}

fn drawing(report: &Report) -> String {
    let blind: Vec<f64> = report.seeds.iter().map(|seed| seed.blind.word_f1).collect();
    let rows: Vec<charts::Row> = Variant::ALL
        .into_iter()
        .map(|variant| charts::Row {
            title: variant.title(),
            stage1: report.collect(variant, |result| result.stage1.as_ref().map(|scores| scores.word_f1)),
            stage2: report.collect(variant, |result| Some(result.stage2.word_f1)),
        })
        .collect();
    charts::rows(&rows, ("without a picture", blind.iter().sum::<f64>() / blind.len() as f64))
}
