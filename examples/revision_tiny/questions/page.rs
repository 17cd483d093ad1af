//! `report.html`: the tables and drawings of a run on one page, which needs neither scripts nor a network.

use std::fmt::Write as _;

use super::report::Report;
use crate::common::table::escape;
use crate::common::{charts, html};

/// The page.
pub fn html(report: &Report, sheet: &str) -> String {
    let mut body = String::new();
    let _ = write!(
        body,
        "<h1>Trained on text, asked about pictures</h1>\n<p class=\"lead\">{} · {} seeds from {} · {} questions each · \
         burn-revision {} · {}</p>\n",
        escape(&report.pictures),
        report.seeds.len(),
        report.seeds.first().map_or(0, |seed| seed.seed),
        report.questions,
        escape(&report.burn_revision),
        escape(&report.device),
    );
    if report.validation {
        body.push_str("<p><b>Measured on training pictures, to choose settings.</b></p>\n");
    }
    let _ = writeln!(body, "<p>{}</p>", escape(&report.headline()));
    body.push_str("<h2>Right answers</h2>\n<p>Bars are standard deviations over seeds, small dots single seeds. The dashed \
        line is the most frequent answer to each question, whatever is shown.</p>\n");
    body.push_str(&rows(report));
    html::table(&mut body, &report.table());
    if !report.curve().is_empty() {
        body.push_str("<h2>How many real pictures does text replace?</h2>\n");
        body.push_str(&curve(report));
        html::table(&mut body, &report.curve());
    }
    body.push_str("<h2>Differences within a seed</h2>\n");
    html::table(&mut body, &report.findings());
    body.push_str("<h2>Pictures, questions, answers</h2>\n<p>After stage 1; test pictures at equal distances, kinds of questions in \
        turn.</p>\n");
    body.push_str(sheet);
    html::settings(&mut body, &report.settings);
    html::page("Trained on text, asked about pictures", &body)
}

/// The variants over seeds.
pub fn rows(report: &Report) -> String {
    let prior: Vec<f64> = report.seeds.iter().map(|seed| seed.prior.all).collect();
    let floor = prior.iter().sum::<f64>() / prior.len() as f64;
    let rows: Vec<charts::Row> = report
        .titles()
        .into_iter()
        .map(|title| charts::Row {
            title,
            stage1: report.collect(title, |result| result.stage1.as_ref().map(|stage| stage.all)),
            stage2: report.collect(title, |result| Some(result.stage2.all)),
        })
        .collect();
    charts::rows(&rows, ("the question alone", floor))
}

/// The curve over the number of real pictures in stage 2.
pub fn curve(report: &Report) -> String {
    let (titles, counts) = report.curve_axes();
    let lines: Vec<charts::Line> = titles
        .into_iter()
        .map(|title| charts::Line {
            title,
            points: counts.iter().map(|count| (*count, report.curve_values(title, *count))).collect(),
        })
        .collect();
    charts::curves(&lines, "real pictures in stage 2")
}
