//! `train`, `generate`, `eval`, `export` and `import` from a shell.

#[path = "trainer/aligned.rs"]
mod aligned;
#[path = "trainer/broken_off.rs"]
mod broken_off;
#[path = "trainer/refused.rs"]
mod refused;
mod shell;
mod trainer;

use burn::module::{Module, ParamGroup};
use burn::tensor::Device;
use burn_revision::revision::SavedReVision;
use serde_json::{Value, json};
use trainer::{CAPTIONS, Trainer};

const SHORT: &str = "max_steps = 6\ncheckpoint_steps = 3\nlearning_rate = 0.01\nmicro_batch_size = 8";
const LORA: &str = "max_steps = 6\nlearning_rate = 0.01\ntrainable = 'projector-and-lora'";

fn generate(model: &str) -> String {
    // One picture at a time: its text does not depend on the others.
    format!("generate --model {model}/model --embeddings seen.npy --max-new-tokens 8 --batch-size 1")
}

/// What `generate` prints, as pairs of id and text.
fn texts(trainer: &Trainer, line: &str) -> Vec<(String, String)> {
    let printed = String::from_utf8(trainer.run(line).stdout).unwrap();
    let pairs = printed.lines().map(|line| line.split_once('\t').unwrap_or_else(|| panic!("{line:?}")));
    pairs.map(|(id, text)| (id.to_string(), text.to_string())).collect()
}

#[test]
fn two_stages_lead_from_files_to_texts() {
    let trainer = Trainer::new();
    trainer.stage_1("one", "valid = 'captions.jsonl'", SHORT);
    let one = trainer.json("train --config one.toml");
    assert_eq!(
        (&one["steps"], &one["skipped_steps"], &one["data"]["kept"]),
        (&6.into(), &0.into(), &12.into())
    );
    let log = String::from_utf8(trainer.shell.bytes("one/metrics.jsonl")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("learning_rate")).count(), 6);
    assert!(
        !trainer.path("one/model/language.safetensors").exists(),
        "stage 1 leaves the language model as it is"
    );

    trainer.stage_2(
        "two",
        "one",
        &format!("preset = 'finetune'\n{LORA}\nlora = {{ rank = 2, alpha = 4.0 }}"),
    );
    let two = trainer.run("train --config two.toml");
    let said = String::from_utf8_lossy(&two.stderr).into_owned();
    assert!(said.contains("12 conversations, 12 kept") && said.contains("step 6/6"), "{said}");
    let described: Value = serde_json::from_slice(&trainer.shell.bytes("two/model/revision.json")).unwrap();
    assert_eq!(described["tuned"]["lora"]["rank"], 2);
    assert_eq!(described["template"], "chat");
    let (adapters, dense) = ("two/model/language.safetensors", "lm/model.safetensors");
    assert!(trainer.shell.bytes(adapters).len() < trainer.shell.bytes(dense).len());

    for model in ["one", "two"] {
        let all = texts(&trainer, &generate(model));
        let ids: Vec<String> = (0..CAPTIONS.len()).map(|i| format!("p{i}")).collect();
        assert_eq!(all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(), ids);
        assert_eq!(texts(&trainer, &generate(model)), all, "the same texts again");
        let some = texts(&trainer, &format!("{} --ids p7,p2", generate(model)));
        assert_eq!(some, [all[7].clone(), all[2].clone()]);
        let listed = trainer.json(&generate(model))["texts"].clone();
        for (listed, (id, text)) in listed.as_array().unwrap().iter().zip(&all) {
            let listed_text = listed["text"].as_str().unwrap().replace('\n', " ");
            assert_eq!((listed["id"].as_str(), &listed_text), (Some(id.as_str()), text));
        }
    }
    trainer.shell.refused(&format!("{} --ids p1,p99", generate("two")), 3, "\"p99\"");
}

#[test]
fn scores_are_those_of_the_texts_in_the_file() {
    let trainer = Trainer::new();
    trainer.stage_1("one", "", SHORT);
    trainer.run("train --config one.toml --quiet");
    let line =
        "eval --model one/model --conversations captions.jsonl --embeddings seen.npy --output written.jsonl";
    let found = trainer.json(line);
    for (name, score) in found["scores"].as_object().unwrap() {
        assert!(score.as_f64().is_some_and(|score| score.is_finite() && score >= 0.0), "{name}: {score}");
    }
    let written = String::from_utf8(trainer.shell.bytes("written.jsonl")).unwrap();
    let written: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named: Vec<String> = written.iter().map(|line| line["id"].as_str().unwrap().to_string()).collect();
    assert_eq!(named, (0..CAPTIONS.len()).map(|i| format!("c{i}")).collect::<Vec<_>>());
    let right = written.iter().zip(CAPTIONS).filter(|(line, truth)| line["text"] == *truth).count();
    assert_eq!(found["scores"]["exact_match"], right as f64 / CAPTIONS.len() as f64);
    let first = trainer.json(&format!("{} --samples 5", line.replace("written", "first")));
    assert_eq!((&first["scores"]["samples"], &first["data"]["read"]), (&5.into(), &5.into()));
    let printed = trainer.run(line).stdout;
    let nll = format!("NLL {:.4}", found["scores"]["nll"].as_f64().unwrap());
    assert!(String::from_utf8_lossy(&printed).contains(&nll));
}

