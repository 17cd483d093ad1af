//! Files that PyTorch has written, files that are written here, and files that do not fit.
//!
//! The files in `tests/fixtures/projector_file` come from `tests/reference/make_projector_fixtures.py`; values follow
//! one rule, so that the tests need no second copy of them.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use proptest::prelude::*;

use super::*;
use crate::weights::array::ArrayView;
use crate::weights::gguf::{self, GgufArray, GgufFile, Value};

const FLOATS: [FloatType; 4] = [FloatType::F32, FloatType::F16, FloatType::BF16, FloatType::F64];

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/projector_file").join(name)
}

/// Value `i` of array number `a` of a fixture is `a + (i - 3) / 8`.
fn values(array: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| array as f32 + (i as f32 - 3.0) / 8.0).collect()
}

/// The projector of all fixtures.
fn expected() -> ProjectorArrays {
    let first = ProjectorLayer::new([4, 3], values(0, 12), values(1, 4)).unwrap();
    let second = ProjectorLayer::new([2, 4], values(2, 8), values(3, 2)).unwrap();
    ProjectorArrays::new(vec![first, second]).unwrap()
}

fn linear() -> ProjectorArrays {
    ProjectorArrays::new(vec![ProjectorLayer::new([4, 3], values(0, 12), values(1, 4)).unwrap()]).unwrap()
}

fn array(name: &str, shape: &[usize]) -> NamedArray {
    let count = shape.iter().product();
    NamedArray { name: name.to_string(), shape: shape.to_vec(), values: vec![1.0; count] }
}

fn error_of(arrays: &[NamedArray]) -> String {
    ProjectorArrays::from_arrays(Path::new("p.bin"), arrays.to_vec()).unwrap_err().to_string()
}

#[test]
fn what_pytorch_writes_is_read() {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(fixture("")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.ends_with("zero3.bin"));
    assert!(paths.len() >= 20, "{paths:?}");
    for path in paths {
        assert_eq!(ProjectorArrays::read(&path).unwrap(), expected(), "{}", path.display());
    }
}

