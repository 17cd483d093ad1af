use std::path::Path;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::F32x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// What an encoder wants done to a picture first: resizing, a crop, a scale and normalisation, as `preprocessor_config.json`
/// has them.
///
/// Resizing is that of Pillow, on which the published towers were trained: convolution with antialiasing, rounded to 8 bits
/// after each direction.
///
/// # Example
///
/// ```
/// use burn_revision::encoder::PictureProcessor;
///
/// let processor = PictureProcessor::clip(224);
/// let picture = image::RgbImage::from_pixel(640, 480, image::Rgb([124, 116, 104]));
/// let pixels = processor.process(&picture);
/// assert_eq!(pixels.len(), 3 * 224 * 224);
/// assert!(pixels.iter().all(|value| value.abs() < 0.05)); // the mean colour
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PictureProcessor {
    resize: Option<(Resize, Resample)>,
    /// Height and width that are cut out in the middle.
    crop: Option<[u32; 2]>,
    /// What a value from 0 to 255 is multiplied by.
    scale: f64,
    mean: [f64; 3],
    std: [f64; 3],
}

/// How large a picture becomes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Resize {
    /// The shorter edge, and the other one in proportion.
    ShortestEdge(u32),
    /// Height and width.
    Squash([u32; 2]),
}

/// The filter of a resampling, by Pillow's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Resample {
    Lanczos,
    Bilinear,
    Bicubic,
    Box,
    Hamming,
}

/// Means and deviations of OpenAI's CLIP.
const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Means and deviations of ImageNet's colours.
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

impl PictureProcessor {
    /// That of OpenAI's CLIP for pictures of `side` pixels: the shorter edge resized with a bicubic filter, and the middle.
    pub fn clip(side: u32) -> Self {
        Self {
            resize: Some((Resize::ShortestEdge(side), Resample::Bicubic)),
            crop: Some([side; 2]),
            scale: 1.0 / 255.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }

    /// That of SigLIP for pictures of `side` pixels: squashed to a square with a bicubic filter.
    pub fn siglip(side: u32) -> Self {
        Self {
            resize: Some((Resize::Squash([side; 2]), Resample::Bicubic)),
            crop: None,
            scale: 1.0 / 255.0,
            mean: [0.5; 3],
            std: [0.5; 3],
        }
    }

    /// That of EfficientNet-Lite as its PyTorch package documents it, for pictures of `side` pixels: the shorter edge resized
    /// with a bilinear filter, the middle, and means and deviations of ImageNet.
    pub fn imagenet(side: u32) -> Self {
        Self {
            resize: Some((Resize::ShortestEdge(side), Resample::Bilinear)),
            crop: Some([side; 2]),
            scale: 1.0 / 255.0,
            mean: IMAGENET_MEAN,
            std: IMAGENET_STD,
        }
    }

    /// That of timm's `pretrained_cfg`, with what it leaves out as in [`imagenet`](Self::imagenet) for `side` pixels.
    pub(in crate::encoder) fn timm(side: u32, config: &Map<String, Value>) -> Result<Self, String> {
        let get = |key: &str| config.get(key).filter(|value| !value.is_null());
        let base = Self::imagenet(side);
        let side = match get("input_size") {
            None => side,
            Some(size) => match size.as_array().map(Vec::as_slice) {
                Some([channels, height, width]) if *channels == 3 && height == width => {
                    sides(height).map(|[side, _]| side)
                }
                _ => None,
            }
            .ok_or_else(|| {
                format!("key \"input_size\": expected three channels of a square, found {size}")
            })?,
        };
        let filter = match get("interpolation").map(Value::as_str) {
            None | Some(Some("bilinear")) => Resample::Bilinear,
            Some(Some("bicubic")) => Resample::Bicubic,
            Some(_) => {
                let found = &config["interpolation"];
                return Err(format!("key \"interpolation\": expected bicubic or bilinear, found {found}"));
            }
        };
        if let Some(mode) = get("crop_mode").filter(|mode| **mode != "center") {
            return Err(format!("key \"crop_mode\": expected center, found {mode}"));
        }
        let share = match get("crop_pct") {
            None => 1.0,
            Some(share) => share
                .as_f64()
                .filter(|share| *share > 0.1 && *share <= 1.0)
                .ok_or_else(|| format!("key \"crop_pct\": expected a share up to 1, found {share}"))?,
        };
        let resize = Some((Resize::ShortestEdge((f64::from(side) / share).floor() as u32), filter));
        let colour = |key: &str, default: [f64; 3]| match get(key) {
            None => Ok(default),
            value => colours(key, value),
        };
        let (mean, std) = (colour("mean", base.mean)?, colour("std", base.std)?);
        if let Some(std) = std.iter().find(|std| **std <= 0.0) {
            return Err(format!("key \"std\": expected values above 0, found {std}"));
        }
        Ok(Self { resize, crop: Some([side; 2]), mean, std, ..base })
    }

    /// That of open_clip's `preprocess_cfg` for pictures of `side` pixels.
    pub(in crate::encoder) fn open_clip(side: u32, config: &Map<String, Value>) -> Result<Self, String> {
        let name = |key: &str, default: &'static str| match config.get(key) {
            None | Some(Value::Null) => Ok(default.to_string()),
            Some(Value::String(name)) => Ok(name.clone()),
            Some(value) => Err(format!("key {key:?}: expected a name, found {value}")),
        };
        let filter = match name("interpolation", "bicubic")?.as_str() {
            "bicubic" => Resample::Bicubic,
            "bilinear" => Resample::Bilinear,
            other => {
                return Err(format!("key \"interpolation\": expected bicubic or bilinear, found {other:?}"));
            }
        };
        let colours = |key: &str, default: [f64; 3]| match config.get(key) {
            None | Some(Value::Null) => Ok(default),
            value => colours(key, value),
        };
        let (size, crop) = match name("resize_mode", "shortest")?.as_str() {
            "shortest" => (Resize::ShortestEdge(side), Some([side; 2])),
            "squash" => (Resize::Squash([side; 2]), None),
            other => {
                return Err(format!("key \"resize_mode\": expected shortest or squash, found {other:?}"));
            }
        };
        let (mean, std) = (colours("mean", CLIP_MEAN)?, colours("std", CLIP_STD)?);
        Ok(Self { resize: Some((size, filter)), crop, scale: 1.0 / 255.0, mean, std })
    }

