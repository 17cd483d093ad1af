//! A model knows how its texts were aligned, and pictures are shown to it as that method has them.

use burn_revision::embedding::{EmbeddingTable, read_table, write_table};
use serde_json::Value;

use crate::trainer::{CAPTIONS, DIM, Trainer};

const STAGE: &str = "max_steps = 6\nlearning_rate = 0.01";

impl Trainer {
    /// A trainer with pictures far from the texts in `seen.npy`, and statistics of some methods of both.
    fn with_statistics() -> Self {
        let trainer = Self::new();
        let texts = read_table(trainer.path("seen.npy")).unwrap();
        let rows =
            texts.rows().iter().enumerate().map(|(at, value)| 0.7 * value - 2.0 + (at % 5) as f32 / 3.0);
        let pictures = EmbeddingTable::new(texts.ids().to_vec(), rows.collect(), DIM).unwrap();
        write_table(&pictures, trainer.path("pictures.npy")).unwrap();
        for method in ["gr-clip", "realign", "c3"] {
            trainer.run(&format!(
                "fit --method {method} --text seen.npy --image pictures.npy --output {method}.safetensors"
            ));
        }
        trainer
    }

    /// The likelihood of the captions that `eval` finds with these embeddings.
    #[track_caller]
    fn nll(&self, model: &str, embeddings: &str) -> f64 {
        let line =
            format!("eval --model {model}/model --conversations captions.jsonl --embeddings {embeddings}");
        self.json(&line)["scores"]["nll"].as_f64().unwrap()
    }
}

#[test]
fn pictures_are_moved_as_the_method_of_the_texts_moves_them() {
    let trainer = Trainer::with_statistics();
    trainer.stage_1("one", "stats = 'gr-clip.safetensors'", STAGE);
    trainer.run("train --config one.toml --quiet");
    let described: Value = serde_json::from_slice(&trainer.shell.bytes("one/model/revision.json")).unwrap();
    assert_eq!(described["alignment"]["method"]["name"], "gr_clip");

    trainer.run("apply --stats gr-clip.safetensors --image pictures.npy --output moved.npy");
    trainer.run("apply --stats gr-clip.safetensors --text seen.npy --output aligned.npy");
    let nll = trainer.nll("one", "pictures.npy");
    assert!((nll - trainer.nll("one", "moved.npy --aligned")).abs() < 1e-4);
    assert!((nll - trainer.nll("one", "pictures.npy --aligned")).abs() > 1e-3, "unmoved pictures are others");
    let texts = trainer.nll("one", "seen.npy --stats gr-clip.safetensors");
    assert!((texts - trainer.nll("one", "aligned.npy --aligned")).abs() < 1e-4);

    // Stage 2 goes on with pictures, and its model knows no less.
    trainer.stage_2("two", "one", STAGE);
    let text = String::from_utf8(trainer.shell.bytes("two.toml")).unwrap();
    trainer.write("two.toml", &text.replace("seen.npy", "pictures.npy"));
    let two = trainer.json("train --config two.toml");
    trainer.write(
        "two.toml",
        &text
            .replace("'seen.npy'", "'moved.npy'\naligned_with = 'gr-clip.safetensors'")
            .replace("output = 'two'", "output = 'moved'"),
    );
    let moved = trainer.json("train --config two.toml");
    let losses = [two, moved].map(|run| run["valid_loss"].as_f64().unwrap());
    assert!((losses[0] - losses[1]).abs() < 1e-3, "{losses:?}");
    let described: Value = serde_json::from_slice(&trainer.shell.bytes("two/model/revision.json")).unwrap();
    assert_eq!(described["alignment"]["method"]["name"], "gr_clip");
}

#[test]
fn texts_are_aligned_as_they_are_read_or_were_before() {
    let trainer = Trainer::with_statistics();
    trainer.run("apply --stats realign.safetensors --text seen.npy --output aligned.npy");
    let valid = "valid = 'captions.jsonl'\nvalid_embeddings = 'pictures.npy'";
    trainer.stage_1("raw", &format!("stats = 'realign.safetensors'\n{valid}"), STAGE);
    trainer.stage_1("before", &format!("aligned_with = 'realign.safetensors'\n{valid}"), STAGE);
    let text = String::from_utf8(trainer.shell.bytes("before.toml")).unwrap();
    trainer.write("before.toml", &text.replace("'seen.npy'", "'aligned.npy'"));
    let [raw, before] = ["raw", "before"].map(|run| trainer.json(&format!("train --config {run}.toml")));
    let losses = [&raw, &before].map(|run| run["valid_loss"].as_f64().unwrap());
    assert!((losses[0] - losses[1]).abs() < 1e-4, "{losses:?}");
}

