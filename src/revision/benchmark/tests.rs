use std::path::PathBuf;

use approx::assert_abs_diff_eq;
use burn::tensor::Device;
use serde::Deserialize;

use super::question::Expected;
use super::*;
use crate::Result;
use crate::embedding::{EmbeddingTable, NonFinite};
use crate::language::{GenerationConfig, LlamaConfig, Tokenizer};
use crate::revision::{ReVisionConfig, Template, VisualSource};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/benchmarks")
}

/// What `tests/reference/make_benchmark_fixtures.py` wrote.
#[derive(Deserialize)]
struct Reference {
    answers: Vec<String>,
    scores: Vec<(String, String, f64)>,
}

fn reference(name: &str) -> Reference {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).unwrap();
    let mut all: serde_json::Value = serde_json::from_str(&text).unwrap();
    serde_json::from_value(all[name].take()).unwrap()
}

fn read(names: &[&str], options: &BenchmarkOptions) -> Result<Benchmark> {
    Benchmark::read(&names.iter().map(|name| fixtures().join(name)).collect::<Vec<_>>(), options)
}

#[track_caller]
fn assert_scores(benchmark: &Benchmark, name: &str) {
    let Reference { answers, scores } = reference(name);
    let found = benchmark.score(&answers).unwrap();
    for (category, metric, value) in &scores {
        let found = found.get(category, metric);
        let found = found.unwrap_or_else(|| panic!("{name} has no {metric} of {category}"));
        assert_abs_diff_eq!(found, *value, epsilon = 1e-9);
    }
    assert_eq!(found.scores.len(), scores.len(), "{name}: {found}");
    assert_eq!(found.scores[0].category, "overall");
}

#[test]
fn scores_are_those_of_the_published_rules() {
    let options = BenchmarkOptions::default();
    for (names, name, kind) in [
        (&["coco_pope_random.json", "coco_pope_popular.json"][..], "pope", BenchmarkKind::Pope),
        (&["mme"], "mme", BenchmarkKind::Mme),
        (&["problems.json"], "scienceqa", BenchmarkKind::ScienceQa),
        (&["MMStar.tsv"], "mmstar", BenchmarkKind::MmStar),
        (&["mmbench_dev_circular.tsv"], "mmbench_copies", BenchmarkKind::MmBench),
        (&["v2_OpenEnded_mscoco_val2014_questions.json"], "vqa", BenchmarkKind::Vqa),
    ] {
        let benchmark = read(names, &options).unwrap();
        assert_eq!(benchmark.kind(), kind);
        assert_scores(&benchmark, name);
    }
    let circular = BenchmarkOptions { circular: true, ..options };
    assert_scores(&read(&["mmbench_dev.tsv"], &circular).unwrap(), "mmbench");
}

#[test]
fn questions_show_their_hint_choices_and_instruction() {
    let benchmark =
        read(&["mmbench_dev.tsv"], &BenchmarkOptions { circular: true, ..Default::default() }).unwrap();
    let question = benchmark.questions().iter().find(|question| question.prompt.starts_with("Look")).unwrap();
    let lines: Vec<&str> = question.prompt.lines().collect();
    assert_eq!(lines[..2], ["Look at the left.", "What is shown?"]);
    assert!(lines[2].starts_with("A. ") && lines.last().unwrap().contains("option's letter"), "{lines:?}");
    assert!(benchmark.questions().iter().all(|question| !question.prompt.contains("nan\n")));
    let bare = BenchmarkOptions { instruction: Some(String::new()), ..Default::default() };
    let pope = read(&["coco_pope_random.json"], &bare).unwrap();
    assert!(pope.questions()[0].prompt.ends_with("in the image?"));
    let vqa = read(&["v2_OpenEnded_mscoco_val2014_questions.json"], &bare).unwrap();
    assert_eq!(vqa.questions()[3].pictures, ["COCO_val2014_000000000003.jpg", "3"]);
}

/// A turn moves the right choice, and the text behind its letter stays.
#[test]
fn turned_choices_keep_the_right_one() {
    let circular = BenchmarkOptions { circular: true, ..BenchmarkOptions::default() };
    let turned = read(&["mmbench_dev.tsv"], &circular).unwrap();
    let mut right = std::collections::HashMap::new();
    for question in turned.questions() {
        let Expected::Choice { right: place, choices, group } = &question.expected else { unreachable!() };
        let text = right.entry(group.clone()).or_insert_with(|| choices[*place].clone());
        assert_eq!(*text, choices[*place]);
    }
    assert_eq!(right.len(), 12);
    let error = read(&["mmbench_dev_circular.tsv"], &circular).unwrap_err().to_string();
    assert!(error.contains("turned choices itself"), "{error}");
}

