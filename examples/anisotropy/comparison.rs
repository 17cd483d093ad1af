//! The methods side by side, fitted on many pairs and measured on others.

use std::time::Instant;

use burn_revision::Result;
use burn_revision::alignment::{
    Aligner, AnisoAlignConfig, C3Variant, Embeddings, MemoryProjectionConfig, Method, ShapedNoiseConfig,
};
use burn_revision::device::from_environment;
use burn_revision::embedding::EmbeddingTable;
use burn_revision::geometry::SyntheticGeometry;
use burn_revision::report::{Measurement, ReportConfig};

use crate::Options;
use crate::figures::{self, Figures};

/// The methods of the paper's comparison, with the parts of AnisoAlign.
pub const METHODS: [&str; 6] = ["text", "c3", "realign", "anisoalign-init", "anisoalign-score", "anisoalign"];

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    let mut seconds = vec![0.0; options.methods.len()];
    let mut of_methods: Vec<Vec<Figures>> = vec![Vec::new(); options.methods.len()];
    for seed in options.first_seed..options.first_seed + options.seeds {
        for (method, figures) in of_methods.iter_mut().zip(measure(options, seed, &mut seconds)?) {
            method.push(figures);
        }
    }
    println!(
        "{} pairs to fit on, {} held out, means of {} seeds; printed: arXiv 2605.07825\n",
        options.fit, options.held_out, options.seeds
    );
    figures::print_head("method");
    for (name, of_seeds) in options.methods.iter().zip(&of_methods) {
        figures::print_row(name, of_seeds, None);
        if let Some(printed) = printed(name) {
            println!("| printed: {name} | {printed} |");
        }
    }
    if options.seeds > 1 {
        figures::print_deviation(&of_methods);
    }
    let fits = options.methods.iter().zip(&seconds);
    let fits: Vec<String> =
        fits.map(|(name, all)| format!("{name} {:.1} s", all / options.seeds as f64)).collect();
    println!("\nfits: {}", fits.join(", "));
    Ok(())
}

/// The figures of the paper, in the columns of the table.
fn printed(method: &str) -> Option<&'static str> {
    match method {
        "text" => Some("0.393 | 1 | 1 | 1 | | | | |"),
        "c3" => Some("0.276 | 0.899 | 0.925 | 0.840 | 0.410 | 0.075 | | |"),
        "realign" => Some("0.012 | 0.923 | 0.836 | | 0.357 | 0.305 | | |"),
        "anisoalign" => Some("0.012 | 0.941 | 0.983 | 0.945 | 0.372 | 0.337 | | |"),
        _ => None,
    }
}

/// Fits every method on the first pairs of a world and measures it on the next.
fn measure(options: &Options, seed: u64, seconds: &mut [f64]) -> Result<Vec<Figures>> {
    let device = from_environment()?;
    let world = SyntheticGeometry::llm2clip().init(seed)?;
    let (text, image) = world.draw(0..options.fit)?;
    let mut fitted = Vec::new();
    for (name, seconds) in options.methods.iter().zip(seconds) {
        let begun = Instant::now();
        fitted.push(fit(name, &options.settings.with_seed(seed), &text, &image)?);
        let now = begun.elapsed().as_secs_f64();
        eprintln!("seed {seed}: {name} fitted in {now:.1} s");
        *seconds += now;
    }
    drop((text, image));
    // A report measures on one half of what it is given.
    let (held_text, held_image) = world.draw(options.fit..options.fit + 2 * options.held_out)?;
    let config = ReportConfig {
        paired: true,
        methods: Vec::new(),
        probe: options.held_out,
        rows: 2 * options.held_out,
        seed,
        ..ReportConfig::default()
    };
    let mut measurement = Measurement::new(&config);
    for (name, aligner) in options.methods.iter().zip(&fitted) {
        measurement = measurement.with_aligner(name, aligner.as_ref());
    }
    let report = measurement.of_tables(&held_text, &held_image, &device, &())?;
    let all: Vec<Figures> = report.methods.iter().map(figures::of).collect();
    for (name, figures) in options.methods.iter().zip(&all) {
        eprintln!("seed {seed}: {name} {figures:.4?}");
    }
    Ok(all)
}

fn fit(
    name: &str,
    settings: &AnisoAlignConfig,
    text: &EmbeddingTable,
    image: &EmbeddingTable,
) -> Result<Box<dyn Aligner + Send + Sync>> {
    if let Some(aligner) = other(name, text, image)? {
        return Ok(aligner);
    }
    let method = match name {
        "text" => Method::Identity,
        // The zero-mean variant, with the noise that gives it the printed Phi.
        "c3" => Method::C3 { sigma: 0.0102, variant: C3Variant::ZeroMean },
        name => match name.parse()? {
            Method::AnisoAlign(parts) => {
                let mut config = *settings;
                if parts.refiner_steps == 0 {
                    config.refiner_steps = 0;
                }
                if parts.phase_weight == 0.0 {
                    config.phase_weight = 0.0;
                }
                Method::AnisoAlign(config)
            }
            method => method,
        },
    };
    method.fit(Embeddings::from(text), Embeddings::from(image))
}

/// Memories and shaped noise with other settings than those that have a name.
fn other(
    name: &str,
    text: &EmbeddingTable,
    image: &EmbeddingTable,
) -> Result<Option<Box<dyn Aligner + Send + Sync>>> {
    let memory = |temperature: f64, step: f64| {
        let config = MemoryProjectionConfig::new().with_realigned(true);
        config.with_temperature(temperature).with_step(step).fit(text, image)
    };
    Ok(Some(match name {
        "realign+memory" => Box::new(memory(0.03, 0.5)?),
        "realign+cold" => Box::new(memory(0.01, 0.25)?),
        "shaped" => Box::new(ShapedNoiseConfig::new().with_amount(1.0).fit(text, image)?),
        _ => return Ok(None),
    }))
}
