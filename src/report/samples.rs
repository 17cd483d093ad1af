use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::ReportConfig;
use super::input::Input;
use crate::embedding::EmbeddingTable;
use crate::geometry::{
    Cloud, FixedFrame, KnnConfig, Neighbours, pair_products, sample_pairs, sample_pairs_across,
};
use crate::{Error, Result, atomic};

/// The rows and the indexes that a report was measured on, so that every number can be computed again by other means.
///
/// [`Samples::save`] writes them as `samples.safetensors` and `samples.json`; which tensor is what, is said there.
pub struct Samples {
    /// Held-out rows that neighbours and cosines are measured on.
    pub(super) text_probe: Vec<u32>,
    pub(super) image_probe: Vec<u32>,
    /// Pairs of places in the probes.
    pub(super) within_text: Vec<[u32; 2]>,
    pub(super) within_image: Vec<[u32; 2]>,
    pub(super) across: Vec<[u32; 2]>,
    /// The cosines of `within_text` before alignment.
    pub(super) before: Vec<f64>,
    pub(super) text_neighbours: Neighbours,
    tensors: BTreeMap<String, Stored>,
    lengths: Value,
    domains: Value,
}

struct Stored {
    dtype: Dtype,
    shape: [usize; 2],
    bytes: Vec<u8>,
}

impl Samples {
    /// Draws the probe and the pairs of cosines.
    pub(super) fn new(input: &Input, config: &ReportConfig, device: &Device) -> Result<Self> {
        let held_out = &input.held_out;
        let probe = |rows: usize| (0..rows.min(config.probe) as u32).collect::<Vec<u32>>();
        let (text_probe, image_probe) = (probe(held_out.text.unit.len()), probe(held_out.image.unit.len()));
        let (texts, images, count) = (text_probe.len(), image_probe.len(), config.cosine_pairs);
        let within_text = sample_pairs(texts, count, config.seed)?;
        // Not the pairs of the texts again, where both sets are of one size.
        let within_image = sample_pairs(images, count, !config.seed)?;
        let across = sample_pairs_across(texts, images, count, config.seed)?;
        let text = held_out.text.unit.select(&(0..texts).collect::<Vec<_>>());
        let before = pair_products(&text, &text, &within_text);
        let text_neighbours = KnnConfig::new().with_k(config.k).find(&text, device)?;
        let mut samples = Self {
            text_probe,
            image_probe,
            within_text,
            within_image,
            across,
            before,
            text_neighbours,
            tensors: BTreeMap::new(),
            lengths: Value::Null,
            domains: Value::Null,
        };
        if config.keep_samples {
            samples.keep_input(input);
        }
        Ok(samples)
    }

    fn keep_input(&mut self, input: &Input) {
        for (half, name) in [(&input.fit, "fit"), (&input.held_out, "held_out")] {
            self.insert_rows(format!("text_{name}"), &half.text.table);
            self.insert_rows(format!("image_{name}"), &half.image.table);
            if let Some(pairs) = &half.pairs {
                self.insert_pairs(format!("pairs_{name}"), pairs);
            }
        }
        for (name, pairs) in [
            ("cosine_pairs_within_text", self.within_text.clone()),
            ("cosine_pairs_within_image", self.within_image.clone()),
            ("cosine_pairs_across", self.across.clone()),
        ] {
            self.insert_pairs(name.to_string(), &pairs);
        }
        for (name, rows) in
            [("text_probe", self.text_probe.clone()), ("image_probe", self.image_probe.clone())]
        {
            self.insert(name.to_string(), Dtype::I32, [rows.len(), 0], bytemuck::cast_slice(&rows));
        }
        let neighbours = self.text_neighbours.clone();
        self.insert_neighbours("text_neighbours".to_string(), &neighbours);
    }

    fn keeps(&self) -> bool {
        !self.tensors.is_empty()
    }

    /// The frames of both halves.
    pub(super) fn frames(&mut self, fit: &FixedFrame, held_out: Option<&FixedFrame>) {
        for (name, frame) in [("frame_fit", Some(fit)), ("frame_held_out", held_out)] {
            if let (true, Some(frame)) = (self.keeps(), frame) {
                let shape = [frame.rank(), frame.dim()];
                self.insert(name.to_string(), Dtype::F64, shape, bytemuck::cast_slice(frame.basis()));
            }
        }
    }

