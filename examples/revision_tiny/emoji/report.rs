//! What a run found: `report.json`, and the table that is printed.

use std::fmt::Write as _;

use burn_revision::encoder::GapRecord;
use burn_revision::revision::CaptionScores;
use serde::{Deserialize, Serialize};

use super::variants::{Variant, VariantResult};
use super::world::Retrieval;
use crate::common::table::{figure, markdown};

/// One seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedReport {
    pub seed: u64,
    pub test_pictures: Vec<String>,
    pub retrieval: Vec<Retrieval>,
    /// The gap of the held-out pairs while the encoder was trained.
    pub gap: Vec<GapRecord>,
    /// The language model without any picture.
    pub blind: CaptionScores,
    pub variants: Vec<VariantResult>,
    pub encoder_seconds: f64,
    pub language_seconds: f64,
}

/// Everything that a run found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub burn_revision: String,
    pub device: String,
    pub settings: serde_json::Value,
    pub pictures: usize,
    pub seeds: Vec<SeedReport>,
    pub seconds: f64,
}

impl Report {
    /// A value of a variant, for each seed.
    pub fn collect(&self, variant: Variant, value: impl Fn(&VariantResult) -> Option<f64>) -> Vec<f64> {
        self.seeds
            .iter()
            .flat_map(|seed| &seed.variants)
            .filter(|r| r.variant == variant)
            .filter_map(value)
            .collect()
    }

    /// The tables, in Markdown.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let seeds = self.seeds.len();
        let tests = self.seeds.first().map_or(0, |seed| seed.test_pictures.len());
        let r1: Vec<f64> = self.seeds.iter().map(|seed| seed.retrieval[0].image_to_text).collect();
        let blind: Vec<f64> = self.seeds.iter().map(|seed| seed.blind.nll).collect();
        let blind_f1: Vec<f64> = self.seeds.iter().map(|seed| seed.blind.word_f1).collect();
        let _ = writeln!(
            out,
            "{tests} held-out pictures, {seeds} seed{}. The encoder finds the name of a held-out picture first in {} of \
             the cases (R@1).\nThe language model without a picture: NLL {}, word F1 {}.\n",
            if seeds == 1 { "" } else { "s; mean ± standard deviation over seeds" },
            figure(&r1, 2),
            figure(&blind, 3),
            figure(&blind_f1, 3),
        );

        let mut rows = vec![
            [
                "stage 1 is shown",
                "gap",
                "k-NN mixing",
                "source cosine",
                "NLL",
                "word F1",
                "exact",
                "NLL",
                "word F1",
                "exact",
            ]
            .map(String::from)
            .to_vec(),
        ];
        for variant in Variant::ALL {
            let geometry = |value: fn(&super::variants::Geometry) -> f64| {
                self.collect(variant, |result| result.geometry.as_ref().map(value))
            };
            let scores = |stage: fn(&VariantResult) -> Option<&CaptionScores>,
                          value: fn(&CaptionScores) -> f64| {
                self.collect(variant, |result| stage(result).map(value))
            };
            fn first(result: &VariantResult) -> Option<&CaptionScores> {
                result.stage1.as_ref()
            }
            fn second(result: &VariantResult) -> Option<&CaptionScores> {
                Some(&result.stage2)
            }
            rows.push(vec![
                variant.title().to_string(),
                figure(&geometry(|g| g.gap), 3),
                figure(&geometry(|g| g.knn_mixing), 3),
                figure(&geometry(|g| g.source_cosine), 3),
                figure(&scores(first, |s| s.nll), 3),
                figure(&scores(first, |s| s.word_f1), 3),
                figure(&scores(first, |s| s.exact_match), 3),
                figure(&scores(second, |s| s.nll), 3),
                figure(&scores(second, |s| s.word_f1), 3),
                figure(&scores(second, |s| s.exact_match), 3),
            ]);
        }
        let _ = writeln!(
            out,
            "Columns 2-4: aligned held-out names against held-out pictures. Columns 5-7: captions of"
        );
        let _ =
            writeln!(out, "held-out pictures after stage 1 alone. Columns 8-10: after stage 2 as well.\n");
        out.push_str(&markdown(&rows));

        if seeds > 1 {
            let _ =
                writeln!(out, "\nPaired differences to ReAlign, seed by seed (a positive NLL is worse):\n");
            let mut rows = vec![
                ["", "NLL, stage 1", "word F1, stage 1", "NLL, stage 2", "word F1, stage 2"]
                    .map(String::from)
                    .to_vec(),
            ];
            for variant in Variant::ALL.into_iter().filter(|variant| *variant != Variant::ReAlign) {
                rows.push(vec![
                    variant.title().to_string(),
                    figure(&self.difference(variant, |r| r.stage1.map(|s| s.nll)), 3),
                    figure(&self.difference(variant, |r| r.stage1.map(|s| s.word_f1)), 3),
                    figure(&self.difference(variant, |r| Some(r.stage2.nll)), 3),
                    figure(&self.difference(variant, |r| Some(r.stage2.word_f1)), 3),
                ]);
            }
            out.push_str(&markdown(&rows));
        }
        out
    }

    /// How the gap came about while the encoder of the first seed was trained, in Markdown.
    pub fn gap_table(&self) -> String {
        let Some(seed) = self.seeds.first() else { return String::new() };
        let titles = [
            "step",
            "gap",
            "beta",
            "gamma",
            "paired cosine",
            "sin theta",
            "leakage",
            "drift",
            "cos gamma",
            "locking",
            "kappa U",
            "A_r",
        ];
        let mut rows = vec![titles.map(String::from).to_vec()];
        let optional = |value: Option<f64>| value.map_or("-".to_string(), |value| format!("{value:.3}"));
        for record in &seed.gap {
            let GapRecord { step, gap, beta, gamma, leakage, .. } = record;
            let mut row = vec![step.to_string()];
            row.extend([gap, beta, gamma, &record.paired_cosine].map(|value| format!("{value:.3}")));
            row.extend(
                [
                    record.sin_theta,
                    Some(*leakage),
                    record.drift,
                    record.gamma_cosine,
                    record.spectral_locking,
                ]
                .map(optional),
            );
            row.extend([record.kappa_u, record.anisotropy].map(|value| format!("{value:.1}")));
            rows.push(row);
        }
        let rank = seed.gap.last().map_or(0, |record| record.rank);
        format!(
            "The gap of the held-out pairs while the encoder of the first seed was trained; U has {rank} dimensions:\n\n{}",
            markdown(&rows)
        )
    }

    /// A variant's figure minus that of ReAlign, for each seed.
    fn difference(&self, variant: Variant, value: impl Fn(&VariantResult) -> Option<f64>) -> Vec<f64> {
        let find = |seed: &SeedReport, variant| {
            seed.variants.iter().find(|result| result.variant == variant).and_then(&value)
        };
        self.seeds
            .iter()
            .filter_map(|seed| Some(find(seed, variant)? - find(seed, Variant::ReAlign)?))
            .collect()
    }
}
