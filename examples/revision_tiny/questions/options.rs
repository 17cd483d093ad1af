//! What can be asked for on the command line, besides what both tasks have.

use burn_revision::Result;
use clap::Args;

use super::settings::Settings;
use super::words::Concept;
use crate::common::settings::change;

/// The options of the questions.
#[derive(Args)]
#[command(next_help_heading = "About the questions")]
pub struct Options {
    /// Draws the pictures, also where the package easy-vqa is in target/easy-vqa.
    #[arg(long, conflicts_with = "captions")]
    pub drawn: bool,
    /// Another scale of the contrastive loss: the larger, the more of the gap is left.
    #[arg(long, conflicts_with = "captions", value_name = "SCALE")]
    pub logit_scale: Option<f64>,
    /// Measures on training pictures that nothing else uses, with other seeds: for choosing settings.
    #[arg(long, conflicts_with = "captions")]
    pub validate: bool,
    /// Every fourth pair of colour and shape is never seen by encoder and stage 1, and measured apart.
    #[arg(long, conflicts_with = "captions")]
    pub held_out: bool,
    /// Also the curve over the number of real pictures in stage 2.
    #[arg(long, conflicts_with = "captions")]
    pub curve: bool,
    /// Only the rows with these titles, and rows for other methods of text by their names: capdec, memory, ...
    #[arg(long, conflicts_with = "captions", value_delimiter = ',', value_name = "TITLES")]
    pub rows: Vec<String>,
    /// Changes settings, by their names in report.json.
    #[arg(long, conflicts_with = "captions", value_name = "NAME=JSON")]
    pub set: Vec<String>,
    /// Which step of ReAlign helps, at each of these scales of the contrastive loss.
    #[arg(long, conflicts_with = "captions", value_delimiter = ',', value_name = "SCALES")]
    pub steps: Vec<f64>,
    /// How many texts are worth how many real pairs, and how many unpaired pictures ReAlign needs.
    #[arg(long, conflicts_with_all = ["captions", "steps"])]
    pub scaling: bool,
    /// Whether centroid gap and distribution gap predict the answers after stage 1, over the methods.
    #[arg(long, conflicts_with_all = ["captions", "steps", "scaling"])]
    pub gaps: bool,
}

impl Options {
    /// The settings with the changes that were asked for.
    pub fn settings(&self, quick: bool) -> Result<Settings> {
        let mut settings = if quick { Settings::quick() } else { Settings::full() };
        settings.logit_scale = self.logit_scale.unwrap_or(settings.logit_scale);
        change(&settings, &self.set)
    }

    /// The pairs of colour and shape that are held out.
    pub fn held_out(&self) -> Vec<Concept> {
        let all = Concept::all().enumerate();
        all.filter(|(number, _)| self.held_out && number % 4 == 1).map(|(_, concept)| concept).collect()
    }
}
