//! The library alone: from mapped `.npy` files of float16 to a float32 buffer that is there and was touched before.
//! Prints one JSON line for `run.py --memory`.

// Mapping a file is unsafe because another program may change it meanwhile; nobody does here.
#![allow(unsafe_code)]

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use burn_revision::alignment::{Aligner, ReAlignConfig};
use burn_revision::embedding::{FloatType, NonFinite, RawRows, Store};
use clap::Parser;
#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::{Mmap, MmapMut};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    text: PathBuf,
    #[arg(long)]
    image: PathBuf,
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Said by the runner; the library uses every core.
    #[arg(long)]
    threads: Option<usize>,
    /// Said by cargo.
    #[arg(long)]
    bench: bool,
}

/// A file in memory, and where its rows begin.
struct Mapped {
    bytes: Mmap,
    store: Store,
}

impl Mapped {
    fn open(path: &PathBuf) -> Self {
        let store = Store::open(path).expect("a file of embeddings");
        let file = File::open(path).expect("the file is there");
        Self { bytes: unsafe { Mmap::map(&file).expect("the file can be mapped") }, store }
    }

    fn rows(&self) -> RawRows<'_> {
        let start = self.bytes.len() - self.store.row_bytes() as usize;
        let float = match self.store.row_bytes() / (self.store.len() * self.store.dim()) as u64 {
            2 => FloatType::F16,
            4 => FloatType::F32,
            _ => FloatType::F64,
        };
        RawRows::new(&self.bytes[start..], float, self.store.dim()).expect("whole rows")
    }
}

fn main() {
    let arguments = Arguments::parse();
    let (text, image) = (Mapped::open(&arguments.text), Mapped::open(&arguments.image));
    let (text, image) = (text.rows(), image.rows());
    // In large pages where the system has them, as NumPy allocates; and written, not only reserved, because the first
    // touch of fresh memory is the system's work.
    let mut buffer =
        MmapMut::map_anon(text.len() * text.dim() * size_of::<f32>()).expect("memory for the output");
    #[cfg(target_os = "linux")]
    let _ = buffer.advise(Advice::HugePage);
    let aligned: &mut [f32] = bytemuck::cast_slice_mut(&mut buffer);
    aligned.fill(1.0);
    let mut runs = Vec::with_capacity(arguments.repeats);
    for _ in 0..arguments.repeats {
        let begun = Instant::now();
        let realign = ReAlignConfig::new().fit(text, image).expect("sound embeddings");
        let form = realign.closed_form().expect("a method of vectors");
        form.align_into(text, NonFinite::Error, 0, aligned).expect("sound embeddings");
        runs.push(begun.elapsed().as_secs_f64());
    }
    let sum: f64 = aligned.iter().step_by(1009).map(|&value| f64::from(value)).sum();
    assert!(sum.is_finite());
    let mut sorted = runs.clone();
    sorted.sort_by(f64::total_cmp);
    println!("{}", serde_json::json!({ "median": sorted[sorted.len() / 2], "runs": runs }));
}
