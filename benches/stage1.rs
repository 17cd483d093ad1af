//! One optimizer step of stage 1: the projector is trained, with a frozen language model.
//!
//! `cargo bench --bench stage1`; items are tokens, visual ones counted.

use std::sync::Arc;

use burn::data::dataset::Dataset;
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::language::{LlamaConfig, Tokenizer};
use burn_revision::revision::*;
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
    let mut model = Trainable::Projector.apply(model.train()).unwrap().fork(&device);

    let rows = (0..BATCH * DIM).map(|i| (i as f32 * 0.37).sin()).collect();
    let source =
        VisualSource::new(EmbeddingTable::numbered(rows, DIM).unwrap(), 0.0, NonFinite::Error).unwrap();
    let conversations: Vec<_> =
        (0..BATCH).map(|i| Conversation::caption(i.to_string(), i.to_string(), CAPTION)).collect();
    let data =
        ConversationDataset::new(&conversations, Template::Plain, &tokenizer, 64, Some(Arc::new(source)))
            .unwrap();
    let samples: Vec<Sample> = data.iter().map(|sample| sample.unwrap()).collect();
    let batch = Batch::new(&samples, visual_tokens, &device);
    let clipping = GradientClippingConfig::Norm(1.0);
    let mut optimizer = AdamWConfig::new().with_grad_clipping(Some(clipping)).init();

    bencher.counter(ItemsCount::new(BATCH * batch.seq_length)).bench_local(|| {
        let loss = model.loss(&batch);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-4, model.clone(), grads);
        loss.into_scalar::<f32>()
    });
}
