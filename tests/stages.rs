//! What a stage promises: what is frozen stays frozen, a run that was broken off ends where an unbroken one ends,
//! bad gradients never reach the weights, and checkpoints hold what was trained.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::ModuleRecord;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::{InferenceStep, Interrupter, TrainStep};
use burn_revision::embedding::{EmbeddingTable, NonFinite};
use burn_revision::language::{GenerationConfig, LlamaConfig, LlamaDecoder, Tokenizer};
use burn_revision::revision::*;
use burn_revision::training::{GradientGuard, ProgressLine, latest_checkpoint};
use burn_revision::{Error, Result};

const CAPTIONS: [&str; 6] = ["a red apple", "a green pear", "two dogs", "a cat", "the blue sky", "a house"];
const DIM: usize = 8;

fn tokenizer() -> Tokenizer {
    Tokenizer::train(&CAPTIONS, 280).unwrap()
}

fn language_config() -> LlamaConfig {
    LlamaConfig::new(tokenizer().vocab_size(), 32, 48, 2, 4).with_num_key_value_heads(Some(2))
}

fn fresh_language() -> LlamaDecoder {
    language_config().init(&Device::default()).unwrap()
}

fn config() -> ReVisionConfig {
    ReVisionConfig::new(DIM).with_num_visual_tokens(3)
}

/// The same weights in every test of the process.
fn model() -> ReVision<LlamaDecoder> {
    static MODEL: OnceLock<ReVision<LlamaDecoder>> = OnceLock::new();
    MODEL
        .get_or_init(|| {
            let model = config().init(fresh_language(), &Device::default()).unwrap();
            // Burn draws weights when they are first read.
            weights(&model);
            model
        })
        .clone()
}

/// The language model of [`model`] behind another projector.
fn model_behind_another_projector() -> ReVision<LlamaDecoder> {
    config().init(model().language, &Device::default()).unwrap()
}

fn source(noise: f64) -> Arc<VisualSource> {
    let rows = (0..CAPTIONS.len() * DIM).map(|i| ((i * 37 % 23) as f32 - 11.0) / 7.0).collect();
    let ids = (0..CAPTIONS.len()).map(|i| format!("p{i}")).collect();
    let table = EmbeddingTable::new(ids, rows, DIM).unwrap();
    Arc::new(VisualSource::new(table, noise, NonFinite::Error).unwrap())
}

fn dataset(noise: f64) -> ConversationDataset {
    let conversations: Vec<Conversation> = CAPTIONS
        .iter()
        .enumerate()
        .map(|(i, caption)| Conversation::caption(format!("c{i}"), format!("p{i}"), *caption))
        .collect();
    let source = source(noise);
    ConversationDataset::new(&conversations, Template::Plain, &tokenizer(), 64, Some(source)).unwrap()
}

fn stage() -> StageConfig {
    StageConfig::pretrain()
        .with_batch_size(4)
        .with_micro_batch_size(3)
        .with_max_steps(Some(8))
        .with_checkpoint_steps(2)
}

fn learner(stage: StageConfig, folder: &Path) -> ReVisionLearner {
    ReVisionLearner::new(stage, folder).with_renderer(Box::new(ProgressLine::quiet()))
}

/// All weights, by path.
fn weights<M: Module>(module: &M) -> Vec<(String, TensorData)> {
    struct Collect(Vec<String>, Vec<(String, TensorData)>);
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.join("."), param.val().into_data()));
        }
    }
    let mut collect = Collect(Vec::new(), Vec::new());
    module.visit(&mut collect);
    collect.1
}

fn measure(model: &ReVision<LlamaDecoder>) -> Evaluation {
    let generation = GenerationConfig::new().with_max_new_tokens(16);
    evaluate(model, &dataset(0.0), &tokenizer(), &generation, 4, &Device::default()).unwrap()
}

