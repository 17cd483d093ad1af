//! The rows and indexes that a report was measured on, as files.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use super::draws::Context;
use super::gap::Frames;
use super::methods::AlignedRows;
use super::slices::DomainRows;
use crate::embedding::EmbeddingTable;
use crate::geometry::Neighbours;
use crate::{Error, Result, atomic};

/// What was measured, so that every number can be computed again by other means.
pub(super) struct SampleDump {
    tensors: BTreeMap<String, Stored>,
    lengths: Value,
    domains: Value,
}

/// A tensor as it is written; a second axis of 0 means that there is none.
struct Stored {
    dtype: Dtype,
    shape: [usize; 2],
    bytes: Vec<u8>,
}

impl SampleDump {
    /// The rows that were read, the pairs, and the draws.
    pub fn new(context: &Context<'_>) -> Self {
        let mut dump = Self { tensors: BTreeMap::new(), lengths: Value::Null, domains: Value::Null };
        for (half, name) in [(&context.input.fit, "fit"), (&context.input.held_out, "held_out")] {
            dump.insert_rows(format!("text_{name}"), &half.text.table);
            dump.insert_rows(format!("image_{name}"), &half.image.table);
            if let Some(pairs) = &half.pairs {
                dump.insert_pairs(format!("pairs_{name}"), pairs);
            }
        }
        let draws = &context.draws;
        dump.insert_pairs("cosine_pairs_within_text".to_string(), &draws.within_text);
        dump.insert_pairs("cosine_pairs_within_image".to_string(), &draws.within_image);
        dump.insert_pairs("cosine_pairs_across".to_string(), &draws.across);
        for (name, rows) in [("text_probe", draws.texts), ("image_probe", draws.images)] {
            let rows: Vec<u32> = (0..rows as u32).collect();
            dump.insert(name.to_string(), Dtype::I32, [rows.len(), 0], bytemuck::cast_slice(&rows));
        }
        dump.insert_neighbours("text_neighbours".to_string(), &context.neighbours_before);
        dump
    }

    /// The frames of both halves.
    pub fn frames(&mut self, frames: &Frames) {
        for (name, frame) in [("frame_fit", Some(&frames.fit)), ("frame_held_out", frames.held_out.as_ref())]
        {
            if let Some(frame) = frame {
                let shape = [frame.rank(), frame.dim()];
                self.insert(name.to_string(), Dtype::F64, shape, bytemuck::cast_slice(frame.basis()));
            }
        }
    }

    /// What a method made of the rows, and the neighbours afterwards.
    pub fn method(&mut self, name: &str, rows: &AlignedRows) {
        let AlignedRows { text, fit_text, image, fit_image, neighbours, text_neighbours } = rows;
        self.insert_rows(format!("{name}/text"), text);
        self.insert_rows(format!("{name}/text_fit"), fit_text);
        for (table, half) in [(image, "image"), (fit_image, "image_fit")] {
            if let Some(table) = table {
                self.insert_rows(format!("{name}/{half}"), table);
            }
        }
        self.insert_neighbours(format!("{name}/neighbours"), neighbours);
        self.insert_neighbours(format!("{name}/text_neighbours"), text_neighbours);
    }

    /// The rows of each domain, by set and half, and the held-out texts that each slice of lengths was measured on.
    pub fn slices(&mut self, domains: Option<&DomainRows>, lengths: Option<&[Vec<usize>]>) {
        self.domains = domains.map_or(Value::Null, |DomainRows { fit, held_out }| {
            json!({
                "text_fit": fit[0],
                "image_fit": fit[1],
                "text_held_out": held_out[0],
                "image_held_out": held_out[1],
            })
        });
        self.lengths = json!(lengths);
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

    fn insert(&mut self, name: String, dtype: Dtype, shape: [usize; 2], bytes: &[u8]) {
        self.tensors.insert(name, Stored { dtype, shape, bytes: bytes.to_vec() });
    }

    /// Writes `samples.safetensors` and `samples.json` into a folder.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join("samples.safetensors");
        let failed = |error: &dyn std::fmt::Display| Error::format(&path, error.to_string());
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, Stored { dtype, shape, bytes }) in &self.tensors {
            let shape = if shape[1] == 0 { vec![shape[0]] } else { shape.to_vec() };
            views.push((name, TensorView::new(*dtype, shape, bytes).map_err(|error| failed(&error))?));
        }
        let bytes = safetensors::serialize(views, None).map_err(|error| failed(&error))?;
        atomic::write(&path, |file| std::io::Write::write_all(file, &bytes))?;
        let slices = json!({ "lengths": self.lengths, "domains": self.domains });
        atomic::write(&folder.join("samples.json"), |file| {
            serde_json::to_writer(&mut *file, &slices)?;
            std::io::Write::write_all(file, b"\n")
        })
    }
}
