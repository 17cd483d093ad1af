//! `contrast`: from two encoders without a common space to an encoder of one's own.

mod shell;

use std::fs;
use std::path::{Path, PathBuf};

use burn_revision::embedding::{EmbeddingTable, Store, read_table, write_table};
use serde_json::Value;
use shell::Shell;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/encoder").join(name)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let path = file.unwrap().path();
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::copy(&path, place).unwrap();
        }
    }
}

/// A folder with both towers, pictures in `photos`, and their captions in `captions.csv`.
fn shell() -> Shell {
    let shell = Shell { folder: tempfile::tempdir().unwrap() };
    for (from, to) in [("efficientnet", "lite"), ("bert", "bert"), ("pictures", "photos")] {
        copy(&fixture(from), &shell.path(to));
    }
    let words = ["a cat", "two dogs", "the red apple", "a photo of a house", "a picture"];
    let mut names: Vec<String> = fs::read_dir(shell.path("photos"))
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".safetensors"))
        .collect();
    names.sort();
    let rows =
        names.iter().enumerate().map(|(row, name)| format!("photos/{name},{}", words[row % words.len()]));
    let rows: Vec<String> = std::iter::once("image,caption".to_string()).chain(rows).collect();
    fs::write(shell.path("captions.csv"), rows.join("\n")).unwrap();
    shell.run("embed --raw --encoder lite --images captions.csv --id-column image --output images.npy");
    shell.run("embed --raw --encoder bert --texts captions.csv --id-column image --output texts.npy");
    shell
}

const CONTRAST: &str = "contrast --images images.npy --texts texts.npy --image-tower lite --text-tower bert --dim 6 --hidden 12 \
    --epochs 2 --batch-size 8 --validation 0.4 --track-every 1";

#[test]
fn four_commands_lead_from_two_encoders_to_one_that_embeds_pictures_and_texts() {
    let shell = shell();
    let output = shell.run(&format!("{CONTRAST} --output mine --json --quiet"));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Two of five captions are held out, each of four pictures.
    assert_eq!((&found["train"], &found["held_out"], &found["best"]), (&12.into(), &8.into(), &2.into()));
    let lines = |name: &str| String::from_utf8(shell.bytes(name)).unwrap().lines().count();
    assert_eq!((lines("mine/epochs.jsonl"), lines("mine/gap.jsonl")), (2, 5));

    // What the heads make of the features at hand is what the encoder makes of the pictures.
    shell.run(&format!(
        "{CONTRAST} --output rows --image-rows image_rows.npy --text-rows text_rows.npy --quiet"
    ));
    shell.run("embed --encoder mine --images captions.csv --id-column image --output mine_images.npy");
    shell.run("embed --encoder mine --texts captions.csv --id-column image --output mine_texts.npy");
    for (name, other) in [("mine_images.npy", "image_rows.npy"), ("mine_texts.npy", "text_rows.npy")] {
        let (table, rows) = (read_table(shell.path(name)).unwrap(), read_table(shell.path(other)).unwrap());
        assert_eq!(table.ids(), rows.ids());
        assert!(table.rows().iter().zip(rows.rows()).all(|(a, b)| (a - b).abs() < 1e-4), "{name}");
        assert_eq!((table.len(), table.dim()), (20, 6));
        for row in 0..20 {
            let square: f32 = table.row(row).iter().map(|value| value * value).sum();
            assert!((square - 1.0).abs() < 1e-5, "rows have unit length");
        }
    }
    // Both are known as rows of that encoder.
    for (name, folder) in [("mine_images", "mine"), ("image_rows", "rows"), ("text_rows", "rows")] {
        let record: Value = serde_json::from_slice(&shell.bytes(&format!("{name}.encoder.json"))).unwrap();
        let encoder = Path::new(record["encoder"].as_str().unwrap());
        assert!(encoder.ends_with(folder) && record["dim"] == 6, "{name}: {record}");
    }
    let features = Store::open(shell.path("images.npy")).unwrap().read_table().unwrap();
    assert_eq!(features.dim(), 64);
    let norm = features.row(0).iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((norm - 1.0).abs() > 0.01, "features are as the tower makes them: {norm}");

    // The same run, the same weights.
    shell.run(&format!("{CONTRAST} --output again --quiet"));
    assert_eq!(shell.bytes("again/model.safetensors"), shell.bytes("mine/model.safetensors"));
    shell.refused(&format!("{CONTRAST} --output mine"), 2, "--overwrite");
    shell.run(&format!("{CONTRAST} --output mine --overwrite --seed 1 --logit-scale learned --patience 1"));
    assert_ne!(shell.bytes("again/model.safetensors"), shell.bytes("mine/model.safetensors"));
}

