//! A run that is stopped, by a request or an error, loses no step: the last one is in a checkpoint, the log continues
//! there, and the reason is named.

mod tiny;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use burn::store::ModuleRecord;
use burn_revision::Error;
use burn_revision::embedding::{Store, write_table};
use burn_revision::language::LlamaDecoder;
use burn_revision::revision::*;
use burn_revision::training::StopRequest;
use serde_json::Value;
use tiny::after::After;
use tiny::*;

const STEPS: usize = 60;

fn long(checkpoint_steps: usize) -> StageConfig {
    stage().with_max_steps(Some(STEPS)).with_checkpoint_steps(checkpoint_steps).with_warmup_ratio(0.5)
}

/// Asks the run to stop after about so many steps.
fn stopped_after(steps: usize, learner: ReVisionLearner, model: ReVision<LlamaDecoder>) {
    let stop = StopRequest::new();
    let request = stop.clone();
    let renderer = After::steps(steps, move || request.request());
    let ended = learner.with_stop(stop).with_renderer(renderer).fit(model, dataset(0.1), None);
    match ended {
        Err(Error::Interrupted) => {}
        Err(error) => panic!("{error}"),
        Ok(outcome) => panic!("it was asked to stop after {steps} steps and took {}", outcome.steps),
    }
}

/// The newest checkpoint and the steps in front of it.
fn newest(folder: &Path) -> (usize, usize) {
    let checkpoints = folder.join("checkpoint");
    let newest = newest_checkpoint(&checkpoints).unwrap();
    let steps = fs::read(checkpoints.join("steps.json")).unwrap();
    let steps: BTreeMap<usize, usize> = serde_json::from_slice(&steps).unwrap();
    (newest, steps[&newest])
}

/// Step, loss and learning rate of every line of a step.
fn log(folder: &Path) -> Vec<(u64, f64, f64)> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps = lines.filter(|line| line.get("loss").is_some());
    steps
        .map(|line| {
            let number = |key: &str| line[key].as_f64().unwrap();
            (line["step"].as_u64().unwrap(), number("loss"), number("learning_rate"))
        })
        .collect()
}

#[test]
fn a_stopped_run_goes_on_from_its_last_step_to_the_weights_and_the_log_of_an_unbroken_one() {
    let whole = tempfile::tempdir().unwrap();
    let unbroken = learner(long(25), whole.path()).fit(model(), dataset(0.1), None).unwrap();
    let expected = log(whole.path());
    assert_eq!(
        expected.iter().map(|line| line.0).collect::<Vec<_>>(),
        (1..=STEPS as u64).collect::<Vec<_>>()
    );

    let mut between = 0;
    for stops in [&[1][..], &[8], &[30], &[3, 5], &[2, 26, 1]] {
        let folder = tempfile::tempdir().unwrap();
        let mut done = 0;
        for (nth, steps) in stops.iter().enumerate() {
            // Another process has a projector of its own, which must not matter.
            let (run, model) = match nth {
                0 => (learner(long(25), folder.path()), model()),
                _ => (learner(long(25), folder.path()).resume(), model_behind_another_projector()),
            };
            stopped_after(*steps, run, model);
            let (checkpoint, last) = newest(folder.path());
            let logged = log(folder.path());
            assert!(last > done && last < STEPS, "{stops:?}: checkpoint {checkpoint} after {last} steps");
            assert_eq!(logged, expected[..last], "{stops:?}: the log goes as far as the checkpoint");
            between += usize::from(last % 25 != 0);
            done = last;
        }
        let resumed = learner(long(25), folder.path())
            .resume()
            .fit(model_behind_another_projector(), dataset(0.1), None)
            .unwrap();
        assert_eq!((resumed.first_step, resumed.steps), (done, STEPS), "{stops:?}");
        assert_same(&unbroken.model, &resumed.model);
        assert_eq!(log(folder.path()), expected, "{stops:?}");
    }
    assert!(between > 0, "no run was stopped between two regular checkpoints");
}

/// Nothing follows the last segment that could notice the request.
#[test]
fn a_stop_in_the_last_segment_is_not_the_end_of_the_run() {
    let whole = tempfile::tempdir().unwrap();
    let unbroken = learner(long(STEPS), whole.path()).fit(model(), dataset(0.1), None).unwrap();
    let folder = tempfile::tempdir().unwrap();
    stopped_after(5, learner(long(STEPS), folder.path()), model());
    let (_, last) = newest(folder.path());
    let resumed = learner(long(STEPS), folder.path())
        .resume()
        .fit(model_behind_another_projector(), dataset(0.1), None)
        .unwrap();
    assert_eq!(resumed.first_step, last);
    assert_same(&unbroken.model, &resumed.model);
    assert_eq!(log(folder.path()), log(whole.path()));
}

