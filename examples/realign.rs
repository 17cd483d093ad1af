//! One program for every backend, which `BURN_DEVICE` selects.
//!
//! ```text
//! BURN_DEVICE=flex cargo run --example realign
//! ```

use std::path::Path;
use std::process::ExitCode;

use burn::tensor::Tensor;
use burn_revision::alignment::ReAlignConfig;
use burn_revision::device::from_environment;
use burn_revision::embedding::{normalize, read_table};
use burn_revision::geometry::{Moments, modality_gap};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> burn_revision::Result<()> {
    let device = from_environment()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clipart");
    let captions = normalize(read_table(folder.join("encoder_texts.safetensors"))?.tensor(&device));
    let pictures = normalize(read_table(folder.join("encoder_images.safetensors"))?.tensor(&device));

    let realign = ReAlignConfig::new().fit(captions.clone(), pictures.clone())?;
    let aligned = realign.forward(captions.clone());

    let gap = |captions: &Tensor<2>| -> burn_revision::Result<f64> {
        let moments = [captions, &pictures].map(|rows| {
            let mut moments = Moments::new(rows.dims()[1]);
            moments.update(rows).map(|()| moments)
        });
        let [captions, pictures] = moments;
        modality_gap(&captions?, &pictures?)
    };
    println!("gap {:.5} before, {:.5} after", gap(&captions)?, gap(&aligned)?);
    Ok(())
}
