//! What a stage promises: what is frozen stays frozen, a step is the mean over its labels, gradients that are not finite
//! never reach the weights, and what does not fit together is refused.

mod tiny;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, Interrupter, TrainStep};
use burn_revision::Error;
use burn_revision::language::{GenerationConfig, LlamaDecoder};
use burn_revision::revision::*;
use burn_revision::training::GradientGuard;
use tiny::*;

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

#[test]
fn a_step_does_not_depend_on_how_it_is_cut_into_parts() {
    let guard = || GradientGuard::new(None, 0, Interrupter::new());
    let device = Device::default().autodiff();
    let model = Trainable::ProjectorAndLanguage.apply(model().train()).unwrap().fork(&device);
    let model = StageModel::new(model, Trainable::ProjectorAndLanguage, guard());
    let data = dataset(0.0);
    let step = |parts: &[&[usize]]| {
        let micro = parts.iter().map(|items| data.micro_batch(items, 3, (0, 0), &device).unwrap()).collect();
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
    let mut batch = dataset(0.0).micro_batch(&[0, 1], 3, (0, 0), &device).unwrap();
    batch.visual = batch.visual.map(|visual| visual * f32::NAN);
    let output = TrainStep::step(&model, Batch { micro: vec![batch] });
    let model = model.optimize(&mut optimizer, 1e-2.into(), output.grads);
    assert_eq!(before, weights(&model));
    assert_eq!(guard.skipped(), 1);

    let batch = dataset(0.0).micro_batch(&[0, 1], 3, (0, 0), &device).unwrap();
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
    let batch =
        |device: &Device| Batch { micro: vec![data.micro_batch(&[0, 2, 4], 3, (0, 0), device).unwrap()] };
    let train = TrainStep::step(&model, batch(&device)).item.loss().into_scalar::<f64>();
    let valid = InferenceStep::step(&model.valid(), batch(&Device::default())).loss().into_scalar::<f64>();
    assert!((train - valid).abs() < 1e-5, "{train} {valid}");
}
