//! A resumed run ends with the weights of an uninterrupted one, checkpoints contain what was trained, saved models are the
//! same models, and damaged files are named.

mod tiny;

use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor};
use burn::train::Interrupter;
use burn_revision::language::LlamaDecoder;
use burn_revision::revision::*;
use burn_revision::{Error, Result};
use tiny::after::After;
use tiny::*;

fn broken_run(stage: StageConfig, folder: &Path, steps: usize) -> Error {
    let interrupter = Interrupter::new();
    let handle = interrupter.clone();
    let renderer = After::steps(steps, move || handle.stop(Some("the test stops here")));
    ReVisionLearner::new(stage, folder)
        .with_interrupter(interrupter)
        .with_renderer(renderer)
        .fit(model(), dataset(0.1), None)
        .unwrap_err()
}

#[test]
fn a_resumed_run_equals_an_unbroken_one_bit_for_bit() {
    // The second run breaks off while the learning rate rises, and its last segment is a short one.
    for (trainable, steps, warmup) in [
        (Trainable::Projector, 60, 0.03),
        (Trainable::Projector, 61, 0.9),
        (Trainable::ProjectorAndLanguage, 61, 0.5),
    ] {
        let stage = stage().with_max_steps(Some(steps)).with_trainable(trainable).with_warmup_ratio(warmup);
        let whole = tempfile::tempdir().unwrap();
        let whole = learner(stage.clone(), whole.path()).fit(model(), dataset(0.1), None).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let error = broken_run(stage.clone(), folder.path(), 5);
        assert!(error.to_string().contains("the test stops here"), "{error}");
        // Another process has other fresh weights: those of the trained parts must not matter.
        let fresh = match trainable {
            Trainable::Projector => model_behind_another_projector(),
            _ => config().init(fresh_language(), &Device::default()).unwrap(),
        };
        let resumed = learner(stage, folder.path()).resume().fit(fresh, dataset(0.1), None).unwrap();
        assert!(resumed.first_step > 0 && resumed.first_step < steps, "resumed at {}", resumed.first_step);
        assert_same(&whole.model, &resumed.model);
    }
}

#[test]
fn a_stage_1_checkpoint_holds_the_projector_alone() {
    let folder = tempfile::tempdir().unwrap();
    learner(stage(), folder.path()).fit(model(), dataset(0.0), None).unwrap();
    let record = ModuleRecord::load(folder.path().join("checkpoint/model-4.bpk")).unwrap();
    assert_eq!(record.len(), weights(&model().projector).len());
    let names: Vec<String> = fs::read_dir(folder.path().join("checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 7, "the newest two checkpoints and nothing half-written: {names:?}");
}

#[test]
fn saved_models_write_the_same_captions() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    model.save(folder.path()).unwrap();
    let loaded = ReVision::load(folder.path(), &Device::default()).unwrap();
    assert_eq!(measure(&model), measure(&loaded));
}

/// Earlier versions wrote the weights as a Burn record.
#[test]
fn models_of_earlier_versions_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    model.save(folder.path()).unwrap();
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    model.clone().into_record().save(folder.path().join("model.bpk")).unwrap();
    assert_same(&model, &ReVision::load(folder.path(), &Device::default()).unwrap());
}

#[test]
fn damaged_files_are_named_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    model().save(folder.path()).unwrap();
    let weights = folder.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], &bytes[..10], b"not a record".as_slice(), b"".as_slice()] {
        fs::write(&weights, damaged).unwrap();
        let error = ReVision::load(folder.path(), &Device::default()).unwrap_err();
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    }
    let other = config().with_projector(ProjectorKind::Linear);
    fs::write(&weights, &bytes).unwrap();
    let json = fs::read_to_string(folder.path().join("config.json")).unwrap();
    fs::write(folder.path().join("config.json"), json.replace("mlp2x_gelu", &other.projector.to_string()))
        .unwrap();
    assert!(ReVision::load(folder.path(), &Device::default()).is_err());

    for damaged in ["model", "optim", "scheduler"] {
        let run = tempfile::tempdir().unwrap();
        let stage = || stage().with_max_steps(Some(60));
        broken_run(stage(), run.path(), 5);
        let checkpoint = run.path().join("checkpoint");
        let newest = newest_checkpoint(&checkpoint).unwrap();
        let path = checkpoint.join(format!("{damaged}-{newest}.bpk"));
        // The scheduler's record is a few numbers in front of padding: only its head matters.
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..20]).unwrap();
        let error = learner(stage(), run.path()).resume().fit(model(), dataset(0.1), None).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

