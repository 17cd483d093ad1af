//! Two drawings of shares of right answers over seeds: a row for each variant, and curves over numbers of pictures.

use std::fmt::Write as _;

use super::table::summary;

const WIDTH: f64 = 860.0;
const LEFT: f64 = 230.0;
const RIGHT: f64 = 30.0;
const ROW: f64 = 34.0;
const TOP: f64 = 44.0;
const BLUE: &str = "#0072b2";
const ORANGE: &str = "#d55e00";
const PALETTE: [&str; 6] = [BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// What a row of [`rows`] has: a title, and the values of the seeds after each stage.
pub struct Row<'a> {
    pub title: &'a str,
    pub stage1: Vec<f64>,
    pub stage2: Vec<f64>,
}

/// A line of [`curves`]: a title, and the values of the seeds at each place.
pub struct Line<'a> {
    pub title: &'a str,
    pub points: Vec<(usize, Vec<f64>)>,
}

/// A row for each variant: mean, standard deviation and every seed, after stage 1 and after stage 2.
pub fn rows(rows: &[Row], floor: (&str, f64)) -> String {
    let lowest =
        rows.iter().flat_map(|row| row.stage1.iter().chain(&row.stage2)).fold(floor.1, |a, b| a.min(*b));
    let highest =
        rows.iter().flat_map(|row| row.stage1.iter().chain(&row.stage2)).fold(floor.1, |a, b| a.max(*b));
    let from = (lowest * 10.0).floor() / 10.0;
    let to = ((highest * 10.0).ceil() / 10.0).clamp(from + 0.1, 1.0_f64.max(from + 0.1));
    let x = |value: f64| LEFT + (value - from) / (to - from) * (WIDTH - LEFT - RIGHT);
    let height = TOP + ROW * rows.len() as f64 + 40.0;
    let bottom = height - 34.0;
    let mut body = String::new();
    legend(&mut body, LEFT, &[("after stage 1", BLUE), ("after stage 2", ORANGE)]);
    for tick in 0..=((to - from) * 10.0_f64).round() as usize {
        let value = from + tick as f64 / 10.0;
        line(&mut body, [x(value), TOP - 8.0, x(value), bottom], "#ddd", 1.0);
        text(&mut body, [x(value), bottom + 18.0], "middle", &format!("{value:.1}"));
    }
    let _ = write!(
        body,
        r##"<line x1="{0:.1}" y1="{1:.1}" x2="{0:.1}" y2="{bottom:.1}" stroke="#777" stroke-dasharray="4 3"/>"##,
        x(floor.1),
        TOP - 8.0
    );
    text(&mut body, [x(floor.1), bottom + 32.0], "middle", floor.0);
    for (number, row) in rows.iter().enumerate() {
        let y = TOP + ROW * (number as f64 + 0.5);
        text(&mut body, [LEFT - 12.0, y + 4.0], "end", row.title);
        for (values, colour, offset) in [(&row.stage1, BLUE, -6.0), (&row.stage2, ORANGE, 6.0)] {
            if values.is_empty() {
                continue;
            }
            let (mean, deviation) = summary(values);
            line(&mut body, [x(mean - deviation), y + offset, x(mean + deviation), y + offset], colour, 2.0);
            circle(&mut body, [x(mean), y + offset], 4.5, colour, 1.0);
            for value in values {
                circle(&mut body, [x(*value), y + offset], 2.0, colour, 0.5);
            }
        }
    }
    svg(height, &body)
}

/// Curves over the square root of the number of pictures, with means and standard deviations.
pub fn curves(lines: &[Line], label: &str) -> String {
    let height = 360.0;
    let (top, bottom, left) = (TOP, height - 54.0, 60.0);
    let most = lines.iter().flat_map(|line| &line.points).map(|(place, _)| *place).max().unwrap_or(1).max(1);
    let lowest = lines
        .iter()
        .flat_map(|line| &line.points)
        .flat_map(|(_, values)| values)
        .fold(1.0_f64, |a, b| a.min(*b));
    let from = (lowest * 10.0).floor() / 10.0;
    let x = |place: usize| left + (place as f64 / most as f64).sqrt() * (WIDTH - left - RIGHT);
    let y = |value: f64| bottom - (value - from) / (1.0 - from) * (bottom - top);
    let mut body = String::new();
    let titles: Vec<(&str, &str)> =
        lines.iter().zip(PALETTE).map(|(line, colour)| (line.title, colour)).collect();
    legend(&mut body, left, &titles);
    for tick in 0..=((1.0 - from) * 10.0_f64).round() as usize {
        let value = from + tick as f64 / 10.0;
        line(&mut body, [left, y(value), WIDTH - RIGHT, y(value)], "#ddd", 1.0);
        text(&mut body, [left - 8.0, y(value) + 4.0], "end", &format!("{value:.1}"));
    }
    for (place, _) in lines.first().map_or(&[][..], |line| &line.points) {
        text(&mut body, [x(*place), bottom + 20.0], "middle", &place.to_string());
    }
    text(&mut body, [(left + WIDTH - RIGHT) / 2.0, bottom + 42.0], "middle", label);
    for (curve, colour) in lines.iter().zip(PALETTE) {
        let path: Vec<String> = curve
            .points
            .iter()
            .map(|(place, values)| format!("{:.1},{:.1}", x(*place), y(summary(values).0)))
            .collect();
        let _ = write!(
            body,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            path.join(" ")
        );
        for (place, values) in &curve.points {
            let (mean, deviation) = summary(values);
            line(&mut body, [x(*place), y(mean - deviation), x(*place), y(mean + deviation)], colour, 2.0);
            circle(&mut body, [x(*place), y(mean)], 4.5, colour, 1.0);
            for value in values {
                circle(&mut body, [x(*place), y(*value)], 2.0, colour, 0.5);
            }
        }
    }
    svg(height, &body)
}

fn svg(height: f64, body: &str) -> String {
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}">
<style>text {{ font: 13px "DejaVu Sans", "Noto Sans", Helvetica, Arial, sans-serif; fill: #222 }}</style>
<rect width="{WIDTH}" height="{height:.0}" fill="white"/>
{body}
</svg>
"##
    )
}

fn legend(body: &mut String, left: f64, entries: &[(&str, &str)]) {
    let mut x = left;
    for (title, colour) in entries {
        circle(body, [x + 6.0, 16.0], 5.0, colour, 1.0);
        text(body, [x + 17.0, 20.0], "start", title);
        x += 42.0 + 7.6 * title.len() as f64;
    }
}

fn line(body: &mut String, [x1, y1, x2, y2]: [f64; 4], colour: &str, width: f64) {
    let _ = writeln!(
        body,
        r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" stroke-width="{width}"/>"#
    );
}

fn circle(body: &mut String, [x, y]: [f64; 2], radius: f64, colour: &str, opacity: f64) {
    let _ = writeln!(
        body,
        r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{colour}" fill-opacity="{opacity}"/>"#
    );
}

fn text(body: &mut String, [x, y]: [f64; 2], anchor: &str, text: &str) {
    let text = super::table::escape(text);
    let _ = writeln!(body, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#);
}