#[test]
fn a_list_of_pairs_takes_the_place_of_equal_ids() {
    let shell = shell();
    let list = "image,text\nphotos/alpha.png,photos/grey.png\nphotos/grey.png,photos/alpha.png\n\
        photos/line.png,photos/small.png\nphotos/line.png,photos/line.png";
    fs::write(shell.path("pairs.csv"), list).unwrap();
    let contrast = CONTRAST.replace("--validation 0.4", "--validation 0");
    let output = shell.run(&format!("{contrast} --pairs pairs.csv --output mine --json --quiet"));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["train"], &found["held_out"]), (&4.into(), &0.into()));
}

#[test]
fn features_that_overflow_a_head_are_refused_by_their_id() {
    let shell = shell();
    let texts = read_table(shell.path("texts.npy")).unwrap();
    let mut rows = texts.rows().to_vec();
    rows[7 * texts.dim()..8 * texts.dim()].fill(1e37);
    let broken = EmbeddingTable::new(texts.ids().to_vec(), rows, texts.dim()).unwrap();
    write_table(&broken, shell.path("broken.npy")).unwrap();
    // It is no pair, so that nothing is trained on it.
    let pairs: Vec<String> =
        texts.ids().iter().filter(|id| **id != texts.ids()[7]).map(|id| format!("{id},{id}")).collect();
    fs::write(shell.path("pairs.csv"), format!("image,text\n{}", pairs.join("\n"))).unwrap();
    let contrast = CONTRAST.replace("texts.npy", "broken.npy");
    let command = format!("{contrast} --pairs pairs.csv --output mine --text-rows rows.npy");
    shell.refused(&command, 3, &texts.ids()[7]);
    assert!(!shell.path("rows.npy").exists());
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let shell = shell();
    let contrast = |from: &str, to: &str| format!("{} --output mine", CONTRAST.replacen(from, to, 1));
    shell.refused(&contrast("--image-tower lite", "--image-tower nowhere"), 4, "nowhere");
    shell.refused(&contrast("--image-tower lite", "--image-tower bert"), 2, "no image tower");
    shell.refused(&contrast("images.npy", "texts.npy"), 3, "expected 64, found 24");
    shell.refused(&contrast("images.npy", "none.npy"), 4, "none.npy");
    shell.refused(&contrast("--batch-size 8", "--batch-size 1"), 2, "found 1");
    shell.refused(&contrast("--dim 6", "--dim 6 --pair-by nothing"), 3, "pairs");
    shell.refused(&contrast("--dim 6", "--dim 6 --only split"), 2, "FIELD=VALUE");
    shell.refused(&contrast("--dim 6", "--dim 6 --logit-scale 0"), 2, "above 0");
    shell.refused(&contrast("--validation 0.4", "--validation 1.5"), 2, "found 1.5");
    shell.refused(&contrast("--dim 6", "--dim 6 --text-rows texts.npy"), 2, "texts.npy is there already");
    fs::write(shell.path("pairs.csv"), "picture,text\nphotos/none.png,photos/grey.png").unwrap();
    shell.refused(&contrast("--dim 6", "--dim 6 --pairs pairs.csv"), 3, "\"picture\"");
    fs::write(shell.path("pairs.csv"), "image,text\nphotos/none.png,photos/grey.png").unwrap();
    shell.refused(&contrast("--dim 6", "--dim 6 --pairs pairs.csv"), 3, "photos/none.png");
    assert!(!shell.path("mine/config.json").exists());
}
