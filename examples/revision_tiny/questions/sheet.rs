//! A sheet of test pictures with a question each, and what variants answer: one SVG file with the pictures inside.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pictures::Picture;
use super::words::{ANSWERS, Kind};
use crate::common::table::escape;

/// A picture on the sheet, in pixels.
const PICTURE: usize = 72;
const MARGIN: usize = 20;
const ROW: usize = PICTURE + 16;
const HEADER: usize = 48;
const QUESTION_COLUMN: usize = 340;
const ANSWER_COLUMN: usize = 150;

/// A column: what a variant answers to every question of every test picture, in order.
pub struct Column<'a> {
    pub title: &'a str,
    pub answers: &'a [usize],
}

/// The sheet: every few pictures one, with one of its questions, kinds in turn. Right answers are green, wrong ones red.
pub fn svg(pictures: &[&Picture], count: usize, columns: &[Column]) -> String {
    let stride = (pictures.len() / count.max(1)).max(1);
    let kinds = [Kind::Shape, Kind::Colour, Kind::YesNo];
    // Where the questions of each picture begin.
    let starts: Vec<usize> = pictures
        .iter()
        .scan(0, |next, picture| {
            let start = *next;
            *next += picture.questions.len();
            Some(start)
        })
        .collect();
    let shown = (0..pictures.len()).step_by(stride).take(count).enumerate().map(|(number, row)| {
        let questions = &pictures[row].questions;
        let wanted = kinds[number % kinds.len()];
        let question = questions.iter().position(|question| question.kind() == wanted).unwrap_or(0);
        (row, question)
    });

    let width = 2 * MARGIN + PICTURE + 24 + QUESTION_COLUMN + (1 + columns.len()) * ANSWER_COLUMN;
    let left = MARGIN + PICTURE + 24;
    let answer_at = |column: usize| left + QUESTION_COLUMN + column * ANSWER_COLUMN;
    let mut body = String::new();
    text(&mut body, left, MARGIN + 18, "title", "question");
    text(&mut body, answer_at(0), MARGIN + 18, "title", "truth");
    for (number, column) in columns.iter().enumerate() {
        text(&mut body, answer_at(number + 1), MARGIN + 18, "title", column.title);
    }
    let mut top = MARGIN + HEADER - 16;
    for (number, (row, question)) in shown.enumerate() {
        let picture = pictures[row];
        let asked = &picture.questions[question];
        if number % 2 == 0 {
            let inner = width - 2 * MARGIN;
            let _ =
                write!(body, r#"<rect class="band" x="{MARGIN}" y="{top}" width="{inner}" height="{ROW}"/>"#);
        }
        let _ = writeln!(
            body,
            r#"<image x="{}" y="{}" width="{PICTURE}" height="{PICTURE}" href="data:image/png;base64,{}"/>"#,
            MARGIN + 8,
            top + 8,
            STANDARD.encode(&picture.png),
        );
        let y = top + ROW / 2 + 5;
        text(&mut body, left, y, "", &asked.text);
        text(&mut body, answer_at(0), y, "truth", ANSWERS[asked.answer]);
        for (number, column) in columns.iter().enumerate() {
            let answer = column.answers[starts[row] + question];
            let (class, mark) =
                if answer == asked.answer { ("right", "\u{2713}") } else { ("wrong", "\u{2717}") };
            text(&mut body, answer_at(number + 1), y, class, &format!("{mark} {}", ANSWERS[answer]));
        }
        top += ROW;
    }
    let height = top + MARGIN;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">
<style>
text {{ font: 15px "DejaVu Sans", "Noto Sans", Helvetica, Arial, sans-serif; fill: #222 }}
.title {{ font-weight: bold }}
.truth {{ fill: #555 }}
.right {{ fill: #17702b }}
.wrong {{ fill: #b3261e }}
.band {{ fill: #f3f4f6 }}
</style>
<rect width="{width}" height="{height}" fill="white"/>
{body}
</svg>
"##
    )
}

fn text(body: &mut String, x: usize, y: usize, class: &str, text: &str) {
    let _ = writeln!(body, r#"<text class="{class}" x="{x}" y="{y}">{}</text>"#, escape(text));
}