/// As a setting and as that of the caller's device, also when a checkpoint is read.
#[test]
fn gradient_checkpointing_changes_no_weight() {
    let train = |stage: StageConfig, model: ReVision<LlamaDecoder>| {
        let folder = tempfile::tempdir().unwrap();
        broken_run(stage.clone(), folder.path(), 5);
        learner(stage, folder.path()).resume().fit(model, dataset(0.1), None).unwrap().model
    };
    for trainable in [Trainable::Projector, Trainable::ProjectorAndLanguage] {
        let stage = stage().with_trainable(trainable).with_max_steps(Some(60));
        let plain = train(stage.clone(), model());
        assert_same(&plain, &train(stage.clone().with_gradient_checkpointing(true), model()));
        let device = Device::default().autodiff().gradient_checkpointing();
        assert_same(&plain, &train(stage, model().fork(&device)));
    }
}

/// Multiplies the weights of modules of a name.
struct Scale {
    path: Vec<String>,
    of: &'static str,
    by: f32,
}

impl ModuleMapper for Scale {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.path.iter().any(|name| name == self.of) {
            true => param.map(|weight| (weight * self.by).detach()),
            false => param,
        }
    }
}

/// Records of runs that were begun before weights were looked at have no such entry, nor settings that came later.
#[test]
fn a_run_of_an_earlier_version_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let stage = || stage().with_max_steps(Some(60));
    broken_run(stage(), folder.path(), 5);
    let path = folder.path().join("run.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(record.as_object_mut().unwrap().remove("weights").is_some());
    assert!(record["stage"].as_object_mut().unwrap().remove("gradient_checkpointing").is_some());
    fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
    let resumed = learner(stage(), folder.path()).resume().fit(model(), dataset(0.1), None).unwrap();
    assert!(resumed.first_step > 0);
}

#[test]
fn a_folder_with_another_run_is_refused() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    learner(stage(), folder.path()).fit(model(), dataset(0.0), None)?;
    let again = learner(stage(), folder.path()).fit(model(), dataset(0.0), None);
    assert!(again.unwrap_err().to_string().contains("already"));
    let other_language = config().init(fresh_language(), &Device::default()).unwrap();
    let other_language = learner(stage(), folder.path()).resume().fit(other_language, dataset(0.0), None);
    assert!(other_language.unwrap_err().to_string().contains("language was"));
    // As a merged adapter or a fine-tune leaves it: the same embeddings, other weights in one layer.
    let mut tuned = model();
    tuned.language = tuned.language.map(&mut Scale { path: Vec::new(), of: "q_proj", by: 1.01 });
    let tuned = learner(stage(), folder.path()).resume().fit(tuned, dataset(0.0), None);
    assert!(tuned.unwrap_err().to_string().contains("weights was"));
    let other_noise = learner(stage(), folder.path()).resume().fit(model(), dataset(0.2), None);
    assert!(other_noise.unwrap_err().to_string().contains("data was"));
    let other =
        learner(stage().with_learning_rate(1e-3), folder.path()).resume().fit(model(), dataset(0.0), None);
    let error = other.unwrap_err().to_string();
    assert!(
        error.contains("learning_rate") && error.contains("0.0005") && error.contains("0.001"),
        "{error}"
    );
    Ok(())
}

#[test]
fn a_finished_run_resumes_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let first = learner(stage(), folder.path()).fit(model(), dataset(0.0), None).unwrap();
    let again = learner(stage(), folder.path())
        .resume()
        .fit(model_behind_another_projector(), dataset(0.0), None)
        .unwrap();
    assert_same(&first.model, &again.model);
}