#[test]
fn names_and_shapes_are_those_of_the_file() {
    let arrays = read_projector(&fixture("strided.bin")).unwrap();
    let found: Vec<_> = arrays.iter().map(|array| (array.name.as_str(), array.shape.as_slice())).collect();
    let expected: [(&str, &[usize]); 4] = [
        ("mm_projector.0.weight", &[4, 3]),
        ("mm_projector.0.bias", &[4]),
        ("mm_projector.2.weight", &[2, 4]),
        ("mm_projector.2.bias", &[2]),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_empty_weights_of_one_process_are_named() {
    let error = ProjectorArrays::read(&fixture("zero3.bin")).unwrap_err().to_string();
    for part in ["zero3.bin: \"model.mm_projector.0.weight\"", "shape [0]", "ZeRO-3", "zero_to_fp32.py"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_checkpoint_gives_the_projector_alone() {
    for name in ["checkpoint.bin", "bf16.safetensors"] {
        let arrays = read_projector(&fixture(name)).unwrap();
        assert!(arrays.len() == 4 && arrays.iter().all(|array| array.name.contains("mm_projector.")));
    }
    for (name, mark) in [("transformers.bin", "multi_modal_projector."), ("mmproj.gguf", "mm.")] {
        let arrays = read_projector(&fixture(name)).unwrap();
        assert!(arrays.len() == 4 && arrays.iter().all(|array| array.name.contains(mark)), "{name}");
    }
}

#[test]
fn other_files_are_refused_by_name() {
    let error = |name: &str| read_projector(&fixture(name)).unwrap_err().to_string();
    assert!(
        error("f32.npz")
            .contains("expected a file .safetensors, .bin, .pt, .pth or .gguf, found extension \"npz\"")
    );
    assert!(matches!(read_projector(&fixture("none.bin")), Err(Error::Io { .. })));
    let to = Path::new("no/such/folder/p.npz");
    assert!(write_projector(to, &linear(), FloatType::F32).unwrap_err().to_string().contains("\"npz\""));
}

#[test]
fn written_files_are_read_again_and_always_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for projector in [expected(), linear()] {
        for name in ["p.bin", "p.pt", "p.pth", "p.safetensors", "P.BIN"] {
            for float in FLOATS {
                let path = folder.path().join(name);
                write_projector(&path, &projector, float).unwrap();
                assert_eq!(ProjectorArrays::read(&path).unwrap(), projector, "{name} {float}");
                let bytes = fs::read(&path).unwrap();
                write_projector(&path, &projector, float).unwrap();
                assert_eq!(fs::read(&path).unwrap(), bytes);
            }
        }
    }
}

#[test]
fn written_names_are_llavas() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["p.bin", "p.safetensors"] {
        let path = folder.path().join(name);
        let names = |projector: &ProjectorArrays| {
            write_projector(&path, projector, FloatType::F32).unwrap();
            read_projector(&path).unwrap().into_iter().map(|array| array.name).collect::<Vec<_>>()
        };
        let expected_names = ["0.weight", "0.bias", "2.weight", "2.bias"];
        assert_eq!(names(&expected()), expected_names.map(|name| format!("model.mm_projector.{name}")));
        assert_eq!(names(&linear()), ["weight", "bias"].map(|name| format!("model.mm_projector.{name}")));
    }
}

#[test]
fn a_file_for_llama_cpp_has_its_names_and_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mmproj.gguf");
    for (projector, names) in [
        (expected(), &["mm.0.weight", "mm.0.bias", "mm.2.weight", "mm.2.bias"][..]),
        (linear(), &["mm.0.weight", "mm.0.bias"]),
    ] {
        for float in [FloatType::F32, FloatType::F16, FloatType::BF16] {
            write_projector(&path, &projector, float).unwrap();
            assert_eq!(ProjectorArrays::read(&path).unwrap(), projector, "{float}");
            let file = GgufFile::open(&path).unwrap();
            let found: Vec<_> = file.tensors().iter().map(|tensor| tensor.name()).collect();
            assert_eq!(found, names);
            let keys = file.metadata();
            assert_eq!(keys.text("general.architecture").unwrap(), Some("clip"));
            assert_eq!(keys.text("clip.projector_type").unwrap(), Some("mlp"));
            assert_eq!(keys.boolean("clip.has_llava_projector").unwrap(), Some(true));
            let width = keys.count("clip.vision.projection_dim").unwrap();
            assert_eq!(width, Some(projector.output()));
        }
    }
    let error = |projector: &ProjectorArrays, float| {
        write_projector(&folder.path().join("p.gguf"), projector, float).unwrap_err().to_string()
    };
    assert!(
        error(&expected(), FloatType::F64)
            .contains("p.gguf: llama.cpp computes with f32, f16 or bf16, found f64")
    );
    let layer = || ProjectorLayer::new([1, 1], vec![1.0], vec![0.0]).unwrap();
    let deep = ProjectorArrays::new(vec![layer(), layer(), layer()]).unwrap();
    assert!(error(&deep, FloatType::F32).contains("1 or 2 layers, found 3"));
    assert!(!folder.path().join("p.gguf").exists());
}

#[test]
fn a_projector_of_another_type_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ldp.gguf");
    let keys = [("clip.projector_type", Value::String("ldpv2".into()))];
    let array = ArrayView { name: "mm.0.weight".into(), shape: vec![1, 1], values: &[1.0] };
    gguf::write(&path, &keys, &[GgufArray { array, float: FloatType::F32 }]).unwrap();
    let error = read_projector(&path).unwrap_err().to_string();
    assert!(error.contains("clip.projector_type") && error.contains("\"ldpv2\""), "{error}");
}

/// Makes the files that `tests/reference/make_projector_fixtures.py DIR` has PyTorch read.
#[test]
#[ignore = "writes files for another program"]
fn files_for_pytorch() {
    let folder = PathBuf::from(std::env::var_os("PROJECTOR_FILES").expect("a folder in PROJECTOR_FILES"));
    for float in FLOATS {
        for extension in ["bin", "safetensors"] {
            write_projector(&folder.join(format!("{float}.{extension}")), &expected(), float).unwrap();
            write_projector(&folder.join(format!("{float}_linear.{extension}")), &linear(), float).unwrap();
        }
        if float != FloatType::F64 {
            write_projector(&folder.join(format!("{float}.gguf")), &expected(), float).unwrap();
            write_projector(&folder.join(format!("{float}_linear.gguf")), &linear(), float).unwrap();
        }
    }
}

