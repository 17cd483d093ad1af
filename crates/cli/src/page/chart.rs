//! Charts as inline SVG, drawn with `plotters`.

use std::fmt::Write;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::palette::{self, Stroke};
use super::text;

/// `plotters` rounds coordinates to whole pixels: so many of them to one pixel of the page keep curves smooth.
const SCALE: u32 = 4;
/// The size of letters, in pixels of the page.
const LETTERS: f64 = 13.0;
/// The backend divides sizes of letters by this.
const BACKEND_LETTERS: f64 = 1.24;
/// Points of a cloud are spread over so many paths: only the points of different paths add up where they overlap.
const CLOUD_LAYERS: usize = 6;
/// Charts wider than this are wide.
const WIDE: u32 = 700;
/// The colour of letters.
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// The colour of the lines of the grid.
const GRID: RGBColor = RGBColor(0xE4, 0xE4, 0xE4);

/// What went wrong while drawing.
type Error = DrawingAreaErrorKind<std::io::Error>;
/// The chart that marks are drawn on.
type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Axis, Axis>>;

/// Something drawn in a panel, in the coordinates of its axes and in pixels of the page.
pub(super) enum Mark {
    /// A line through points; those that the axes cannot take break it.
    Line { points: Vec<(f64, f64)>, stroke: Stroke, width: u32 },
    /// The area between points and the lower end of the axis.
    Area { points: Vec<(f64, f64)>, color: RGBColor, opacity: f64 },
    /// Dots.
    Dots { points: Vec<(f64, f64)>, color: RGBColor, radius: u32, opacity: f64 },
    /// A bar between two corners.
    Bar { from: (f64, f64), to: (f64, f64), color: RGBColor, opacity: f64 },
    /// Words that start so many pixels right of a point and stand at its height.
    Words { at: (f64, f64), right: i32, words: String, color: RGBColor, bold: bool },
    /// Clouds of many half transparent points, mixed so that none hides another, in colours of their own.
    Clouds(Vec<(Vec<[f32; 2]>, RGBColor)>),
}

/// A chart with two axes; lengths in pixels of the page.
pub(super) struct Panel<'a> {
    /// Width and height.
    pub size: (u32, u32),
    /// The width of the labels of the vertical axis.
    pub left: u32,
    /// The margin to the right of the plot.
    pub right: u32,
    /// The horizontal axis and what it shows.
    pub x: (Axis, &'a str),
    /// The vertical axis and what it shows.
    pub y: (Axis, &'a str),
    /// What the chart shows, for screen readers.
    pub label: &'a str,
}

impl Panel<'_> {
    /// Draws `marks`, the first of them at the back.
    pub(super) fn draw(self, marks: &[Mark]) -> String {
        let label = text::escape(self.label);
        let (width, height) = (self.size.0 * SCALE, self.size.1 * SCALE);
        match self.body((width, height), marks) {
            Ok(body) => {
                // Wide charts scroll on narrow screens, where their letters would become too small.
                let class = if self.size.0 > WIDE { "chart wide" } else { "chart" };
                format!(
                    "<div class=\"scroll\"><svg class=\"{class}\" role=\"img\" aria-label=\"{label}\" \
                     viewBox=\"0 0 {width} {height}\" style=\"max-width:{}px\">\n{body}</svg></div>\n",
                    self.size.0
                )
            }
            Err(error) => {
                format!("<p>This chart could not be drawn: {}</p>\n", text::escape(&error.to_string()))
            }
        }
    }

    /// The content of the element `svg`.
    fn body(&self, size: (u32, u32), marks: &[Mark]) -> Result<String, Error> {
        let mut svg = String::new();
        let mut clouds = String::new();
        {
            let root: DrawingArea<_, Shift> = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            let mut chart = ChartBuilder::on(&root)
                .margin_top(10 * SCALE)
                .margin_right(self.right * SCALE)
                .x_label_area_size(46 * SCALE)
                .y_label_area_size(self.left * SCALE)
                .build_cartesian_2d(self.x.0.clone(), self.y.0.clone())?;
            chart
                .configure_mesh()
                .max_light_lines(0)
                .bold_line_style(GRID.stroke_width(SCALE))
                .light_line_style(TRANSPARENT)
                .axis_style(INK.mix(0.6).stroke_width(SCALE))
                .set_all_tick_mark_size(4 * SCALE)
                .label_style(letters(false, INK))
                .axis_desc_style(letters(false, INK))
                .x_desc(self.x.1)
                .y_desc(self.y.1)
                .draw()?;
            for mark in marks {
                draw(&mut chart, (&self.x.0, &self.y.0), mark, &mut clouds)?;
            }
            root.present()?;
        }
        // The element of the backend has a fixed size and a namespace, which HTML needs not.
        let start = svg.find('\n').map_or(0, |end| end + 1);
        let end = svg.rfind("</svg>").unwrap_or(svg.len());
        let body = svg.get(start..end).unwrap_or_default().replace(" opacity=\"1\"", "");
        Ok(body.replace(">\n", ">").replace("\n</text>", "</text>").replace("><", ">\n<") + &clouds)
    }
}

