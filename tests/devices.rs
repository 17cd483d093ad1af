//! Stages whose steps several devices share. A processor has one device, which is named several times here: its replicas have
//! threads, trained weights and graphs of their own.

mod tiny;

use std::path::Path;

use burn::tensor::Device;
use burn_revision::Error;
use burn_revision::revision::*;
use burn_revision::training::StopRequest;
use serde_json::Value;
use tiny::after::After;
use tiny::*;

/// One micro-batch a step for each of so many devices. Gradients are added up in their order then, as those of one device are,
/// and the results are the same to the bit.
fn shared(trainable: Trainable, devices: usize) -> StageConfig {
    stage()
        .with_trainable(trainable)
        .with_learning_rate(1e-2)
        .with_batch_size(CAPTIONS.len())
        .with_micro_batch_size(CAPTIONS.len() / devices)
}

fn on(devices: usize, stage: StageConfig, folder: &Path) -> ReVisionLearner {
    learner(stage, folder).with_devices(vec![Device::default(); devices])
}

#[test]
fn a_stage_on_several_devices_is_that_on_one() {
    // With it, gradients are the same, and replicas have it as well.
    for (devices, checkpointing) in [(2, false), (3, true)] {
        for trainable in [Trainable::Projector, Trainable::ProjectorAndLanguage, Trainable::ProjectorAndLora]
        {
            let start = match trainable {
                Trainable::ProjectorAndLora => LoraConfig::new().with_rank(2).attach(model()).unwrap(),
                _ => model(),
            };
            let stage = shared(trainable, devices).with_gradient_checkpointing(checkpointing);
            let run = |devices| {
                let folder = tempfile::tempdir().unwrap();
                let run = on(devices, stage.clone(), folder.path());
                let outcome = run.fit(start.clone(), dataset(0.1), Some(dataset(0.0))).unwrap();
                (outcome, log(folder.path()))
            };
            let ((one, log), (several, log_of_several)) = (run(1), run(devices));
            assert_same(&one.model, &several.model);
            if trainable == Trainable::Projector {
                assert_same(&start.language, &several.model.language);
            }
            assert_eq!((several.steps, several.skipped_steps), (one.steps, 0));
            assert_eq!(several.valid_loss, one.valid_loss);
            assert_eq!(log_of_several, log);
        }
    }
}

/// All of `metrics.jsonl` but for the time that was taken.
fn log(folder: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let entry = |line| {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        entry.as_object_mut().unwrap().remove("seconds");
        entry
    };
    log.lines().map(entry).collect()
}

#[test]
fn a_stage_on_several_devices_is_resumed_on_as_many_or_on_one() {
    let stage = || shared(Trainable::Projector, 3).with_max_steps(Some(40)).with_checkpoint_steps(10);
    let whole = tempfile::tempdir().unwrap();
    let unbroken = on(3, stage(), whole.path()).fit(model(), dataset(0.1), None).unwrap();
    for devices in [3, 1] {
        let folder = tempfile::tempdir().unwrap();
        let stop = StopRequest::new();
        let request = stop.clone();
        let stopped = on(3, stage(), folder.path())
            .with_stop(stop)
            .with_renderer(After::steps(5, move || request.request()))
            .fit(model(), dataset(0.1), None);
        assert!(matches!(stopped, Err(Error::Interrupted)), "{stopped:?}");
        let resumed = on(devices, stage(), folder.path())
            .resume()
            .fit(model_behind_another_projector(), dataset(0.1), None)
            .unwrap();
        assert!(resumed.first_step > 0);
        assert_same(&unbroken.model, &resumed.model);
    }
}

/// The number of devices is a setting, and not one of those in which a resumed run must agree.
#[test]
fn the_number_of_devices_does_not_make_another_run() {
    let folder = tempfile::tempdir().unwrap();
    on(2, shared(Trainable::Projector, 2).with_devices(2), folder.path())
        .fit(model(), dataset(0.0), None)
        .unwrap();
    let again = learner(shared(Trainable::Projector, 2), folder.path()).resume();
    let again = again.fit(model(), dataset(0.0), None).unwrap();
    assert_eq!(again.first_step, again.steps);
}

#[test]
fn devices_without_a_share_and_devices_that_are_not_there_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |learner: ReVisionLearner| {
        let error = learner.fit(model(), dataset(0.0), None).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
        error.to_string()
    };
    let pairs = shared(Trainable::Projector, 3);
    let error = refused(on(4, pairs.clone(), folder.path()));
    assert!(error.contains("4 devices") && error.contains("which are 3"), "{error}");
    let few = shared(Trainable::Projector, 6).with_batch_size(100);
    let error = refused(on(7, few, folder.path()));
    assert!(error.contains("7 devices") && error.contains("which are 6"), "{error}");
    let error = refused(on(0, pairs.clone(), folder.path()));
    assert!(error.contains("at least 1"), "{error}");
    let error = refused(learner(pairs.clone().with_devices(0), folder.path()));
    assert!(error.contains("at least 1"), "{error}");
    // By their number, devices are those of the model's backend.
    let error = refused(learner(pairs.with_devices(1000), folder.path()));
    assert!(error.contains("1000 are asked for"), "{error}");
    #[cfg(feature = "flex")]
    if Device::default() == Device::flex() {
        assert!(error.contains("backend Flex(Cpu) has 1 here"), "{error}");
    }
}
