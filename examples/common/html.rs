//! A page of what an example found, which needs neither scripts nor a network.

use std::fmt::Write as _;

use super::table::escape;

const STYLE: &str = "body { margin: 0 auto; padding: 24px 28px 64px; max-width: 1100px; color: #222;
  font: 15px/1.5 system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif; }
h1 { font-size: 27px; margin: 0 0 4px; } h2 { font-size: 21px; margin: 44px 0 8px; border-top: 2px solid #ddd; padding-top: 10px; }
.lead { color: #555; } p, li { max-width: 90ch; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 10px; text-align: right; border-bottom: 1px solid #e3e3e3; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #999; }
pre { font-size: 12.5px; background: #f6f7f8; padding: 10px 14px; overflow-x: auto; } .scroll { overflow-x: auto; }";

/// A page with a title and what it shows.
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// Settings, as JSON, under a heading.
pub fn settings(body: &mut String, settings: &impl serde::Serialize) {
    let settings = serde_json::to_string_pretty(settings).expect("settings are plain data");
    let _ = write!(body, "<h2>Settings</h2>\n<pre>{}</pre>\n", escape(&settings));
}

/// Text with a table in Markdown, as HTML.
pub fn table(body: &mut String, markdown: &str) {
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
