use crate::weights::gguf::testing::{Writer, text, texts};
use crate::weights::gguf::{Array, GgufFile, TensorType, Value};

#[test]
fn values_of_all_types_come_back() {
    let nested = Array::Nested(vec![Array::U8(vec![1, 2]), Array::Nested(vec![]), Array::F64(vec![0.5])]);
    let values = [
        Value::U8(200),
        Value::I8(-100),
        Value::U16(60_000),
        Value::I16(-30_000),
        Value::U32(4_000_000_000),
        Value::I32(-2_000_000_000),
        Value::F32(1.5),
        Value::Bool(true),
        text("grün"),
        Value::U64(u64::MAX),
        Value::I64(i64::MIN),
        Value::F64(-0.1),
        texts(&["", "a", "", "Ġb"]),
        Value::Array(Array::U8(vec![0, 255])),
        Value::Array(Array::I8(vec![-1])),
        Value::Array(Array::U16(vec![7; 3])),
        Value::Array(Array::I16(vec![-7; 3])),
        Value::Array(Array::U32(vec![])),
        Value::Array(Array::I32(vec![-5, 5])),
        Value::Array(Array::F32(vec![0.25; 40_000])),
        Value::Array(Array::Bool(vec![true, false])),
        Value::Array(Array::U64(vec![1])),
        Value::Array(Array::I64(vec![-1])),
        Value::Array(nested),
    ];
    for version in [2, 3] {
        let mut writer = Writer::new();
        writer.version = version;
        for (index, value) in values.iter().enumerate() {
            writer.key(&format!("key {index:02}"), value.clone());
        }
        let file = writer.open().unwrap();
        assert!(file.metadata().entries.values().eq(&values));
        assert!(file.tensors().is_empty());
    }
}

#[test]
fn numbers_are_the_decimal_ones_they_were_written_as() {
    let mut writer = Writer::new();
    writer.key("narrow", Value::F32(1e-5)).key("wide", Value::F64(1e-5)).key("count", Value::I16(3));
    let file = writer.open().unwrap();
    let metadata = file.metadata();
    assert_eq!(metadata.number("narrow").unwrap(), Some(1e-5));
    assert_eq!(metadata.number("wide").unwrap(), Some(1e-5));
    assert_eq!((metadata.count("count").unwrap(), metadata.count("other").unwrap()), (Some(3), None));
}

/// A block of a type and the values it stands for.
fn block(dtype: TensorType) -> (Vec<u8>, Vec<f32>) {
    let one_half = [0x00, 0x38];
    let nibbles = (0..16u8).map(|index| index | (15 - index) << 4);
    let quanta = (0..16).chain((0..16).rev());
    match dtype {
        TensorType::F32 => (1.25f32.to_le_bytes().to_vec(), vec![1.25]),
        TensorType::F16 => (one_half.to_vec(), vec![0.5]),
        TensorType::BF16 => (vec![0x80, 0xbf], vec![-1.0]),
        TensorType::Q8_0 => {
            let bytes = one_half.into_iter().chain((0..32).map(|value: i8| (value - 16) as u8));
            (bytes.collect(), (0..32).map(|value| 0.5 * (value - 16) as f32).collect())
        }
        TensorType::Q4_0 => (
            one_half.into_iter().chain(nibbles).collect(),
            quanta.map(|value| 0.5 * (value - 8) as f32).collect(),
        ),
        TensorType::Q4_1 => (
            one_half.into_iter().chain([0x00, 0x3c]).chain(nibbles).collect(),
            quanta.map(|value| 0.5 * value as f32 + 1.0).collect(),
        ),
        _ => unreachable!(),
    }
}

const TYPES: [TensorType; 6] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q8_0,
    TensorType::Q4_0,
    TensorType::Q4_1,
];

#[test]
fn tensors_of_all_types_come_back() {
    for alignment in [8, 32, 64] {
        let mut writer = Writer::new();
        writer.alignment = alignment;
        writer.key("general.alignment", Value::U32(alignment as u32));
        for dtype in TYPES {
            writer.tensor(
                dtype.name(),
                &[3, 2, 64],
                dtype,
                block(dtype).0.repeat(6 * 64 / block(dtype).1.len()),
            );
        }
        let saved = writer.save();
        let file = GgufFile::open(&saved.path).unwrap();
        for dtype in TYPES {
            let name = dtype.name();
            let values = block(dtype).1;
            let expected = values.repeat(6 * 64 / values.len());
            let tensor = file.tensor(name).unwrap();
            assert_eq!((tensor.shape(), tensor.dtype), ([3, 2, 64].as_slice(), dtype));
            assert_eq!(file.read(name).unwrap(), expected, "{name}");
            assert_eq!(file.read_rows(name, 2..5).unwrap(), expected[2 * 64..5 * 64], "{name}");
            assert!(file.read_rows(name, 6..6).unwrap().is_empty());
        }
    }
}

#[test]
fn tensors_longer_than_a_chunk_come_back() {
    let mut writer = Writer::new();
    let (bytes, _) = block(TensorType::Q4_1);
    let blocks: Vec<u8> = (0..120_000u32)
        .flat_map(|index| {
            let mut block = bytes.clone();
            // The least value of the block tells where it stood: an integer as 16-bit floating point.
            block[2..4].copy_from_slice(&(0x6400 | (index % 1024) as u16).to_le_bytes());
            block
        })
        .collect();
    writer.tensor("long", &[1200, 3200], TensorType::Q4_1, blocks);
    let saved = writer.save();
    let file = GgufFile::open(&saved.path).unwrap();
    let values = file.read("long").unwrap();
    assert_eq!(values.len(), 1200 * 3200);
    for (index, block) in values.chunks(32).enumerate() {
        assert_eq!((block[0], block[1]), (1024.0 + (index % 1024) as f32, 1024.5 + (index % 1024) as f32));
    }
    assert_eq!(file.read_rows("long", 700..703).unwrap(), values[700 * 3200..703 * 3200]);
}

#[test]
fn a_single_value_has_one_row() {
    let mut writer = Writer::new();
    writer.f32("single", &[], &[2.5]);
    let saved = writer.save();
    assert_eq!(GgufFile::open(&saved.path).unwrap().read("single").unwrap(), [2.5]);
}
