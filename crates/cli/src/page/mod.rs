//! The page of `burn-revision gap`: a report as one HTML file, which needs neither scripts nor a network.
//!
//! [`render`] puts the sections one below the other, a file each: `summary`, `clouds`, `frame` (with `residual`),
//! `projection`, `gaps`, `cosines`, `methods`, `efficiency`, `domains`, `lengths` and `measured` (with `quantities`). They
//! are made of `figure`s, which hold a `chart` (with an `axis` of its own) or a `table`; `measure` says which number of a
//! method is best, `palette` has the colours, `text` writes numbers.
//!
//! The page is well-formed XML too, so that a strict parser can check it. All strings of a report are escaped where they
//! enter the page.

mod axis;
mod chart;
mod clouds;
mod cosines;
mod domains;
mod efficiency;
mod figure;
mod frame;
mod gaps;
mod lengths;
mod measure;
mod measured;
mod methods;
mod palette;
mod projection;
mod quantities;
mod residual;
mod section;
mod spectra;
mod summary;
mod table;
mod text;

#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use burn_revision::report::GapReport;
use palette::Palette;
use section::{Page, Section};

/// The style of the page.
const STYLE: &str = include_str!("style.css");

/// Writes the report as one HTML page.
///
/// Numbers that are not finite and parts that the report does not have are shown as a dash with the reason, or
/// left out; no report makes this panic.
pub fn render(report: &GapReport) -> String {
    let page = Page { report, palette: Palette::new(report) };
    let sections: Vec<Section> = [
        Some(summary::section(&page)),
        Some(clouds::section(&page)),
        Some(frame::section(&page)),
        Some(projection::section(&page)),
        Some(gaps::section(&page)),
        Some(cosines::section(&page)),
        Some(methods::section(&page)),
        efficiency::section(&page),
        domains::section(&page),
        lengths::section(&page),
        Some(measured::section(&page)),
    ]
    .into_iter()
    .flatten()
    .collect();

    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light\"/>\n<title>Modality gap report</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n<h1>Modality gap report</h1>\n\
         <p class=\"lead\">{} dimensions · seed {} · written by {}</p>\n</header>\n<nav>\n<ol>\n",
        text::count(report.data.dim),
        report.settings.seed,
        text::escape(&report.created_by)
    );
    for Section { id, title, .. } in &sections {
        _ = writeln!(out, "<li><a href=\"#{id}\">{title}</a></li>");
    }
    out.push_str("</ol>\n</nav>\n<main>\n");
    for (place, section) in sections.iter().enumerate() {
        out.push_str(&section.draw(place + 1));
    }
    out.push_str("</main>\n</body>\n</html>\n");
    out
}
