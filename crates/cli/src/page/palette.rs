//! Colours: one for each modality and method, the same in every chart.
//!
//! The hues are those of Okabe and Ito and of Tol, which the common kinds of colour blindness leave apart;
//! lines also differ by their dashes, so that no chart depends on hue alone.

use std::collections::HashMap;

use plotters::style::RGBColor;

use burn_revision::report::GapReport;
use burn_revision::report::sections::MethodReport;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stroke {
    /// The colour.
    pub color: RGBColor,
    /// The lengths of dash and gap in pixels; `None` for an unbroken line.
    pub dash: Option<(u32, u32)>,
}

/// The images, and what is compared with them.
pub(super) const IMAGE: Stroke = solid(0x33, 0x33, 0x33);
/// The text as it is.
pub(super) const TEXT: Stroke = solid(0xD5, 0x5E, 0x00);
/// The residual of pairs.
pub(super) const RESIDUAL: Stroke = Stroke { color: RGBColor(0x7A, 0x5C, 0x99), dash: Some((8, 4)) };
/// What a formula predicts, and other lines to compare with.
pub(super) const REFERENCE: Stroke = Stroke { color: RGBColor(0x70, 0x70, 0x70), dash: Some((6, 4)) };
/// The four parts of the distance of a pair: blue within U, purple within V, dark for the means.
pub(super) const PARTS: [Stroke; 4] =
    [solid(0x08, 0x51, 0x9C), solid(0x54, 0x27, 0x8F), solid(0x7F, 0xB3, 0xDA), solid(0xB5, 0xA8, 0xD5)];
/// Methods that the report does not list.
const UNKNOWN: Stroke = solid(0x90, 0x90, 0x90);

/// The colours of methods, in the order in which methods take them.
const METHODS: [RGBColor; 10] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0x88, 0x22, 0x55),
    RGBColor(0x99, 0x99, 0x33),
    RGBColor(0x33, 0x22, 0x88),
    RGBColor(0x44, 0xAA, 0x99),
    RGBColor(0xAA, 0x44, 0x99),
];

/// The dashes of methods, which they take in turn.
const DASHES: [Option<(u32, u32)>; 3] = [None, Some((10, 4)), Some((3, 3))];

/// An unbroken line.
pub(super) const fn solid(r: u8, g: u8, b: u8) -> Stroke {
    Stroke { color: RGBColor(r, g, b), dash: None }
}

/// A colour as CSS and SVG have it.
pub(super) fn hex(color: RGBColor) -> String {
    format!("#{:02X}{:02X}{:02X}", color.0, color.1, color.2)
}

/// Whether a method leaves the text as it is, so that what compares text with itself says nothing about it.
pub(super) fn is_identity(method: &MethodReport) -> bool {
    method.name == "identity"
}

/// The colours of the methods of one report.
pub(super) struct Palette {
    strokes: HashMap<String, Stroke>,
}

impl Palette {
    /// Assigns colours to methods in the order of the report; the identity has that of the text.
    pub(super) fn new(report: &GapReport) -> Self {
        let mut strokes = HashMap::new();
        let mut assigned = 0;
        for method in &report.methods {
            if strokes.contains_key(&method.name) {
                continue;
            }
            let stroke = if is_identity(method) {
                TEXT
            } else {
                assigned += 1;
                Stroke {
                    color: METHODS[(assigned - 1) % METHODS.len()],
                    dash: DASHES[(assigned - 1) % DASHES.len()],
                }
            };
            strokes.insert(method.name.clone(), stroke);
        }
        Self { strokes }
    }

    /// The stroke of a method.
    pub(super) fn method(&self, name: &str) -> Stroke {
        self.strokes.get(name).copied().unwrap_or(UNKNOWN)
    }
}