#[test]
fn values_that_a_type_cannot_hold_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.safetensors");
    let write = |value: f32, float| {
        let layer = ProjectorLayer::new([1, 2], vec![0.0, value], vec![f32::INFINITY]).unwrap();
        write_projector(&path, &ProjectorArrays::new(vec![layer]).unwrap(), float)?;
        Ok(ProjectorArrays::read(&path)?.layers[0].weight[1])
    };
    // The greatest float32 that rounds to a finite value, and the least one that does not.
    let bf16_end = f32::from_bits(0x7F7F_8000);
    for (float, end) in [(FloatType::F16, 65520.0_f32), (FloatType::BF16, bf16_end)] {
        let last = f32::from_bits(end.to_bits() - 1);
        assert!(write(-last, float).unwrap().is_finite());
        let error: Error = write(-end, float).unwrap_err();
        assert!(
            error.to_string().contains("\"model.mm_projector.weight\": expected values below"),
            "{error}"
        );
    }
    assert_eq!(write(f32::MAX, FloatType::F32).unwrap(), f32::MAX);
}

#[test]
fn every_array_is_accounted_for() {
    let [weight, bias] = [array("mm_projector.0.weight", &[4, 3]), array("mm_projector.0.bias", &[4])];
    let both = [weight.clone(), bias.clone()];
    let with = |more: &[NamedArray]| error_of(&[&both, more].concat());
    assert!(error_of(&[]).contains("p.bin: \"model.mm_projector.weight\": expected in the file, found none"));
    assert!(error_of(&both[..1]).contains("\"model.mm_projector.0.bias\": expected in the file, found none"));
    assert!(
        error_of(&both[1..]).contains("\"model.mm_projector.0.weight\": expected in the file, found none")
    );
    let gap = with(&[array("mm_projector.4.weight", &[2, 4]), array("mm_projector.4.bias", &[2])]);
    assert!(gap.contains("\"model.mm_projector.2.weight\": expected in the file, found none"), "{gap}");
    assert!(gap.contains("[\"mm_projector.4.bias\", \"mm_projector.4.weight\"]"), "{gap}");
    let far = with(&[array("mm_projector.1000000000000.weight", &[2, 4])]);
    assert!(far.contains("\"model.mm_projector.2.weight\": expected in the file, found none"), "{far}");
    let odd = with(&[array("mm_projector.3.weight", &[2, 4])]);
    assert!(
        odd.contains(
            "\"mm_projector.3.weight\": expected 0, 2, 4, ... as the number of a layer, found \"3\""
        )
    );
    let scale = with(&[array("mm_projector.0.scale", &[4])]);
    assert!(
        scale.contains("\"mm_projector.0.scale\": expected `weight` or `bias` at its end, found \"scale\"")
    );
    let twice = with(&[array("module.mm_projector.0.bias", &[4])]);
    assert!(
        twice.contains(
            "\"module.mm_projector.0.bias\": expected one \"0.bias\", found \"mm_projector.0.bias\""
        )
    );
    let mixed = with(&[array("mm_projector.weight", &[4, 3])]);
    assert!(mixed.contains("\"mm_projector.weight\": expected the number of a layer"), "{mixed}");
}

#[test]
fn shapes_must_fit_each_other() {
    let pair = |weight: &[usize], bias: &[usize]| [array("0.weight", weight), array("0.bias", bias)];
    for (weight, bias, expected) in [
        (&[4, 3][..], &[3][..], "\"0.bias\": expected shape [4], the rows of \"0.weight\", found [3]"),
        (&[4, 3], &[4, 1], "\"0.bias\": expected shape [4], the rows of \"0.weight\", found [4, 1]"),
        (&[4], &[4], "\"0.weight\": expected a shape [out, in], found [4]"),
        (&[4, 0], &[4], "\"0.weight\": expected rows and columns, found [4, 0]"),
        (&[0, 4], &[4], "\"0.weight\": expected rows and columns, found [0, 4]"),
        (&[0], &[0], "\"0.weight\": found no values, shape [0], as DeepSpeed ZeRO-3"),
        (&[4, 3], &[0], "\"0.bias\": found no values, shape [0], as DeepSpeed ZeRO-3"),
    ] {
        let error = error_of(&pair(weight, bias));
        assert!(error.contains(expected), "{error}");
    }
    let mut short = pair(&[4, 3], &[4]);
    short[0].values.pop();
    assert!(error_of(&short).contains("\"0.weight\": expected as many values as shape [4, 3], found 11"));
    let mut chain = pair(&[4, 3], &[4]).to_vec();
    chain.extend([array("2.weight", &[2, 5]), array("2.bias", &[2])]);
    let error = error_of(&chain);
    assert!(error.contains("\"2.weight\": expected 4 columns, the rows of \"0.weight\", found 5"), "{error}");
}