    /// Reads `preprocessor_config.json` of a folder, or the part `image_processor` of `processor_config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] without either file; [`Error::Format`] with the key and its value for settings that are not understood.
    pub fn read(folder: &Path) -> Result<Self> {
        let (path, part) = match folder.join("processor_config.json") {
            path if path.exists() && !folder.join("preprocessor_config.json").exists() => {
                (path, Some("image_processor"))
            }
            _ => (folder.join("preprocessor_config.json"), None),
        };
        let json = std::fs::read(&path).map_err(|source| Error::io(&path, source))?;
        let wrong = |detail: String| Error::format(&path, detail);
        let mut config: Map<String, Value> =
            serde_json::from_slice(&json).map_err(|source| wrong(source.to_string()))?;
        if let Some(part) = part {
            match config.remove(part) {
                Some(Value::Object(found)) => config = found,
                _ => return Err(wrong(format!("key {part:?}: expected an object"))),
            }
        }
        Self::from_config(&config).map_err(wrong)
    }

    fn from_config(config: &Map<String, Value>) -> Result<Self, String> {
        let get = |key: &str| config.get(key).filter(|value| !value.is_null());
        let flag = |key: &str, default: bool| match get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(format!("key {key:?}: expected true or false, found {value}")),
        };
        if get("do_pad").is_some_and(|value| *value == Value::Bool(true)) {
            return Err("key \"do_pad\": pictures that are padded are not supported".to_string());
        }
        let squares = get("image_processor_type")
            .or_else(|| get("feature_extractor_type"))
            .and_then(Value::as_str)
            .is_some_and(|name| name.starts_with("Siglip"));
        let resize = match (flag("do_resize", true)?, get("size")) {
            (false, _) => None,
            (true, None) => {
                return Err("key \"size\": expected the size to resize to, found none".to_string());
            }
            (true, Some(size)) => Some((resize(size, squares)?, resample(get("resample"))?)),
        };
        let crop = match (flag("do_center_crop", false)?, get("crop_size")) {
            (false, _) => None,
            (true, None) => {
                return Err("key \"crop_size\": expected the size of the crop, found none".to_string());
            }
            (true, Some(size)) => match sides(size) {
                Some(sides) => Some(sides),
                None => return Err(format!("key \"crop_size\": expected height and width, found {size}")),
            },
        };
        let scale = match (flag("do_rescale", true)?, get("rescale_factor")) {
            (false, _) => 1.0,
            (true, None) => 1.0 / 255.0,
            (true, Some(factor)) => {
                factor.as_f64().filter(|factor| factor.is_finite() && *factor > 0.0).ok_or_else(|| {
                    format!("key \"rescale_factor\": expected a number above 0, found {factor}")
                })?
            }
        };
        let (mean, std) = match flag("do_normalize", true)? {
            false => ([0.0; 3], [1.0; 3]),
            true => (colours("image_mean", get("image_mean"))?, colours("image_std", get("image_std"))?),
        };
        if let Some(std) = std.iter().find(|std| **std <= 0.0) {
            return Err(format!("key \"image_std\": expected values above 0, found {std}"));
        }
        Ok(Self { resize, crop, scale, mean, std })
    }

    /// Height and width of what [`process`](Self::process) makes of any picture; `None` where that depends on the picture.
    pub fn output_size(&self) -> Option<[u32; 2]> {
        match (self.crop, self.resize) {
            (Some(size), _) | (None, Some((Resize::Squash(size), _))) => Some(size),
            _ => None,
        }
    }

    /// The pixels of a picture, `[3, height, width]` row-major.
    pub fn process(&self, picture: &RgbImage) -> Vec<f32> {
        let resized = self.resize.map(|(size, filter)| resized(picture, size.of(picture), filter));
        let picture = resized.as_ref().unwrap_or(picture);
        let cropped = self.crop.map(|size| cropped(picture, size));
        let picture = cropped.as_ref().unwrap_or(picture);
        // A table of each value: the arithmetic in float64 is done 256 times a colour.
        let table = |colour: usize| -> [f32; 256] {
            std::array::from_fn(|value| {
                ((value as f64 * self.scale - self.mean[colour]) / self.std[colour]) as f32
            })
        };
        let tables = [table(0), table(1), table(2)];
        let area = (picture.width() * picture.height()) as usize;
        let mut pixels = vec![0.0; 3 * area];
        let (red, rest) = pixels.split_at_mut(area);
        let (green, blue) = rest.split_at_mut(area);
        for (at, [r, g, b]) in picture.as_raw().as_chunks::<3>().0.iter().enumerate() {
            red[at] = tables[0][*r as usize];
            green[at] = tables[1][*g as usize];
            blue[at] = tables[2][*b as usize];
        }
        pixels
    }
}

