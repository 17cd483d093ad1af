//! What a run found: `report.json`, and the table that is printed.

use std::fmt::Write as _;
use std::path::Path;

use burn_revision::Result;
use serde::{Deserialize, Serialize};

use super::answers::Accuracy;
use super::variants::VariantResult;
use crate::common::table::{escape, figure, markdown, summary};
use crate::common::write;

/// The columns of the table.
const HEAD: [&str; 9] =
    ["stage 1 is shown", "right", "yes/no", "shape", "colour", "right", "yes/no", "shape", "colour"];
/// The rows that the headline is about.
const ALIGNED: &str = "ReAlign + noise";
const REAL: &str = "real pairs";
const NO_STAGE1: &str = "no stage 1";

/// A point of the curve: pictures in stage 2, and the share of right answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    pub title: String,
    pub pictures: usize,
    pub accuracy: f64,
}

/// One seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedReport {
    pub seed: u64,
    /// How often the nearest caption of a test picture is a true one.
    pub concept_accuracy: f64,
    /// The distance between the means of captions and pictures.
    pub gap: f64,
    /// The scale that would give the captions the spread of the pictures.
    pub scale: f64,
    /// The most frequent answer to each question, whatever is shown.
    pub prior: Accuracy,
    /// The language model without a picture.
    pub blind: Accuracy,
    /// The language model with a true caption as text.
    pub told: f64,
    pub variants: Vec<VariantResult>,
    pub curve: Vec<Point>,
    pub encoder_seconds: f64,
    pub language_seconds: f64,
}

/// Everything that a run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub burn_revision: String,
    pub device: String,
    pub pictures: String,
    /// Whether training pictures were measured, to choose settings, and not those to test.
    pub validation: bool,
    /// The pairs of colour and shape that neither encoder nor stage 1 saw.
    pub held_out: Vec<String>,
    pub settings: super::settings::Settings,
    pub questions: usize,
    pub seeds: Vec<SeedReport>,
    pub seconds: f64,
}

/// What a run was made of, for the files of the comparisons that are no [`Report`].
pub struct Run<'a> {
    pub settings: &'a super::settings::Settings,
    pub pictures: &'a str,
    pub validation: bool,
}

impl Run<'_> {
    /// Writes a file with what was found under `name`.
    pub fn write(&self, path: &Path, name: &str, found: &impl Serialize) -> Result<()> {
        let json = serde_json::json!({
            "burn_revision": env!("CARGO_PKG_VERSION"),
            "pictures": self.pictures,
            "validation": self.validation,
            "settings": self.settings,
            name: found,
        });
        write(path, &serde_json::to_vec_pretty(&json).expect("plain data"))
    }

    /// The beginning of a page.
    pub fn heading(&self, title: &str) -> String {
        let measured =
            if self.validation { ", measured on training pictures, to choose settings" } else { "" };
        let pictures = escape(self.pictures);
        format!(
            "<h1>{title}</h1>\n<p class=\"lead\">{pictures}{measured} · burn-revision {}</p>\n",
            env!("CARGO_PKG_VERSION")
        )
    }
}

impl Report {
    /// Its file in the output folder.
    pub const FILE: &str = "report.json";

    /// Writes its file.
    pub fn write(&self, output: &Path) -> Result<()> {
        write(&output.join(Self::FILE), &serde_json::to_vec(self).expect("a report is plain data"))
    }

    /// A value of a variant, for each seed.
    pub fn collect(&self, title: &str, value: impl Fn(&VariantResult) -> Option<f64>) -> Vec<f64> {
        let results = self.seeds.iter().flat_map(|seed| &seed.variants);
        results.filter(|result| result.variant.title == title).filter_map(value).collect()
    }

    /// The titles of the variants, in their order.
    pub fn titles(&self) -> Vec<&str> {
        let first = self.seeds.first().map_or(&[][..], |seed| &seed.variants);
        first.iter().map(|result| result.variant.title.as_str()).collect()
    }

