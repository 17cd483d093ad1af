//! Pictures like those of the package, drawn here: where there is no package, or to have others.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use resvg::tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Transform};

use super::pictures::{Picture, PictureSet, SIZE};
use super::words::Concept;

/// As many as in the package.
const TRAIN: usize = 4000;
const TEST: usize = 1000;
/// The seed of all pictures: as with the package, every run has the same ones.
const SEED: u64 = 20_260_207;

/// Draws all pictures and asks their questions.
pub fn draw() -> PictureSet {
    let mut rng = StdRng::seed_from_u64(SEED);
    let concepts: Vec<Concept> = Concept::all().collect();
    let mut picture = |name: &str, number: usize| {
        let concept = *concepts.choose(&mut rng).expect("there are concepts");
        let png = shape(concept, &mut rng).encode_png().expect("a pixmap can be encoded");
        let questions = concept.questions(0.5, &mut rng);
        Picture::new(format!("{name}-{number}"), png, Some(concept), questions)
            .expect("it was drawn in this size")
    };
    let train = (0..TRAIN).map(|number| picture("train", number)).collect();
    let test = (0..TEST).map(|number| picture("test", number)).collect();
    PictureSet { source: "pictures drawn like those of easy-vqa".into(), is_drawn: true, train, test }
}

/// One shape of any size at any place, on a background that is nearly white.
fn shape(concept: Concept, rng: &mut StdRng) -> Pixmap {
    let mut pixmap = Pixmap::new(SIZE as u32, SIZE as u32).expect("the size is not zero");
    let [red, green, blue] = std::array::from_fn(|_| rng.random_range(230..=255));
    pixmap.fill(Color::from_rgba8(red, green, blue, 255));
    let mut paint = Paint::default();
    let [red, green, blue] = rgb(concept.colour);
    paint.set_color_rgba8(red, green, blue, 255);
    let side = SIZE as f32;
    let mut size = || rng.random_range(10.0..32.0_f32).round();
    let (width, height) = match concept.shape {
        "rectangle" => (size(), size()),
        _ => {
            let size = size();
            (size, size)
        }
    };
    let mut place = |extent: f32| rng.random_range(0.0..side - extent).round();
    let path = outline(concept.shape, [place(width), place(height)], [width, height]);
    pixmap.fill_path(&path, &paint, FillRule::Winding, Transform::identity(), None);
    pixmap
}

fn outline(shape: &str, [left, top]: [f32; 2], [width, height]: [f32; 2]) -> Path {
    let rect = Rect::from_xywh(left, top, width, height).expect("sizes are positive");
    let path = match shape {
        "rectangle" => Some(PathBuilder::from_rect(rect)),
        "circle" => PathBuilder::from_oval(rect),
        _ => {
            // Equilateral, standing on the lower edge of its square.
            let mut path = PathBuilder::new();
            let above = width * 3_f32.sqrt() / 2.0;
            path.move_to(left, top + height);
            path.line_to(left + width, top + height);
            path.line_to(left + width / 2.0, top + height - above);
            path.close();
            path.finish()
        }
    };
    path.expect("the outline is not empty")
}

/// The colours as browsers know them, but for green, which the package has at full brightness.
fn rgb(colour: &str) -> [u8; 3] {
    match colour {
        "black" => [0, 0, 0],
        "blue" => [0, 0, 255],
        "brown" => [165, 42, 42],
        "gray" => [128, 128, 128],
        "green" => [0, 255, 0],
        "red" => [255, 0, 0],
        "teal" => [0, 128, 128],
        _ => [255, 255, 0],
    }
}
