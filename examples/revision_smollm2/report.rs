use std::fmt::Write;

use burn_revision::revision::{CaptionScores, Conversation};
use serde::Serialize;

use crate::common::table::{escape, figure, markdown, summary};
use crate::common::{charts, html};
use crate::retrieval::truth;
use crate::settings::Settings;
use crate::variants::VariantResult;
use crate::world::Measured;

/// Pictures whose captions are shown.
const SHOWN: usize = 12;
/// A caption finds its picture where it is among so many.
const FOUND: usize = 10;
const TITLE: &str = "SmolLM2, trained on text, captions pictures";

/// One seed.
#[derive(Serialize)]
pub struct SeedReport {
    pub seed: u64,
    pub variants: Vec<VariantResult>,
}

/// Everything that a run found.
#[derive(Serialize)]
pub struct Report {
    pub burn_revision: &'static str,
    pub settings: Settings,
    /// Whether pictures of stage 2 were measured, to choose settings, and not those to test.
    pub validation: bool,
    /// Captions of stage 1.
    pub stage1_captions: usize,
    /// Pictures of stage 2.
    pub stage2_pictures: usize,
    /// The language model as it came, without a picture.
    pub blind: CaptionScores,
    /// Where the pictures stand when their true captions look for them.
    pub true_ranks: Option<Vec<usize>>,
    /// What is measured.
    #[serde(skip)]
    pub test: Vec<Conversation>,
    pub seeds: Vec<SeedReport>,
}

/// The share of pictures that their captions find.
fn found(ranks: &[usize]) -> f64 {
    ranks.iter().filter(|rank| **rank < FOUND).count() as f64 / ranks.len() as f64
}

/// How many captions are different from one another.
fn different(found: &Measured) -> f64 {
    found.captions.iter().map(|caption| caption.trim()).collect::<std::collections::HashSet<_>>().len() as f64
}

impl Report {
    /// Everything, in Markdown.
    pub fn markdown(&self) -> String {
        format!("{}\n{}\n{}", self.table(), self.differences(), self.captions())
    }

    /// The page, with error bars.
    pub fn html(&self) -> String {
        let mut body = format!("<h1>{TITLE}</h1>\n");
        if self.validation {
            body.push_str("<p><b>Measured on pictures of stage 2, to choose settings.</b></p>\n");
        }
        body.push_str("<h2>Captions that find their picture</h2>\n<p>Bars are standard deviations over seeds, small dots single seeds. \
            The dashed line is how often true captions do.</p>\n");
        body.push_str(&self.drawing());
        html::table(&mut body, &self.table());
        body.push_str("<h2>Differences within a seed</h2>\n");
        html::table(&mut body, &self.differences());
        body.push_str("<h2>Captions</h2>\n");
        html::table(&mut body, &self.captions());
        html::settings(&mut body, &self.settings);
        html::page(&escape(TITLE), &body)
    }

    /// The share of captions that find their picture, for each row.
    pub fn drawing(&self) -> String {
        let share = |measured: &Measured| measured.ranks.as_deref().map(found);
        let titles = self.titles();
        let rows: Vec<charts::Row> = titles
            .iter()
            .map(|title| charts::Row {
                title,
                stage1: self.collect(title, |result| result.stage1.as_ref().and_then(share)),
                stage2: self.collect(title, |result| share(&result.stage2)),
            })
            .collect();
        let truth = self.true_ranks.as_deref().map_or(0.0, found);
        charts::rows(&rows, ("true captions", truth))
    }

    fn titles(&self) -> Vec<&str> {
        let first = self.seeds.iter().max_by_key(|seed| seed.variants.len());
        first.map_or(Vec::new(), |seed| {
            seed.variants.iter().map(|result| result.variant.title.as_str()).collect()
        })
    }

    fn collect(&self, title: &str, value: impl Fn(&VariantResult) -> Option<f64>) -> Vec<f64> {
        let results = self.seeds.iter().flat_map(|seed| &seed.variants);
        results.filter(|result| result.variant.title == title).filter_map(value).collect()
    }

