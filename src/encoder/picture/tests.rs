//! Against Pillow and the processors of `transformers`: `tests/reference/make_encoder_fixtures.py` made the pictures.

use std::path::{Path, PathBuf};

use super::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoder/pictures")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap()
}

fn names() -> Vec<String> {
    let names =
        std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| !name.ends_with(".safetensors")).collect();
    names.sort();
    names
}

/// The largest difference from what Pillow decoded, in steps of 255: nothing for formats without loss. JPEG and WebP leave
/// it to the decoder how it rounds and how it spreads coloured pixels out.
fn steps(name: &str) -> i32 {
    match name {
        "subsampled.jpg" | "progressive.jpg" => 6,
        "cmyk.jpg" => 4,
        "lossy.webp" => 3,
        name if name.ends_with(".jpg") => 2,
        _ => 0,
    }
}

#[test]
fn pictures_are_decoded_as_pillow_decodes_them() {
    let bytes = read("pictures.safetensors");
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for name in names() {
        let found = decode_picture(&read(&name), name.as_ref(), MAX_PIXELS).unwrap();
        let expected = reference.tensor(&format!("{name} rgb")).unwrap();
        assert_eq!([found.height() as usize, found.width() as usize, 3], *expected.shape(), "{name}");
        let pairs = found.as_raw().iter().zip(expected.data());
        let largest = pairs.map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs()).max().unwrap();
        assert!(largest <= steps(&name), "{name}: {largest} steps");
    }
}

#[test]
fn pixels_are_those_of_the_processors_of_transformers() {
    let bytes = read("pictures.safetensors");
    let reference = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for name in names() {
        // What is compared here is resizing and what follows.
        let rgb = reference.tensor(&format!("{name} rgb")).unwrap();
        let [height, width, _] = rgb.shape() else { panic!("a picture") };
        let picture = image::RgbImage::from_raw(*width as u32, *height as u32, rgb.data().to_vec()).unwrap();
        for (kind, processor) in
            [("clip", PictureProcessor::clip(32)), ("siglip", PictureProcessor::siglip(32))]
        {
            let found = processor.process(&picture);
            let expected = reference.tensor(&format!("{name} {kind}")).unwrap();
            let expected: Vec<f32> =
                expected.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            assert_eq!(found.len(), expected.len());
            let differences: Vec<f32> = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).collect();
            // Sums that end half-way between two values may be rounded to either: one step of 255, of the least deviation.
            let (step, rounding) = (1.0 / 255.0 / if kind == "clip" { 0.2613 } else { 0.5 } + 1e-6, 1e-6);
            assert!(differences.iter().all(|difference| *difference <= step), "{name} {kind}");
            let unlike = differences.iter().filter(|difference| **difference > rounding).count();
            assert!(
                unlike * 500 <= differences.len(),
                "{name} {kind}: {unlike} of {} differ",
                differences.len()
            );
        }
    }
}

#[test]
fn configurations_of_either_kind_are_read() {
    let fixtures = folder();
    let fixtures = fixtures.parent().unwrap();
    assert_eq!(PictureProcessor::read(&fixtures.join("clip")).unwrap(), PictureProcessor::clip(32));
    assert_eq!(PictureProcessor::read(&fixtures.join("siglip")).unwrap(), PictureProcessor::siglip(32));
    // Sizes as numbers, as files of the first years have them.
    let folder = tempfile::tempdir().unwrap();
    let older = r#"{"crop_size": 32, "do_center_crop": true, "do_normalize": true, "do_resize": true, "size": 32,
        "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}"#;
    let path = folder.path().join("preprocessor_config.json");
    std::fs::write(&path, older).unwrap();
    assert_eq!(PictureProcessor::read(folder.path()).unwrap(), PictureProcessor::clip(32));
    for (from, to, expected) in [
        ("\"size\": 32", "\"size\": {\"longest_edge\": 3}", "longest edge"),
        ("\"size\": 32", "\"size\": -1", "found -1"),
        ("\"do_resize\": true", "\"do_resize\": 1", "\"do_resize\": expected true or false"),
        ("0.4578275, ", "", "\"image_mean\": expected three numbers"),
        ("0.26130258", "0", "\"image_std\": expected values above 0"),
        ("\"resample\": 3", "\"resample\": 0", "found 0"),
        ("{\"crop", "{\"do_pad\": true, \"crop", "do_pad"),
    ] {
        assert!(older.contains(from));
        std::fs::write(&path, older.replacen(from, to, 1)).unwrap();
        let error = PictureProcessor::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("preprocessor_config.json"), "{error}");
    }
}

#[test]
fn what_is_no_picture_is_refused_with_its_name() {
    let error = |bytes: &[u8], limit: u64| {
        decode_picture(bytes, "a/cat.jpg".as_ref(), limit).unwrap_err().to_string()
    };
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (b"<!DOCTYPE html><html>", "<!DOCTYPE html>"),
        (b"\x89PNG\r\n\x1a\n", "png picture"),
        (b"not a picture at all", "not a picture"),
    ] {
        let found = error(bytes, MAX_PIXELS);
        assert!(found.starts_with("a/cat.jpg: ") && found.contains(expected), "{found}");
    }
    let found = error(&read("landscape.png"), 90 * 60 - 1);
    assert!(found.contains("90 x 60") && found.contains("5399"), "{found}");
}

/// A few hundred bytes that claim to be 60000 x 60000 pixels.
#[test]
fn a_picture_that_unfolds_to_gigabytes_is_refused_before_it_does() {
    let mut bomb = read("grey.png");
    bomb[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let crc = crc(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    let error = decode_picture(&bomb, "bomb.png".as_ref(), MAX_PIXELS).unwrap_err().to_string();
    assert!(error.contains("60000 x 60000"), "{error}");
}

/// The checksum of a PNG chunk.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn damaged_pictures_are_errors_and_never_panics() {
    for name in names() {
        let whole = read(&name);
        for length in (0..whole.len()).step_by(whole.len() / 40 + 1) {
            let _ = decode_picture(&whole[..length], name.as_ref(), MAX_PIXELS);
        }
        let mut state = 1u64;
        for _ in 0..40 {
            let mut bytes = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            let _ = decode_picture(&bytes, name.as_ref(), 1 << 20);
        }
    }
    let cut = read("landscape.png");
    assert!(decode_picture(&cut[..cut.len() / 2], "cut.png".as_ref(), MAX_PIXELS).is_err());
}
