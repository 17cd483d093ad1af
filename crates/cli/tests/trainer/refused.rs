//! What cannot work is refused before it begins, with the file, the key or the id in question.

use std::fs;

use serde_json::{Value, json};

use crate::trainer::{Trainer, weights, weights_file};

const STAGE: &str = "max_steps = 2";

impl Trainer {
    /// A description that differs from a good one in one place.
    fn with(&self, old: &str, new: &str) {
        self.stage_1("run", "", STAGE);
        let text = fs::read_to_string(self.path("run.toml")).unwrap();
        assert!(text.contains(old), "{text}");
        self.write("run.toml", &text.replace(old, new));
    }

    /// The run is refused, once for each thing that the message must name, and writes nothing.
    #[track_caller]
    fn refuses(&self, code: i32, names: &[&str]) {
        for name in names {
            self.shell.refused("train --config run.toml", code, name);
        }
        assert!(!self.path("run/model").exists() && self.checkpoint("run") == 0);
    }
}

#[test]
fn descriptions_that_say_nothing_sensible() {
    let trainer = Trainer::new();
    trainer.shell.refused("train", 2, "--config");
    trainer.shell.refused("train --config none.toml", 4, "none.toml");
    for (old, new, code, names) in [
        ("[stage]", "[stage]\nlearning_rat = 0.1", 3, ["run.toml", "learning_rat"]),
        ("[data]", "[data]\nimages = 'seen.npy'", 3, ["run.toml", "images"]),
        ("max_steps = 2", "max_steps = 'two'", 3, ["run.toml", "max_steps"]),
        ("num_visual_tokens = 2", "kind = 'qformer'\nnum_visual_tokens = 2", 3, ["run.toml", "qformer"]),
        ("num_visual_tokens = 2", "num_visual_tokens = 0", 2, ["num_visual_tokens", "0"]),
        ("max_steps = 2", "trainable = 'adapters'", 3, ["run.toml", "adapters"]),
        ("max_steps = 2", "max_steps = 0", 2, ["max_steps", "0"]),
        ("batch_size = 4", "batch_size = 0", 2, ["batch_size", "0"]),
        ("batch_size = 4", "micro_batch_size = 0", 2, ["micro_batch_size", "0"]),
        ("batch_size = 4", "devices = 0", 2, ["devices", "found 0"]),
        ("batch_size = 4", "devices = 1000", 2, ["devices", "1000 are asked for, and the backend"]),
        ("batch_size = 4", "learning_rate = -1.0", 2, ["learning_rate", "-1"]),
        ("[data]", "[data]\nid_match = 'name'", 3, ["run.toml", "name"]),
        ("[data]", "[data]\nnoise = -0.5", 2, ["noise", "-0.5"]),
        ("language_model = 'lm'", "from = 'lm'", 3, ["run.toml", "[projector]"]),
        ("'lm'", "'nowhere'", 4, ["nowhere", "No such file"]),
        ("'seen.npy'", "'unseen.npy'", 4, ["unseen.npy", "not found"]),
        ("'captions.jsonl'", "'none.jsonl'", 4, ["none.jsonl", "No such file"]),
    ] {
        trainer.with(old, new);
        trainer.refuses(code, &names);
    }
}

#[test]
fn language_models_that_are_not_whole() {
    let trainer = Trainer::new();
    trainer.with("[stage]", "[stage]");
    let path = trainer.path("lm/model.safetensors");
    let whole = fs::read(&path).unwrap();
    for damaged in [&whole[..whole.len() - 100], &whole[..200], &whole[..3], b"".as_slice()] {
        fs::write(&path, damaged).unwrap();
        trainer.refuses(3, &["model.safetensors"]);
    }
    let tokenizer =
        burn_revision::language::Tokenizer::load_trained(trainer.path("lm/tokenizer.json")).unwrap();
    let known = tokenizer.vocab_size();
    for (lacking, name) in
        [("lm_head.weight", "lm_head.weight"), ("layers.1.mlp.up_proj", "model.layers.1.mlp.up_proj")]
    {
        let left: Vec<_> = weights(known).into_iter().filter(|(name, _)| !name.contains(lacking)).collect();
        fs::write(&path, weights_file(&left)).unwrap();
        trainer.refuses(3, &["lm", name]);
    }
    fs::remove_file(&path).unwrap();
    trainer.refuses(4, &["model.safetensors"]);

    // Two shards, of which one is lost.
    let (first, second) =
        weights(known).into_iter().partition::<Vec<_>, _>(|(name, _)| name.contains("layers"));
    let mut map = serde_json::Map::new();
    for (nth, part) in [first, second].into_iter().enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", nth + 1);
        fs::write(trainer.path("lm").join(&file), weights_file(&part)).unwrap();
        map.extend(part.into_iter().map(|(name, _)| (name, json!(file))));
    }
    trainer.write("lm/model.safetensors.index.json", &json!({ "weight_map": map }).to_string());
    trainer.run("train --config run.toml --dry-run");
    fs::remove_file(trainer.path("lm/model-00002-of-00002.safetensors")).unwrap();
    trainer.refuses(4, &["model-00002-of-00002.safetensors"]);
    trainer.change("lm/config.json", "architectures", json!(["OtherForCausalLM"]));
    trainer.refuses(3, &["config.json", "OtherForCausalLM"]);
}