#[test]
fn texts_of_another_method_are_refused() {
    let trainer = Trainer::with_statistics();
    trainer.stage_1("one", "stats = 'realign.safetensors'", STAGE);
    trainer.run("train --config one.toml --quiet");
    let generate = "generate --model one/model --embeddings seen.npy";
    for method in ["realign", "c3"] {
        let line = format!("{generate} --stats c3.safetensors");
        trainer.shell.refused(&line, 2, method);
        trainer.shell.refused(&line.replace("generate", "eval --conversations captions.jsonl"), 2, method);
    }
    trainer.stage_2("two", "one", STAGE);
    let text = String::from_utf8(trainer.shell.bytes("two.toml")).unwrap();
    trainer.write("two.toml", &text.replace("[stage]", "stats = 'c3.safetensors'\n[stage]"));
    trainer.shell.refused("train --config two.toml", 2, "c3");
    trainer.write("two.toml", &text.replace("[stage]", "stats = 'a'\naligned_with = 'b'\n[stage]"));
    trainer.shell.refused("train --config two.toml", 3, "`aligned_with`");

    // A model's own file that is not the one it was saved with.
    std::fs::copy(trainer.path("c3.safetensors"), trainer.path("one/model/alignment.safetensors")).unwrap();
    trainer.shell.refused(generate, 3, "alignment.safetensors");
}

/// One picture of millions costs the reading of one: others are not read, and may be of no use.
#[test]
fn only_rows_that_are_asked_for_are_read() {
    let trainer = Trainer::with_statistics();
    trainer.stage_1("one", "stats = 'realign.safetensors'", STAGE);
    trainer.run("train --config one.toml --quiet");
    let texts = read_table(trainer.path("seen.npy")).unwrap();
    let mut rows = texts.rows().to_vec();
    rows[3 * DIM..].fill(f32::NAN);
    write_table(&EmbeddingTable::new(texts.ids().to_vec(), rows, DIM).unwrap(), trainer.path("rest.npy"))
        .unwrap();
    let generate =
        "generate --model one/model --max-new-tokens 4 --stats realign.safetensors --ids p2,p0 --embeddings";
    let printed = |embeddings: &str| trainer.run(&format!("{generate} {embeddings}")).stdout;
    assert_eq!(printed("rest.npy"), printed("seen.npy"));
    trainer.shell.refused(&format!("{generate} rest.npy").replace("p2,p0", "p2,p5"), 3, "row 5");
    let captions = String::from_utf8(trainer.shell.bytes("captions.jsonl")).unwrap();
    trainer.write("few.jsonl", &captions.lines().take(3).collect::<Vec<_>>().join("\n"));
    trainer.run(
        "eval --model one/model --conversations few.jsonl --stats realign.safetensors --embeddings rest.npy",
    );
}

/// A row that cannot be shown is named with its file.
#[test]
fn a_bad_row_met_in_training_is_named_with_its_file() {
    let trainer = Trainer::new();
    let texts = read_table(trainer.path("seen.npy")).unwrap();
    let mut rows = texts.rows().to_vec();
    rows[CAPTIONS.len() * DIM - 3] = f32::NAN;
    write_table(&EmbeddingTable::new(texts.ids().to_vec(), rows, DIM).unwrap(), trainer.path("seen.npy"))
        .unwrap();
    trainer.stage_1("one", "", STAGE);
    for cause in ["seen.npy", "row 11", "column 5"] {
        trainer.shell.refused("train --config one.toml", 1, cause);
    }
}

/// As in the paper, whatever the model has positions for: one long conversation must not take all memory.
#[test]
fn conversations_are_cut_at_2048_tokens_unless_the_run_says_otherwise() {
    let trainer = Trainer::new();
    trainer.change("lm/config.json", "max_position_embeddings", 100_000.into());
    let long = format!(
        r#"{{"id": "long", "image": "p0", "conversations": [{{"from": "human", "value": "<image>"}}, {{"from": "gpt", "value": "{}"}}]}}"#,
        "a cat ".repeat(3000)
    );
    trainer.write("captions.jsonl", &long);
    for (data, cut) in [("", 1), ("max_length = 50000", 0)] {
        trainer.stage_1("one", data, STAGE);
        assert_eq!(trainer.json("train --config one.toml --dry-run")["data"]["truncated"], cut);
    }
}
