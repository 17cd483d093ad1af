use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, FloatDType};
use serde_json::json;

use super::*;
use crate::Error;
use crate::embedding::{Progress, Record, Store};
use crate::encoder::{ImageEncoder, PretrainedEncoder, TextEncoder};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/encoder").join(name)
}

fn images() -> ImageEncoder {
    PretrainedEncoder::open(fixture("clip")).unwrap().image(FloatDType::F32, &Device::default()).unwrap()
}

fn texts() -> TextEncoder {
    let folder = tempfile::tempdir().unwrap();
    for (from, file) in
        [("clip", "config.json"), ("clip", "model.safetensors"), ("tokenizer", "tokenizer.json")]
    {
        std::fs::copy(fixture(from).join(file), folder.path().join(file)).unwrap();
    }
    PretrainedEncoder::open(folder.path()).unwrap().text(FloatDType::F32, &Device::default()).unwrap()
}

/// All pictures of the fixtures, in a folder.
fn photos() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("more")).unwrap();
    for (number, file) in std::fs::read_dir(fixture("pictures")).unwrap().enumerate() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension != "safetensors") {
            let place =
                if number % 3 == 0 { folder.path().join("more") } else { folder.path().to_path_buf() };
            std::fs::copy(&path, place.join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

fn options() -> EmbedOptions<'static> {
    EmbedOptions { batch_size: 3, shard_rows: 7, ..EmbedOptions::default() }
}

fn bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn every_picture_has_the_row_of_the_tower_under_its_path() {
    let (encoder, photos, out) = (images(), photos(), tempfile::tempdir().unwrap());
    let list = PictureList::find(&[photos.path().into()], None, None).unwrap();
    let report = embed_pictures(&encoder, &list, out.path(), BadPictures::Error, None, &options()).unwrap();
    assert_eq!((report.items, report.rows), (20, 20));
    let store = Store::open(out.path().join("part_*.npy")).unwrap();
    let table = store.read_table().unwrap();
    for item in list.items() {
        let path = photos.path().join(&item.id);
        let picture = crate::encoder::decode_picture(&std::fs::read(&path).unwrap(), &path, 1 << 20).unwrap();
        let row = encoder.embed(encoder.processor().process(&picture));
        let found = table.row(table.position(&item.id).unwrap());
        let apart = row.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{}: {apart}", item.id);
        assert_eq!(store.record(&item.id).unwrap()["path"], json!(path.to_string_lossy()));
    }
}

/// Ends a job after some pictures.
struct After(AtomicUsize, usize);

impl Progress for After {
    fn advance(&self, rows: usize) {
        self.0.fetch_add(rows, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= self.1
    }
}

#[test]
fn a_job_that_is_interrupted_goes_on_to_the_same_bytes() {
    let (encoder, photos) = (images(), photos());
    let list = PictureList::find(&[photos.path().into()], None, None).unwrap();
    let embed = |folder: &Path, options: &EmbedOptions<'_>| {
        embed_pictures(&encoder, &list, folder, BadPictures::Error, None, options)
    };
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    embed(whole.path(), &options()).unwrap();
    let stop = After(AtomicUsize::new(0), 10);
    let stopped = embed(parts.path(), &EmbedOptions { progress: &stop, threads: Some(1), ..options() });
    assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
    let error = embed(parts.path(), &options()).unwrap_err().to_string();
    assert!(error.contains("resume it, or overwrite it"), "{error}");
    let other = EmbedOptions { resume: true, batch_size: 5, ..options() };
    let error = embed(parts.path(), &other).unwrap_err().to_string();
    assert!(error.contains("batch_size was 3 and is now 5"), "{error}");
    let report = embed(parts.path(), &EmbedOptions { resume: true, ..options() }).unwrap();
    assert!(report.resumed == 7 && report.rows == 20, "{report:?}");
    assert_eq!(bytes(parts.path()), bytes(whole.path()));
}

#[test]
fn a_folder_with_other_things_is_never_replaced() {
    let (encoder, photos) = (images(), photos());
    let list = PictureList::find(&[photos.path().into()], None, None).unwrap();
    let before = bytes(&photos.path().join("more"));
    for (resume, overwrite) in [(false, false), (true, false), (false, true), (true, true)] {
        let options = EmbedOptions { resume, overwrite, ..options() };
        let folder = photos.path().join("more");
        let error = embed_pictures(&encoder, &list, &folder, BadPictures::Error, None, &options).unwrap_err();
        assert!(error.to_string().contains("something else"), "{error}");
    }
    assert_eq!(bytes(&photos.path().join("more")), before);
    let out = tempfile::tempdir().unwrap();
    let again = EmbedOptions { overwrite: true, ..options() };
    for _ in 0..2 {
        embed_pictures(&encoder, &list, out.path(), BadPictures::Error, None, &again).unwrap();
    }
}

#[test]
fn rows_do_not_depend_on_threads() {
    let (encoder, photos) = (images(), photos());
    let list = PictureList::find(&[photos.path().into()], None, None).unwrap();
    let embed = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let options = EmbedOptions { threads: Some(threads), ..options() };
        embed_pictures(&encoder, &list, folder.path(), BadPictures::Error, None, &options).unwrap();
        bytes(folder.path())
    };
    assert_eq!(embed(1), embed(4));
}