impl Resize {
    /// Width and height of what becomes of a picture.
    fn of(self, picture: &RgbImage) -> [u32; 2] {
        let (width, height) = picture.dimensions();
        match self {
            Self::Squash([height, width]) => [width, height],
            Self::ShortestEdge(edge) => {
                let (short, long) = (u64::from(width.min(height)), u64::from(width.max(height)));
                // A strip of a pixel must not become longer than memory.
                let long = (u64::from(edge) * long / short).min(MAX_SIDE) as u32;
                if width <= height { [edge, long] } else { [long, edge] }
            }
        }
    }
}

/// The longest side of a resized picture: what is beyond is cut off by a crop anyway.
const MAX_SIDE: u64 = 1 << 16;

/// Rows that are resized at once, so that a large picture is not in memory as floats.
const STRIP: usize = 64;

/// A picture of this width and height: first resized in width and rounded to 8 bits, then in height, as Pillow did it before
/// version 13, which takes the cheaper order first: published towers are older.
fn resized(picture: &RgbImage, [width, height]: [u32; 2], filter: Resample) -> RgbImage {
    let (from_width, from_height) = picture.dimensions();
    if (from_width, from_height) == (width, height) {
        return picture.clone();
    }
    let filter = match filter {
        Resample::Lanczos => FilterType::Lanczos3,
        Resample::Bilinear => FilterType::Bilinear,
        Resample::Bicubic => FilterType::CatmullRom,
        Resample::Box => FilterType::Box,
        Resample::Hamming => FilterType::Hamming,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
    // In float32: the library's own arithmetic on 8 bits has fewer digits than Pillow's.
    let mut resizer = Resizer::new();
    let mut resize = |pixels: &[F32x3], [width, height]: [u32; 2], to: [u32; 2]| -> Vec<F32x3> {
        let source = TypedImageRef::new(width, height, pixels).expect("as many pixels as the size says");
        let mut target = TypedImage::new(to[0], to[1]);
        resizer.resize_typed(&source, &mut target, &options).expect("neither picture is empty");
        target.pixels().iter().map(|pixel| F32x3::new(pixel.0.map(rounded))).collect()
    };
    let floats = |[r, g, b]: &[u8; 3]| F32x3::new([*r, *g, *b].map(f32::from));
    let rows = picture.as_raw().as_chunks::<3>().0.chunks(from_width as usize * STRIP);
    let narrow: Vec<F32x3> = rows
        .flat_map(|rows| {
            let pixels: Vec<F32x3> = rows.iter().map(floats).collect();
            let strip = (rows.len() / from_width as usize) as u32;
            resize(&pixels, [from_width, strip], [width, strip])
        })
        .collect();
    let pixels = resize(&narrow, [width, from_height], [width, height]);
    let bytes = pixels.iter().flat_map(|pixel| pixel.0.map(|value| value as u8)).collect();
    RgbImage::from_raw(width, height, bytes).expect("as many bytes as the size says")
}

/// The nearest value of 8 bits; of two the larger one.
fn rounded(value: f32) -> f32 {
    (value + 0.5).floor().clamp(0.0, 255.0)
}

/// The middle of a picture, with black around one that is smaller; where there is a pixel too many, rounded as
/// `transformers` rounds.
fn cropped(picture: &RgbImage, [height, width]: [u32; 2]) -> RgbImage {
    let (from_width, from_height) = picture.dimensions();
    let offset = |from: u32, to: u32| (i64::from(from) - i64::from(to)).div_euclid(2);
    let (left, top) = (offset(from_width, width), offset(from_height, height));
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (i64::from(x) + left, i64::from(y) + top);
        match (u32::try_from(x), u32::try_from(y)) {
            (Ok(x), Ok(y)) if x < from_width && y < from_height => *picture.get_pixel(x, y),
            _ => image::Rgb([0; 3]),
        }
    })
}

