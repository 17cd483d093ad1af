//! `eval --benchmark`: questions of published benchmarks, from each kind of file to scores.

mod shell;
mod trainer;

use std::fs;

use burn_revision::embedding::{EmbeddingTable, write_table};
use burn_revision::revision::{Conversation, Role, Turn};
use serde_json::{Value, json};
use trainer::{DIM, Trainer};

const PICTURES: [&str; 4] = ["cat", "apple", "sea", "house"];

/// Behind each question.
const INSTRUCTION: &str = "Answer briefly.";

/// The questions of a picture as the files have them, and their answers: those of POPE and MME, and that of MMStar.
fn yes_or_no(picture: usize) -> [(&'static str, &'static str); 2] {
    ["cat", "sea"].map(|asked| {
        let question = if asked == "cat" { "is it a cat?" } else { "is it the sea?" };
        (question, if PICTURES[picture] == asked { "yes" } else { "no" })
    })
}

fn choice(picture: usize) -> (&'static str, &'static str) {
    ("A: cat, B: apple, C: sea, D: house", ["A", "B", "C", "D"][picture])
}

/// A model that knows the answers by heart, in `two/model`, and the embeddings of the pictures, `0.jpg` to `3.jpg`.
fn expert() -> Trainer {
    let trainer = Trainer::new();
    trainer.change("lm/config.json", "max_position_embeddings", 256.into());
    let ids = (0..PICTURES.len()).map(|picture| format!("photos/{picture}.jpg")).collect();
    let rows = (0..PICTURES.len() * DIM).map(|value| if value % DIM == value / DIM { 1.0 } else { -0.2 });
    write_table(&EmbeddingTable::new(ids, rows.collect(), DIM).unwrap(), trainer.path("seen.npy")).unwrap();
    let asked = |picture: usize, question: &str, answer: &str| Conversation {
        id: format!("{picture} {question}"),
        image: Some(format!("photos/{picture}.jpg")),
        turns: vec![
            Turn::new(Role::Human, format!("<image>\n{question}\n{INSTRUCTION}")),
            Turn::new(Role::Gpt, answer),
        ],
    };
    let about = |picture: usize| {
        let questions = yes_or_no(picture).into_iter().chain([choice(picture)]);
        questions.map(move |(question, answer)| asked(picture, question, answer))
    };
    let conversations: Vec<Conversation> = (0..PICTURES.len()).flat_map(about).collect();
    trainer.conversations("chat.jsonl", &conversations);
    let captions = PICTURES.iter().enumerate().map(|(picture, name)| {
        Conversation::caption(format!("caption {picture}"), format!("photos/{picture}.jpg"), *name)
    });
    trainer.conversations("captions.jsonl", &captions.collect::<Vec<_>>());
    trainer.stage_1("one", "", "max_steps = 2\nlearning_rate = 0.01");
    trainer.run("train --config one.toml --quiet");
    let stage =
        "preset = 'finetune'\ntrainable = 'projector-and-language'\nmax_steps = 300\nlearning_rate = 0.005";
    trainer.stage_2("two", "one", stage);
    trainer.run("train --config two.toml --quiet");
    trainer
}

