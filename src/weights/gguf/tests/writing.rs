use std::path::Path;

use crate::Result;
use crate::embedding::FloatType;
use crate::weights::array::ArrayView;
use crate::weights::gguf::testing::{says, text, texts};
use crate::weights::gguf::{Array, GgufArray, GgufFile, Value, write};

fn array<'a>(name: &str, shape: &[usize], values: &'a [f32], float: FloatType) -> GgufArray<'a> {
    GgufArray { array: ArrayView { name: name.into(), shape: shape.to_vec(), values }, float }
}

/// A projector of LLaVA as llama.cpp keeps it; its numbers are quarters and fit any float type.
fn write_projector(path: &Path) -> Result<()> {
    let quarters = |count: usize| (0..count).map(|value| value as f32 / 4.0 - 1.0).collect::<Vec<_>>();
    let (first, second, bias) = (quarters(15), quarters(25), quarters(5));
    let keys = [
        ("general.architecture", text("clip")),
        ("clip.has_llava_projector", Value::Bool(true)),
        ("clip.projector_type", text("mlp")),
        ("clip.vision.projection_dim", Value::U32(5)),
        ("clip.vision.attention.layer_norm_epsilon", Value::F32(1e-5)),
        ("clip.vision.image_mean", Value::Array(Array::F32(vec![0.5, 0.25, 0.125]))),
        ("general.tags", texts(&["projector", "grün"])),
    ];
    write(
        path,
        &keys,
        &[
            array("mm.0.weight", &[5, 3], &first, FloatType::F16),
            array("mm.0.bias", &[5], &bias, FloatType::F32),
            array("mm.2.weight", &[5, 5], &second, FloatType::BF16),
            array("mm.2.bias", &[5], &bias, FloatType::F32),
        ],
    )
}

#[test]
fn what_is_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mmproj.gguf");
    write_projector(&path).unwrap();
    let file = GgufFile::open(&path).unwrap();
    let metadata = file.metadata();
    assert_eq!(metadata.entries.len(), 7);
    assert_eq!(metadata.boolean("clip.has_llava_projector").unwrap(), Some(true));
    assert_eq!(metadata.text("clip.projector_type").unwrap(), Some("mlp"));
    assert_eq!(metadata.count("clip.vision.projection_dim").unwrap(), Some(5));
    assert_eq!(metadata.number("clip.vision.attention.layer_norm_epsilon").unwrap(), Some(1e-5));
    assert_eq!(
        metadata.texts("general.tags").unwrap().unwrap().iter().collect::<Vec<_>>(),
        ["projector", "grün"]
    );
    let names: Vec<_> = file.tensors().iter().map(|tensor| tensor.name()).collect();
    assert_eq!(names, ["mm.0.weight", "mm.0.bias", "mm.2.weight", "mm.2.bias"]);
    assert_eq!(file.tensor("mm.0.weight").unwrap().shape(), [5, 3]);
    for (name, count) in [("mm.0.weight", 15), ("mm.0.bias", 5), ("mm.2.weight", 25), ("mm.2.bias", 5)] {
        let expected: Vec<_> = (0..count).map(|value| value as f32 / 4.0 - 1.0).collect();
        assert_eq!(file.read(name).unwrap(), expected, "{name}");
    }
    let again = folder.path().join("again.gguf");
    write_projector(&again).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap());
}

/// `tests/reference/make_gguf_fixtures.py` reads `written.gguf` with the `gguf` package and asserts what it finds.
#[test]
fn the_file_that_the_gguf_package_reads_is_what_is_written() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/written.gguf");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("written.gguf");
    write_projector(&path).unwrap();
    let written = std::fs::read(&path).unwrap();
    if std::env::var_os("WRITE_GGUF_FIXTURE").is_some() {
        std::fs::write(&fixture, &written).unwrap();
    }
    assert!(std::fs::read(fixture).unwrap() == written);
}

#[test]
fn what_the_format_has_no_place_for_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    let refused = |keys: &[(&str, Value)], arrays: &[GgufArray<'_>]| {
        let error = write(&path, keys, arrays).unwrap_err().to_string();
        assert!(!path.exists());
        error
    };
    let one = |name: &str, shape: &[usize], values: &[f32], float| {
        refused(&[], &[array(name, shape, values, float)])
    };
    says(&one("deep", &[1; 5], &[0.0], FloatType::F32), &["small.gguf", "\"deep\"", "at most 4"]);
    says(&one("none", &[2, 0], &[], FloatType::F32), &["\"none\"", "[2, 0]"]);
    says(&one("large", &[1], &[1e6], FloatType::F16), &["\"large\"", "found 1e6"]);
    says(&one(&"n".repeat(64), &[1], &[1.0], FloatType::F32), &["at most 63 bytes", "found 64"]);
    let twice = [(); 2].map(|()| array("w", &[1], &[1.0], FloatType::F32));
    says(&refused(&[], &twice), &["tensor \"w\"", "twice"]);
    says(&refused(&[("k", Value::U8(1)), ("k", Value::U8(2))], &[]), &["key \"k\"", "twice"]);
}
