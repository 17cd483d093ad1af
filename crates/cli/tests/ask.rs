//! `ask`: a model with its encoder, from pictures to answers.

mod assistant;
mod shell;
mod trainer;

use std::fs;
use std::io::Write;
use std::process::{Output, Stdio};

use assistant::{PICTURES, assistant, babbler, captioner, copy, quantised};
use serde_json::Value;
use trainer::{CAPTIONS, Trainer};

/// The program with these arguments, which may have spaces.
fn ask(trainer: &Trainer, words: &[&str]) -> Output {
    trainer.shell.command("ask --max-new-tokens 12 --model").args(words).output().unwrap()
}

#[track_caller]
fn answer(trainer: &Trainer, words: &[&str]) -> String {
    let output = ask(trainer, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(trainer: &Trainer, words: &[&str], code: i32, causes: &[&str]) {
    let output = ask(trainer, words);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
    for cause in causes {
        assert!(error.contains(cause), "{words:?}: expected {cause:?} in {error:?}");
    }
    assert!(!error.contains("panicked"), "{words:?}: {error}");
    assert!(output.stdout.is_empty(), "{words:?}");
}

/// What `generate` says of a row of a store.
fn generated(trainer: &Trainer, model: &str, embeddings: &str, id: &str, prompt: &[&str]) -> String {
    let line = format!("generate --model {model} --embeddings {embeddings} --ids {id} --max-new-tokens 12");
    let output = trainer.shell.command(&line).args(prompt).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_once('\t').unwrap().1.to_string()
}

fn described(trainer: &Trainer, model: &str) -> Value {
    serde_json::from_slice(&trainer.shell.bytes(&format!("{model}/revision.json"))).unwrap()
}

#[test]
fn a_picture_is_seen_as_in_training() {
    let trainer = assistant();
    for (model, prompt) in [("one/model", &[][..]), ("two/model", &["--prompt", "What is it?"])] {
        for picture in PICTURES {
            let path = format!("photos/{picture}");
            let words: Vec<&str> = [model, &path].into_iter().chain(prompt.get(1).copied()).collect();
            let expected = generated(&trainer, model, "seen.npy", picture, prompt);
            assert_eq!(
                answer(&trainer, &words).replace(['\n', '\r'], " ").trim(),
                expected.trim(),
                "{words:?}"
            );
        }
        let record: Value = serde_json::from_slice(&trainer.shell.bytes("seen.encoder.json")).unwrap();
        assert_eq!(described(&trainer, model)["encoder"], record);
        assert_eq!(record["dim"], 10);
        assert!(record["preprocessing"]["mean"].is_array(), "{record}");
    }
    for (picture, caption) in PICTURES.iter().zip(CAPTIONS) {
        let found = answer(&trainer, &["two/model", &format!("photos/{picture}"), "What is it?"]);
        assert_eq!(found, format!("{caption}\n"));
    }
}

#[test]
fn pictures_are_moved_as_the_method_of_the_texts_has_them() {
    let trainer = captioner();
    copy(&trainer, "tokenizer", "tokenizer");
    fs::copy(trainer.path("tokenizer/tokenizer.json"), trainer.path("clip/tokenizer.json")).unwrap();
    trainer.write("texts.txt", "a cat\ntwo dogs\nthe red apple\nthe sea\nan old house\na red cat");
    trainer.run("embed --encoder clip --texts texts.txt --output texts.npy");
    trainer.run("fit --method gr-clip --text texts.npy --image seen.npy --output gr.safetensors");
    trainer.run("apply --stats gr.safetensors --image seen.npy --output moved.npy");
    trainer.stage_1("moved", "aligned_with = 'gr.safetensors'", "max_steps = 2\nlearning_rate = 0.01");
    let text = String::from_utf8(trainer.shell.bytes("moved.toml")).unwrap();
    trainer.write("moved.toml", &text.replace("'seen.npy'", "'moved.npy'"));
    trainer.run("train --config moved.toml --quiet");
    // The rows were moved, and are still of that encoder.
    assert_eq!(described(&trainer, "moved/model")["encoder"], described(&trainer, "one/model")["encoder"]);
    for picture in PICTURES {
        let found = answer(&trainer, &["moved/model", &format!("photos/{picture}")]);
        let expected = generated(&trainer, "moved/model", "seen.npy", picture, &[]);
        assert_eq!(found.replace(['\n', '\r'], " ").trim(), expected.trim());
    }
}

#[test]
fn texts_of_an_encoder_say_which_one_it_was() {
    let trainer = captioner();
    copy(&trainer, "tokenizer", "tokenizer");
    fs::copy(trainer.path("tokenizer/tokenizer.json"), trainer.path("clip/tokenizer.json")).unwrap();
    trainer.write("texts.txt", "a cat\ntwo dogs");
    trainer.run("embed --encoder clip --texts texts.txt --output texts.npy");
    let [texts, pictures] =
        ["texts", "seen"].map(|name| trainer.shell.bytes(&format!("{name}.encoder.json")));
    assert_eq!(texts, pictures);
    // It goes with the rows, in any form, and not with rows that are none of its.
    trainer.run("embed --encoder clip --images photos --output shards --shard-rows 8");
    for options in ["", "--overwrite"] {
        trainer.run(&format!("convert shards again --format safetensors {options}"));
        assert_eq!(trainer.shell.bytes("again/encoder.json"), pictures);
    }
    trainer.run("convert seen.npy again.npy");
    assert_eq!(trainer.shell.bytes("again.encoder.json"), pictures);
    trainer.table("other.npy", 10);
    trainer.run("convert other.npy again.npy --overwrite");
    assert!(!trainer.path("again.encoder.json").exists());
}

#[test]
fn another_encoder_is_refused_with_both() {
    let trainer = assistant();
    copy(&trainer, "clip", "other");
    trainer.change("other/preprocessor_config.json", "resample", 2.into());
    let own = described(&trainer, "two/model")["encoder"]["fingerprint"].as_str().unwrap().to_string();
    trainer.run("embed --encoder other --images photos --output other.npy");
    let other: Value = serde_json::from_slice(&trainer.shell.bytes("other.encoder.json")).unwrap();
    let other = other["fingerprint"].as_str().unwrap();
    assert_ne!(own, other);
    let words = ["two/model", "photos/plain.jpg", "What is it?"];
    refused(&trainer, &[&words[..], &["--encoder", "other"]].concat(), 2, &[&own, other]);
    // Rows of another encoder are no pictures for it either.
    let generate = "generate --model two/model --embeddings other.npy";
    trainer.shell.refused(generate, 2, other);
    trainer.shell.refused(&generate.replace("generate", "eval --conversations chat.jsonl"), 2, "other.npy");
    let text = String::from_utf8(trainer.shell.bytes("two.toml")).unwrap();
    trainer.write("two.toml", &text.replace("'seen.npy'", "'other.npy'"));
    trainer.shell.refused("train --config two.toml", 2, other);

    let expected = answer(&trainer, &words);
    fs::rename(trainer.path("clip"), trainer.path("moved")).unwrap();
    refused(&trainer, &words, 2, &["clip", "is not there now", "--encoder"]);
    assert_eq!(answer(&trainer, &[&words[..], &["--encoder", "moved"]].concat()), expected);
    copy(&trainer, "siglip", "siglip");
    refused(&trainer, &[&words[..], &["--encoder", "siglip"]].concat(), 3, &["10", "siglip"]);
}

#[test]
fn a_model_without_a_record_needs_an_encoder() {
    let trainer = captioner();
    fs::remove_file(trainer.path("seen.encoder.json")).unwrap();
    trainer.stage_1("none", "", "max_steps = 1");
    trainer.run("train --config none.toml --quiet");
    refused(&trainer, &["none/model", "photos/plain.jpg"], 2, &["--encoder"]);
    answer(&trainer, &["none/model", "photos/plain.jpg", "--encoder", "clip"]);
    // Its description may name the encoder.
    trainer.stage_1("named", "encoder = 'clip'", "max_steps = 1");
    trainer.run("train --config named.toml --quiet");
    answer(&trainer, &["named/model", "photos/plain.jpg"]);
}

#[test]
fn several_pictures_are_a_line_each() {
    let trainer = assistant();
    let question = "What is it?";
    let one = |picture: &str| answer(&trainer, &["two/model", picture, question]).replace(['\n', '\r'], " ");
    let lines = answer(&trainer, &["two/model", "photos/plain.jpg", "photos/colours.bmp", question]);
    let expected = ["photos/plain.jpg", "photos/colours.bmp"]
        .map(|picture| format!("{picture}\t{}\n", one(picture).trim()));
    assert_eq!(lines, expected.concat());

    fs::write(trainer.path("photos/page.png"), "<html>").unwrap();
    let stopped = ask(&trainer, &["two/model", "photos", "--json", "--question", question]);
    assert_eq!(stopped.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("page.png"));
    let found = answer(&trainer, &["two/model", "photos", "--json", "--question", question, "--bad", "skip"]);
    let found: Vec<Value> = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 21);
    for line in &found {
        let is_page = line["picture"] == "page.png";
        assert_eq!(line["error"].is_string(), is_page, "{line}");
        assert_eq!(line["answer"].is_string(), !is_page, "{line}");
    }
    let plain = found.iter().find(|line| line["picture"] == "plain.jpg").unwrap();
    assert_eq!(
        plain["answer"].as_str().unwrap(),
        answer(&trainer, &["two/model", "photos/plain.jpg", question]).trim()
    );
    assert_eq!((&plain["answer"], &plain["finish_reason"]), (&CAPTIONS[0].into(), &"stop".into()));
    assert!(plain["completion_tokens"].as_u64().unwrap() > 1, "{plain}");
    let pattern = answer(&trainer, &["two/model", "photos/grey*.png", question]);
    assert_eq!(pattern.lines().count(), 2);
}

#[test]
fn the_last_word_is_the_question_unless_it_is_a_picture() {
    let trainer = assistant();
    let words = ["two/model", "photos/plain.jpg"];
    let expected = answer(&trainer, &[&words[..], &["What is it?"]].concat());
    assert_eq!(answer(&trainer, &[&words[..], &["--question", "What is it?"]].concat()), expected);
    assert_eq!(answer(&trainer, &[&words[..], &["<image>\nWhat is it?"]].concat()), expected);
    // Without one, chat models are asked for a description.
    assert_eq!(
        answer(&trainer, &words),
        answer(&trainer, &[&words[..], &["Describe the picture."]].concat())
    );

    refused(&trainer, &["two/model", "photos/absent.jpg"], 4, &["absent.jpg"]);
    refused(&trainer, &["two/model", "photos/plain.jpg", "dog.png"], 4, &["dog.png"]);
    refused(&trainer, &["two/model", "nowhere", "photos/plain.jpg", "What?"], 4, &["nowhere"]);
    refused(&trainer, &["two/model", "What is it?"], 2, &["What is it?", "name a picture"]);
    refused(&trainer, &["two/model"], 2, &["PICTURE"]);
    let long = "a cat ".repeat(20_000);
    refused(&trainer, &[&words[..], &[&long]].concat(), 2, &["19999", "shorter question"]);
    refused(&trainer, &["one/model", "photos/plain.jpg", "What is it?"], 2, &["`plain`", "caption"]);
    refused(&trainer, &["one/model", "photos/plain.jpg", "-i"], 2, &["`plain`"]);
    refused(&trainer, &["two/model", "photos/plain.jpg", "photos/colours.bmp", "-i"], 2, &["one picture"]);
    for (broken, cause) in [("two/model/projector.safetensors", 4), ("two/model/revision.json", 4)] {
        fs::remove_file(trainer.path(broken)).unwrap();
        refused(&trainer, &words, cause, &[broken.rsplit('/').next().unwrap()]);
    }
}

#[test]
fn draws_follow_the_seed_and_stop_strings_end_the_answer() {
    let trainer = babbler();
    let ask = |options: &[&str]| {
        answer(&trainer, &[&["two/model", "photos/plain.jpg", "What is it?"][..], options].concat())
    };
    let drawn = |seed: &str| ask(&["--temperature", "2", "--seed", seed]);
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
    assert_eq!(ask(&["--temperature", "2", "--top-k", "1"]), ask(&[]));
    let text = ask(&["--temperature", "2", "--seed", "1"]);
    let stop: String = text.trim().chars().skip(3).take(2).collect();
    let stopped = ask(&["--temperature", "2", "--seed", "1", "--stop", &stop]);
    assert_eq!(stopped.trim_end(), text[..text.find(&stop).unwrap()].trim_end());
}

/// The language model of a GGUF file as the file stores it, until its weights are others.
#[test]
fn quantised_weights_stay_as_they_are() {
    let trainer = quantised();
    let words = |model: &'static str, weights: &'static str| {
        let shown = [model, "photos/plain.jpg"];
        if weights.is_empty() { shown.to_vec() } else { [&shown[..], &["--weights", weights]].concat() }
    };
    // Stage 1 trains a projector for it.
    let expected = answer(&trainer, &words("one/model", "float"));
    assert!(expected.trim().len() > 2, "{expected:?}");
    for weights in ["", "auto", "quantized"] {
        assert_eq!(answer(&trainer, &words("one/model", weights)), expected, "{weights}");
    }
    let texts = |weights: &str| {
        let line =
            "generate --model one/model --embeddings seen.npy --max-new-tokens 8 --batch-size 3 --weights";
        trainer.run(&format!("{line} {weights}")).stdout
    };
    assert_eq!(texts("quantized"), texts("float"));
    let scores = |weights: &str| {
        let line = "eval --model one/model --conversations captions.jsonl --embeddings seen.npy --weights";
        trainer.json(&format!("{line} {weights}"))["scores"].clone()
    };
    let (quantised, float) = (scores("quantized"), scores("float"));
    let nll = |scores: &Value| scores["nll"].as_f64().unwrap();
    assert!((nll(&quantised) - nll(&float)).abs() < 1e-3 * nll(&float), "{quantised} {float}");

    // Stage 2 changes it: adapters belong to floats.
    let question = "What is it?";
    for (stage, cause) in [("lora", "adapters"), ("tuned", "weights of its own")] {
        let folder = format!("{stage}/model");
        let ask = |weights: &[&'static str]| [&[&folder[..], "photos/plain.jpg", question], weights].concat();
        assert_eq!(answer(&trainer, &ask(&[])), answer(&trainer, &ask(&["--weights", "float"])), "{stage}");
        refused(&trainer, &ask(&["--weights", "quantized"]), 2, &["weights", cause]);
    }
    let folder = captioner();
    refused(&folder, &words("one/model", "quantized"), 3, &["lm", "GGUF"]);
    refused(&folder, &words("one/model", "half"), 2, &["auto", "float", "quantized"]);
}

#[test]
fn a_conversation_remembers() {
    let trainer = babbler();
    let converse = |words: &[&str], lines: &str| {
        let line = "ask --interactive --max-new-tokens 8 --model two/model photos/plain.jpg";
        let mut command = trainer.shell.command(line);
        let mut child = command
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let first = trainer
        .shell
        .command("ask --max-new-tokens 8 --model two/model photos/plain.jpg Who?")
        .output()
        .unwrap();
    let first = String::from_utf8(first.stdout).unwrap();
    let (twice, _) = converse(&[], "Who?\n\nWho?\n");
    assert!(twice.starts_with(&first), "{twice:?} {first:?}");
    assert_ne!(twice, first.repeat(2), "the second answer follows the first");
    assert_eq!(converse(&["Who?"], "Who?\n").0, twice);
    // A question that cannot be asked is told, and the conversation goes on.
    let (after, said) = converse(&[], "Who?\nWhere is <image>?\nWho?\n");
    assert!(said.contains("<image>"), "{said}");
    assert_eq!(after, twice);
}