#[test]
fn layers_made_by_hand_are_checked_as_well() {
    let layer =
        |output, input| ProjectorLayer::new([output, input], vec![0.0; output * input], vec![0.0; output]);
    let affine = layer(2, 3).unwrap();
    assert_eq!((affine.input(), affine.output()), (3, 2));
    assert!(ProjectorLayer::new([2, 3], vec![0.0; 6], vec![0.0; 3]).is_err());
    assert!(layer(0, 3).unwrap_err().to_string().contains("found 0x3"));
    assert!(ProjectorLayer::new([usize::MAX, 2], vec![], vec![]).is_err());
    assert!(ProjectorArrays::new(vec![]).is_err());
    assert_eq!((linear().input(), linear().output()), (3, 4));
    let error = ProjectorArrays::new(vec![layer(4, 3).unwrap(), layer(2, 5).unwrap()]).unwrap_err();
    assert_eq!(error.to_string(), "input width of projector layer 1: expected 4, found 5");
}

#[test]
fn damaged_safetensors_are_errors() {
    let whole = fs::read(fixture("f32.safetensors")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.safetensors");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read_projector(&path)
    };
    for end in (0..whole.len()).filter(|end| end % 5 == 0 || end + 10 > whole.len()) {
        assert!(matches!(read(&whole[..end]), Err(Error::Format { .. })), "{end} bytes");
    }
    assert!(read(&[&whole[..], b"x"].concat()).is_err());
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let huge = r#"{"0.weight":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#;
    assert!(read(&[header(huge), vec![0; 8]].concat()).is_err());
    let far = r#"{"0.weight":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}"#;
    assert!(read(&header(far)).unwrap_err().to_string().contains("expected a file of 4000000000"));
    // Eight tensors that end just before 2^64, where the header no longer fits in front of them.
    let size = (1_u64 << 61) - 1;
    let tensors: Vec<String> = (0..8)
        .map(|i| {
            let (begin, end) = (i * size, (i + 1) * size);
            format!(r#""{i}.weight":{{"dtype":"I8","shape":[{size}],"data_offsets":[{begin},{end}]}}"#)
        })
        .collect();
    let error = read(&header(&format!("{{{}}}", tensors.join(",")))).unwrap_err().to_string();
    assert!(error.contains("expected a file of 18446744073709551615 bytes"), "{error}");
    let whole = r#"{"0.weight":{"dtype":"I64","shape":[1,1],"data_offsets":[0,8]}}"#;
    let error = read(&[header(whole), vec![0; 8]].concat()).unwrap_err().to_string();
    assert!(error.contains("\"0.weight\": expected type F32, F16, BF16 or F64, found I64"), "{error}");
}

fn projectors() -> impl Strategy<Value = ProjectorArrays> {
    proptest::collection::vec(1_usize..6, 2..5).prop_flat_map(|widths| {
        let layers: Vec<_> = widths
            .windows(2)
            .map(|pair| {
                let [input, output] = [pair[0], pair[1]];
                let value = prop_oneof![
                    4 => -100.0_f32..100.0,
                    1 => Just(f32::INFINITY),
                    1 => Just(-0.0),
                    1 => -1e-6_f32..1e-6,
                ];
                let values = move |count| proptest::collection::vec(value.clone(), count);
                (values.clone()(output * input), values(output)).prop_map(move |(weight, bias)| {
                    ProjectorLayer::new([output, input], weight, bias).unwrap()
                })
            })
            .collect();
        layers.prop_map(|layers| ProjectorArrays::new(layers).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bit for bit in float32 and float64, rounded to the nearest in the others.
    #[test]
    fn what_is_written_is_read(projector in projectors(), archive: bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(if archive { "p.bin" } else { "p.safetensors" });
        for float in FLOATS {
            write_projector(&path, &projector, float).unwrap();
            let read = ProjectorArrays::read(&path).unwrap();
            prop_assert_eq!(read.layers.len(), projector.layers.len());
            for (read, layer) in read.layers.iter().zip(&projector.layers) {
                prop_assert_eq!((read.output(), read.input()), (layer.output(), layer.input()));
                let rounded = |value: &f32| match float {
                    FloatType::F16 => f16::from_f32(*value).to_f32(),
                    FloatType::BF16 => bf16::from_f32(*value).to_f32(),
                    FloatType::F32 | FloatType::F64 => *value,
                }.to_bits();
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                let expected = |values: &[f32]| values.iter().map(rounded).collect::<Vec<_>>();
                prop_assert_eq!(bits(&read.weight), expected(&layer.weight));
                prop_assert_eq!(bits(&read.bias), expected(&layer.bias));
            }
        }
    }
}
