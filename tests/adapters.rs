//! Low-rank adapters: initial ones change nothing, they alone are trained beside the projector, and a run resumes from
//! what is saved of them.

mod tiny;

use std::collections::BTreeSet;

use burn::store::ModuleRecord;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use burn::train::Interrupter;
use burn_revision::Error;
use burn_revision::language::{LanguageModel, LlamaDecoder};
use burn_revision::revision::*;
use tiny::after::After;
use tiny::*;

fn adapted() -> StageConfig {
    stage()
        .with_trainable(Trainable::ProjectorAndLora)
        .with_lora(LoraConfig::new().with_rank(3).with_alpha(5.0))
        .with_learning_rate(1e-2)
}

fn is_adapter(path: &str) -> bool {
    path.contains(".lora.")
}

fn logits(model: &ReVision<LlamaDecoder>) -> TensorData {
    let tokens = Tensor::<2, Int>::from_data([[5, 9, 2, 40, 77, 3]], &Device::default());
    let hidden = model.language.forward(model.language.embed(tokens), None);
    let [rows, time, width] = hidden.dims();
    model.language.logits(hidden.reshape([rows * time, width])).into_data()
}

#[test]
fn fresh_adapters_change_nothing() {
    let plain = model();
    let adapted = LoraConfig::new().with_rank(3).attach(plain.clone()).unwrap();
    assert_eq!(logits(&adapted), logits(&plain));
    let (found, expected) = (measure(&adapted), measure(&plain));
    assert_eq!(found, expected);
    let dense = weights(&adapted).into_iter().filter(|(path, _)| !is_adapter(path)).collect::<Vec<_>>();
    assert_eq!(dense, weights(&plain));
}

/// `A` is `[in, rank]` and `B` is `[rank, out]`.
#[test]
fn adapters_stand_beside_the_targets_and_nowhere_else() {
    let lora = LoraConfig::new().with_rank(3).with_targets(vec!["q_proj".into(), "down_proj".into()]);
    let model = lora.attach(model()).unwrap();
    let all = weights(&model);
    let adapters: Vec<_> = all.iter().filter(|(path, _)| is_adapter(path)).collect();
    assert_eq!(adapters.len(), language_config().num_hidden_layers * 2 * 2);
    for (path, adapter) in adapters {
        let (layer, part) = path.split_once(".lora.").unwrap();
        let (_, dense) = all.iter().find(|(path, _)| path == layer).unwrap();
        let expected = match part {
            "a" => [dense.shape()[0], 3],
            _ => [3, dense.shape()[1]],
        };
        assert!(layer.contains("q_proj") || layer.contains("down_proj"), "{path}");
        assert_eq!(adapter.shape().to_vec(), expected, "{path}");
    }
}

#[test]
fn projector_and_adapters_are_trained_and_every_bit_of_the_dense_weights_stays() {
    let folder = tempfile::tempdir().unwrap();
    let before = adapted().lora.attach(model()).unwrap();
    let after = learner(adapted(), folder.path()).fit(before.clone(), dataset(0.1), None).unwrap().model;
    let (before, after) = (weights(&before), weights(&after));
    assert_eq!(before.len(), after.len());
    let mut trained = 0;
    for ((path, old), (same_path, new)) in before.iter().zip(&after) {
        assert_eq!(path, same_path);
        let is_trained = path.starts_with("projector.") || is_adapter(path);
        assert_eq!(old != new, is_trained, "{path}");
        trained += usize::from(is_trained);
    }
    let record = ModuleRecord::load(folder.path().join("checkpoint/model-4.bpk")).unwrap();
    assert_eq!(record.len(), trained, "a checkpoint holds what is trained and nothing else");
}

#[test]
fn a_resumed_run_equals_an_unbroken_one_bit_for_bit() {
    let stage = adapted().with_max_steps(Some(61)).with_warmup_ratio(0.5);
    // Both runs begin with these adapters.
    let begin = stage.lora.attach(model()).unwrap();
    weights(&begin);
    let whole = tempfile::tempdir().unwrap();
    let whole = learner(stage.clone(), whole.path()).fit(begin.clone(), dataset(0.1), None).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    let error = learner(stage.clone(), folder.path())
        .with_interrupter(interrupter)
        .with_renderer(After::steps(5, move || handle.stop(Some("the test stops here"))))
        .fit(begin, dataset(0.1), None)
        .unwrap_err();
    assert!(error.to_string().contains("the test stops here"), "{error}");
    // Another process has an initial projector and initial adapters of its own.
    let other = model_behind_another_projector();
    let resumed = learner(stage, folder.path()).resume().fit(other, dataset(0.1), None).unwrap();
    assert!(resumed.first_step > 0 && resumed.first_step < 61, "resumed at {}", resumed.first_step);
    assert_same(&whole.model, &resumed.model);
}

#[test]
fn adapters_that_could_not_be_attached_are_refused_by_name() {
    let targets =
        |names: &[&str]| LoraConfig::new().with_targets(names.iter().map(|n| n.to_string()).collect());
    for (lora, expected) in [
        (LoraConfig::new().with_rank(0), ["lora.rank", "0"]),
        (targets(&["q_proj", "c_attn"]), ["lora.targets", "\"c_attn\""]),
        // A part of a name is not a name, and neither is a pattern or a layer without a matrix.
        (targets(&["proj"]), ["lora.targets", "\"proj\""]),
        (targets(&[".*_proj"]), ["lora.targets", "\".*_proj\""]),
        (targets(&["self_attn"]), ["lora.targets", "\"self_attn\""]),
        (targets(&["input_layernorm"]), ["lora.targets", "\"input_layernorm\""]),
        (targets(&[]), ["lora.targets", "none"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let refused = learner(adapted().with_lora(lora), folder.path()).fit(model(), dataset(0.0), None);
        let error = refused.unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
        assert!(expected.iter().all(|part| error.to_string().contains(part)), "{expected:?}: {error}");
    }
    let error = Trainable::ProjectorAndLora.apply(model()).unwrap_err();
    assert!(error.to_string().contains("adapters"), "{error}");
}

/// A description without the adapters of the model, or with adapters that it lacks, would be read back as another model.
#[test]
fn a_model_is_not_saved_under_a_description_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let with_adapters = LoraConfig::new().attach(model()).unwrap();
    let saved = |model| SavedReVision::new(model, tokenizer(), "language-model", FloatDType::F32);
    for saved in [
        saved(with_adapters.clone()),
        saved(with_adapters).with_stage(&StageConfig::finetune()).unwrap(),
        saved(model()).with_stage(&adapted()).unwrap(),
    ] {
        let error = saved.save(&folder.path().join("model")).unwrap_err();
        assert!(error.to_string().contains("adapters"), "{error}");
    }
    assert!(folder.path().read_dir().unwrap().next().is_none(), "something was written");
}

/// Adapters of one stage are trained further in the next.
#[test]
fn a_second_stage_continues_with_the_adapters_of_the_first() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let between = learner(adapted(), first.path()).fit(model(), dataset(0.0), None).unwrap().model;
    let after = learner(adapted(), second.path()).fit(between.clone(), dataset(0.0), None).unwrap().model;
    let paths = |model| weights(model).into_iter().map(|(path, _)| path).collect::<BTreeSet<_>>();
    assert_eq!(paths(&between), paths(&after));
    for ((path, old), (_, new)) in weights(&between).iter().zip(&weights(&after)) {
        assert_eq!(old != new, path.starts_with("projector.") || is_adapter(path), "{path}");
    }
}
