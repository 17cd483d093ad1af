use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::weights::gguf::testing::{Writer, says, text};
use crate::weights::gguf::{GgufFile, Value};

/// A model of three parts with two tensors each, after a change of one part.
fn parts(edit: impl Fn(usize, &mut Writer)) -> (TempDir, [PathBuf; 3]) {
    let folder = tempfile::tempdir().unwrap();
    let paths = [0, 1, 2].map(|number| {
        let mut writer = Writer::new();
        writer
            .key("split.no", Value::U16(number as u16))
            .key("split.count", Value::U16(3))
            .key("split.tensors.count", Value::I32(6));
        if number == 0 {
            writer.key("general.architecture", text("llama"));
        }
        for tensor in 0..2 {
            let first = (10 * number + tensor) as f32;
            writer.f32(&format!("t.{number}.{tensor}"), &[2], &[first, first + 0.5]);
        }
        edit(number, &mut writer);
        let path = folder.path().join(format!("a-model-0000{}-of-00003.gguf", number + 1));
        std::fs::write(&path, writer.bytes()).unwrap();
        path
    });
    (folder, paths)
}

#[test]
fn any_part_opens_the_whole_model() {
    let (_folder, paths) = parts(|_, _| {});
    for path in &paths {
        let file = GgufFile::open(path).unwrap();
        assert_eq!((file.path(), file.tensors().len()), (path.as_path(), 6));
        assert_eq!(file.metadata().text("general.architecture").unwrap(), Some("llama"));
        for number in 0..3 {
            for tensor in 0..2 {
                let first = (10 * number + tensor) as f32;
                assert_eq!(file.read(&format!("t.{number}.{tensor}")).unwrap(), [first, first + 0.5]);
            }
        }
    }
}

#[test]
fn parts_of_the_converter_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf");
    for part in 1..=3 {
        let file = GgufFile::open(folder.join(format!("split-0000{part}-of-00003.gguf"))).unwrap();
        assert_eq!(file.metadata().text("general.name").unwrap(), Some("split"));
        assert_eq!(file.tensors().len(), 5);
        for tensor in 0..5 {
            assert_eq!(file.read(&format!("t.{tensor}")).unwrap(), [tensor as f32; 4]);
        }
    }
}

#[test]
fn parts_that_do_not_belong_together() {
    let refused = |edit: &dyn Fn(usize, &mut Writer), part: usize| {
        let (_folder, paths) = parts(edit);
        GgufFile::open(&paths[part]).unwrap_err().to_string()
    };
    let (_folder, paths) = parts(|_, _| {});
    std::fs::remove_file(&paths[1]).unwrap();
    let missing = GgufFile::open(&paths[2]).unwrap_err().to_string();
    says(&missing, &["a-model-00003-of-00003.gguf", "all 3 parts", "no a-model-00002-of-00003.gguf"]);
    let renamed = paths[2].with_file_name("renamed.gguf");
    std::fs::rename(&paths[2], &renamed).unwrap();
    says(
        &GgufFile::open(&renamed).unwrap_err().to_string(),
        &["renamed.gguf", "part 3 of 3", "\"-00003-of-00003.gguf\""],
    );
    let twice = |number: usize, writer: &mut Writer| {
        if number == 2 {
            writer.tensors[0].name = "t.0.1".into();
        }
    };
    says(&refused(&twice, 0), &["00003-of-00003", "\"t.0.1\"", "00001-of-00003.gguf too"]);
    let fewer = |number: usize, writer: &mut Writer| {
        if number == 1 {
            writer.tensors.pop();
        }
    };
    says(&refused(&fewer, 0), &["split.tensors.count", "expected 6 tensors in 3 parts, found 5"]);
    let other = |number: usize, writer: &mut Writer| {
        if number == 1 {
            writer.key("split.no", Value::U16(0));
        }
    };
    says(&refused(&other, 0), &["00002-of-00003", "split.no", "expected 1, found 0"]);
    let counts = |number: usize, writer: &mut Writer| {
        if number == 2 {
            writer.key("split.count", Value::U16(4));
        }
    };
    says(&refused(&counts, 0), &["00003-of-00003", "split.count", "expected 3, found 4"]);
    let beyond = |_: usize, writer: &mut Writer| {
        writer.key("split.no", Value::U16(7));
    };
    says(&refused(&beyond, 0), &["split.no", "one of 3 parts", "found 7"]);
}