#[test]
fn tokenizers_that_do_not_go_with_the_model_or_the_template() {
    let trainer = Trainer::new();
    trainer.with("[data]", "[data]\ntemplate = 'chat'");
    trainer.change("lm/tokenizer_config.json", "chat_template", Value::Null);
    trainer.refuses(2, &["template", "chat"]);
    trainer.change("lm/tokenizer_config.json", "chat_template", json!("{% for message in messages %}"));
    trainer.refuses(3, &["tokenizer_config.json", "chat_template"]);
    trainer.change("lm/tokenizer_config.json", "chat_template", Value::Null);
    trainer.with("[data]", "[data]\ntemplate = 'llama'");
    trainer.refuses(2, &["template", "<|eot_id|>"]);
    let import = "import --projector none.bin --language-model lm --visual-tokens 2 --output model";
    trainer.shell.refused(import, 4, "none.bin");

    // A tokenizer may know more than the model, as long as no sample has such a token.
    trainer.with("[data]", "[data]");
    trainer.change("lm/config.json", "vocab_size", json!(270));
    fs::write(trainer.path("lm/model.safetensors"), weights_file(&weights(270))).unwrap();
    trainer.refuses(3, &["token", "270"]);
}

#[test]
fn data_that_do_not_go_with_the_model() {
    let trainer = Trainer::new();
    trainer.stage_1("one", "", STAGE);
    trainer.run("train --config one.toml --quiet");
    trainer.table("wide.npy", 16);
    trainer.stage_2("run", "one", STAGE);
    let text = fs::read_to_string(trainer.path("run.toml")).unwrap();
    trainer.write("run.toml", &text.replace("seen.npy", "wide.npy"));
    trainer.refuses(3, &["embeddings", "expected 8, found 16"]);
    trainer.shell.refused("train --config run.toml --dry-run", 3, "expected 8, found 16");
    let model = "--model one/model --embeddings wide.npy";
    trainer.shell.refused(&format!("generate {model}"), 3, "expected 8, found 16");
    trainer.shell.refused(&format!("eval {model} --conversations captions.jsonl"), 3, "expected 8, found 16");

    trainer.with("[data]", "[data]\nmax_length = 1");
    trainer.refuses(3, &["\"c0\"", "no labelled token"]);
    trainer.with("[data]", "[data]\nmax_length = 1\nbad_samples = 'drop'");
    trainer.refuses(3, &["12 dropped (no label left)", "\"c0\""]);

    let captions = fs::read_to_string(trainer.path("captions.jsonl")).unwrap();
    trainer.write("captions.jsonl", &captions.replace("\"p7\"", "\"p77\""));
    trainer.with("[data]", "[data]");
    trainer.refuses(3, &["\"c7\"", "\"p77\""]);
    trainer.write("captions.jsonl", &captions.replacen("\"gpt\"", "\"parrot\"", 1));
    trainer.refuses(3, &["captions.jsonl", "line 1", "parrot"]);
    trainer.write("captions.jsonl", &captions[..captions.len() - 20]);
    trainer.refuses(3, &["captions.jsonl", "line 12"]);
}

#[test]
fn models_that_are_not_whole() {
    let trainer = Trainer::new();
    trainer.stage_1("one", "", STAGE);
    trainer.run("train --config one.toml --quiet");
    trainer.stage_2("two", "one", &format!("trainable = 'projector-and-lora'\n{STAGE}"));
    trainer.run("train --config two.toml --quiet");
    let generate = "generate --embeddings seen.npy --ids p1 --model two/model";
    trainer.run(generate);
    for name in ["language.safetensors", "projector.safetensors", "revision.json"] {
        let path = trainer.path("two/model").join(name);
        let whole = fs::read(&path).unwrap();
        for kept in [whole.len() / 2, 10, 0] {
            fs::write(&path, &whole[..kept]).unwrap();
            trainer.shell.refused(generate, 3, name);
        }
        fs::remove_file(&path).unwrap();
        trainer.shell.refused(generate, 4, name);
        fs::write(&path, &whole).unwrap();
    }
    trainer.run(generate);
    // The language model belongs to the model, though it is not in its folder.
    fs::rename(trainer.path("lm"), trainer.path("elsewhere")).unwrap();
    trainer.shell.refused(generate, 4, "lm");
}
