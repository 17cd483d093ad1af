//! The guarantees of a stage: frozen weights do not change, training lowers the loss, a run without finite gradients ends
//! with an error, and what does not fit together is refused.

mod tiny;

use approx::assert_abs_diff_eq;
use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use burn_revision::Error;
use burn_revision::language::{GenerationConfig, LlamaDecoder};
use burn_revision::revision::*;
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

/// Weights that stage 1 froze are trained in stage 2.
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

/// Two texts without a picture, one with: the texts make up a micro-batch of their own, in which nothing is trained.
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
        evaluate(&model(), &data, &tokenizer(), &generation, 4, &Device::default()).unwrap().1
    });
    assert_eq!(captions[0], captions[1]);
}

#[test]
fn sampled_captions_do_not_depend_on_the_batch_size() {
    let (model, data) = (model(), dataset(0.0));
    let generation = GenerationConfig::new().with_max_new_tokens(8).with_temperature(1.5).with_seed(2);
    let captions = |batch_size| {
        evaluate(&model, &data, &tokenizer(), &generation, batch_size, &Device::default()).unwrap().1
    };
    let one_by_one = captions(1);
    assert!(one_by_one.windows(2).any(|pair| pair[0] != pair[1]), "{one_by_one:?}");
    for batch_size in [2, 3, 6] {
        assert_eq!(captions(batch_size), one_by_one, "batches of {batch_size}");
    }
}

/// What a picture's row is, is decided in one place: training and evaluation show unit rows, and so does generation.
#[test]
fn captions_do_not_depend_on_the_length_of_the_embeddings() {
    let (model, tokenizer) = (model(), tokenizer());
    let rows = table(rows()).tensor(&Device::default());
    let caption = |rows| {
        let generation = GenerationConfig::new().with_max_new_tokens(8);
        model.caption(rows, tokenizer.bos(), tokenizer.eos(), &generation).unwrap()
    };
    assert_eq!(caption(rows.clone() * 7.3), caption(rows.clone()));
    assert_eq!(caption(burn_revision::embedding::normalize(rows.clone())), caption(rows));
}

#[test]
fn the_validation_loss_is_that_of_the_trained_model() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = learner(stage(), folder.path()).fit(model(), dataset(0.0), Some(dataset(0.0))).unwrap();
    assert_abs_diff_eq!(outcome.valid_loss.unwrap(), measure(&outcome.model).0.nll, epsilon = 1e-5);
}

/// Noise of the validation set is the same at every checkpoint and in the end, so that losses compare.
#[test]
fn the_last_logged_validation_loss_is_that_of_the_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage().with_max_steps(Some(4)).with_learning_rate(1e-9);
    let outcome = learner(stage, folder.path()).fit(model(), dataset(0.0), Some(dataset(0.5))).unwrap();
    let log = std::fs::read_to_string(folder.path().join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["valid_loss"].as_f64()).collect();
    assert!(losses.len() >= 2, "{log}");
    for loss in &losses {
        assert_abs_diff_eq!(*loss, outcome.valid_loss.unwrap(), epsilon = 1e-5);
    }
    assert_eq!(losses.last().copied(), outcome.valid_loss);
}

/// To the bit: it is measured as [`mean_nll`] measures.
#[test]
fn the_validation_loss_is_that_of_an_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let stage = stage();
    let micro_batch_size = stage.micro_batch_size;
    let outcome = learner(stage, folder.path()).fit(model(), dataset(0.0), Some(dataset(0.5))).unwrap();
    let measured = mean_nll(&outcome.model, &dataset(0.5), micro_batch_size, &Device::default()).unwrap();
    assert_eq!(outcome.valid_loss, Some(measured));
}

/// A run that is resumed behind its last step measures, since no checkpoint of it does.
#[test]
fn a_finished_run_has_a_validation_loss_when_it_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let first = learner(stage(), folder.path()).fit(model(), dataset(0.0), Some(dataset(0.0))).unwrap();
    let again =
        learner(stage(), folder.path()).resume().fit(model(), dataset(0.0), Some(dataset(0.0))).unwrap();
    assert_eq!(again.first_step, again.steps);
    assert_abs_diff_eq!(again.valid_loss.unwrap(), first.valid_loss.unwrap(), epsilon = 1e-5);
}

/// A cut answer is trained on as far as it goes, and what is written is held against all of it.
#[test]
fn scores_are_taken_against_whole_answers() {
    let conversation = [Conversation::caption("c", "p0", "a red apple and a green pear")];
    let data = |length| {
        let source = Some(source(0.0));
        ConversationDataset::new(&conversation, Template::Plain, &tokenizer(), length, source).unwrap()
    };
    let generation = GenerationConfig::new().with_max_new_tokens(8);
    let scores = |length| {
        evaluate(&model(), &data(length), &tokenizer(), &generation, 1, &Device::default()).unwrap().0
    };
    let (whole, cut) = (scores(64), scores(3));
    assert!(cut.tokens < whole.tokens);
    assert_eq!((cut.word_f1, cut.rouge_l, cut.bleu_4), (whole.word_f1, whole.rouge_l, whole.bleu_4));
    let answer = data(3).samples()[0].first_answer.clone().unwrap();
    assert_eq!(tokenizer().decode(&answer).trim(), "a red apple and a green pear");
    assert_eq!(data(64).samples()[0].first_answer, None);
}

/// Pictures may be many: they go through the model in batches, on which no text depends.
#[test]
fn captions_do_not_depend_on_the_batch_size() {
    let (model, tokenizer) = (model(), tokenizer());
    let rows = table(rows()).tensor(&Device::default());
    let captions = |batch_size| {
        let generation =
            GenerationConfig::new().with_max_new_tokens(8).with_temperature(1.5).with_batch_size(batch_size);
        model.caption(rows.clone(), tokenizer.bos(), tokenizer.eos(), &generation).unwrap()
    };
    let whole = captions(6);
    assert_eq!(whole.len(), 6);
    for batch_size in [1, 4, 100] {
        assert_eq!(captions(batch_size), whole, "batches of {batch_size}");
    }
}

#[test]
fn training_lowers_the_loss() {
    let folder = tempfile::tempdir().unwrap();
    let stage = StageConfig::finetune().with_learning_rate(1e-2).with_batch_size(6).with_max_steps(Some(60));
    let before = model();
    let after = learner(stage, folder.path()).fit(before.clone(), dataset(0.0), None).unwrap().model;
    let ((before, _), (after, captions)) = (measure(&before), measure(&after));
    assert!(after.nll < 0.2 * before.nll, "{before:?} {after:?}");
    assert_eq!(captions, CAPTIONS);
    assert_eq!((after.word_f1, after.exact_match), (1.0, 1.0));
}

/// With weights that are NaN, no step has finite gradients.
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
        .fit(broken.clone(), dataset(0.0), None)
        .unwrap_err();
    assert!(matches!(error, Error::Training { .. }) && error.to_string().contains("not finite"), "{error}");
    // However many steps may be skipped: a model that is as it was is not a trained one.
    let folder = tempfile::tempdir().unwrap();
    let error = learner(stage().with_max_skipped_steps(100), folder.path())
        .fit(broken, dataset(0.0), None)
        .unwrap_err();
    assert!(error.to_string().contains("none of 8 steps"), "{error}");
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
