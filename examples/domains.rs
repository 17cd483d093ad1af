//! Alignment across domains: statistics of the pictures of one style, the gap that they leave to those of another, and how
//! many held-out captions find their picture there.
//!
//! ```text
//! cargo run --example domains
//! ```

#[path = "common/mod.rs"]
mod common;

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use burn::tensor::{Device, Int, Tensor};
use burn_revision::alignment::{Aligner, Identity, ReAlignConfig, align_table};
use burn_revision::device::from_environment;
use burn_revision::embedding::{EmbeddingTable, NonFinite, read_table};
use burn_revision::encoder::recall_at_k;
use burn_revision::geometry::{Moments, modality_gap};
use serde::Deserialize;

use common::records::read as records;

/// A caption finds its picture where it is among so many.
const NEAREST: usize = 10;

/// A line of the records beside a file of embeddings.
#[derive(Deserialize)]
struct Record {
    source: String,
    /// The caption, where pictures have one.
    #[serde(default)]
    text_id: String,
}

/// Rows by domain.
type Domains = BTreeMap<String, Vec<usize>>;

fn domains(records: &[Record]) -> Domains {
    let mut domains = Domains::new();
    for (row, record) in records.iter().enumerate() {
        domains.entry(record.source.clone()).or_default().push(row);
    }
    domains
}

/// Held-out captions and pictures.
struct HeldOut {
    captions: EmbeddingTable,
    pictures: EmbeddingTable,
    /// For each picture, the row of its caption.
    caption_of: Vec<usize>,
    domains: Domains,
}

impl HeldOut {
    fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let captions = read_table(folder.join("test_texts.safetensors"))?;
        let records: Vec<Record> = records(&folder.join("test_images.jsonl"))?;
        let rows: HashMap<&str, usize> =
            captions.ids().iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
        let caption_of = records.iter().map(|record| {
            rows.get(record.text_id.as_str())
                .copied()
                .ok_or_else(|| format!("test_texts has no caption {:?}", record.text_id))
        });
        Ok(Self {
            caption_of: caption_of.collect::<Result<_, _>>()?,
            pictures: read_table(folder.join("test_images.safetensors"))?,
            domains: domains(&records),
            captions,
        })
    }

    /// How often captions, moved by `aligner`, find their picture among the nearest of its domain, for each domain.
    fn found(&self, aligner: &dyn Aligner, device: &Device) -> burn_revision::Result<Vec<f64>> {
        let (moved, _) = align_table(aligner, &self.captions, NonFinite::Error, 0, device)?;
        let moved = moved.tensor(device);
        let shares = self.domains.values().map(|rows| {
            let groups: Vec<usize> = rows.iter().map(|&row| self.caption_of[row]).collect();
            let captions: Vec<i32> = groups.iter().map(|&group| group as i32).collect();
            let captions = Tensor::<1, Int>::from_data(captions.as_slice(), device);
            let pictures = self.pictures.select(rows)?.tensor(device);
            Ok(recall_at_k(pictures, moved.clone().select(0, captions), &groups, &[NEAREST])[0].text_to_image)
        });
        shares.collect()
    }
}

fn unit_moments(table: &EmbeddingTable) -> burn_revision::Result<Moments> {
    let mut moments = Moments::new(table.dim());
    moments.update_unit_rows(table.rows(), NonFinite::Error, "rows")?;
    Ok(moments)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clipart");
    let captions = read_table(folder.join("encoder_texts.safetensors"))?;
    let pictures = read_table(folder.join("encoder_images.safetensors"))?;
    let domains = domains(&records(&folder.join("encoder_images.jsonl"))?);
    let held_out = HeldOut::read(&folder)?;

    let device = from_environment()?;
    let head = domains.keys().map(|name| format!("{name:>12}")).collect::<String>();
    println!("captions aligned by the statistics of a row, and the gap to the pictures of a column");
    println!("{:12}{head}", "");
    let line = |name: &str, shares: Vec<f64>| {
        let cells = shares.iter().map(|share| format!("{share:>12.3}"));
        format!("{name:12}{}", cells.collect::<String>())
    };
    let mut found = vec![line("as they are", held_out.found(&Identity::new(captions.dim()), &device)?)];
    for (name, rows) in &domains {
        let fitted = pictures.select(rows)?;
        let realign = ReAlignConfig::new().fit(&captions, &fitted)?;
        let (aligned, _) = align_table(&realign, &captions, NonFinite::Error, 0, &device)?;
        let aligned = unit_moments(&aligned)?;
        let gaps = domains.values().map(|rows| -> burn_revision::Result<String> {
            Ok(format!("{:>12.3}", modality_gap(&aligned, &unit_moments(&pictures.select(rows)?)?)?))
        });
        println!("{name:12}{}", gaps.collect::<burn_revision::Result<String>>()?);
        found.push(line(name, held_out.found(&realign, &device)?));
    }
    println!("\nheld-out captions that find their picture among the {NEAREST} nearest pictures of a column");
    println!("{:12}{head}\n{}", "", found.join("\n"));
    Ok(())
}
