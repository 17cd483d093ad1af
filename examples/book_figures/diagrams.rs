use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::{IMAGE, INK, TEXT};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Point = (i32, i32);

const TRAINED: RGBColor = RGBColor(0, 158, 115);
const FROZEN: RGBColor = RGBColor(120, 120, 120);

/// What enters the language model in the two stages and at inference, and what is trained.
pub fn two_stages(path: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (860, 330)).into_drawing_area();
    area.fill(&WHITE)?;
    let rows = [
        ("stage 1", "caption", "text encoder, ReAlign", TEXT, FROZEN),
        ("stage 2", "picture", "image encoder", IMAGE, TRAINED),
        ("inference", "picture", "image encoder", IMAGE, FROZEN),
    ];
    for (row, (name, source, encoder, colour, language)) in rows.into_iter().enumerate() {
        let y = 60 + 90 * row as i32;
        label(&area, (20, y), name, INK, HPos::Left)?;
        boxed(&area, (110, y), (90, 44), source, colour)?;
        boxed(&area, (245, y), (180, 44), encoder, FROZEN)?;
        boxed(&area, (470, y), (100, 44), "projector", if row == 2 { FROZEN } else { TRAINED })?;
        boxed(&area, (615, y), (130, 44), "language model", language)?;
        for (from, to) in [(200, 245), (425, 470), (570, 615), (745, 790)] {
            arrow(&area, (from, y), (to, y), INK)?;
        }
        label(&area, (796, y), if row == 0 { "caption" } else { "answer" }, INK, HPos::Left)?;
    }
    label(&area, (470, 310), "green: trained, grey: frozen", INK, HPos::Left)?;
    Ok(area.present()?)
}

/// The mean gap and its parts within and across the space of the leading directions.
pub fn fixed_frame(path: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (640, 360)).into_drawing_area();
    area.fill(&WHITE)?;
    let plane = [(60, 310), (420, 310), (560, 210), (200, 210), (60, 310)];
    area.draw(&Polygon::new(plane, IMAGE.mix(0.12)))?;
    area.draw(&PathElement::new(plane, IMAGE.mix(0.6)))?;
    label(&area, (470, 296), "U: most of the variance", IMAGE, HPos::Left)?;
    let (origin, within, gap) = ((230, 275), (420, 240), (420, 70));
    arrow(&area, origin, within, IMAGE)?;
    arrow(&area, within, gap, TEXT)?;
    arrow(&area, origin, gap, INK)?;
    label(&area, (330, 275), "beta = P_U m", IMAGE, HPos::Left)?;
    label(&area, (432, 150), "gamma = P_V m, across U", TEXT, HPos::Left)?;
    label(&area, (250, 140), "m, the gap", INK, HPos::Left)?;
    label(&area, (20, 30), "V: the directions that are left", TEXT, HPos::Left)?;
    area.draw(&PathElement::new([(230, 275), (230, 60)], INK.mix(0.4)))?;
    Ok(area.present()?)
}

/// Three circular blocks of AnisoAlign: what a text's coordinates become.
pub fn circular_blocks(path: &Path) -> Result<(), Box<dyn Error>> {
    let area = SVGBackend::new(path, (860, 340)).into_drawing_area();
    area.fill(&WHITE)?;
    // Of each block: the radii of the text and of the images, the phase, and how far the refinement turns and stretches it.
    let blocks = [
        ("block 1", 46.0, 78.0, 0.7, 0.22, 1.12),
        ("block 2", 88.0, 60.0, 2.3, -0.25, 0.9),
        ("block m", 40.0, 58.0, -0.6, 0.12, 1.1),
    ];
    for (column, (name, text, image, phase, turn, stretch)) in blocks.into_iter().enumerate() {
        let centre = (145 + 285 * column as i32, 180);
        let point = |radius: f64, phase: f64| {
            let (sine, cosine) = phase.sin_cos();
            (centre.0 + (radius * cosine).round() as i32, centre.1 - (radius * sine).round() as i32)
        };
        for to in [(centre.0 + 118, centre.1), (centre.0, centre.1 - 118)] {
            arrow(&area, centre, to, FROZEN)?;
        }
        label(&area, (centre.0 + 124, centre.1 + 14), "a", INK, HPos::Center)?;
        label(&area, (centre.0 - 12, centre.1 - 116), "b", INK, HPos::Center)?;
        area.draw(&Circle::new(centre, image as i32, IMAGE.stroke_width(2)))?;
        // Where the refinement may take the point: a sector of a ring.
        let (most, growth) = (0.35, 1.22_f64);
        let steps =
            |from: f64, to: f64| (0..=16).map(move |step| from + (to - from) * f64::from(step) / 16.0);
        let outer = steps(phase - most, phase + most).map(|phase| point(image * growth, phase));
        let inner = steps(phase + most, phase - most).map(|phase| point(image / growth, phase));
        area.draw(&Polygon::new(outer.chain(inner).collect::<Vec<_>>(), TRAINED.mix(0.25)))?;
        let (start, matched) = (point(text, phase), point(image, phase));
        let refined = point(image * stretch, phase + turn);
        area.draw(&PathElement::new([centre, start], TEXT.mix(0.6)))?;
        arrow(&area, start, matched, TEXT)?;
        arrow(&area, matched, refined, TRAINED)?;
        for (at, colour) in [(start, TEXT), (matched, IMAGE), (refined, TRAINED)] {
            area.draw(&Circle::new(at, 4, colour.filled()))?;
        }
        label(&area, (centre.0, 36), name, INK, HPos::Center)?;
        if column == 2 {
            label(&area, (centre.0 - 142, centre.1), "...", INK, HPos::Center)?;
        }
    }
    label(&area, (20, 316), "orange: the text, its radius carried to the images' (blue)", TEXT, HPos::Left)?;
    label(&area, (450, 316), "green: how far the refinement may take it, and does", TRAINED, HPos::Left)?;
    Ok(area.present()?)
}

fn label(
    area: &Area<'_>,
    at: Point,
    text: &str,
    colour: RGBColor,
    anchor: HPos,
) -> Result<(), Box<dyn Error>> {
    let style =
        TextStyle::from(("sans-serif", 15).into_font()).color(&colour).pos(Pos::new(anchor, VPos::Center));
    Ok(area.draw(&Text::new(text.to_string(), at, style))?)
}

/// A box with its left edge at `x` and its middle at `y`.
fn boxed(
    area: &Area<'_>,
    (x, y): Point,
    (width, height): Point,
    text: &str,
    colour: RGBColor,
) -> Result<(), Box<dyn Error>> {
    let corners = [(x, y - height / 2), (x + width, y + height / 2)];
    area.draw(&Rectangle::new(corners, colour.mix(0.15).filled()))?;
    area.draw(&Rectangle::new(corners, colour.stroke_width(2)))?;
    label(area, (x + width / 2, y), text, INK, HPos::Center)
}

fn arrow(area: &Area<'_>, from: Point, to: Point, colour: RGBColor) -> Result<(), Box<dyn Error>> {
    area.draw(&PathElement::new([from, to], colour.stroke_width(2)))?;
    let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    let length = dx.hypot(dy);
    let (ux, uy) = (dx / length * 9.0, dy / length * 9.0);
    let wing = |side: f64| {
        let (x, y) = (f64::from(to.0) - ux - side * uy * 0.5, f64::from(to.1) - uy + side * ux * 0.5);
        (x.round() as i32, y.round() as i32)
    };
    Ok(area.draw(&Polygon::new([to, wing(1.0), wing(-1.0)], colour))?)
}
