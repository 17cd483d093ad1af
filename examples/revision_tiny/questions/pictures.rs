//! Pictures with questions, and who may look at which of them.

use std::sync::OnceLock;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use resvg::tiny_skia::Pixmap;

use super::settings::Settings;
use super::words::{Concept, Question};
use super::{drawn, package};

/// The height and width of all pictures, in pixels.
pub const SIZE: usize = 64;

/// A picture and what is asked about it.
#[derive(Debug)]
pub struct Picture {
    pub id: String,
    pub png: Vec<u8>,
    /// What it shows, where its questions tell.
    pub concept: Option<Concept>,
    pub questions: Vec<Question>,
    /// `[3, SIZE, SIZE]`, from -1 (black) to 1 (white).
    pub pixels: Vec<f32>,
}

impl Picture {
    /// Decodes a picture; what is wrong with it otherwise.
    pub fn new(
        id: String,
        png: Vec<u8>,
        concept: Option<Concept>,
        questions: Vec<Question>,
    ) -> Result<Self, String> {
        let pixmap = Pixmap::decode_png(&png).map_err(|error| format!("{id}: {error}"))?;
        let (width, height) = (pixmap.width() as usize, pixmap.height() as usize);
        if (width, height) != (SIZE, SIZE) {
            return Err(format!("{id}: expected {SIZE} x {SIZE} pixels, found {width} x {height}"));
        }
        let channel = |channel: usize| {
            pixmap.data().iter().skip(channel).step_by(4).map(|byte| f32::from(*byte) / 127.5 - 1.0)
        };
        let pixels = (0..3).flat_map(channel).collect();
        Ok(Self { id, png, concept, questions, pixels })
    }

    /// The pixels as they are, and mirrored from left to right, from top to bottom, and both: what is shown stays the same.
    pub fn mirrored(&self) -> [Vec<f32>; 4] {
        [(false, false), (true, false), (false, true), (true, true)].map(|(across, down)| {
            let turned = |place: usize, turn: bool| if turn { SIZE - 1 - place } else { place };
            let at = |channel: usize, row: usize, column: usize| {
                self.pixels[(channel * SIZE + turned(row, down)) * SIZE + turned(column, across)]
            };
            let places = (0..3).flat_map(|channel| (0..SIZE).map(move |row| (channel, row)));
            places.flat_map(|(channel, row)| (0..SIZE).map(move |column| at(channel, row, column))).collect()
        })
    }
}

/// All pictures.
#[derive(Debug)]
pub struct PictureSet {
    /// Where they come from.
    pub source: String,
    /// Whether they were drawn here.
    pub is_drawn: bool,
    pub train: Vec<Picture>,
    pub test: Vec<Picture>,
}

impl PictureSet {
    /// Those of the package where it is there, else pictures of the same kind.
    pub fn load(drawn: bool) -> &'static Self {
        static SET: OnceLock<PictureSet> = OnceLock::new();
        SET.get_or_init(|| {
            if drawn {
                return drawn::draw();
            }
            package::load().unwrap_or_else(|why| {
                println!(
                    "easy-vqa: {why}. Drawing pictures of the same kind instead; \
                     examples/revision_tiny/fetch_easy_vqa.sh brings the package."
                );
                drawn::draw()
            })
        })
    }
}

/// The training pictures of a seed, by what they are for. No picture is in two shares.
#[derive(Debug)]
pub struct Shares {
    /// With captions: they train the encoder and nothing else.
    pub encoder: Vec<&'static Picture>,
    /// Without words: the image side of all statistics.
    pub unpaired: Vec<&'static Picture>,
    /// With their questions: stage 2 has the first few of them, and "real pairs" has all in stage 1.
    pub pairs: Vec<&'static Picture>,
    /// With their questions: what settings were chosen on, never the test pictures.
    pub validation: Vec<&'static Picture>,
}

impl Shares {
    /// Deals the training pictures out.
    pub fn new(set: &'static PictureSet, settings: &Settings, held_out: &[Concept], seed: u64) -> Self {
        let mut shuffled: Vec<&Picture> = set.train.iter().collect();
        shuffled.shuffle(&mut StdRng::seed_from_u64(seed));
        // A picture whose questions do not tell what it shows has no caption.
        let (known, unknown): (Vec<_>, Vec<_>) =
            shuffled.into_iter().partition(|picture| picture.concept.is_some());
        let seen = |picture: &&Picture| picture.concept.is_none_or(|concept| !held_out.contains(&concept));
        let mut known = known.into_iter().filter(seen);
        let encoder = known.by_ref().take(settings.encoder_pictures).collect();
        let pairs = known.by_ref().take(settings.pairs).collect();
        let mut rest: Vec<_> = unknown.into_iter().chain(known).collect();
        let validation = rest.split_off(settings.unpaired_pictures.min(rest.len()));
        Self { encoder, unpaired: rest, pairs, validation }
    }
}
