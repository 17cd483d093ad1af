//! A sheet that shows held-out pictures beside what each variant of the model says of them: one SVG file with
//! the pictures inside.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pictures::Picture;
use crate::common::table::escape;

/// The picture of a row, in pixels.
const PICTURE: u32 = 72;
const MARGIN: usize = 24;
const PADDING: usize = 12;
/// The column of the picture.
const PICTURE_COLUMN: usize = PICTURE as usize + 2 * PADDING;
/// A column of text.
const TEXT_COLUMN: usize = 220;
const LINE: usize = 19;
/// Letters on a line of a text column, at 14 pixels of a common sans serif.
const LETTERS: usize = 26;
const HEADER: usize = 40;

/// One held-out picture and what is said of it.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The picture, with its true name.
    pub picture: &'a Picture,
    /// What each variant says, in the order of the variants.
    pub captions: Vec<String>,
}

/// The sheet as SVG: the picture, its true name, and a column for each variant. A caption that is the true name
/// is green.
///
/// # Panics
///
/// If a row has another number of captions than there are variants.
pub fn svg(variants: &[&str], rows: &[Row]) -> String {
    let width = 2 * MARGIN + PICTURE_COLUMN + (1 + variants.len()) * TEXT_COLUMN;
    let mut body = String::new();
    let titles = std::iter::once("true name").chain(variants.iter().copied());
    for (column, title) in titles.enumerate() {
        text(&mut body, column, MARGIN + 16, &wrap(title), "title");
    }
    let mut top = MARGIN + HEADER;
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row.captions.len(), variants.len(), "{}: captions and variants differ", row.picture.id);
        let name = wrap(&row.picture.name);
        let captions: Vec<Vec<String>> = row.captions.iter().map(|caption| wrap(caption)).collect();
        let lines = captions.iter().map(Vec::len).max().unwrap_or(0).max(name.len());
        let height = (lines * LINE).max(PICTURE as usize) + 2 * PADDING;
        if number % 2 == 0 {
            let inner = width - 2 * MARGIN;
            let _ = write!(
                body,
                r#"<rect class="band" x="{MARGIN}" y="{top}" width="{inner}" height="{height}"/>"#
            );
        }
        let _ = write!(
            body,
            r#"<image x="{}" y="{}" width="{PICTURE}" height="{PICTURE}" href="data:image/png;base64,{}"/>"#,
            MARGIN + PADDING,
            top + (height - PICTURE as usize) / 2,
            // Twice the size, for screens with small pixels.
            STANDARD.encode(row.picture.png(2 * PICTURE)),
        );
        let baseline = |lines: &[String]| top + (height - lines.len() * LINE) / 2 + 14;
        text(&mut body, 0, baseline(&name), &name, "name");
        for (column, (caption, lines)) in row.captions.iter().zip(&captions).enumerate() {
            let class = if caption.trim() == row.picture.name { "right" } else { "said" };
            text(&mut body, column + 1, baseline(lines), lines, class);
        }
        top += height;
    }
    let height = top + MARGIN;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<style>
text {{ font: 14px "DejaVu Sans", "Noto Sans", Helvetica, Arial, sans-serif; fill: #222 }}
.title {{ font-weight: bold }}
.name {{ fill: #555 }}
.right {{ fill: #17702b }}
.band {{ fill: #f3f4f6 }}
</style>
<rect width="{width}" height="{height}" fill="white"/>
{body}
</svg>
"##
    )
}

/// Adds lines of text to a text column, the first with its baseline at `y`.
fn text(body: &mut String, column: usize, y: usize, lines: &[String], class: &str) {
    let x = MARGIN + PICTURE_COLUMN + column * TEXT_COLUMN + PADDING / 2;
    for (number, line) in lines.iter().enumerate() {
        let y = y + number * LINE;
        let _ = writeln!(body, r#"<text class="{class}" x="{x}" y="{y}">{}</text>"#, escape(line));
    }
}

/// Breaks a caption into lines at its spaces, and words longer than a line where the line ends.
fn wrap(caption: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in caption.split_whitespace() {
        let letters: Vec<char> = word.chars().collect();
        for (piece, part) in letters.chunks(LETTERS).enumerate() {
            let space = usize::from(used > 0 && piece == 0);
            if used + space + part.len() > LETTERS {
                lines.push(String::new());
                used = 0;
            } else if space == 1 {
                lines.last_mut().expect("there is a first line").push(' ');
                used += 1;
            }
            lines.last_mut().expect("there is a first line").extend(part);
            used += part.len();
        }
    }
    lines
}