/// Height and width, as a number or an object.
fn sides(size: &Value) -> Option<[u32; 2]> {
    let side =
        |value: &Value| value.as_u64().filter(|side| (1..=MAX_SIDE).contains(side)).map(|side| side as u32);
    match size {
        Value::Object(size) => Some([side(size.get("height")?)?, side(size.get("width")?)?]),
        size => side(size).map(|side| [side; 2]),
    }
}

fn resize(size: &Value, squares: bool) -> Result<Resize, String> {
    let edge = match size {
        Value::Object(size) => size.get("shortest_edge").filter(|edge| !edge.is_null()),
        size if !squares => Some(size),
        _ => None,
    };
    if size.get("longest_edge").is_some_and(|edge| !edge.is_null()) {
        return Err(format!("key \"size\": a longest edge is not supported, found {size}"));
    }
    match edge {
        Some(edge) => sides(edge).map(|[edge, _]| Resize::ShortestEdge(edge)),
        None => sides(size).map(Resize::Squash),
    }
    .ok_or_else(|| format!("key \"size\": expected shortest_edge, or height and width, found {size}"))
}

fn resample(number: Option<&Value>) -> Result<Resample, String> {
    match number.map(Value::as_u64) {
        None | Some(Some(3)) => Ok(Resample::Bicubic),
        Some(Some(1)) => Ok(Resample::Lanczos),
        Some(Some(2)) => Ok(Resample::Bilinear),
        Some(Some(4)) => Ok(Resample::Box),
        Some(Some(5)) => Ok(Resample::Hamming),
        _ => {
            let found = number.expect("none is bicubic");
            Err(format!("key \"resample\": expected 1 to 5, a filter of Pillow, found {found}"))
        }
    }
}

fn colours(key: &str, value: Option<&Value>) -> Result<[f64; 3], String> {
    let found = || value.map_or("none".to_string(), Value::to_string);
    let numbers = value.and_then(Value::as_array).map(|list| list.iter().map(Value::as_f64));
    let numbers: Option<Vec<f64>> = numbers.and_then(|numbers| numbers.collect());
    let numbers = numbers.and_then(|numbers| <[f64; 3]>::try_from(numbers).ok());
    numbers
        .filter(|numbers| numbers.iter().all(|number| number.is_finite()))
        .ok_or_else(|| format!("key {key:?}: expected three numbers, found {}", found()))
}