/// The same conversations in another form, whose images have folders and endings: the same model, the same scores.
#[test]
fn conversations_of_other_tools_are_the_same_conversations() {
    let trainer = Trainer::new();
    let message = |i: usize, caption: &str| {
        let picture = json!([{ "type": "image", "image": format!("pictures/p{i}.jpg") }]);
        let turns =
            json!([{ "role": "user", "content": picture }, { "role": "assistant", "content": caption }]);
        json!({ "id": format!("c{i}"), "messages": turns })
    };
    let messages: Vec<Value> = CAPTIONS.iter().enumerate().map(|(i, caption)| message(i, caption)).collect();
    trainer.write("messages.json", &json!({ "version": 1, "data": messages }).to_string());
    trainer.stage_1("one", "valid = 'captions.jsonl'", SHORT);
    let one = trainer.json("train --config one.toml");

    trainer.stage_1("two", "valid = 'messages.json'", SHORT);
    let text = std::fs::read_to_string(trainer.path("two.toml")).unwrap();
    let text = text.replace("'captions.jsonl'", "'messages.json'");
    trainer.write("two.toml", &text);
    trainer.shell.refused("train --config two.toml", 3, "id_match = \"stem\" would find one");
    trainer.write("two.toml", &text.replace("[data]", "[data]\nid_match = 'stem'"));
    let two = trainer.json("train --config two.toml");
    assert_eq!(two["valid_loss"], one["valid_loss"]);
    assert_eq!(two["data"]["kept"], CAPTIONS.len());

    let line = "eval --model one/model --conversations messages.json --embeddings seen.npy";
    trainer.shell.refused(line, 3, "id_match = \"stem\" would find one");
    let found = trainer.json(&format!("{line} --id-match stem"));
    assert_eq!(found["scores"], trainer.scores("one/model", "captions.jsonl"));
    trainer.shell.refused(&format!("{line} --id-match names"), 2, "expected exact or stem");

    // What has no use here is left out where it is asked for, and what was mended is said.
    let tool = json!({ "id": "t", "messages": [{ "role": "tool", "content": "42" }] });
    let captions = String::from_utf8(trainer.shell.bytes("captions.jsonl")).unwrap();
    trainer.write("mixed.jsonl", &format!("\u{feff}{tool}\n{captions}"));
    let line = line.replace("messages.json", "mixed.jsonl");
    trainer.shell.refused(&line, 3, "\"tool\"");
    let found = trainer.json(&format!("{line} --bad-samples drop"));
    let data = &found["data"];
    assert_eq!((&data["read"], &data["kept"]), (&13.into(), &12.into()));
    assert_eq!(data["dropped"]["unusable"]["count"], 1);
    assert_eq!(data["mended"]["byte_order_marks"], 1);
}

#[test]
fn a_projector_that_goes_out_and_comes_back_is_the_same_model() {
    let trainer = Trainer::new();
    trainer.stage_1("one", "", SHORT);
    trainer.run("train --config one.toml --quiet");
    for file in ["mm_projector.bin", "projector.safetensors", "mmproj.gguf"] {
        trainer.run(&format!("export --model one/model --output {file}"));
        trainer.run(&format!(
            "import --projector {file} --language-model lm --visual-tokens 2 --template plain --output back"
        ));
        assert_eq!(trainer.scores("back", "captions.jsonl"), trainer.scores("one/model", "captions.jsonl"));
        let weights = "model/projector.safetensors";
        assert_eq!(
            trainer.shell.bytes("back/projector.safetensors"),
            trainer.shell.bytes(&format!("one/{weights}"))
        );
        // What is there already is not replaced.
        trainer.shell.refused(
            &format!("import --projector {file} --language-model lm --visual-tokens 2 --output back"),
            2,
            "back is there already",
        );
        std::fs::remove_dir_all(trainer.shell.path("back")).unwrap();
        // It is a beginning for another run as well: without a step to learn in, the loss is the same.
        trainer.stage_1("again", "valid = 'captions.jsonl'", &SHORT.replace("0.01", "1e-30"));
        let text = std::fs::read_to_string(trainer.path("again.toml")).unwrap();
        trainer.write("again.toml", &text.replace("[data]", &format!("weights = '{file}'\n[data]")));
        let again = trainer.json("train --config again.toml");
        // Two float32 steps: the logits of a model that was trained and of one that was read are not equal to the bit.
        let [loss, nll] = [&again["valid_loss"], &trainer.scores("one/model", "captions.jsonl")["nll"]]
            .map(|value| value.as_f64().unwrap());
        assert!((loss - nll).abs() < 1e-6, "{file}: {loss} {nll}");
        std::fs::remove_dir_all(trainer.path("again")).unwrap();
    }
}