/// Fails with the path of the first weight that differs in any bit.
fn assert_same<M: Module>(a: &M, b: &M) {
    assert_eq!(weights(a).len(), weights(b).len());
    for ((path, a), (_, b)) in weights(a).iter().zip(&weights(b)) {
        assert!(a.as_bytes() == b.as_bytes(), "{path} differs");
    }
}

#[test]
fn stage_1_trains_the_projector_and_leaves_every_bit_of_the_language_model() {
    let folder = tempfile::tempdir().unwrap();
    let before = model();
    let after =
        learner(stage(), folder.path()).fit(before.clone(), dataset(0.1), Some(dataset(0.0))).unwrap().model;
    assert_same(&before.language, &after.language);
    for ((path, old), (_, new)) in weights(&before.projector).iter().zip(&weights(&after.projector)) {
        assert_ne!(old, new, "{path}");
    }
}

#[test]
fn stage_2_trains_everything_and_language_training_leaves_the_projector() {
    for (trainable, projector) in [(Trainable::ProjectorAndLanguage, true), (Trainable::Language, false)] {
        let folder = tempfile::tempdir().unwrap();
        let before = model();
        let stage = StageConfig::new()
            .with_trainable(trainable)
            .with_learning_rate(1e-2)
            .with_batch_size(6)
            .with_max_steps(Some(2));
        let after = learner(stage, folder.path()).fit(before.clone(), dataset(0.0), None).unwrap().model;
        for ((path, old), (_, new)) in weights(&before).iter().zip(&weights(&after)) {
            assert_eq!(old != new, projector || path.starts_with("language"), "{path}");
        }
    }
}

/// What stage 1 froze learns again in stage 2.
#[test]
fn the_stages_follow_one_another() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let between = learner(stage(), first.path()).fit(model(), dataset(0.0), None).unwrap().model;
    let stage = StageConfig::finetune().with_learning_rate(1e-2).with_batch_size(6).with_max_steps(Some(2));
    let after = learner(stage, second.path()).fit(between.clone(), dataset(0.0), None).unwrap().model;
    for ((path, old), (_, new)) in weights(&between).iter().zip(&weights(&after)) {
        assert_ne!(old, new, "{path}");
    }
}

/// Two texts without a picture, one with: the texts make up a part of their own, in which nothing is trained.
#[test]
fn stage_1_takes_samples_without_a_picture_among_others() {
    let mixed = |conversations: &[Conversation]| {
        ConversationDataset::new(conversations, Template::Plain, &tokenizer(), 64, Some(source(0.0))).unwrap()
    };
    let texts = [Conversation::text("t0", "a cat"), Conversation::text("t1", "a cat")];
    let shown = Conversation::caption("c0", "p0", "a red apple and a green pear");
    let stage =
        || StageConfig::pretrain().with_batch_size(3).with_micro_batch_size(2).with_max_steps(Some(2));
    let folder = tempfile::tempdir().unwrap();
    let all = [texts[0].clone(), shown, texts[1].clone()];
    let after = learner(stage(), folder.path()).fit(model(), mixed(&all), None).unwrap().model;
    assert_same(&model().language, &after.language);
    assert_ne!(weights(&model().projector), weights(&after.projector));

    let folder = tempfile::tempdir().unwrap();
    let error = learner(stage(), folder.path()).fit(model(), mixed(&texts), None).unwrap_err();
    assert!(error.to_string().contains("without a picture"), "{error}");
}

#[test]
fn a_picture_behind_the_first_answer_does_not_leak_into_its_prompt() {
    let turn = |from, value: &str| Turn { from, value: value.into() };
    let conversation = Conversation {
        id: "late".into(),
        image: Some("p0".into()),
        turns: vec![
            turn(Role::Human, "what"),
            turn(Role::Gpt, "a cat"),
            turn(Role::Human, "<image>"),
            turn(Role::Gpt, "two dogs"),
        ],
    };
    let early = Conversation { turns: conversation.turns[..2].to_vec(), image: None, ..conversation.clone() };
    let captions = [conversation, early].map(|conversation| {
        let data = [conversation];
        let data = ConversationDataset::new(&data, Template::Completion, &tokenizer(), 64, Some(source(0.0)))
            .unwrap();
        let generation = GenerationConfig::new().with_max_new_tokens(8);
        evaluate(&model(), &data, &tokenizer(), &generation, 4, &Device::default()).unwrap().captions
    });
    assert_eq!(captions[0], captions[1]);
}

