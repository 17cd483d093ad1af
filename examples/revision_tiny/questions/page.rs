//! `report.html`: the tables and drawings of a run on one page, which needs neither scripts nor a network.

use std::fmt::Write as _;

use super::charts;
use super::report::Report;
use crate::table::escape;

const STYLE: &str = "body { margin: 0 auto; padding: 24px 28px 64px; max-width: 1100px; color: #222;
  font: 15px/1.5 system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; }
h1 { font-size: 27px; margin: 0 0 4px; } h2 { font-size: 21px; margin: 44px 0 8px; border-top: 2px solid #ddd; padding-top: 10px; }
.lead { color: #555; } p, li { max-width: 90ch; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid #e3e3e3; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #999; }
pre { font-size: 12.5px; background: #f6f7f8; padding: 10px 14px; overflow-x: auto; } .scroll { overflow-x: auto; }";

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
    table(&mut body, &report.table());
    if !report.curve().is_empty() {
        body.push_str("<h2>How many real pictures does text replace?</h2>\n");
        body.push_str(&curve(report));
        table(&mut body, &report.curve());
    }
    body.push_str("<h2>Differences within a seed</h2>\n");
    table(&mut body, &report.findings());
    body.push_str("<h2>Pictures, questions, answers</h2>\n<p>After stage 1; test pictures at equal distances, kinds of questions in \
        turn.</p>\n");
    body.push_str(sheet);
    let settings = serde_json::to_string_pretty(&report.settings).expect("settings are plain data");
    let _ = write!(body, "<h2>Settings</h2>\n<pre>{}</pre>\n", escape(&settings));
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>Trained on text, asked about pictures</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
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

/// Text with a table in Markdown, as HTML.
fn table(body: &mut String, markdown: &str) {
    let mut in_table = false;
    for line in markdown.lines() {
        let is_row = line.starts_with('|');
        if is_row && !in_table {
            body.push_str("<div class=\"scroll\"><table>\n");
        } else if !is_row && in_table {
            body.push_str("</table></div>\n");
        }
        let is_head = is_row && !in_table;
        in_table = is_row;
        let is_rule = is_row && line.chars().all(|char| "|-: ".contains(char));
        if is_rule {
            continue;
        }
        if is_row {
            let tag = if is_head { "th" } else { "td" };
            let cells = line
                .trim_matches('|')
                .split('|')
                .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell.trim())));
            let _ = writeln!(body, "<tr>{}</tr>", cells.collect::<String>());
        } else if !line.trim().is_empty() {
            let _ = writeln!(body, "<p>{}</p>", escape(line));
        }
    }
    if in_table {
        body.push_str("</table></div>\n");
    }
}
