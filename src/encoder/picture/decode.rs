use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};

use crate::{Error, Result};

/// The pixels that a picture may have unless another limit is given, as many as Pillow lets through: a file of a few
/// kilobytes can claim to unfold to gigabytes.
pub const MAX_PIXELS: u64 = 178_956_970;

/// Decodes a PNG, JPEG, WebP, GIF (its first frame), BMP or TIFF file to RGB of 8 bits, turned as its EXIF orientation
/// says.
///
/// The format is told by the first bytes, not by the name. An alpha channel is dropped, as by Pillow's `convert("RGB")`,
/// which the vectors of published encoders were made with; grey and palette are spread out, 16 bits are cut to 8, CMYK is
/// converted. `name` stands in errors.
///
/// # Errors
///
/// [`Error::Format`] for bytes that are no such picture, are cut off or damaged, and for pictures of more than
/// `max_pixels` pixels.
///
/// # Example
///
/// ```
/// use burn_revision::encoder::{MAX_PIXELS, decode_picture};
///
/// let page = decode_picture(b"<html>", "cat.jpg".as_ref(), MAX_PIXELS).unwrap_err().to_string();
/// assert!(page.contains("cat.jpg"));
/// ```
pub fn decode_picture(bytes: &[u8], name: &Path, max_pixels: u64) -> Result<RgbImage> {
    let fail = |detail: String| Error::format(name, detail);
    if bytes.is_empty() {
        return Err(fail("expected a picture, found an empty file".to_string()));
    }
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|error| fail(format!("not a picture: {error}")))?;
    let Some(format) = reader.format() else {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(16)]).into_owned();
        return Err(fail(format!("expected a PNG, JPEG, WebP, GIF, BMP or TIFF picture, found {start:?}")));
    };
    let damaged = |error: image::ImageError| fail(format!("{} picture: {error}", name_of(format)));
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 || pixels > max_pixels {
        let detail = format!("expected 1 to {max_pixels} pixels, found {width} x {height}");
        return Err(fail(detail));
    }
    // What decoders may reserve: the pixels, wide, and as much again for what is between.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(pixels * 32 + (1 << 20));
    decoder.set_limits(limits).map_err(damaged)?;
    // A picture without readable orientation is upright.
    let orientation = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    if let Some(orientation) = orientation {
        picture.apply_orientation(orientation);
    }
    Ok(picture.into_rgb8())
}

fn name_of(format: image::ImageFormat) -> &'static str {
    format.extensions_str().first().copied().unwrap_or("unknown")
}