#[test]
fn what_is_no_question_is_named_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let good = r#"{"question_id": 1, "image": "a", "text": "Is it?", "label": "yes"}"#;
    let table = "index\tquestion\tA\tB\tanswer\n1\tWhat?\tx\ty\tA\n";
    for (name, text, line, found) in [
        ("coco_pope_a.json", format!("{good}\n\n{}", good.replace("yes", "perhaps")), "line 3", "perhaps"),
        ("coco_pope_b.json", format!("{good}\n{{"), "line 2", "EOF"),
        ("coco_pope_c.json", format!("{good}\n{}", good.replace("image", "picture")), "line 2", "image"),
        ("mmbench_a.tsv", format!("{table}2\tWhat?\tx\ty\tC\n"), "line 3", "\"C\""),
        ("mmbench_b.tsv", format!("{table}two\tWhat?\tx\ty\tA\n"), "line 3", "\"two\""),
        ("mmbench_c.tsv", format!("{table}2\tWhat?\tx\n"), "line 3", "3 fields"),
        ("mmbench_d.tsv", table.replace("answer", "solution"), "line 1", "answer"),
        ("questions.json", r#"{"questions": [{"question_id": 1}]}"#.into(), "line 1", "image_id"),
        (
            "problems.json",
            r#"{"7": {"question": "", "choices": ["x"], "answer": 1, "split": "test"}}"#.into(),
            "\"7\"",
            "answer 1",
        ),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::write(folder.path().join("annotations.json"), r#"{"annotations": []}"#).unwrap();
        let error = Benchmark::read(&[path], &BenchmarkOptions::default()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(line) && error.contains(found), "{error}");
    }
    let mme = folder.path().join("mme");
    std::fs::create_dir(&mme).unwrap();
    for (name, text, expected) in [
        ("count.txt", "a.jpg\tIs it?\tYes\nb.jpg\tIs it?\tNo\n", "line 2"),
        ("count.txt", "a.jpg\tIs it?\tYes\n", "two questions"),
        ("count.txt", "a.jpg\tIs it?\n", "found 2"),
        ("count.txt", "a.jpg\tIs it?\tPerhaps\n", "\"perhaps\""),
        ("cuont.txt", "", "no subtask"),
    ] {
        std::fs::write(mme.join(name), text).unwrap();
        let error = Benchmark::read(std::slice::from_ref(&mme), &BenchmarkOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected) && error.contains(name), "{error}");
        std::fs::remove_file(mme.join(name)).unwrap();
    }
}

#[test]
fn options_and_answers_that_do_not_fit_are_refused() {
    let options = BenchmarkOptions::default();
    for (options, key) in [
        (BenchmarkOptions { circular: true, ..options.clone() }, "circular"),
        (BenchmarkOptions { split: Some("val".into()), ..options.clone() }, "split"),
        (BenchmarkOptions { annotations: Some("a".into()), ..options.clone() }, "annotations"),
    ] {
        let error = read(&["coco_pope_random.json"], &options).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains("this is pope"), "{error}");
    }
    let error = read(&["MMStar.tsv", "MMStar.tsv"], &options).unwrap_err().to_string();
    assert!(error.contains("found 2"), "{error}");
    let error = "mmvet".parse::<BenchmarkKind>().unwrap_err().to_string();
    assert!(error.contains("mmstar") && error.contains("mmvet"), "{error}");
    let benchmark = read(&["MMStar.tsv"], &options).unwrap();
    let error = benchmark.score(&[String::new()]).unwrap_err().to_string();
    assert!(error.contains("36") && error.contains('1'), "{error}");
    let other_split = BenchmarkOptions { split: Some("train".into()), ..options };
    assert!(read(&["problems.json"], &other_split).unwrap_err().to_string().contains("no question"));
}

/// Questions of unlike lengths, with and without a picture, and answers that do not depend on who is asked beside.
#[test]
fn a_model_is_asked_every_question() {
    let device = Device::default();
    let benchmark = read(&["problems.json"], &BenchmarkOptions::default()).unwrap();
    let language = LlamaConfig::new(300, 16, 32, 2, 2).with_initializer_range(0.5).init(&device).unwrap();
    let model = ReVisionConfig::new(4).with_num_visual_tokens(3).init(language, &device).unwrap();
    let tokenizer = Tokenizer::train(&["Which is number"], 300).unwrap();
    let ids: Vec<String> = (1..=40).map(|number| format!("{number}/image.png")).collect();
    let values = (0..160).map(|value| ((value * 37 % 23) as f32 - 11.0) / 7.0).collect();
    let table = EmbeddingTable::new(ids, values, 4).unwrap();
    let pictures = VisualSource::new(table, 0.0, NonFinite::Error).unwrap();
    let ask = |batch_size| {
        let config = GenerationConfig::new().with_max_new_tokens(4).with_batch_size(batch_size);
        let mut seen = Vec::new();
        let answers = answer_benchmark(
            &model,
            &benchmark,
            &pictures,
            &tokenizer,
            Template::Completion,
            &config,
            &device,
            |question, answer| {
                seen.push((question.id.clone(), answer.to_string()));
                Ok(())
            },
        );
        let answers = answers.unwrap();
        let asked = benchmark.questions().iter().map(|question| question.id.clone()).zip(answers.clone());
        assert_eq!(seen, asked.collect::<Vec<_>>());
        answers
    };
    assert_eq!(ask(1), ask(7));
    benchmark.score(&ask(4)).unwrap();
}
