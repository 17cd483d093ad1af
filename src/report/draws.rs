//! Which rows and pairs are measured, and what all methods are compared with.

use burn::tensor::Device;

use super::config::ReportConfig;
use super::input::Input;
use crate::Result;
use crate::geometry::{Cloud, KnnConfig, Neighbours, pair_products, sample_pairs, sample_pairs_across};

/// The rows and pairs of the held-out half that neighbours and cosines are measured on.
pub(super) struct Draws {
    /// How many texts are in the probe: the first ones of the half, which is in random order.
    pub texts: usize,
    /// The same of the images.
    pub images: usize,
    /// Pairs of texts of the probe.
    pub within_text: Vec<[u32; 2]>,
    /// Pairs of images of the probe.
    pub within_image: Vec<[u32; 2]>,
    /// A text and an image of the probe.
    pub across: Vec<[u32; 2]>,
}

impl Draws {
    fn new(input: &Input, config: &ReportConfig) -> Result<Self> {
        let held_out = &input.held_out;
        let (texts, images) =
            (held_out.text.unit.len().min(config.probe), held_out.image.unit.len().min(config.probe));
        Ok(Self {
            texts,
            images,
            within_text: sample_pairs(texts, config.cosine_pairs, config.seed)?,
            // Not the pairs of the texts again, where both sets are of one size.
            within_image: sample_pairs(images, config.cosine_pairs, !config.seed)?,
            across: sample_pairs_across(texts, images, config.cosine_pairs, config.seed)?,
        })
    }
}

/// What every step of a measurement reads: settings, rows, draws, and the text before alignment.
pub(super) struct Context<'a> {
    pub config: &'a ReportConfig,
    pub device: &'a Device,
    pub input: Input,
    pub draws: Draws,
    /// The cosines of [`Draws::within_text`] before alignment.
    pub cosines_before: Vec<f64>,
    /// The neighbours of the texts of the probe among themselves before alignment.
    pub neighbours_before: Neighbours,
}

impl<'a> Context<'a> {
    pub fn new(config: &'a ReportConfig, input: Input, device: &'a Device) -> Result<Self> {
        let draws = Draws::new(&input, config)?;
        let text = probe(&input.held_out.text.unit, draws.texts);
        let cosines_before = pair_products(&text, &text, &draws.within_text);
        let neighbours_before = KnnConfig::new().with_k(config.k).find(&text, device)?;
        Ok(Self { config, device, input, draws, cosines_before, neighbours_before })
    }

    /// The texts of both halves: the unit of progress.
    pub fn text_rows(&self) -> usize {
        self.input.fit.text.unit.len() + self.input.held_out.text.unit.len()
    }
}

/// The rows of a cloud that are in a probe of this size.
pub(super) fn probe(cloud: &Cloud, rows: usize) -> Cloud {
    cloud.select(&(0..rows).collect::<Vec<_>>())
}