#[test]
fn a_request_before_the_first_step_lets_none_be_taken() {
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let unbroken = learner(long(25), whole.path()).fit(model(), dataset(0.1), None).unwrap();
    let stop = StopRequest::new();
    stop.request();
    let run = || learner(long(25), folder.path()).resume();
    let error = run().with_stop(stop.clone()).fit(model(), dataset(0.1), None).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(newest_checkpoint(&folder.path().join("checkpoint")), None);
    assert_eq!(log(folder.path()), []);

    stopped_after(5, run(), model());
    let before = newest(folder.path());
    let error = run().with_stop(stop).fit(model_behind_another_projector(), dataset(0.1), None).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(newest(folder.path()), before);
    let resumed = run().fit(model_behind_another_projector(), dataset(0.1), None).unwrap();
    assert_same(&unbroken.model, &resumed.model);
}

/// Losses of validation stand in the log at the regular checkpoints, wherever the run was stopped.
#[test]
fn validation_goes_on_at_the_same_steps() {
    let valid = |folder: &Path| -> BTreeMap<u64, f64> {
        let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter_map(|line| {
                Some((line["step"].as_u64().unwrap(), line.get("valid_loss")?.as_f64().unwrap()))
            })
            .collect()
    };
    let (whole, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let unbroken = learner(long(25), whole.path()).fit(model(), dataset(0.1), Some(dataset(0.0))).unwrap();
    stopped_after(30, learner(long(25), folder.path()), model());
    let resumed = learner(long(25), folder.path())
        .resume()
        .fit(model_behind_another_projector(), dataset(0.1), Some(dataset(0.0)))
        .unwrap();
    assert_eq!(resumed.valid_loss, unbroken.valid_loss);
    let (expected, found) = (valid(whole.path()), valid(folder.path()));
    assert_eq!(expected.keys().copied().collect::<Vec<_>>(), [25, 50, 60]);
    for step in [50, 60].into_iter().filter(|step| *step > resumed.first_step as u64) {
        assert_eq!(found[&step], expected[&step], "step {step}");
    }
}

#[test]
fn a_row_that_cannot_be_shown_is_named_and_earlier_checkpoints_stay() {
    let folder = tempfile::tempdir().unwrap();
    let stage = || stage().with_batch_size(1).with_max_steps(None).with_epochs(1).with_checkpoint_steps(1);
    let source = |broken_row: usize| {
        let mut values = rows();
        values[broken_row * DIM + 5] = f32::NAN;
        let path = folder.path().join(format!("{broken_row}.npy"));
        write_table(&table(values), &path).unwrap();
        Arc::new(VisualSource::open(&Store::open(&path).unwrap(), 0.1).unwrap())
    };
    // Every row is used in one step of the epoch, in an order that follows from the seed.
    let mut seen = BTreeMap::new();
    for row in 0..CAPTIONS.len() {
        let run = folder.path().join(format!("run-{row}"));
        let error = learner(stage(), &run).fit(model(), dataset_of(source(row)), None).unwrap_err();
        let Error::Training { step, .. } = error else { panic!("{error}") };
        assert!(error.to_string().contains(&format!("row {row}, column 5 is NaN")), "{error}");
        seen.insert(step, row);
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), (1..=CAPTIONS.len()).collect::<Vec<_>>());

    let row = seen[&4];
    let run = folder.path().join(format!("run-{row}"));
    for nth in 0..2 {
        if nth > 0 {
            let learner = learner(stage(), &run).resume();
            let error =
                learner.fit(model_behind_another_projector(), dataset_of(source(row)), None).unwrap_err();
            assert!(matches!(error, Error::Training { step: 4, .. }), "{error}");
            assert!(error.to_string().contains(&format!("row {row}, column 5 is NaN")), "{error}");
        }
        assert_eq!(newest(&run), (3, 3));
        assert_eq!(log(&run).len(), 3);
    }
    let record = ModuleRecord::load(run.join("checkpoint/model-3.bpk")).unwrap();
    assert_eq!(record.len(), weights(&model().projector).len());
}

/// The first, one in the middle and the last, after which no step follows.
#[test]
fn a_checkpoint_that_cannot_be_written_is_named() {
    let whole = tempfile::tempdir().unwrap();
    let unbroken = learner(stage(), whole.path()).fit(model(), dataset(0.1), None).unwrap();
    for file in ["model-1.bpk", "model-2.bpk", "optim-2.bpk", "scheduler-3.bpk", "model-4.bpk"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint").join(file);
        fs::create_dir_all(&path).unwrap();
        let error = learner(stage(), folder.path()).fit(model(), dataset(0.1), None).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{file}: {error}");
        fs::remove_dir(&path).unwrap();
        // Without any checkpoint the run begins anew, and so with the same weights.
        let resumed = learner(stage(), folder.path()).resume().fit(model(), dataset(0.1), None).unwrap();
        assert_same(&unbroken.model, &resumed.model);
    }
}
