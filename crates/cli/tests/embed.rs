//! `embed`: from a folder of pictures and a file of captions to aligned embeddings.

#[path = "../../../tests/hub/mod.rs"]
mod hub;
mod shell;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn_revision::embedding::{FloatType, Store, read_table};
use serde_json::Value;
use shell::Shell;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/encoder").join(name)
}

/// A folder with an encoder in `clip`, pictures in `photos` and captions in `captions.txt`.
fn shell() -> Shell {
    let shell = Shell { folder: tempfile::tempdir().unwrap() };
    let copy = |from: PathBuf, to: &str| {
        fs::create_dir_all(shell.path(to)).unwrap();
        for file in fs::read_dir(from).unwrap() {
            let path = file.unwrap().path();
            fs::copy(&path, shell.path(to).join(path.file_name().unwrap())).unwrap();
        }
    };
    copy(fixture("clip"), "clip");
    copy(fixture("pictures"), "photos");
    fs::copy(fixture("tokenizer").join("tokenizer.json"), shell.path("clip/tokenizer.json")).unwrap();
    let captions =
        ["a cat", "two dogs", "the red apple", "a photo of a house on the picture", "very long caption"];
    fs::write(shell.path("captions.txt"), captions.join("\n")).unwrap();
    shell
}

fn json(shell: &Shell, line: &str) -> Value {
    serde_json::from_slice(&shell.run(&format!("{line} --quiet --json")).stdout).unwrap()
}

#[test]
fn three_commands_lead_from_pictures_and_captions_to_aligned_embeddings() {
    let shell = shell();
    let images = json(&shell, "embed --encoder clip --images photos --output images.npy");
    assert_eq!((&images["pictures"]["rows"], &images["dim"]), (&20.into(), &10.into()));
    let texts = json(&shell, "embed --encoder clip --texts captions.txt --output captions.npy");
    assert_eq!(texts["texts"]["rows"], 5);
    shell.run("align --text captions.npy --image images.npy --output aligned.npy");
    let (before, after) =
        (read_table(shell.path("captions.npy")).unwrap(), read_table(shell.path("aligned.npy")).unwrap());
    assert_eq!(before.ids(), ["0", "1", "2", "3", "4"]);
    assert_eq!(after.ids(), before.ids());
    assert_eq!(
        Store::open(shell.path("captions.npy")).unwrap().record("2").unwrap()["text"],
        "the red apple"
    );
    for row in 0..5 {
        let square: f32 = before.row(row).iter().map(|value| value * value).sum();
        assert!((square - 1.0).abs() < 1e-5, "rows have unit length");
    }
    let beside: Vec<String> = fs::read_dir(shell.folder.path())
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!beside.iter().any(|name| name.contains("partial")), "{beside:?}");
}

#[test]
fn formats_types_and_shards_hold_the_same_rows() {
    let shell = shell();
    let embed = "embed --encoder clip --images photos --batch-size 4";
    shell.run(&format!("{embed} --output one.npy"));
    shell.run(&format!("{embed} --output half.parquet --dtype f16"));
    shell.run(&format!("{embed} --output shards --shard-rows 8 --format safetensors"));
    let one = read_table(shell.path("one.npy")).unwrap();
    let half = Store::open(shell.path("half.parquet")).unwrap();
    assert_eq!(half.record("plain.jpg").unwrap()["path"], "photos/plain.jpg");
    let half = half.read_table().unwrap();
    let shards = Store::open(shell.path("shards")).unwrap();
    assert_eq!(
        fs::read_dir(shell.path("shards"))
            .unwrap()
            .filter(|file| {
                file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "safetensors")
            })
            .count(),
        3
    );
    let shards = shards.read_table().unwrap();
    assert_eq!((half.ids(), shards.ids()), (one.ids(), one.ids()));
    assert_eq!(shards.rows(), one.rows());
    let mut rounded = Vec::new();
    let single = burn_revision::embedding::RawRows::single(one.rows(), one.dim()).unwrap();
    assert_eq!(single.float(), FloatType::F32);
    for (value, half) in one.rows().iter().zip(half.rows()) {
        rounded.push((value - half).abs());
    }
    assert!(rounded.iter().all(|difference| *difference < 5e-4));
}