#[test]
fn pictures_that_cannot_be_read_are_named_or_left_out_and_listed() {
    let (encoder, photos) = (images(), photos());
    std::fs::write(photos.path().join("page.jpg"), "<html>").unwrap();
    std::fs::write(photos.path().join("nothing.png"), "").unwrap();
    let list = PictureList::find(&[photos.path().into()], None, None).unwrap();
    let embed = |bad| {
        let folder = tempfile::tempdir().unwrap();
        embed_pictures(&encoder, &list, folder.path(), bad, None, &options())
    };
    let error = embed(BadPictures::Error).unwrap_err().to_string();
    assert!(error.contains("nothing.png") || error.contains("page.jpg"), "{error}");
    let report = embed(BadPictures::Skip).unwrap();
    let mut ids: Vec<&str> = report.bad.iter().map(|(id, _)| id.as_str()).collect();
    ids.sort();
    assert_eq!((ids, report.rows, report.items), (vec!["nothing.png", "page.jpg"], 20, 22));
    assert!(report.bad.iter().any(|(_, error)| error.contains("<html>")));
}

#[test]
fn the_iterator_gives_the_rows_of_the_files_and_goes_on_after_a_bad_picture() {
    let (encoder, photos) = (images(), photos());
    let find = || PictureList::find(&[photos.path().to_path_buf()], None, None).unwrap();
    let list = find();
    let folder = tempfile::tempdir().unwrap();
    embed_pictures(&encoder, &list, folder.path(), BadPictures::Error, None, &options()).unwrap();
    let table = Store::open(folder.path().join("part_*.npy")).unwrap().read_table().unwrap();
    let rows = PictureRows::new(&encoder, &list).with_batch_size(3);
    assert_eq!(rows.len(), table.len());
    for (place, row) in rows.enumerate() {
        let (item, row) = row.unwrap();
        assert_eq!(&item.id, &table.ids()[place]);
        // Other batches, another rounding.
        approx::assert_abs_diff_eq!(row.as_slice(), table.row(place), epsilon = 1e-6);
    }

    std::fs::write(photos.path().join("more/broken.jpg"), "<html>").unwrap();
    let list = find();
    let rows: Vec<_> = PictureRows::new(&encoder, &list).with_batch_size(3).collect();
    assert_eq!(rows.len(), table.len() + 1);
    let errors: Vec<String> =
        rows.iter().filter_map(|row| row.as_ref().err().map(Error::to_string)).collect();
    assert!(errors.len() == 1 && errors[0].contains("broken.jpg"), "{errors:?}");
}

