use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_revision::language::{KvCache, LanguageModel, LlamaConfig, LlamaDecoder, RopeScaling};

use crate::agreement::{assert_products_close, device, reference};
use crate::tiny::drawn;

const VOCABULARY: usize = 50;

/// Decoders of every kind: as many key-value heads as heads, fewer, tied, with biases, with stretched positions.
fn kinds() -> [(&'static str, LlamaConfig); 4] {
    let plain = LlamaConfig::new(VOCABULARY, 32, 48, 2, 4);
    [
        ("plain", plain.clone()),
        (
            "grouped queries, tied",
            plain.clone().with_num_key_value_heads(Some(2)).with_tie_word_embeddings(true),
        ),
        (
            "biases",
            plain.clone().with_attention_bias(true).with_attention_output_bias(true).with_mlp_bias(true),
        ),
        ("stretched positions", plain.with_rope_scaling(Some(RopeScaling::Linear { factor: 4.0 }))),
    ]
}

fn decoder(config: &LlamaConfig) -> LlamaDecoder {
    // Weights large enough that logits spread.
    drawn(config.init(&reference()).unwrap(), 0.5)
}

fn tokens(device: &Device) -> Tensor<2, Int> {
    let tokens: Vec<i64> = (0..3 * 21).map(|i| (i * 31 + i * i) % VOCABULARY as i64).collect();
    Tensor::<1, Int>::from_data(tokens.as_slice(), device).reshape([3, 21])
}

fn logits(model: &LlamaDecoder, tokens: Tensor<2, Int>) -> Tensor<2> {
    let hidden = model.forward(model.embed(tokens), None);
    let [rows, time, width] = hidden.dims();
    model.logits(hidden.reshape([rows * time, width]))
}

#[test]
fn logits_agree() {
    for (kind, config) in kinds() {
        let model = decoder(&config);
        let expected = logits(&model, tokens(&reference()));
        let found = logits(&model.to_device(&device()), tokens(&device()));
        assert_products_close(found.into_data(), expected.into_data(), kind);
    }
}

#[test]
fn a_cache_changes_no_hidden_state() {
    for (kind, config) in kinds() {
        let model = decoder(&config).to_device(&device());
        let embeddings = model.embed(tokens(&device()));
        let mut cache = KvCache::new();
        let parts: Vec<Tensor<3>> = [(0, 8), (8, 1), (9, 12)]
            .map(|(start, len)| model.forward(embeddings.clone().narrow(1, start, len), Some(&mut cache)))
            .to_vec();
        let whole = model.forward(embeddings, None);
        assert_products_close(Tensor::cat(parts, 1).into_data(), whole.into_data(), kind);
    }
}

/// What stands behind a position cannot change its hidden state.
#[test]
fn no_position_sees_what_stands_behind_it() {
    for (kind, config) in kinds() {
        let model = decoder(&config).to_device(&device());
        let tokens = tokens(&device());
        let whole = model.forward(model.embed(tokens.clone()), None).narrow(1, 0, 9);
        let head = tokens.clone().narrow(1, 0, 9);
        let other = Tensor::cat(vec![head, tokens.narrow(1, 9, 12).flip([1])], 1);
        let other = model.forward(model.embed(other), None).narrow(1, 0, 9);
        assert_products_close(other.into_data(), whole.into_data(), kind);
    }
}
