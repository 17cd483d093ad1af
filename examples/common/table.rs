//! Tables in Markdown, and figures over seeds.

use std::fmt::Write as _;

/// Mean and sample deviation over seeds.
pub fn summary(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (values.len().max(2) - 1) as f64).sqrt())
}

/// A mean, with its deviation where there are several seeds.
pub fn figure(values: &[f64], digits: usize) -> String {
    match values {
        [] => "-".into(),
        [value] => format!("{value:.digits$}"),
        _ => {
            let (mean, deviation) = summary(values);
            format!("{mean:.digits$} ± {deviation:.digits$}")
        }
    }
}

/// Aligned columns under a header.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            let space = " ".repeat(width - cell.chars().count());
            if column == 0 { format!("{cell}{space}") } else { format!("{space}{cell}") }
        });
        let _ = writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
        if number == 0 {
            let rule = widths.iter().enumerate().map(|(column, width)| match column {
                0 => "-".repeat(*width),
                _ => format!("{}:", "-".repeat(width - 1)),
            });
            let _ = writeln!(out, "| {} |", rule.collect::<Vec<_>>().join(" | "));
        }
    }
    out
}

/// Text as XML has it, without control characters.
pub fn escape(text: &str) -> String {
    let keep = text.chars().filter(|char| !char.is_control());
    keep.fold(String::new(), |mut escaped, char| {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            char => escaped.push(char),
        }
        escaped
    })
}
