//! AnisoAlign beside ReAlign, file to file at 1280 dimensions: `cargo bench --bench anisoalign -- [ROWS]`, 200,000 by default.
//!
//! Both write the same store in turns; the medians and their ratio are printed, and the most memory that the process held.

use std::path::Path;
use std::time::Instant;

use burn_revision::Result;
use burn_revision::alignment::stream::{ApplyOptions, FitOptions, apply, fit};
use burn_revision::alignment::{AnisoAlignConfig, Method, Statistics};
use burn_revision::embedding::{Store, write_table};
use burn_revision::geometry::SyntheticGeometry;

const REPEATS: usize = 3;

fn main() -> Result<()> {
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200_000);
    let folder = tempfile::tempdir().expect("a folder for scratch files");
    let place = |name: &str| folder.path().join(name);
    let world = SyntheticGeometry::llm2clip().init(0)?;
    std::fs::create_dir(place("text")).expect("a folder for shards");
    let shard = 20_000.min(rows);
    for first in (0..rows).step_by(shard) {
        let (text, image) = world.draw(first..rows.min(first + shard))?;
        write_table(&text, place(&format!("text/{first}.npy")))?;
        if first == 0 {
            write_table(&image, place("image.npy"))?;
            write_table(&text, place("few.npy"))?;
        }
    }
    let (few, image) = (Store::open(place("few.npy"))?, Store::open(place("image.npy"))?);
    let text = Store::open(place("text"))?;
    let aniso = AnisoAlignConfig::new().with_score_steps(20).with_refiner_steps(20);
    let methods = ["realign".parse::<Method>()?, Method::AnisoAlign(aniso)];
    let mut statistics = Vec::new();
    for method in methods {
        statistics.push(fit(&method, &few, &image, &FitOptions::default())?.0);
    }
    let mut seconds = vec![Vec::new(); statistics.len()];
    for _ in 0..REPEATS {
        for (statistics, seconds) in statistics.iter().zip(&mut seconds) {
            seconds.push(time(statistics, &text, &place("out"))?);
        }
    }
    let median = |seconds: &mut Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    let [realign, aniso] = [0, 1].map(|method| median(&mut seconds[method]));
    println!(
        "{rows} rows of 1280: ReAlign {realign:.2} s, AnisoAlign {aniso:.2} s, {:.1} times",
        aniso / realign
    );
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    }
    Ok(())
}

fn time(statistics: &Statistics, text: &Store, out: &Path) -> Result<f64> {
    let begun = Instant::now();
    apply(statistics, text, out, &ApplyOptions { overwrite: true, ..ApplyOptions::default() })?;
    Ok(begun.elapsed().as_secs_f64())
}