#[test]
fn the_validation_loss_is_that_of_the_trained_model() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = learner(stage(), folder.path()).fit(model(), dataset(0.0), Some(dataset(0.0))).unwrap();
    assert!((outcome.valid_loss.unwrap() - measure(&outcome.model).scores.nll).abs() < 1e-5);
}

#[test]
fn training_lowers_the_loss() {
    let folder = tempfile::tempdir().unwrap();
    let stage = StageConfig::finetune().with_learning_rate(1e-2).with_batch_size(6).with_max_steps(Some(60));
    let before = model();
    let after = learner(stage, folder.path()).fit(before.clone(), dataset(0.0), None).unwrap().model;
    let (before, after) = (measure(&before), measure(&after));
    assert!(after.scores.nll < 0.2 * before.scores.nll, "{:?} {:?}", before.scores, after.scores);
    assert_eq!(after.captions, CAPTIONS);
    assert_eq!((after.scores.word_f1, after.scores.exact_match), (1.0, 1.0));
}

/// Stops the run once its progress was reported `steps` times.
struct StopAfter {
    interrupter: Interrupter,
    left: AtomicUsize,
}

mod stop_after {
    use super::*;
    use burn::train::LearnerSummary;
    use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
    use burn::train::metric::MetricDefinition;
    use burn::train::renderer::*;

    impl MetricsRendererTraining for StopAfter {
        fn update_train(&mut self, _: MetricState) {}
        fn update_valid(&mut self, _: MetricState) {}
        fn on_train_end(
            &mut self,
            _: Option<LearnerSummary>,
        ) -> std::result::Result<(), Box<dyn std::error::Error>> {
            Ok(())
        }
    }
    impl TrainingProgressLogger for StopAfter {
        fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}
        fn update_epoch(&mut self, _: usize) {}
        fn start_split(&mut self, _: &str, _: usize) {}
        fn update_split(&mut self, _: usize) {
            if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                self.interrupter.stop(Some("the test stops here"));
            }
        }
        fn end_split(&mut self) {}
        fn end(&mut self) {}
        fn log_event_training(&mut self, _: String) {}
    }
    impl EvaluationProgressLogger for StopAfter {
        fn start_global_progress(&mut self, _: usize) {}
        fn start_test(&mut self, _: &str, _: usize) {}
        fn update_test_progress(&mut self, _: usize) {}
        fn end_test(&mut self) {}
        fn end_global_progress(&mut self) {}
        fn log_event_evaluation(&mut self, _: String) {}
    }
    impl MetricsRendererEvaluation for StopAfter {
        fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
    }
    impl MetricsRenderer for StopAfter {
        fn manual_close(&mut self) {}
        fn register_metric(&mut self, _: MetricDefinition) {}
    }
}

fn broken_run(stage: StageConfig, folder: &Path, steps: usize) -> Error {
    let interrupter = Interrupter::new();
    let renderer = StopAfter { interrupter: interrupter.clone(), left: AtomicUsize::new(steps) };
    ReVisionLearner::new(stage, folder)
        .with_interrupter(interrupter)
        .with_renderer(Box::new(renderer))
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
    assert_eq!(names.len(), 6, "the newest two checkpoints and nothing half-written: {names:?}");
}