    /// The rows that a method made: text and, where it moves them, images, each held out and of the fit half.
    pub(super) fn method(
        &mut self,
        name: &str,
        text: [&EmbeddingTable; 2],
        image: [Option<&EmbeddingTable>; 2],
    ) {
        if !self.keeps() {
            return;
        }
        for (table, half) in text.into_iter().zip(["text", "text_fit"]) {
            self.insert_rows(format!("{name}/{half}"), table);
        }
        for (table, half) in image.into_iter().zip(["image", "image_fit"]) {
            if let Some(table) = table {
                self.insert_rows(format!("{name}/{half}"), table);
            }
        }
    }

    /// The neighbours in the union of a method's text and the images, and in its text alone.
    pub(super) fn neighbours(&mut self, name: &str, union: &Neighbours, text: &Neighbours) {
        if self.keeps() {
            self.insert_neighbours(format!("{name}/neighbours"), union);
            self.insert_neighbours(format!("{name}/text_neighbours"), text);
        }
    }

    /// The held-out texts that each slice of lengths was measured on.
    pub(super) fn lengths(&mut self, slices: &[Vec<usize>]) {
        self.lengths = json!(slices);
    }

    /// The rows of each domain, by set and half.
    pub(super) fn domains(&mut self, rows: Vec<(&'static str, Vec<Vec<usize>>)>) {
        self.domains = rows.into_iter().map(|(name, rows)| (name.to_string(), json!(rows))).collect();
    }

    fn insert_rows(&mut self, name: String, table: &EmbeddingTable) {
        self.insert(name, Dtype::F32, [table.len(), table.dim()], bytemuck::cast_slice(table.rows()));
    }

    fn insert_pairs(&mut self, name: String, pairs: &[[u32; 2]]) {
        self.insert(name, Dtype::I32, [pairs.len(), 2], bytemuck::cast_slice(pairs));
    }

    fn insert_neighbours(&mut self, name: String, neighbours: &Neighbours) {
        let indices: Vec<u32> = (0..neighbours.len()).flat_map(|row| neighbours.of(row)).copied().collect();
        let shape = [neighbours.len(), neighbours.k()];
        self.insert(name, Dtype::I32, shape, bytemuck::cast_slice(&indices));
    }

    /// A second axis of 0 stands for none.
    fn insert(&mut self, name: String, dtype: Dtype, shape: [usize; 2], bytes: &[u8]) {
        self.tensors.insert(name, Stored { dtype, shape, bytes: bytes.to_vec() });
    }

    /// Writes `samples.safetensors` and `samples.json` into a folder. They hold, for a report that was built with
    /// [`ReportConfig::keep_samples`]:
    ///
    /// | tensor | what it is |
    /// |---|---|
    /// | `text_fit`, `image_fit`, `text_held_out`, `image_held_out` | the rows as they were read, float32 |
    /// | `METHOD/text`, `METHOD/text_fit` | aligned text, held out and of the fit half |
    /// | `METHOD/image`, `METHOD/image_fit` | images, where the method moves them |
    /// | `text_probe`, `image_probe` | held-out rows that neighbours and cosines are measured on |
    /// | `pairs_fit`, `pairs_held_out` | text and image of each pair, within the half |
    /// | `cosine_pairs_*` | pairs of places in the probes, of which cosines were taken |
    /// | `METHOD/neighbours` | nearest first, of all rows of the probes, texts before images |
    /// | `text_neighbours`, `METHOD/text_neighbours` | of the texts of the probe among themselves |
    /// | `frame_fit`, `frame_held_out` | orthonormal rows that span U, float64 |
    ///
    /// `samples.json` has the rows of the slices of `lengths` and of the `domains`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] where a file cannot be written, [`Error::Config`] where the samples were not kept.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<()> {
        if !self.keeps() {
            return Err(Error::config("keep_samples", "the report was built without"));
        }
        let path = folder.as_ref().join("samples.safetensors");
        let failed = |error: &dyn std::fmt::Display| Error::format(&path, error.to_string());
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, Stored { dtype, shape, bytes }) in &self.tensors {
            let shape = if shape[1] == 0 { vec![shape[0]] } else { shape.to_vec() };
            views.push((name, TensorView::new(*dtype, shape, bytes).map_err(|error| failed(&error))?));
        }
        let bytes = safetensors::serialize(views, None).map_err(|error| failed(&error))?;
        atomic::write(&path, |file| std::io::Write::write_all(file, &bytes))?;
        let slices = json!({ "lengths": self.lengths, "domains": self.domains });
        atomic::write(&folder.as_ref().join("samples.json"), |file| {
            serde_json::to_writer(&mut *file, &slices)?;
            std::io::Write::write_all(file, b"\n")
        })
    }
}

/// The first rows of a cloud that are in a probe.
pub(super) fn probe(cloud: &Cloud, rows: &[u32]) -> Cloud {
    cloud.select(&rows.iter().map(|&row| row as usize).collect::<Vec<_>>())
}