#[test]
fn pictures_are_found_in_lists_patterns_and_archives() {
    let photos = photos();
    std::fs::rename(photos.path().join("more/plain.jpg"), photos.path().join("plain.jpg")).ok();
    std::fs::rename(photos.path().join("more/alpha.png"), photos.path().join("alpha.png")).ok();
    let list = |name: &str, text: &str| {
        let path = photos.path().join(name);
        std::fs::write(&path, text).unwrap();
        PictureList::find(&[path], None, None)
    };
    let ids = |list: &PictureList| list.items().iter().map(|item| item.id.clone()).collect::<Vec<_>>();
    let lines = list("list.txt", "plain.jpg\n\nalpha.png\n").unwrap();
    assert_eq!(ids(&lines), ["plain.jpg", "alpha.png"]);
    let rows = list("list.csv", "id,path,caption\n7,plain.jpg,\"a, b\"\n9,alpha.png,c\n").unwrap();
    assert_eq!(
        (ids(&rows), &rows.items()[0].record["caption"]),
        (vec!["7".into(), "9".into()], &json!("a, b"))
    );
    let objects =
        list("list.jsonl", "{\"image\": \"plain.jpg\"}\n{\"image\": \"alpha.png\", \"text\": \"c\"}\n")
            .unwrap();
    assert_eq!(
        (ids(&objects), &objects.items()[1].record["text"]),
        (vec!["plain.jpg".into(), "alpha.png".into()], &json!("c"))
    );
    let error = list("twice.txt", "plain.jpg\nplain.jpg\n").unwrap_err().to_string();
    assert!(error.contains("plain.jpg") && error.contains("row 0") && error.contains("row 1"), "{error}");
    let error = list("fields.csv", "file_url,x\na,b\n").unwrap_err().to_string();
    assert!(error.contains("row 0") && error.contains("file_url"), "{error}");
    let pattern = photos.path().join("*.jpg");
    assert!(ids(&PictureList::find(&[pattern], None, None).unwrap()).iter().all(|id| id.ends_with(".jpg")));
    let missing = PictureList::find(&["nowhere/*.jpg".into()], None, None).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    std::fs::create_dir(photos.path().join("empty")).unwrap();
    let error = PictureList::find(&[photos.path().join("empty")], None, None).unwrap_err().to_string();
    assert!(error.contains("no picture"), "{error}");

    let archive = photos.path().join("shard-0.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&archive).unwrap());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, bytes).unwrap();
    };
    let picture = |name: &str| std::fs::read(photos.path().join(name)).unwrap();
    add("a/000.jpg", &picture("plain.jpg"));
    add("a/000.txt", b"a wave\n");
    add("a/000.json", br#"{"width": 90, "id": "other"}"#);
    add("a/001.json", b"{}");
    add("a/002.png", &picture("alpha.png"));
    builder.finish().unwrap();
    let tar = PictureList::find(std::slice::from_ref(&archive), None, None).unwrap();
    assert_eq!(ids(&tar), ["a/000", "a/002"]);
    let record: Record =
        [("caption".to_string(), json!("a wave")), ("width".to_string(), json!(90))].into_iter().collect();
    assert_eq!(tar.items()[0].record, record);
    let rows = |list: &PictureList| {
        let out = tempfile::tempdir().unwrap();
        embed_pictures(&images(), list, out.path(), BadPictures::Error, None, &options()).unwrap();
        Store::open(out.path().join("part_*.npy")).unwrap().read_table().unwrap().rows().to_vec()
    };
    assert_eq!(rows(&tar), rows(&lines));

    let whole = std::fs::read(&archive).unwrap();
    for length in [100, 700, whole.len() / 2] {
        std::fs::write(&archive, &whole[..length]).unwrap();
        let found = PictureList::find(std::slice::from_ref(&archive), None, None);
        assert!(found.is_err() || found.unwrap().items().len() < 2, "{length} bytes");
    }
}

#[test]
fn texts_are_read_from_lines_objects_and_columns_and_embedded() {
    let encoder = texts();
    let folder = tempfile::tempdir().unwrap();
    let list = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        TextList::read(&path, None, None)
    };
    let long = "a very long caption of many words that does not fit into so few tokens as there are";
    let lines = list("a.txt", &format!("\u{feff}a cat\n\n{long}\n")).unwrap();
    assert_eq!(lines.items()[0].content, "a cat");
    let objects = list(
        "a.jsonl",
        &format!("{{\"id\": 4, \"caption\": \"a cat\"}}\n{{\"id\": \"x\", \"caption\": \"{long}\"}}\n"),
    );
    let columns = list("a.tsv", &format!("id\ttext\n4\ta cat\nx\t{long}\n"));
    let mut all = Vec::new();
    for texts in [lines, objects.unwrap(), columns.unwrap()] {
        let out = tempfile::tempdir().unwrap();
        let report = embed_texts(&encoder, &texts, out.path(), &options()).unwrap();
        assert_eq!((report.rows, report.truncated), (2, 1));
        all.push(Store::open(out.path().join("part_*.npy")).unwrap().read_table().unwrap());
    }
    assert_eq!(all[0].ids(), ["0", "1"]);
    assert_eq!(all[1].ids(), ["4", "x"]);
    assert!(all.iter().all(|table| table.rows() == all[0].rows()));
    assert_eq!(all[0].row(0), encoder.embed(&["a cat"]).unwrap().0);
    for (name, text, expected) in [
        ("b.jsonl", "{\"id\": 1}\n", "row 0: expected the text in text, caption"),
        ("c.jsonl", "{\"text\": \"a\"\n", "line 1"),
        ("d.csv", "id,text\n1\n", "d.csv"),
        ("e.md", "a", "expected a name that ends in .txt"),
        ("f.csv", "id,text\n1,a\n1,b\n", "\"1\""),
    ] {
        let error = list(name, text).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
    let empty = list("g.jsonl", "{\"id\": \"none\", \"text\": \" \"}\n").unwrap();
    let out = tempfile::tempdir().unwrap();
    let error = embed_texts(&encoder, &empty, out.path(), &options()).unwrap_err().to_string();
    assert!(error.contains("\"none\"") && error.contains("without words"), "{error}");
}