#[test]
fn a_step_does_not_depend_on_how_it_is_cut_into_parts() {
    let guard = || GradientGuard::new(None, 0, Interrupter::new());
    let device = Device::default().autodiff();
    let model = Trainable::ProjectorAndLanguage.apply(model().train()).unwrap().fork(&device);
    let model = StageModel::new(model, Trainable::ProjectorAndLanguage, guard());
    let data = dataset(0.0);
    let step = |parts: &[&[usize]]| {
        let micro = parts.iter().map(|items| data.micro_batch(items, 3, (0, 0), &device)).collect();
        TrainStep::step(&model, Batch { micro })
    };
    let (whole, cut) = (step(&[&[0, 1, 2, 3, 4, 5]]), step(&[&[0], &[1, 2, 3, 4], &[5]]));
    let inner = model.clone().into_inner();
    let mut compared = 0;
    struct Compare<'a>(&'a burn::optim::GradientsParams, &'a burn::optim::GradientsParams, &'a mut usize);
    impl ModuleVisitor for Compare<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let (a, b) = (self.0.get::<D>(param.id).unwrap(), self.1.get::<D>(param.id).unwrap());
            let scale = a.clone().abs().max().into_scalar::<f64>();
            assert!((a - b).abs().max().into_scalar::<f64>() <= 1e-5 * scale.max(1e-3));
            *self.2 += 1;
        }
    }
    inner.visit(&mut Compare(&whole.grads, &cut.grads, &mut compared));
    assert_eq!(compared, weights(&inner).len());
}

#[test]
fn a_batch_without_finite_gradients_changes_no_weight_and_is_counted() {
    let device = Device::default().autodiff();
    let guard = GradientGuard::new(Some(1.0), 5, Interrupter::new());
    let model = Trainable::Projector.apply(model().train()).unwrap().fork(&device);
    let model = StageModel::new(model, Trainable::Projector, guard.clone());
    let before = weights(&model);
    let mut optimizer = burn::optim::AdamWConfig::new().init();
    let mut batch = dataset(0.0).micro_batch(&[0, 1], 3, (0, 0), &device);
    batch.visual = batch.visual.map(|visual| visual * f32::NAN);
    let output = TrainStep::step(&model, Batch { micro: vec![batch] });
    let model = model.optimize(&mut optimizer, 1e-2.into(), output.grads);
    assert_eq!(before, weights(&model));
    assert_eq!(guard.skipped(), 1);

    let batch = dataset(0.0).micro_batch(&[0, 1], 3, (0, 0), &device);
    let output = TrainStep::step(&model, Batch { micro: vec![batch] });
    let model = model.optimize(&mut optimizer, 1e-2.into(), output.grads);
    let changed = before.iter().zip(weights(&model)).filter(|((_, old), (_, new))| old != new).count();
    assert_eq!(changed, weights(&model.into_inner().projector).len());
}

/// A language model whose weights are NaN gives no step that could be taken.
#[test]
fn a_run_without_finite_gradients_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = model();
    struct Poison;
    impl burn::module::ModuleMapper for Poison {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor * f32::NAN)
        }
    }
    broken.language = broken.language.map(&mut Poison);
    let error = learner(stage().with_max_skipped_steps(3), folder.path())
        .fit(broken, dataset(0.0), None)
        .unwrap_err();
    assert!(matches!(error, Error::Training { .. }) && error.to_string().contains("not finite"), "{error}");
}

#[test]
fn saved_models_write_the_same_captions() {
    let folder = tempfile::tempdir().unwrap();
    let model = model();
    model.save(folder.path()).unwrap();
    let loaded = ReVision::load(folder.path(), &Device::default()).unwrap();
    let (saved, loaded) = (measure(&model), measure(&loaded));
    assert_eq!((saved.scores, saved.captions), (loaded.scores, loaded.captions));
}

#[test]
fn damaged_files_are_named_and_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    model().save(folder.path()).unwrap();
    let weights = folder.path().join("model.bpk");
    let bytes = fs::read(&weights).unwrap();
    for damaged in [&bytes[..bytes.len() / 2], &bytes[..10], b"not a record".as_slice(), b"".as_slice()] {
        fs::write(&weights, damaged).unwrap();
        let error = ReVision::load(folder.path(), &Device::default()).unwrap_err();
        assert!(error.to_string().contains("model.bpk"), "{error}");
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
        let newest = latest_checkpoint(&checkpoint).unwrap();
        let path = checkpoint.join(format!("{damaged}-{newest}.bpk"));
        // The scheduler's record is a few numbers in front of padding: only its head matters.
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..20]).unwrap();
        let error = learner(stage(), run.path()).resume().fit(model(), dataset(0.1), None).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
