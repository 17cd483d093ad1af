//! Draws the diagrams of the book:
//!
//! ```text
//! cargo run --example book_figures -- book/src/images
//! ```

mod clouds;
mod diagrams;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;
use plotters::style::RGBColor;

/// Draw the diagrams of the book
#[derive(Parser)]
struct Arguments {
    /// The folder to draw into
    #[arg(default_value = "book/src/images")]
    folder: PathBuf,
}

/// Two colours that are distinct with any colour vision.
const TEXT: RGBColor = RGBColor(213, 94, 0);
const IMAGE: RGBColor = RGBColor(0, 114, 178);
const INK: RGBColor = RGBColor(51, 51, 51);

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Arguments::parse().folder;
    std::fs::create_dir_all(&folder)?;
    let clouds = clouds::Clouds::read()?;
    clouds.draw_gap(&folder.join("gap.svg"))?;
    clouds.draw_steps(&folder.join("realign_steps.svg"))?;
    diagrams::two_stages(&folder.join("two_stages.svg"))?;
    diagrams::fixed_frame(&folder.join("fixed_frame.svg"))?;
    diagrams::circular_blocks(&folder.join("circular_blocks.svg"))?;
    println!(
        "gap.svg, realign_steps.svg, two_stages.svg, fixed_frame.svg and circular_blocks.svg in {}",
        folder.display()
    );
    Ok(())
}