#[test]
fn what_cannot_be_embedded_is_named() {
    let shell = shell();
    fs::write(shell.path("photos/page.jpg"), "<html>").unwrap();
    let embed = "embed --encoder clip --images photos --output images.npy";
    shell.refused(embed, 3, "page.jpg");
    assert!(!shell.path("images.npy").exists());
    // What was done before is kept, and must be gone on with or replaced.
    shell.refused(embed, 2, "overwrite it");
    let found = json(&shell, &format!("{embed} --bad skip --resume"));
    assert_eq!(
        (&found["pictures"]["rows"], &found["pictures"]["bad"][0][0]),
        (&20.into(), &"page.jpg".into())
    );
    let listed = String::from_utf8(shell.bytes("images.npy.bad.jsonl")).unwrap();
    assert!(listed.contains("\"id\":\"page.jpg\"") && listed.contains("<html>"), "{listed}");
    shell.refused(embed, 2, "is there already");

    shell.refused("embed --encoder nowhere --images photos --output a.npy", 4, "nowhere");
    shell.refused("embed --encoder clip --images nothing --output a.npy", 4, "nothing");
    shell.refused("embed --encoder clip --texts none.txt --output a.npy", 4, "none.txt");
    shell.refused("embed --encoder clip --output a.npy", 2, "--images");
    fs::write(shell.path("empty.txt"), "\n").unwrap();
    shell.refused("embed --encoder clip --texts empty.txt --output a.npy", 3, "texts");
    shell.refused("embed --encoder clip --images photos --output a.npy --batch-size 0", 2, "batch_size");
    fs::remove_file(shell.path("clip/model.safetensors")).unwrap();
    shell.refused("embed --encoder clip --images photos/plain.jpg --output b.npy", 4, "model.safetensors");
}

#[test]
fn what_embed_writes_as_parquet_lists_pictures_and_texts() {
    let shell = shell();
    shell.run("embed --encoder clip --images photos --output images.parquet");
    shell.run("embed --encoder clip --texts captions.txt --output captions.parquet");
    shell.run("embed --encoder clip --images images.parquet --output again.npy");
    shell.run("embed --encoder clip --texts captions.parquet --output captions.npy");
    for (first, second) in [("images.parquet", "again.npy"), ("captions.parquet", "captions.npy")] {
        let (first, second) =
            (read_table(shell.path(first)).unwrap(), read_table(shell.path(second)).unwrap());
        assert_eq!(first.ids(), second.ids());
        assert_eq!(first.rows(), second.rows());
    }
    shell.refused("embed --encoder clip --texts images.parquet --output a.npy", 3, "row 0");
}

#[test]
fn what_a_kill_leaves_is_gone_on_with_to_the_same_bytes() {
    let shell = shell();
    fs::create_dir(shell.path("many")).unwrap();
    for number in 0..400 {
        fs::copy(shell.path("photos/plain.jpg"), shell.path("many").join(format!("{number}.jpg"))).unwrap();
    }
    let embed = |output: &str| {
        format!("embed --encoder clip --images many --output {output} --shard-rows 10 --quiet")
    };
    shell.run(&embed("whole.npy"));
    let mut child = shell.command(&embed("killed.npy")).spawn().unwrap();
    let shards = || {
        let files = fs::read_dir(shell.path("killed.npy.partial")).into_iter().flatten();
        files
            .filter(|file| {
                file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|end| end == "npy"))
            })
            .count()
    };
    while shards() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success() && !shell.path("killed.npy").exists());
    let resumed = json(&shell, &format!("{} --resume", embed("killed.npy").replace(" --quiet", "")));
    let before = resumed["pictures"]["resumed"].as_u64().unwrap();
    assert!((20..400).contains(&before), "{before} rows were done before");
    assert_eq!(shell.bytes("whole.npy"), shell.bytes("killed.npy"));
    assert_eq!(shell.bytes("whole.jsonl"), shell.bytes("killed.jsonl"));
}

#[test]
fn an_encoder_is_downloaded_by_its_name_once() {
    let shell = shell();
    let files: BTreeMap<String, Vec<u8>> = fs::read_dir(shell.path("clip"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
        .collect();
    let server = hub::Server::start("owner/clip", files, hub::Faults::default());
    let embed = |encoder: &str, output: &str| {
        let mut command =
            shell.command(&format!("embed --encoder {encoder} --texts captions.txt --output {output}"));
        command.env("HF_ENDPOINT", server.endpoint()).env("HF_HOME", shell.path("cache"));
        command.env_remove("HF_HUB_CACHE").env_remove("HF_TOKEN");
        command
    };
    shell.run("embed --encoder clip --texts captions.txt --output folder.npy");
    assert!(embed("owner/clip", "named.npy").output().unwrap().status.success());
    assert_eq!(shell.bytes("folder.npy"), shell.bytes("named.npy"));
    let requests = server.requests().len();
    let output = embed("owner/clip", "offline.npy").env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(server.requests().len(), requests, "offline, nothing is asked for");
    let output = embed("owner/other", "a.npy").output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && error.contains("owner/other") && error.contains("no such model"),
        "{error}"
    );
}