fn a_folder_with_another_run_is_refused() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    learner(stage(), folder.path()).fit(model(), dataset(0.0), None)?;
    let again = learner(stage(), folder.path()).fit(model(), dataset(0.0), None);
    assert!(again.unwrap_err().to_string().contains("already"));
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

#[test]
fn what_does_not_fit_together_is_refused() {
    let run = |stage: StageConfig, model: ReVision<LlamaDecoder>| {
        let folder = tempfile::tempdir().unwrap();
        learner(stage, folder.path()).fit(model, dataset(0.0), None).unwrap_err().to_string()
    };
    let other = ReVisionConfig::new(5).init(fresh_language(), &Device::default()).unwrap();
    let error = run(stage(), other);
    assert!(error.contains('5') && error.contains(&DIM.to_string()), "{error}");
    assert!(run(stage().with_micro_batch_size(0), model()).contains("micro_batch_size"));
    assert!(run(stage().with_learning_rate(0.0), model()).contains("learning_rate"));
    assert!(run(stage().with_max_grad_norm(Some(-1.0)), model()).contains("max_grad_norm"));
    assert!(run(stage().with_keep_checkpoints(1), model()).contains("keep_checkpoints"));
    assert!(run(stage().with_weight_decay(f32::NAN), model()).contains("weight_decay"));

    let short = language_config().with_max_position_embeddings(4).init(&Device::default()).unwrap();
    let error = run(stage(), config().init(short, &Device::default()).unwrap());
    assert!(error.contains("the model has 4"), "{error}");
    let mut few = language_config();
    few.vocab_size = 10;
    let few = config().init(few.init(&Device::default()).unwrap(), &Device::default()).unwrap();
    assert!(run(stage(), few).contains("knows 10 tokens"));

    let identity = ReVisionConfig::new(32).with_projector(ProjectorKind::Identity);
    let identity = identity.init(fresh_language(), &Device::default()).unwrap();
    assert!(Trainable::Projector.apply(identity).unwrap_err().to_string().contains("matches no parameter"));
    assert!(config().with_num_visual_tokens(0).init(fresh_language(), &Device::default()).is_err());
}

#[test]
fn conversations_without_an_embedding_or_a_label_are_named() {
    let dataset = |conversation, source| {
        ConversationDataset::new(&[conversation], Template::Plain, &tokenizer(), 64, source)
            .unwrap_err()
            .to_string()
    };
    let error = dataset(Conversation::caption("c", "p77", "a cat"), Some(source(0.0)));
    assert!(error.contains("p77") && error.contains("\"c\""), "{error}");
    let error = dataset(Conversation::caption("c9", "p1", "a cat"), None);
    assert!(error.contains("c9") && error.contains("p1"), "{error}");
    let error = dataset(Conversation::caption("c9", "p1", ""), Some(source(0.0)));
    assert!(error.contains("c9"), "{error}");
    assert!(ConversationDataset::new(&[], Template::Plain, &tokenizer(), 64, None).is_err());
}

#[test]
fn validation_and_training_compute_the_same_loss() {
    let device = Device::default().autodiff();
    let model = Trainable::Projector.apply(model().train()).unwrap().fork(&device);
    let model = StageModel::new(model, Trainable::Projector, GradientGuard::new(None, 0, Interrupter::new()));
    let data = dataset(0.0);
    let batch = |device: &Device| Batch { micro: vec![data.micro_batch(&[0, 2, 4], 3, (0, 0), device)] };
    let train = TrainStep::step(&model, batch(&device)).item.loss().into_scalar::<f64>();
    let valid = InferenceStep::step(&model.valid(), batch(&Device::default())).loss().into_scalar::<f64>();
    assert!((train - valid).abs() < 1e-5, "{train} {valid}");
}
