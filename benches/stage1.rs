//! One optimizer step of stage 1: the projector learns in front of a frozen language model.
//!
//! `cargo bench --bench stage1`; items are tokens, visual ones counted.

use std::sync::Arc;

use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::Device;
use burn::train::{Interrupter, TrainStep};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::language::{LlamaConfig, Tokenizer};
use burn_revision::revision::*;
use burn_revision::training::GradientGuard;
use divan::Bencher;
use divan::counter::ItemsCount;

const BATCH: usize = 64;
const DIM: usize = 128;
const CAPTION: &str = "a small caption of a picture that nothing has seen yet";

fn main() {
    divan::main();
}

/// Forward, backward and update with this many visual tokens a picture.
#[divan::bench(args = [4, 64])]
fn step(bencher: Bencher, visual_tokens: usize) {
    let device = Device::default().autodiff();
    let tokenizer = Tokenizer::train(&[CAPTION], 300).unwrap();
    let language = LlamaConfig::new(tokenizer.vocab_size(), 128, 256, 2, 4).init(&device).unwrap();
    let model =
        ReVisionConfig::new(DIM).with_num_visual_tokens(visual_tokens).init(language, &device).unwrap();
    let model = Trainable::Projector.apply(model.train()).unwrap().fork(&device);
    let guard = GradientGuard::new(Some(1.0), 0, Interrupter::new());
    let mut model = StageModel::new(model, Trainable::Projector, guard);

    let rows = (0..BATCH * DIM).map(|i| (i as f32 * 0.37).sin()).collect();
    let source =
        VisualSource::new(EmbeddingTable::numbered(rows, DIM).unwrap(), 0.0, NonFinite::Error).unwrap();
    let conversations: Vec<_> =
        (0..BATCH).map(|i| Conversation::caption(i.to_string(), i.to_string(), CAPTION)).collect();
    let data =
        ConversationDataset::new(&conversations, Template::Plain, &tokenizer, 64, Some(Arc::new(source)))
            .unwrap();
    let items: Vec<usize> = (0..BATCH).collect();
    let batch = data.micro_batch(&items, visual_tokens, (0, 0), &device).unwrap();
    let mut optimizer = AdamWConfig::new().init();

    bencher.counter(ItemsCount::new(BATCH * batch.time)).bench_local(|| {
        let output = TrainStep::step(&model, Batch { micro: vec![batch.clone()] });
        model = model.clone().optimize(&mut optimizer, 1e-4.into(), output.grads);
        output.item.loss().into_scalar::<f32>()
    });
}