/// The scores of a benchmark, and the answers.
#[track_caller]
fn evaluated(trainer: &Trainer, benchmark: &str) -> (Value, Vec<Value>) {
    let line =
        "eval --model two/model --embeddings seen.npy --id-match stem --max-new-tokens 4 --quiet --json";
    let words = ["--instruction", INSTRUCTION, "--output", "answers.jsonl", "--benchmark", benchmark];
    let output = trainer.shell.command(line).args(words).output().unwrap();
    assert!(output.status.success(), "{benchmark}: {}", String::from_utf8_lossy(&output.stderr));
    let scores = serde_json::from_slice::<Value>(&output.stdout).unwrap()["scores"].clone();
    let answers = String::from_utf8(trainer.shell.bytes("answers.jsonl")).unwrap();
    (scores, answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[track_caller]
fn score(scores: &Value, category: &str, metric: &str) -> f64 {
    let found = scores["scores"].as_array().unwrap().iter();
    let mut found = found.filter(|score| score["category"] == category && score["metric"] == metric);
    found.next().unwrap_or_else(|| panic!("no {metric} of {category} in {scores}"))["value"].as_f64().unwrap()
}

#[test]
fn a_model_that_knows_the_answers_has_the_scores_of_one() {
    let trainer = expert();

    // Lines of JSON, as POPE has them. With a wrong label, a right answer is none.
    let pope = |wrong: usize| {
        let lines = (0..PICTURES.len()).map(|picture| {
            let (question, answer) = yes_or_no(picture)[0];
            let label = if (answer == "yes") != (picture < wrong) { "yes" } else { "no" };
            let image = format!("{picture}.jpg");
            let line = json!({ "question_id": picture, "image": image, "text": question, "label": label });
            format!("{line}\n")
        });
        trainer.write("coco_pope_random.json", &lines.collect::<String>());
        evaluated(&trainer, "coco_pope_random.json")
    };
    let (scores, answers) = pope(0);
    assert_eq!((&scores["benchmark"], &scores["questions"]), (&"pope".into(), &4.into()));
    let texts: Vec<&Value> = answers.iter().map(|answer| &answer["text"]).collect();
    assert_eq!(texts, [0, 1, 2, 3].map(|picture| yes_or_no(picture)[0].1));
    assert_eq!((&answers[1]["question_id"], &answers[1]["category"]), (&"1".into(), &"random".into()));
    assert_eq!(score(&scores, "random", "accuracy"), 1.0);
    assert_eq!(score(&scores, "random", "yes_ratio"), 0.25);
    assert_eq!(score(&pope(1).0, "random", "accuracy"), 0.75);
    assert_eq!(score(&pope(4).0, "random", "accuracy"), 0.0);

    // A table, as MMStar has it.
    let table = |wrong: usize| {
        let rows = (0..PICTURES.len()).map(|picture| {
            let (question, answer) = choice(picture);
            let answer = if picture < wrong { choice((picture + 1) % PICTURES.len()).1 } else { answer };
            format!("{picture}\t{question}\t{answer}\tperception\tobjects\n")
        });
        let header = "index\tquestion\tanswer\tcategory\tl2_category\n";
        trainer.write("MMStar.tsv", &(header.to_string() + &rows.collect::<String>()));
        evaluated(&trainer, "MMStar.tsv")
    };
    let (scores, answers) = table(0);
    assert_eq!(scores["benchmark"], "mmstar");
    assert_eq!(score(&scores, "overall", "accuracy"), 1.0);
    assert_eq!(answers[2]["text"], "C");
    assert_eq!(score(&table(1).0, "perception", "accuracy"), 0.75);

    // A folder of texts, as MME has it: two questions a picture.
    let folder = |wrong: usize| {
        let lines = (0..PICTURES.len()).flat_map(|picture| {
            yes_or_no(picture).into_iter().enumerate().map(move |(number, (question, answer))| {
                let is_wrong = 2 * picture + number < wrong;
                let answer = if (answer == "yes") != is_wrong { "Yes" } else { "No" };
                format!("{picture}.jpg\t{question}\t{answer}\n")
            })
        });
        fs::create_dir_all(trainer.path("mme")).unwrap();
        trainer.write("mme/existence.txt", &lines.collect::<String>());
        evaluated(&trainer, "mme").0
    };
    let scores = folder(0);
    assert_eq!(scores["benchmark"], "mme");
    assert_eq!(score(&scores, "existence", "accuracy"), 100.0);
    assert_eq!(score(&scores, "perception", "score"), 200.0);
    // A question of eight is wrong, and with it one picture of four.
    let scores = folder(1);
    assert_eq!(score(&scores, "existence", "accuracy"), 87.5);
    assert_eq!(score(&scores, "existence", "accuracy_plus"), 75.0);
}

#[test]
fn what_cannot_be_asked_is_said_at_once() {
    let trainer = Trainer::new();
    trainer.stage_1("one", "", "max_steps = 1");
    trainer.run("train --config one.toml --quiet");
    let refused = |benchmark: &str, cause: &str| {
        let line = format!("eval --model one/model --embeddings seen.npy --benchmark {benchmark}");
        let output = trainer.shell.command(&line).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(cause), "{benchmark}: {error}");
        assert!(!error.contains("panicked"), "{benchmark}: {error}");
    };
    let line = json!({ "question_id": 1, "image": "p0", "text": "is it a cat?", "label": "no" });
    trainer.write("coco_pope_random.json", &line.to_string());
    refused("coco_pope_random.json", "`plain`");
    trainer.write("coco_pope_random.json", &line.to_string().replace("\"no\"", "\"perhaps\""));
    refused("coco_pope_random.json", "perhaps");
    trainer.write("table.tsv", "index\tanswer\n0\tA\n");
    refused("table.tsv", "question");
    refused("absent", "absent");
}
