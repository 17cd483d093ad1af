//! When does which step help? The steps of ReAlign one by one (arXiv 2602.07026, Sec. 4), and noise, at several scales of the
//! contrastive loss: the larger the scale, the more of the gap is left, and the more the spreads differ.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use burn_revision::Result;
use burn_revision::alignment::{Aligner, Identity, MeanShiftConfig, ReAlign, ReAlignConfig, WithNoise};
use serde::{Deserialize, Serialize};

use super::parallel;
use super::report::Run;
use super::variants::Stages;
use crate::common::table::{figure, markdown};
use crate::common::write;
use crate::common::{charts, html};

/// A method of one's own is an implementation of one trait: the first two steps of ReAlign, without the third.
struct AnchorAndTrace {
    text_mean: Tensor<1>,
    image_mean: Tensor<1>,
    scale: f64,
}

impl AnchorAndTrace {
    fn new(realign: &ReAlign, device: &Device) -> Self {
        let tensor = |values: Vec<f32>| Tensor::from_data(values.as_slice(), device);
        Self {
            text_mean: tensor(realign.text_mean()),
            image_mean: tensor(realign.image_mean()),
            scale: realign.scale(),
        }
    }
}

impl Aligner for AnchorAndTrace {
    fn name(&self) -> &'static str {
        "anchor_and_trace"
    }

    fn dim(&self) -> usize {
        self.text_mean.dims()[0]
    }

    fn transport(&self, text: Tensor<2>) -> Tensor<2> {
        let mean = |mean: &Tensor<1>| mean.clone().cast(text.dtype()).unsqueeze::<2>();
        (text.clone() - mean(&self.text_mean)) * self.scale + mean(&self.image_mean)
    }
}

/// What came of one step at one scale.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    pub title: String,
    /// The share of right answers after stage 1.
    pub accuracy: f64,
}

/// One seed at one scale.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    pub seed: u64,
    pub logit_scale: f64,
    pub gap: f64,
    pub scale: f64,
    pub concept_accuracy: f64,
    pub steps: Vec<Step>,
}

/// Stage 1 after each step of the alignment, and with noise.
pub fn run(stages: &Stages) -> Result<Place> {
    let world = stages.world;
    let (texts, images) = (&world.text_rows, &world.unpaired_rows);
    let realign = ReAlignConfig::new().fit(texts, images)?;
    let none = Identity::new(texts.dim());
    let noise = world.settings.noise;
    let steps: [(&str, Box<dyn Aligner + Sync>); 6] = [
        ("as it is", Box::new(none)),
        ("noise alone", Box::new(WithNoise::new(none, noise))),
        ("anchor", Box::new(MeanShiftConfig::new().fit(texts, images)?)),
        ("anchor, trace", Box::new(AnchorAndTrace::new(&realign, &world.device))),
        ("anchor, trace, centroid", Box::new(realign.clone())),
        ("all three, noise", Box::new(WithNoise::new(realign.clone(), noise))),
    ];
    let (gap, scale) = world.gap()?;
    let found = parallel::map(&world.device, &steps, |(title, aligner)| {
        let (model, _) = stages.train(title, stages.texts(&**aligner)?)?;
        let accuracy = stages.ask(&model)?.all;
        let logit_scale = world.settings.logit_scale;
        println!(
            "{}logit scale {logit_scale}, gap {gap:.2}, s {scale:.2}: {title}: {accuracy:.3}",
            stages.label
        );
        Ok(Step { title: title.to_string(), accuracy })
    })?;
    Ok(Place {
        seed: world.seed,
        logit_scale: world.settings.logit_scale,
        gap,
        scale,
        concept_accuracy: world.concept_accuracy()?,
        steps: found,
    })
}

/// Writes what was found, and prints it.
pub fn finish(output: &Path, run: &Run, places: &[Place]) -> Result<()> {
    let mut scales: Vec<f64> = Vec::new();
    for place in places {
        if !scales.contains(&place.logit_scale) {
            scales.push(place.logit_scale);
        }
    }
    let titles: Vec<&str> = places[0].steps.iter().map(|step| step.title.as_str()).collect();
    let at = |scale: f64| places.iter().filter(move |place| place.logit_scale == scale);
    let mut rows = vec![["logit scale", "gap", "s", "concepts"].map(String::from).to_vec()];
    rows[0].extend(titles.iter().map(|title| title.to_string()));
    for scale in &scales {
        let of = |value: fn(&Place) -> f64| figure(&at(*scale).map(value).collect::<Vec<_>>(), 2);
        let mut row = vec![scale.to_string(), of(|p| p.gap), of(|p| p.scale), of(|p| p.concept_accuracy)];
        row.extend(
            (0..titles.len())
                .map(|step| figure(&at(*scale).map(|p| p.steps[step].accuracy).collect::<Vec<_>>(), 3)),
        );
        rows.push(row);
    }
    let table = markdown(&rows);
    println!("\nThe share of right answers after stage 1 on text:\n\n{table}");

    let lines = titles.iter().enumerate().map(|(step, title)| charts::Line {
        title,
        points: scales
            .iter()
            .map(|scale| (*scale as usize, at(*scale).map(|place| place.steps[step].accuracy).collect()))
            .collect(),
    });
    let lines: Vec<charts::Line> = lines.collect();
    let drawing = charts::curves(&lines, "scale of the contrastive loss");
    write(&output.join("steps.svg"), drawing.as_bytes())?;
    run.write(&output.join("steps.json"), "places", &places)?;
    let mut body = run.heading("When does which step help?");
    body.push_str("<p>The share of right answers after stage 1 on text. Bars are standard deviations over seeds, small dots single seeds.</p>\n");
    body.push_str(&drawing);
    html::table(&mut body, &table);
    body.push_str("<h2>What a step adds</h2>\n");
    html::table(&mut body, &gains(&scales, &titles, places));
    html::settings(&mut body, run.settings);
    write(&output.join("steps.html"), html::page("When does which step help?", &body).as_bytes())?;
    println!("Written to {}: steps.html, steps.json, steps.svg", output.display());
    Ok(())
}

/// What each step adds to the one before, and noise to what it was put on, seed by seed.
fn gains(scales: &[f64], titles: &[&str], places: &[Place]) -> String {
    let mut rows = vec![vec!["step".to_string()]];
    rows[0].extend(scales.iter().map(|scale| format!("logit scale {scale}")));
    let pairs = [
        ("anchor", 2, 0),
        ("trace", 3, 2),
        ("centroid", 4, 3),
        ("noise on all three", 5, 4),
        ("noise alone", 1, 0),
    ];
    for (step, after, before) in pairs {
        debug_assert!(after < titles.len());
        let cells = scales.iter().map(|scale| {
            let seeds = places.iter().filter(|place| place.logit_scale == *scale);
            let gains = seeds.map(|place| place.steps[after].accuracy - place.steps[before].accuracy);
            gains.map(|gain| format!("{gain:+.3}")).collect::<Vec<_>>().join(", ")
        });
        rows.push(std::iter::once(step.to_string()).chain(cells).collect());
    }
    markdown(&rows)
}
