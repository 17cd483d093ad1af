//! Real pictures with real names: the emoji drawings of Twemoji (CC-BY 4.0, Twitter and contributors), named by
//! Unicode.

use std::collections::{BTreeMap, BTreeSet};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg;
use twemoji_assets::svg::SvgTwemojiAsset;

/// The height and width of the pictures that the encoder sees, in pixels.
pub const SIZE: usize = 32;

/// Every picture is drawn on this grey, which the encoder sees as zero: many drawings hold white or black.
const BACKGROUND: u8 = 128;

/// A drawing and its name.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The code points in hexadecimal, joined by `-`.
    pub id: String,
    /// The emoji itself.
    pub emoji: &'static str,
    /// The caption: the name in lower case.
    pub name: String,
    /// `[3, SIZE, SIZE]` values, channel by channel and row by row, from -1 (black) to just below 1 (white).
    pub pixels: Vec<f32>,
}

/// The part of the pictures that a step of the example may look at.
///
/// Each picture belongs to one share. Drawings that differ only in a skin tone may fall into different shares,
/// as near-duplicates do in collections from the web.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Half: pictures with their names. They train the dual encoder (and the tokenizer) and nothing else.
    EncoderPairs,
    /// A quarter: names alone; nobody sees their pictures. They give the statistics of the text side and the
    /// captions of the first stage, which is trained on text alone.
    Stage1Texts,
    /// A twentieth: pictures alone; nobody sees their names. They give the statistics of the image side, unpaired.
    ExtraImages,
    /// Eight in a hundred: pictures with their names, for the second stage.
    Stage2Pairs,
    /// Twelve in a hundred: pictures with their names, for measuring alone.
    Test,
}

impl Share {
    /// The shares with their size in percent.
    const SIZES: [(Self, usize); 5] = [
        (Self::EncoderPairs, 50),
        (Self::Stage1Texts, 25),
        (Self::ExtraImages, 5),
        (Self::Stage2Pairs, 8),
        (Self::Test, 12),
    ];

    /// The share of the pictures that come after this many percent of all.
    fn at(percent: usize) -> Self {
        let mut end = 0;
        let inside = |(_, size): &&(Self, usize)| {
            end += size;
            percent < end
        };
        Self::SIZES.iter().find(inside).expect("the sizes are a hundred percent").0
    }
}

/// All pictures, in the order of their code points, and what was left out.
#[derive(Debug)]
pub struct Pictures {
    /// The pictures.
    pub all: Vec<Picture>,
    /// Drawings without a name.
    pub nameless: Vec<String>,
    /// Emojis without a drawing: they are younger than the drawings.
    pub undrawn: Vec<String>,
}

