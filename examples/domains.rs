//! Alignment across domains: statistics of the pictures of one style, and the gap that they leave to those of another.
//!
//! ```text
//! cargo run --example domains
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use burn_revision::alignment::{ReAlignConfig, align_table};
use burn_revision::device::from_environment;
use burn_revision::embedding::{EmbeddingTable, NonFinite, read_table};
use burn_revision::geometry::{Moments, modality_gap};
use serde::Deserialize;

/// A line of the records beside a file of embeddings.
#[derive(Deserialize)]
struct Record {
    source: String,
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
    let records = std::fs::read_to_string(folder.join("encoder_images.jsonl"))?;
    let mut domains: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (row, line) in records.lines().enumerate() {
        let Record { source } = serde_json::from_str(line)?;
        domains.entry(source).or_default().push(row);
    }

    let device = from_environment()?;
    println!("captions aligned by the statistics of a row, and the gap to the pictures of a column");
    println!("{:12}{}", "", domains.keys().map(|name| format!("{name:>12}")).collect::<String>());
    for (name, rows) in &domains {
        let fitted = pictures.select(rows)?;
        let realign = ReAlignConfig::new().fit(&captions, &fitted)?;
        let (aligned, _) = align_table(&realign, &captions, NonFinite::Error, 0, &device)?;
        let aligned = unit_moments(&aligned)?;
        let gaps = domains.values().map(|rows| -> burn_revision::Result<String> {
            Ok(format!("{:>12.3}", modality_gap(&aligned, &unit_moments(&pictures.select(rows)?)?)?))
        });
        println!("{name:12}{}", gaps.collect::<burn_revision::Result<String>>()?);
    }
    Ok(())
}