/// Letters of the size of all charts.
fn letters(bold: bool, color: RGBColor) -> TextStyle<'static> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let size = LETTERS * f64::from(SCALE) * BACKEND_LETTERS;
    let mut style = TextStyle::from(("sans-serif", size, style).into_font());
    style.color = color.to_backend_color();
    style
}

/// Draws one mark; clouds are written to a string of their own.
fn draw(chart: &mut Context, axes: (&Axis, &Axis), mark: &Mark, clouds: &mut String) -> Result<(), Error> {
    let takes = |p: &&(f64, f64)| axes.0.takes(p.0) && axes.1.takes(p.1);
    match mark {
        Mark::Line { points, stroke, width } => {
            let style = stroke.color.stroke_width(width * SCALE);
            for run in points.split(|p| !takes(&p)) {
                match (run, stroke.dash) {
                    ([], _) => {}
                    // A point without neighbours would be no line at all.
                    ([alone], _) => {
                        chart.draw_series([Circle::new(*alone, (width + 1) * SCALE, style.filled())])?;
                    }
                    (_, Some((dash, gap))) => {
                        let run = run.to_vec();
                        chart.draw_series(DashedLineSeries::new(run, dash * SCALE, gap * SCALE, style))?;
                    }
                    (_, None) => {
                        chart.draw_series(LineSeries::new(run.iter().copied(), style))?;
                    }
                }
            }
        }
        Mark::Area { points, color, opacity } => {
            let mut outline: Vec<_> = points.iter().filter(takes).copied().collect();
            if let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) {
                outline.extend([(last.0, axes.1.low()), (first.0, axes.1.low())]);
                chart.draw_series([Polygon::new(outline, color.mix(*opacity))])?;
            }
        }
        Mark::Dots { points, color, radius, opacity } => {
            let style = color.mix(*opacity).filled();
            chart.draw_series(
                points.iter().filter(takes).map(|point| Circle::new(*point, radius * SCALE, style)),
            )?;
        }
        Mark::Bar { from, to, color, opacity } => {
            chart.draw_series([Rectangle::new([*from, *to], color.mix(*opacity).filled())])?;
        }
        Mark::Words { at, right, words, color, bold } => {
            let style = letters(*bold, *color).pos(Pos::new(HPos::Left, VPos::Center));
            let words = Text::new(text::clean(words), (right * SCALE as i32, 0), style);
            chart.draw_series([EmptyElement::at(*at) + words])?;
        }
        Mark::Clouds(sets) => cloud_paths(chart, sets, clouds),
    }
    Ok(())
}

/// Clouds as few paths of dots: an element for each point would make the page large.
fn cloud_paths(chart: &Context, sets: &[(Vec<[f32; 2]>, RGBColor)], out: &mut String) {
    for layer in 0..CLOUD_LAYERS {
        for (points, color) in sets {
            let mut path = String::new();
            for [x, y] in points.iter().skip(layer).step_by(CLOUD_LAYERS) {
                let (x, y) = (f64::from(*x), f64::from(*y));
                let inside = |v: f64, axis: Range<f64>| axis.contains(&v);
                if inside(x, chart.x_range()) && inside(y, chart.y_range()) {
                    let (x, y) = chart.backend_coord(&(x, y));
                    _ = write!(path, "M{x} {y}h0");
                }
            }
            if !path.is_empty() {
                _ = writeln!(
                    out,
                    "<path class=\"cloud\" stroke=\"{}\" stroke-width=\"{}\" d=\"{path}\"/>",
                    palette::hex(*color),
                    4 * SCALE
                );
            }
        }
    }
}
