//! Runs that are killed or interrupted go on to the same bytes.

use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::trainer::Trainer;

/// Long enough to be broken off, with these steps between checkpoints.
fn long(checkpoint_steps: usize) -> String {
    format!("max_steps = 400\ncheckpoint_steps = {checkpoint_steps}\nlearning_rate = 0.01")
}

impl Trainer {
    /// Starts a program and waits until it has done something more, or has ended.
    fn start(&self, line: &str, has_done_more: impl Fn() -> bool) -> Child {
        let mut command = self.shell.command(line);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        while !has_done_more() && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        child
    }

    /// The number of steps in the log of a run.
    fn logged(&self, run: &str) -> usize {
        std::fs::read_to_string(self.path(run).join("metrics.jsonl")).map_or(0, |log| log.lines().count())
    }
}

#[test]
fn a_killed_run_goes_on_to_the_same_bytes() {
    let trainer = Trainer::new();
    for run in ["whole", "parts"] {
        trainer.stage_1(run, "noise = 0.1", &long(20));
    }
    trainer.run("train --config whole.toml --quiet");
    let line = "train --config parts.toml --quiet --resume";
    for kill in 0..5 {
        // The first one is killed before any checkpoint, the others at different places behind one more.
        let before = trainer.checkpoint("parts");
        let mut child = trainer.start(line, || match kill {
            0 => trainer.logged("parts") > 5,
            _ => trainer.checkpoint("parts") > before,
        });
        sleep(Duration::from_millis(3 * kill));
        assert!(child.try_wait().unwrap().is_none(), "it was too quick to be killed");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!trainer.path("parts/model").exists(), "a model that is not trained has its name");
    }
    assert!(trainer.checkpoint("parts") >= 4, "the runs went on");
    trainer.shell.refused(line.trim_end_matches(" --resume"), 2, "resume");
    trainer.run(line);
    let weights = "model/projector.safetensors";
    let [whole, parts] = ["whole", "parts"].map(|run| trainer.shell.bytes(&format!("{run}/{weights}")));
    assert!(whole == parts, "the projectors differ");
    // What is done is not done again.
    trainer.run(line);
    assert!(trainer.shell.bytes(&format!("parts/{weights}")) == whole);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_how_to_go_on_and_does() {
    let trainer = Trainer::new();
    // Between two checkpoints, and in front of the only one.
    for checkpoint_steps in [150, 400] {
        let [whole, parts] = ["whole", "parts"].map(|run| format!("{run}-{checkpoint_steps}"));
        for run in [&whole, &parts] {
            trainer.stage_1(run, "noise = 0.1", &long(checkpoint_steps));
        }
        trainer.run(&format!("train --config {whole}.toml --quiet"));
        let line = format!("train --config {parts}.toml --quiet");
        let child = trainer.start(&line, || trainer.logged(&parts) > 10);
        let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "it was too quick to be interrupted");
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(130), "{checkpoint_steps}: {said}");
        assert!(said.contains("interrupted") && said.contains("--resume"), "{said}");
        assert!(trainer.checkpoint(&parts) > 0 && trainer.logged(&parts) < 400, "{checkpoint_steps}");
        assert!(!trainer.path(&parts).join("model").exists(), "a model that is not trained has its name");
        trainer.run(&format!("{line} --resume"));
        let [whole, parts] =
            [whole, parts].map(|run| trainer.shell.bytes(&format!("{run}/model/projector.safetensors")));
        assert!(whole == parts, "{checkpoint_steps}: the projectors differ");
    }
}

/// The adapters of another process are drawn again, and must not matter.
#[cfg(unix)]
#[test]
fn interrupted_adapters_go_on_to_the_same_scores() {
    let trainer = Trainer::new();
    trainer.stage_1("one", "", "max_steps = 2");
    trainer.run("train --config one.toml --quiet");
    for run in ["whole", "parts"] {
        let stage = format!("trainable = 'projector-and-lora'\nlora = {{ rank = 2 }}\n{}", long(30));
        trainer.stage_2(run, "one", &stage.replace("400", "120"));
    }
    trainer.run("train --config whole.toml --quiet");
    let child = trainer.start("train --config parts.toml --quiet", || trainer.logged("parts") > 40);
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success(), "it was too quick to be interrupted");
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    trainer.run("train --config parts.toml --quiet --resume");
    let [whole, parts] = ["whole", "parts"].map(|run| trainer.scores(&format!("{run}/model"), "chat.jsonl"));
    assert_eq!(whole, parts);
    let [whole, parts] =
        ["whole", "parts"].map(|run| trainer.shell.bytes(&format!("{run}/model/projector.safetensors")));
    assert!(whole == parts, "the projectors differ");
}
