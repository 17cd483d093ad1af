use super::*;
use burn::tensor::{Distribution, TensorData, Tolerance};

fn config() -> LlamaConfig {
    LlamaConfig::new(50, 32, 48, 2, 4).with_num_key_value_heads(Some(2)).with_initializer_range(0.2)
}

fn embeddings(batch: usize, time: usize) -> Tensor<3> {
    Tensor::random([batch, time, 32], Distribution::Normal(0.0, 1.0), &Device::default())
}

#[track_caller]
fn assert_close<const D: usize>(a: Tensor<D>, b: Tensor<D>, tolerance: f32) {
    a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(tolerance));
}

#[test]
fn what_comes_later_changes_nothing_before_it() {
    let model = config().init(&Device::default()).unwrap();
    let sequence = embeddings(2, 7);
    let whole = model.forward(sequence.clone(), None).narrow(1, 0, 4);
    let start = model.forward(sequence.narrow(1, 0, 4), None);
    assert_close(whole, start, 1e-5);
}

#[test]
fn a_cache_gives_the_states_of_the_whole_sequence() {
    let model = config().init(&Device::default()).unwrap();
    let sequence = embeddings(2, 9);
    let whole = model.forward(sequence.clone(), None);
    // A prompt, a continuation of several positions, and single positions.
    let mut cache = KvCache::new();
    let parts = [(0, 4), (4, 3), (7, 1), (8, 1)]
        .map(|(start, len)| model.forward(sequence.clone().narrow(1, start, len), Some(&mut cache)));
    assert_eq!(cache.len(), 9);
    assert_close(Tensor::cat(parts.to_vec(), 1), whole, 1e-4);
}

#[test]
fn a_key_head_per_query_head_equals_grouped_heads_with_copied_weights() {
    let device = Device::default();
    let grouped = config().init(&device).unwrap();
    let mut full = config().with_num_key_value_heads(None).init(&device).unwrap();
    let copied = |weight: Tensor<2>| {
        let [rows, columns] = weight.dims();
        weight
            .reshape([rows, 2, 1, columns / 2])
            .expand([rows, 2, 2, columns / 2])
            .reshape([rows, columns * 2])
    };
    full.embed_tokens = grouped.embed_tokens.clone();
    full.norm = grouped.norm.clone();
    for (full, grouped) in full.layers.iter_mut().zip(&grouped.layers) {
        let mut layer = grouped.clone();
        layer.self_attn.num_kv_heads = 4;
        for linear in [&mut layer.self_attn.k_proj, &mut layer.self_attn.v_proj] {
            linear.weight = burn::module::Param::from_tensor(copied(linear.weight.val()));
        }
        *full = layer;
    }
    let sequence = embeddings(1, 5);
    assert_close(full.forward(sequence.clone(), None), grouped.forward(sequence, None), 1e-5);
}

#[test]
fn a_tied_head_is_the_embedding_matrix() {
    let model = config().with_tie_word_embeddings(true).init(&Device::default()).unwrap();
    let token = Tensor::<2, Int>::from_data(TensorData::from([[7]]), &Device::default());
    let hidden = model.embed(token).reshape([1, 32]);
    let scores = model.logits(hidden.clone());
    let own = (hidden.clone() * hidden).sum();
    assert_close(scores.narrow(1, 7, 1).reshape([1]), own, 1e-5);
}

#[test]
fn a_model_knows_its_configuration() {
    let config = config()
        .with_head_dim(Some(8))
        .with_rope_theta(5e4)
        .with_rms_norm_eps(1e-6)
        .with_tie_word_embeddings(true)
        .with_rope_scaling(Some(RopeScaling::Linear { factor: 2.0 }))
        .with_attention_bias(true)
        .with_mlp_bias(true)
        .with_qk_norm(Some(true))
        .with_no_rope_layers(Some(vec![1, 0]))
        .with_initializer_range(0.02);
    for config in [config.clone(), config.with_gemma(Some(gemma()))] {
        let model = config.init(&Device::default()).unwrap();
        assert_eq!(model.config().to_string(), config.to_string());
    }
}

fn gemma() -> GemmaConfig {
    GemmaConfig {
        query_pre_attn_scalar: 12.0,
        attn_logit_softcapping: Some(5.0),
        final_logit_softcapping: Some(3.0),
        rope_local_base_freq: Some(100.0),
        local_layers: vec![true, false],
    }
}

#[test]
fn configurations_of_earlier_versions_are_read() {
    let mut json = serde_json::to_value(config()).unwrap();
    for key in ["qk_norm", "no_rope_layers", "gemma"] {
        assert!(json.as_object_mut().unwrap().remove(key).is_some());
    }
    let read: LlamaConfig = serde_json::from_value(json).unwrap();
    assert_eq!(read.to_string(), config().to_string());
}