    /// The table, in Markdown.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let of_seeds = |value: fn(&SeedReport) -> f64, digits| {
            figure(&self.seeds.iter().map(value).collect::<Vec<_>>(), digits)
        };
        let seeds = match self.seeds.len() {
            1 => "1 seed".to_string(),
            n => format!("{n} seeds, mean ± standard deviation"),
        };
        let _ = writeln!(
            out,
            "{} questions about {} ({}); {seeds}.",
            self.questions,
            match self.validation {
                true => "training pictures that nothing else uses",
                false => "pictures that nothing has seen",
            },
            self.pictures
        );
        let _ = writeln!(
            out,
            "Gap {} (logit scale {}), scale s {}; the encoder's nearest caption is true for {} of the pictures.\n\
             The language model, told a true caption as text, is right in {}.\n",
            of_seeds(|seed| seed.gap, 2),
            self.settings.logit_scale,
            of_seeds(|seed| seed.scale, 2),
            of_seeds(|seed| seed.concept_accuracy, 3),
            of_seeds(|seed| seed.told, 3),
        );
        let mut rows = vec![HEAD.map(String::from).to_vec()];
        let values: [fn(&Accuracy) -> f64; 4] = [|a| a.all, |a| a.yes_no, |a| a.shape, |a| a.colour];
        type Unseeing = fn(&SeedReport) -> &Accuracy;
        let unseeing: [(&str, Unseeing); 2] = [
            ("the question alone, most frequent answer", |seed| &seed.prior),
            ("no picture", |seed| &seed.blind),
        ];
        for (title, accuracy) in unseeing {
            let mut row = vec![title.to_string()];
            row.extend(values.map(|value| {
                figure(&self.seeds.iter().map(|seed| value(accuracy(seed))).collect::<Vec<_>>(), 3)
            }));
            row.extend(["-"; 4].map(String::from));
            rows.push(row);
        }
        for title in self.titles() {
            let mut row = vec![title.to_string()];
            for value in values {
                row.push(figure(&self.collect(title, |result| result.stage1.as_ref().map(value)), 3));
            }
            for value in values {
                row.push(figure(&self.collect(title, |result| Some(value(&result.stage2))), 3));
            }
            rows.push(row);
        }
        let _ = writeln!(
            out,
            "Columns 2-5: after stage 1 alone. Columns 6-9: after stage 2 on {} real pictures as well.\n",
            self.settings.stage2_pictures
        );
        out.push_str(&markdown(&rows));
        out
    }

    /// The titles and the numbers of pictures of the curve.
    pub fn curve_axes(&self) -> (Vec<&str>, Vec<usize>) {
        let (mut titles, mut counts) = (Vec::new(), Vec::new());
        for point in self.seeds.iter().flat_map(|seed| &seed.curve) {
            if !titles.contains(&point.title.as_str()) {
                titles.push(&point.title);
            }
            if !counts.contains(&point.pictures) {
                counts.push(point.pictures);
            }
        }
        (titles, counts)
    }

    /// The values of the seeds at a point of the curve.
    pub fn curve_values(&self, title: &str, pictures: usize) -> Vec<f64> {
        let points = self.seeds.iter().flat_map(|seed| &seed.curve);
        let here = points.filter(|point| point.title == title && point.pictures == pictures);
        here.map(|point| point.accuracy).collect()
    }

    /// The share of right answers by the number of real pictures in stage 2, in Markdown.
    pub fn curve(&self) -> String {
        let (titles, counts) = self.curve_axes();
        if titles.is_empty() {
            return String::new();
        }
        let head = std::iter::once("real pictures in stage 2".to_string());
        let mut rows = vec![head.chain(counts.iter().map(usize::to_string)).collect::<Vec<_>>()];
        for title in titles {
            let values = counts.iter().map(|count| figure(&self.curve_values(title, *count), 3));
            rows.push(std::iter::once(title.to_string()).chain(values).collect());
        }
        markdown(&rows)
    }

    /// What a reader wants to know first.
    pub fn headline(&self) -> String {
        let stage1 =
            |title: &str| self.collect(title, |result| result.stage1.as_ref().map(|stage| stage.all));
        let shares: Vec<f64> =
            stage1(ALIGNED).iter().zip(stage1(REAL)).map(|(aligned, real)| aligned / real).collect();
        let gains: Vec<f64> = self
            .collect(ALIGNED, |result| Some(result.stage2.all))
            .iter()
            .zip(self.collect(NO_STAGE1, |result| Some(result.stage2.all)))
            .map(|(with, without)| 100.0 * (with - without))
            .collect();
        format!(
            "Stage 1 on text alone ({ALIGNED}) answers {} times as many questions rightly as stage 1 on real pairs. With {} real \
             pictures in stage 2 it is {} points above the same pictures without stage 1.",
            figure(&shares, 3),
            self.settings.stage2_pictures,
            figure(&gains, 1),
        )
    }

    /// Paired differences after stage 1: each seed's, in standard errors over its pictures, in Markdown.
    ///
    /// Questions about one picture are not independent, so that pictures are what is counted.
    pub fn findings(&self) -> String {
        let mut out = format!("{}\n\n", self.headline());
        let pairs = [
            ("mean shift", "no alignment"),
            ("C3", "no alignment"),
            ("ReAlign", "no alignment"),
            (ALIGNED, "no alignment"),
            ("ReAlign", "mean shift"),
            (ALIGNED, "ReAlign"),
            (REAL, ALIGNED),
        ];
        let mut rows = vec![vec!["after stage 1".to_string()]];
        rows[0].extend(self.seeds.iter().map(|seed| format!("seed {}", seed.seed)));
        for (first, second) in pairs {
            let cells: Vec<String> = self
                .seeds
                .iter()
                .filter_map(|seed| {
                    let right = |title: &str| {
                        let result = seed.variants.iter().find(|result| result.variant.title == title)?;
                        Some(&result.stage1.as_ref()?.right)
                    };
                    let (difference, error) = paired(right(first)?, right(second)?, self.questions);
                    Some(format!("{difference:+.3} ({:+.1} errors)", difference / error))
                })
                .collect();
            if cells.len() == self.seeds.len() {
                rows.push(std::iter::once(format!("{first} - {second}")).chain(cells).collect());
            }
        }
        if rows.len() > 1 {
            out.push_str(&markdown(&rows));
        }
        out
    }
}

/// The difference of two shares of right answers, and its standard error over pictures.
fn paired(first: &[usize], second: &[usize], questions: usize) -> (f64, f64) {
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| *a as f64 - *b as f64).collect();
    let (mean, deviation) = summary(&differences);
    let count = differences.len() as f64;
    let scale = count / questions as f64;
    (mean * scale, (deviation / count.sqrt() * scale).max(f64::MIN_POSITIVE))
}