    /// A row for each variant.
    fn table(&self) -> String {
        let mut text = format!(
            "{} {} pictures, {} captions in stage 1, {} pictures in stage 2; {}.\n\
             The language model as it came, without a picture: NLL {:.3}.\n",
            self.blind.samples,
            if self.validation { "pictures of stage 2 that were kept from it:" } else { "held-out" },
            self.stage1_captions,
            self.stage2_pictures,
            match self.seeds.len() {
                1 => "1 seed".to_string(),
                seeds => format!("{seeds} seeds, mean ± standard deviation"),
            },
            self.blind.nll
        );
        if let Some(ranks) = &self.true_ranks {
            let _ = writeln!(
                text,
                "A true caption finds its picture among the nearest {FOUND} in {:.3} of the cases, and by chance in about {:.3}.",
                found(ranks),
                FOUND as f64 / ranks.len() as f64
            );
        }
        type Value = fn(&Measured) -> Option<f64>;
        let columns: [(&str, Value, usize); 6] = [
            ("NLL", |m| Some(m.scores.nll), 3),
            ("another picture", |m| Some(m.other_nll - m.scores.nll), 3),
            ("found", |m| m.ranks.as_deref().map(found), 3),
            ("word F1", |m| Some(m.scores.word_f1), 3),
            ("CIDEr-D", |m| m.scores.cider_d, 3),
            ("different", |m| Some(different(m)), 0),
        ];
        let _ = writeln!(text, "Columns 2-7: after stage 1 alone. Columns 8-13: after stage 2 as well.\n");
        let mut rows = vec![vec!["stage 1 is shown".to_string()]];
        rows[0].extend([0, 1].iter().flat_map(|_| columns.iter().map(|(name, ..)| name.to_string())));
        for title in self.titles() {
            let mut row = vec![title.to_string()];
            for (_, value, digits) in columns {
                row.push(figure(
                    &self.collect(title, |result| result.stage1.as_ref().and_then(value)),
                    digits,
                ));
            }
            for (_, value, digits) in columns {
                row.push(figure(&self.collect(title, |result| value(&result.stage2)), digits));
            }
            rows.push(row);
        }
        text + &markdown(&rows)
    }

    /// What a row has over another in each seed: nats of NLL, and pictures that are found, in standard errors over pictures.
    fn differences(&self) -> String {
        let pairs = [
            ("mean shift", "no alignment"),
            ("ReAlign", "no alignment"),
            ("ReAlign", "mean shift"),
            ("ReAlign + noise", "ReAlign"),
            ("ReAlign + noise", "no alignment"),
            ("AnisoAlign", "ReAlign"),
            ("real pairs", "ReAlign + noise"),
        ];
        let mut rows = vec![vec!["after stage 1: NLL, and pictures found".to_string()]];
        rows[0].extend(self.seeds.iter().map(|seed| format!("seed {}", seed.seed)));
        for (first, second) in pairs {
            let cells: Vec<String> = self
                .seeds
                .iter()
                .filter_map(|seed| {
                    let stage1 = |title: &str| {
                        let result = seed.variants.iter().find(|result| result.variant.title == title)?;
                        result.stage1.as_ref()
                    };
                    let (first, second) = (stage1(first)?, stage1(second)?);
                    let nll = first.scores.nll - second.scores.nll;
                    let ranks = first.ranks.as_ref().zip(second.ranks.as_ref());
                    let found = ranks.map_or_else(String::new, |(first, second)| {
                        let (difference, error) = paired(first, second);
                        format!(", {difference:+.3} ({:+.1} errors)", difference / error)
                    });
                    Some(format!("{nll:+.3}{found}"))
                })
                .collect();
            if cells.len() == self.seeds.len() {
                rows.push(std::iter::once(format!("{first} - {second}")).chain(cells).collect());
            }
        }
        if rows.len() > 1 { markdown(&rows) } else { String::new() }
    }

    /// Captions of pictures at equal distances, of the first seed: the truth, and what aligned text and the upper bound say.
    fn captions(&self) -> String {
        let find =
            |title: &str| self.seeds.first()?.variants.iter().find(|result| result.variant.title == title);
        let (Some(ours), Some(bound)) = (find("ReAlign + noise"), find("real pairs")) else {
            return String::new();
        };
        let cell = |caption: &str| caption.trim().replace(['\n', '|'], " ");
        let head = [
            "picture",
            "truth",
            "aligned text, stage 1",
            "real pairs, stage 1",
            "aligned text, stage 2",
            "real pairs, stage 2",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        let count = SHOWN.min(self.test.len());
        for index in (0..count).map(|index| index * self.test.len() / count) {
            let first = |result: &VariantResult| {
                result.stage1.as_ref().map_or_else(String::new, |found| cell(&found.captions[index]))
            };
            let second = |result: &VariantResult| cell(&result.stage2.captions[index]);
            let test = &self.test[index];
            rows.push(vec![
                test.image.clone().unwrap_or_default(),
                cell(truth(test)),
                first(ours),
                first(bound),
                second(ours),
                second(bound),
            ]);
        }
        markdown(&rows)
    }
}

/// The difference of two shares of found pictures, and its standard error over pictures.
fn paired(first: &[usize], second: &[usize]) -> (f64, f64) {
    let hit = |rank: &usize| f64::from(u8::from(*rank < FOUND));
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| hit(a) - hit(b)).collect();
    let (mean, deviation) = summary(&differences);
    (mean, (deviation / (differences.len() as f64).sqrt()).max(f64::MIN_POSITIVE))
}