/// What holds for any decoder, for the layers that not all models have.
#[test]
fn norms_of_heads_layers_without_positions_and_gemma_are_causal() {
    for config in [
        config().with_qk_norm(Some(true)),
        config().with_no_rope_layers(Some(vec![0, 1])),
        config().with_qk_norm(Some(true)).with_gemma(Some(gemma())),
    ] {
        let model = config.init(&Device::default()).unwrap();
        let sequence = embeddings(2, 9);
        let whole = model.forward(sequence.clone(), None);
        let start = model.forward(sequence.clone().narrow(1, 0, 4), None);
        assert_close(whole.clone().narrow(1, 0, 4), start, 1e-4);
        let mut cache = KvCache::new();
        let parts = [(0, 4), (4, 3), (7, 1), (8, 1)]
            .map(|(start, len)| model.forward(sequence.clone().narrow(1, start, len), Some(&mut cache)));
        assert_close(Tensor::cat(parts.to_vec(), 1), whole, 1e-4);
        // Training attends in another way.
        let tracked =
            config.init(&Device::default().autodiff()).unwrap().load_record(model.clone().into_record());
        let tracked = tracked.forward(Tensor::from_inner(sequence.clone()), None);
        assert_close(tracked.inner(), model.forward(sequence, None), 1e-4);
    }
}

#[test]
fn logits_of_gemma_stay_below_the_cap() {
    let model = config().with_gemma(Some(gemma())).init(&Device::default()).unwrap();
    let hidden = embeddings(1, 6).reshape([6, 32]).mul_scalar(100.0);
    let largest = model.logits(hidden).abs().max().into_scalar::<f32>();
    assert!(largest <= 3.0 && largest > 2.9, "{largest}");
}

#[test]
fn sizes_that_do_not_fit_are_refused_with_both_values() {
    let error = config().with_num_key_value_heads(Some(3)).init(&Device::default()).unwrap_err();
    assert!(error.to_string().contains('3') && error.to_string().contains('4'), "{error}");
    assert!(config().with_head_dim(Some(7)).init(&Device::default()).is_err());
    assert!(LlamaConfig::new(10, 30, 30, 1, 4).init(&Device::default()).is_err());
    let error = config().with_no_rope_layers(Some(vec![1])).init(&Device::default()).unwrap_err();
    assert!(
        error.to_string().contains("no_rope_layers") && error.to_string().contains("2 layers"),
        "{error}"
    );
    let short = GemmaConfig { local_layers: vec![true], ..gemma() };
    let error = config().with_gemma(Some(short)).init(&Device::default()).unwrap_err();
    assert!(error.to_string().contains("local_layers"), "{error}");
}

/// A language model that computes all copies, as any other does.
#[derive(Module, Debug)]
struct Plain {
    model: LlamaDecoder,
}

impl LanguageModel for Plain {
    fn width(&self) -> usize {
        self.model.width()
    }

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn max_positions(&self) -> usize {
        self.model.max_positions()
    }

    fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.model.embed(tokens)
    }

    fn forward(&self, embeddings: Tensor<3>, cache: Option<&mut KvCache>) -> Tensor<3> {
        self.model.forward(embeddings, cache)
    }

    fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.model.logits(hidden)
    }
}

/// One copy in the place of all gives their states, and the gradients by what goes in and by the weights.
#[test]
fn copies_at_the_beginning_are_computed_once() {
    let device = Device::default().autodiff();
    for config in [
        config(),
        config().with_attention_bias(true).with_no_rope_layers(Some(vec![0, 1])),
        config().with_qk_norm(Some(true)).with_gemma(Some(gemma())),
    ] {
        let model = config.init(&device).unwrap();
        let plain = Plain { model: model.clone() };
        for (copies, time) in [(1, 5), (2, 1), (2, 2), (5, 9), (140, 11)] {
            let input = Tensor::from_inner(embeddings(2, time)).require_grad();
            let share = Tensor::from_inner(embeddings(2, time));
            let run = |model: &dyn Fn(Tensor<3>) -> Tensor<3>| {
                let states = model(input.clone());
                let grads = (states.clone() * share.clone()).sum().backward();
                let attention = &plain.model.layers[0].self_attn;
                let weights = [&attention.k_proj, &attention.v_proj].map(|layer| layer.weight.val());
                // A single value is what is attended to, whatever its key.
                let of_weights = weights.map(|weight| match weight.grad(&grads) {
                    Some(grad) => grad.flatten::<1>(0, 1),
                    None => weight.inner().zeros_like().flatten(0, 1),
                });
                let of_input = input.grad(&grads).expect("all states depend on what goes in");
                let [of_keys, of_values] = of_weights;
                (states.inner(), [of_input.flatten(0, 2), of_keys, of_values])
            };
            let found = run(&|input| model.forward_copies(input, copies));
            let expected = run(&|input| plain.forward_copies(input, copies));
            assert_close(found.0.clone(), expected.0, 2e-5);
            for (found, expected) in found.1.into_iter().zip(expected.1) {
                let scale = expected.clone().abs().max().into_scalar::<f32>().max(1.0);
                assert_close(found, expected, 2e-5 * scale);
            }
            // Without gradients, as in validation.
            let states = model.valid().forward_copies(input.clone().inner(), copies);
            assert_close(states, found.0, 2e-5);
        }
    }
}

#[test]
#[should_panic(expected = "at least itself")]
fn no_copy_is_refused() {
    config().init(&Device::default()).unwrap().forward_copies(embeddings(1, 2), 0);
}