/// Whatever stages follow one another: the model that a run measured is the model that it left behind.
#[test]
fn a_model_is_saved_as_it_was_measured() {
    let trainer = Trainer::new();
    trainer.stage_1("plain", "", SHORT);
    trainer.run("train --config plain.toml --quiet");
    let everything = LORA.replace("-lora", "-language");
    let others = format!("{LORA}\nlora = {{ rank = 2, alpha = 64.0, targets = ['q_proj'] }}");
    let (projector, text) = (LORA.replace("-and-lora", ""), LORA.replace("projector-and-lora", "language"));
    let mut refused = Vec::new();
    for (name, from, stage) in [
        ("adapted", "plain", LORA),
        ("whole", "plain", &everything),
        ("text", "plain", &text),
        ("adapted-again", "adapted", LORA),
        ("adapted-otherwise", "adapted", &others),
        ("adapted-projector", "adapted", &projector),
        ("adapted-whole", "adapted", &everything),
        ("whole-projector", "whole", &projector),
        ("whole-again", "whole", &everything),
        ("whole-adapted", "whole", LORA),
    ] {
        trainer.stage_2(name, from, stage);
        let line = format!("train --config {name}.toml --quiet --json");
        let output = trainer.shell.command(&line).output().unwrap();
        if !output.status.success() {
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{name}: {error}");
            assert_eq!(trainer.checkpoint(name), 0, "{name}: refused after it was trained: {error}");
            refused.push(name);
            continue;
        }
        let measured: Value = serde_json::from_slice(&output.stdout).unwrap();
        let (expected, found) =
            (&measured["valid_loss"], &trainer.scores(&format!("{name}/model"), "chat.jsonl")["nll"]);
        let difference = expected.as_f64().unwrap() - found.as_f64().unwrap();
        assert!(
            difference.abs() < 1e-5,
            "{name}: {expected} when it was trained, {found} when it was read back"
        );
    }
    // Nothing stands in the way of a first stage upon a language model as it was published.
    assert!(refused.iter().all(|name| name.contains('-')), "{refused:?}");
}

/// Earlier versions wrote the tuned part of the language model as a Burn record.
#[test]
fn models_of_earlier_versions_are_read() {
    let trainer = Trainer::new();
    trainer.stage_1("plain", "", SHORT);
    trainer.run("train --config plain.toml --quiet");
    for (name, trainable, tuned) in [
        ("adapted", "projector-and-lora", ParamGroup::from_regex(r"\.lora\.[ab]$").unwrap()),
        ("whole", "projector-and-language", ParamGroup::all()),
    ] {
        trainer.stage_2(name, "plain", &LORA.replace("projector-and-lora", trainable));
        trainer.run(&format!("train --config {name}.toml --quiet"));
        let scores = trainer.scores(&format!("{name}/model"), "chat.jsonl");
        let folder = trainer.path(name).join("model");
        let language = SavedReVision::load(&folder, &Device::default()).unwrap().model.language;
        language.into_record_group(tuned).save(folder.join("language.bpk")).unwrap();
        std::fs::remove_file(folder.join("language.safetensors")).unwrap();
        assert_eq!(trainer.scores(&format!("{name}/model"), "chat.jsonl"), scores);
    }
}

#[test]
fn a_dry_run_says_what_would_be_left_out_and_writes_nothing() {
    let trainer = Trainer::new();
    let captions = String::from_utf8(trainer.shell.bytes("captions.jsonl")).unwrap();
    let unknown = r#"{"id": "lost", "image": "p99", "conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "a"}]}"#;
    let unseen = r#"{"id": "blind", "image": "p1", "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "a"}]}"#;
    trainer.write("captions.jsonl", &format!("{captions}{unknown}\n{unseen}\n"));
    trainer.stage_1("run", "bad_samples = 'drop'", SHORT);
    let output = trainer.run("train --config run.toml --dry-run");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["14 conversations, 12 kept", "1 dropped (no embedding)", "\"lost\"", "\"p99\"", "\"blind\""]
    {
        assert!(text.contains(part), "expected {part:?} in {text:?}");
    }
    let report = trainer.json("train --config run.toml --dry-run")["data"].clone();
    assert_eq!((&report["read"], &report["kept"]), (&14.into(), &12.into()));
    assert_eq!(report["dropped"]["no embedding"]["count"], 1);
    for data in ["bad_samples = 'error'", ""] {
        trainer.stage_1("run", data, SHORT);
        trainer.shell.refused("train --config run.toml --dry-run", 3, "\"lost\"");
    }
    assert!(!trainer.path("run").exists(), "a dry run wrote something");
    let eval = "eval --model run/model --embeddings seen.npy --conversations captions.jsonl";
    trainer.stage_1("run", "bad_samples = 'drop'", SHORT);
    trainer.run("train --config run.toml --quiet");
    trainer.shell.refused(eval, 3, "\"lost\"");
    assert_eq!(trainer.json(&format!("{eval} --bad-samples drop"))["scores"]["samples"], 12);
}
