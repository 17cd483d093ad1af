use crate::weights::gguf::testing::{Saved, Writer, message, says, text, texts};
use crate::weights::gguf::{Array, GgufFile, TensorType, Value};

/// The message about a file of these bytes.
fn refused(bytes: &[u8]) -> String {
    message(GgufFile::open(&Saved::new(bytes).path))
}

/// A file with one key, up to its value.
fn header(tensors: u64, keys: u64, key: &str, code: u32) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(tensors.to_le_bytes());
    bytes.extend(keys.to_le_bytes());
    bytes.extend((key.len() as u64).to_le_bytes());
    bytes.extend(key.as_bytes());
    bytes.extend(code.to_le_bytes());
    bytes
}

#[test]
fn what_is_no_gguf_file() {
    says(&refused(b""), &["magic", "4 bytes", "found 0"]);
    says(&refused(b"PK\x03\x04 and more"), &["GGUF", "PK\\x03"]);
    says(&refused(b"GGUF\x01\0\0\0"), &["version 2 or 3", "found 1"]);
    says(&refused(b"GGUF\0\0\0\x03"), &["little-endian", "big-endian"]);
    assert!(GgufFile::open("/nowhere/a.gguf").unwrap_err().to_string().contains("a.gguf"));
}

#[test]
fn counts_and_lengths_that_no_file_holds() {
    for huge in [1 << 20, u64::MAX / 8, u64::MAX] {
        says(&refused(&header(huge, 0, "", 0)), &["number of tensors", &huge.to_string()]);
        says(&refused(&header(0, huge, "k", 0)), &["number of metadata keys", &huge.to_string()]);
        let mut bytes = header(0, 1, "a key", 8);
        bytes.extend(huge.to_le_bytes());
        says(&refused(&bytes), &["length of key \"a key\"", &huge.to_string()]);
        for element in [0u32, 8, 9, 12] {
            let mut bytes = header(0, 1, "a key", 9);
            bytes.extend(element.to_le_bytes());
            bytes.extend(huge.to_le_bytes());
            says(&refused(&bytes), &["length of key \"a key\"", &huge.to_string()]);
        }
    }
}

#[test]
fn values_that_are_none() {
    let mut bytes = header(0, 1, "truth", 7);
    bytes.push(2);
    says(&refused(&bytes), &["\"truth\"", "0 or 1", "found 2"]);
    let mut bytes = header(0, 1, "kind", 13);
    bytes.extend([0; 8]);
    says(&refused(&bytes), &["\"kind\"", "found 13"]);
    let mut bytes = header(0, 1, "words", 8);
    bytes.extend(2u64.to_le_bytes());
    bytes.extend([0xff, 0xfe]);
    says(&refused(&bytes), &["\"words\"", "UTF-8"]);
    let mut writer = Writer::new();
    writer.key("a", Value::U8(1));
    writer.keys.push(("a".to_string(), Value::U8(2)));
    says(&message(writer.open()), &["\"a\"", "twice"]);
}

#[test]
fn arrays_nested_without_end() {
    let mut bytes = header(0, 1, "deep", 9);
    for _ in 0..100_000 {
        bytes.extend(9u32.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
    }
    says(&refused(&bytes), &["\"deep\"", "levels"]);
}

#[test]
fn alignments_that_are_none() {
    for alignment in [0, 24, 1 << 31] {
        let mut writer = Writer::new();
        writer.key("general.alignment", Value::U32(alignment));
        says(&message(writer.open()), &["general.alignment", "power of two", &alignment.to_string()]);
    }
}

#[test]
fn tensors_that_cannot_be() {
    let with = |edit: &dyn Fn(&mut Writer)| {
        let mut writer = Writer::new();
        writer.f32("first", &[2, 16], &[0.0; 32]).f32("second", &[16], &[0.0; 16]);
        edit(&mut writer);
        message(writer.open())
    };
    says(&with(&|w| w.tensors[1].name = "first".into()), &["\"first\"", "twice"]);
    says(&with(&|w| w.tensors[1].shape = vec![1; 5]), &["\"second\"", "at most 4", "found 5"]);
    says(&with(&|w| w.tensors[1].shape = vec![16, 0]), &["\"second\"", "above 0", "[0, 16]"]);
    says(&with(&|w| w.tensors[1].shape = vec![1 << 40; 2]), &["\"second\"", "larger than any file"]);
    says(&with(&|w| w.tensors[1].shape = vec![1 << 62]), &["\"second\"", "larger than any file"]);
    says(&with(&|w| w.tensors[1].shape = vec![17]), &["\"second\"", "68 bytes", "found 192"]);
    says(&with(&|w| w.tensors[1].offset = Some(64)), &["\"second\"", "\"first\"", "128", "found at 64"]);
    says(&with(&|w| w.tensors[1].offset = Some(130)), &["\"second\"", "multiple of 32", "130"]);
    says(&with(&|w| w.tensors[1].offset = Some(u64::MAX - 31)), &["\"second\"", "found 192"]);
    says(&with(&|w| w.tensors[1].dtype = TensorType(4)), &["\"second\"", "number 4"]);
    for (dtype, block) in [
        (TensorType::Q4_0, "32"),
        (TensorType::Q5_1, "32"),
        (TensorType::Q4_K, "256"),
        (TensorType::IQ4_XS, "256"),
    ] {
        let multiple = format!("multiple of {block} values");
        let parts = ["\"second\"", multiple.as_str(), dtype.name(), "found 16"];
        says(&with(&|w| w.tensors[1].dtype = dtype), &parts);
    }
    let mut writer = Writer::new();
    writer.f32("first", &[2, 16], &[0.0; 32]);
    let bytes = writer.bytes();
    says(&refused(&bytes[..bytes.len() - 1]), &["\"first\"", "128 bytes", "found 127"]);
}

#[test]
fn tensors_that_are_not_read() {
    let mut writer = Writer::new();
    writer.tensor("odd", &[256], TensorType(16), vec![0; 66]).f32("plain", &[2, 2], &[0.0; 4]);
    let saved = writer.save();
    let file = GgufFile::open(&saved.path).unwrap();
    says(&message(file.read("odd")), &["\"odd\"", "Q4_1", "found IQ2_XXS"]);
    says(&message(file.read("none")), &["\"none\""]);
    says(&message(file.read_rows("plain", 1..3)), &["\"plain\"", "0..2", "1..3"]);
    #[expect(clippy::reversed_empty_ranges)]
    let reversed = file.read_rows("plain", 1..0);
    says(&message(reversed), &["\"plain\"", "1..0"]);
}

#[test]
fn keys_of_another_type() {
    let mut writer = Writer::new();
    writer
        .key("negative", Value::I32(-1))
        .key("word", text("a long word"))
        .key("none", Value::F32(f32::NAN))
        .key("list", texts(&["a", "b"]))
        .key("numbers", Value::Array(Array::U32(vec![1])));
    let file = writer.open().unwrap();
    let metadata = file.metadata();
    says(&message(metadata.count("negative")), &["\"negative\"", "at least 0", "-1"]);
    says(&message(metadata.count("word")), &["\"word\"", "a long word"]);
    says(&message(metadata.number("none")), &["\"none\"", "NaN"]);
    says(&message(metadata.boolean("word")), &["a Boolean"]);
    says(&message(metadata.text("list")), &["a string", "2 string values"]);
    says(&message(metadata.texts("numbers")), &["array of strings", "1 u32 values"]);
    says(&message(metadata.integers("numbers")), &["array of i32"]);
}
