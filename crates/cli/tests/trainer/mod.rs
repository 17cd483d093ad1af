//! A shell in a folder with a language model of Hugging Face that knows nothing, captions and their embeddings.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use burn_revision::embedding::{EmbeddingTable, write_table};
use burn_revision::language::Tokenizer;
use burn_revision::revision::{Conversation, Role, Turn};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::shell::Shell;

pub const CAPTIONS: [&str; 12] = [
    "a red apple",
    "a green pear",
    "two dogs",
    "a cat",
    "the blue sky",
    "a house",
    "an old house",
    "a red cat",
    "three pears",
    "the sea",
    "a dog and a cat",
    "green apples",
];
pub const DIM: usize = 8;
const WIDTH: usize = 32;
const INNER: usize = 48;
const LAYERS: usize = 2;

/// ChatML, with the end of a text at the end of a turn.
const CHAT: &str = "{% for message in messages %}{{ '[' ~ message.role ~ ']\n' ~ message.content ~ eos_token ~ '\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '[assistant]\n' }}{% endif %}";

pub struct Trainer {
    pub shell: Shell,
}

impl Trainer {
    /// The language model in `lm`; `captions.jsonl` and `chat.jsonl` about `seen.npy`.
    pub fn new() -> Self {
        let trainer = Self { shell: Shell { folder: tempfile::tempdir().unwrap() } };
        trainer.language_model("lm");
        trainer.table("seen.npy", DIM);
        let conversations = |question: &str| -> Vec<Conversation> {
            let turns = |caption: &str| vec![Turn::new(Role::Human, question), Turn::new(Role::Gpt, caption)];
            let number = |(i, caption): (usize, &&str)| Conversation {
                id: format!("c{i}"),
                image: Some(format!("p{i}")),
                turns: turns(caption),
            };
            CAPTIONS.iter().enumerate().map(number).collect()
        };
        trainer.conversations("captions.jsonl", &conversations("<image>"));
        trainer.conversations("chat.jsonl", &conversations("<image>\nWhat is it?"));
        trainer
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.shell.path(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Changes a key of a JSON file.
    pub fn change(&self, name: &str, key: &str, value: Value) {
        let mut json: Value = serde_json::from_slice(&self.shell.bytes(name)).unwrap();
        json[key] = value;
        self.write(name, &json.to_string());
    }

    pub fn table(&self, name: &str, dim: usize) {
        let ids = (0..CAPTIONS.len()).map(|i| format!("p{i}")).collect();
        let rows = (0..CAPTIONS.len() * dim).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect();
        write_table(&EmbeddingTable::new(ids, rows, dim).unwrap(), self.path(name)).unwrap();
    }

    pub fn conversations(&self, name: &str, conversations: &[Conversation]) {
        let lines = conversations.iter().map(|one| serde_json::to_string(one).unwrap() + "\n");
        self.write(name, &lines.collect::<String>());
    }

    /// The description of stage 1, with these lines in its sections `[data]` and `[stage]`.
    pub fn stage_1(&self, name: &str, data: &str, stage: &str) {
        let text = format!(
            "output = '{name}'\nlanguage_model = 'lm'\n[projector]\nnum_visual_tokens = 2\n\
            [data]\nconversations = 'captions.jsonl'\nembeddings = 'seen.npy'\n{data}\n\
            [stage]\nbatch_size = 4\n{stage}\n"
        );
        self.write(&format!("{name}.toml"), &text);
    }

    /// The description of a stage that begins with the model of another.
    pub fn stage_2(&self, name: &str, from: &str, stage: &str) {
        let text = format!(
            "output = '{name}'\nfrom = '{from}/model'\n\
            [data]\nconversations = 'chat.jsonl'\nembeddings = 'seen.npy'\ntemplate = 'chat'\nvalid = 'chat.jsonl'\n\
            [stage]\nbatch_size = 4\nmicro_batch_size = 8\n{stage}\n"
        );
        self.write(&format!("{name}.toml"), &text);
    }

    #[track_caller]
    pub fn run(&self, line: &str) -> Output {
        self.shell.run(line)
    }

    #[track_caller]
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_slice(&self.run(&format!("{line} --quiet --json")).stdout).unwrap()
    }

    /// What `eval` finds with the conversations of a file.
    #[track_caller]
    pub fn scores(&self, model: &str, conversations: &str) -> Value {
        let line = format!("eval --model {model} --conversations {conversations} --embeddings seen.npy");
        self.json(&line)["scores"].clone()
    }

    /// The number of the newest checkpoint of a run, 0 without one.
    pub fn checkpoint(&self, run: &str) -> usize {
        let folder = self.path(run).join("checkpoint");
        // A checkpoint is complete with the last of its records.
        let is_complete = |number: &usize| {
            ["model", "optim", "scheduler"]
                .iter()
                .all(|name| folder.join(format!("{name}-{number}.bpk")).is_file())
        };
        let Ok(files) = fs::read_dir(&folder) else { return 0 };
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        let numbers =
            names.filter_map(|name| name.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok());
        numbers.filter(is_complete).max().unwrap_or(0)
    }

    /// A folder as Hugging Face has them, with weights that follow from their names.
    pub fn language_model(&self, name: &str) {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        let tokenizer = Tokenizer::train(&CAPTIONS, 290).unwrap();
        tokenizer.save(folder.join("tokenizer.json")).unwrap();
        let known = tokenizer.vocab_size();
        self.write(
            &format!("{name}/tokenizer_config.json"),
            &json!({"bos_token": "<bos>", "eos_token": "<eos>", "chat_template": CHAT}).to_string(),
        );
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "vocab_size": known, "hidden_size": WIDTH,
            "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
            "num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": false,
        });
        self.write(&format!("{name}/config.json"), &config.to_string());
        fs::write(folder.join("model.safetensors"), weights_file(&weights(known))).unwrap();
    }
}

type Weight = (String, Vec<usize>);

/// The weights of the language model; linear layers are `[out, in]`.
pub fn weights(known: usize) -> Vec<Weight> {
    let mut weights = vec![
        ("model.embed_tokens.weight".to_string(), vec![known, WIDTH]),
        ("model.norm.weight".to_string(), vec![WIDTH]),
        ("lm_head.weight".to_string(), vec![known, WIDTH]),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj", vec![WIDTH, WIDTH]),
            ("self_attn.k_proj", vec![WIDTH / 2, WIDTH]),
            ("self_attn.v_proj", vec![WIDTH / 2, WIDTH]),
            ("self_attn.o_proj", vec![WIDTH, WIDTH]),
            ("mlp.gate_proj", vec![INNER, WIDTH]),
            ("mlp.up_proj", vec![INNER, WIDTH]),
            ("mlp.down_proj", vec![WIDTH, INNER]),
            ("input_layernorm", vec![WIDTH]),
            ("post_attention_layernorm", vec![WIDTH]),
        ] {
            weights.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    weights
}

/// A `.safetensors` file of these weights. Matrices are small numbers around zero, gains are around one.
pub fn weights_file(weights: &[Weight]) -> Vec<u8> {
    let values = |(name, shape): &Weight| -> Vec<u8> {
        let mut state =
            name.bytes().fold(1u32, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
        let centre = if shape.len() == 1 { 1.0 } else { 0.0 };
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            centre + 0.3 * (state as f32 / u32::MAX as f32 - 0.5)
        };
        (0..shape.iter().product()).flat_map(|_: usize| next().to_le_bytes()).collect()
    };
    let bytes: Vec<Vec<u8>> = weights.iter().map(values).collect();
    let views = weights
        .iter()
        .zip(&bytes)
        .map(|((name, shape), bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}