impl Pictures {
    /// Draws every emoji that has a drawing and a name.
    pub fn load() -> Self {
        let mut drawings: BTreeSet<&'static str> = BTreeSet::new();
        let mut undrawn = Vec::new();
        for emoji in emojis::iter() {
            // The untoned form is among its own skin tones, or stands alone.
            let tones = emoji.skin_tones().into_iter().flatten();
            for emoji in std::iter::once(emoji).chain(tones) {
                match drawing(emoji.as_str()) {
                    Some(asset) => drop(drawings.insert(asset.emoji)),
                    None => undrawn.push(emoji.as_str().to_string()),
                }
            }
        }
        // Drawings that are no emoji of their own, such as the letters that make flags, are one character long.
        let single =
            ('\u{21}'..='\u{1ffff}').filter_map(|char| SvgTwemojiAsset::from_emoji(&char.to_string()));
        drawings.extend(single.map(|asset| asset.emoji));

        undrawn.sort();
        undrawn.dedup();
        let mut nameless = Vec::new();
        let named: Vec<(&'static str, String)> = drawings
            .into_iter()
            .filter_map(|emoji| match caption(emoji) {
                Some(name) => Some((emoji, name)),
                None => {
                    nameless.push(id(emoji));
                    None
                }
            })
            .collect();
        Self { all: draw_all(&named), nameless, undrawn }
    }

    /// The pictures of one share, in the order of their code points. The split is a function of the seed alone; pictures
    /// that are the same to the pixel (the flags of France and of its territories, say) go together.
    pub fn share(&self, share: Share, seed: u64) -> Vec<&Picture> {
        let mut drawings: BTreeMap<Vec<u32>, Vec<usize>> = BTreeMap::new();
        for (row, picture) in self.all.iter().enumerate() {
            drawings
                .entry(picture.pixels.iter().map(|value| value.to_bits()).collect())
                .or_default()
                .push(row);
        }
        let mut drawings: Vec<Vec<usize>> = drawings.into_values().collect();
        drawings.sort_unstable();
        drawings.shuffle(&mut StdRng::seed_from_u64(seed));

        let mut rows = Vec::new();
        let mut dealt = 0;
        for drawing in drawings {
            if Share::at(dealt * 100 / self.all.len()) == share {
                rows.extend_from_slice(&drawing);
            }
            dealt += drawing.len();
        }
        rows.sort_unstable();
        rows.into_iter().map(|row| &self.all[row]).collect()
    }
}

impl Picture {
    /// Draws the picture anew, `size` pixels high and wide, as a PNG.
    pub fn png(&self, size: u32) -> Vec<u8> {
        let asset = SvgTwemojiAsset::from_emoji(self.emoji).expect("a picture was drawn from its asset");
        draw(asset, size).encode_png().expect("a pixmap can be encoded")
    }
}

/// The drawing of an emoji, with or without the selector of its colourful form.
fn drawing(emoji: &str) -> Option<&'static SvgTwemojiAsset> {
    let bare = || emoji.replace('\u{fe0f}', "");
    SvgTwemojiAsset::from_emoji(emoji).or_else(|| SvgTwemojiAsset::from_emoji(&bare()))
}

/// The name of a drawing: that of Unicode, else the one that comes with the drawing.
fn caption(emoji: &'static str) -> Option<String> {
    let bare = emoji.replace('\u{fe0f}', "");
    let named = [emoji, &bare, &format!("{bare}\u{fe0f}")].into_iter().find_map(emojis::get);
    let label = || SvgTwemojiAsset::from_emoji(emoji).and_then(|asset| asset.label);
    let name = named.map(|emoji| emoji.name()).or_else(label)?.trim().to_lowercase();
    (!name.is_empty()).then_some(name)
}

fn id(emoji: &str) -> String {
    let codes: Vec<String> = emoji.chars().map(|char| format!("{:x}", char as u32)).collect();
    codes.join("-")
}

/// Draws the pictures, one part a core.
fn draw_all(named: &[(&'static str, String)]) -> Vec<Picture> {
    let parts = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let part = named.len().div_ceil(parts).max(1);
    let picture = |(emoji, name): &(&'static str, String)| {
        let asset = SvgTwemojiAsset::from_emoji(emoji).expect("the drawing was found before");
        Picture { id: id(emoji), emoji, name: name.clone(), pixels: values(&draw(asset, SIZE as u32)) }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = named
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().map(picture).collect::<Vec<_>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("drawing does not panic")).collect()
    })
}

fn draw(asset: &SvgTwemojiAsset, size: u32) -> Pixmap {
    let tree = usvg::Tree::from_str(asset, &usvg::Options::default()).expect("the assets are valid SVG");
    let mut pixmap = Pixmap::new(size, size).expect("the size is not zero");
    pixmap.fill(Color::from_rgba8(BACKGROUND, BACKGROUND, BACKGROUND, 255));
    let scale = Transform::from_scale(size as f32 / tree.size().width(), size as f32 / tree.size().height());
    resvg::render(&tree, scale, &mut pixmap.as_mut());
    pixmap
}

/// The values that the encoder sees; the pixmap is opaque, so no alpha has to be divided out.
fn values(pixmap: &Pixmap) -> Vec<f32> {
    let channel = |channel: usize| {
        let bytes = pixmap.data().iter().skip(channel).step_by(4);
        bytes.map(|&byte| (f32::from(byte) - f32::from(BACKGROUND)) / 128.0)
    };
    (0..3).flat_map(channel).collect()
}
