//! What a contributor runs before a pull request, and the gate as its first half.

use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use serde_json::Value;

use crate::cargo::{cargo, metadata};
use crate::machine::BACKENDS;
use crate::{architecture, engines, root};

#[derive(Args)]
pub struct Options {
    /// All tests instead of the unit tests, and documentation with the features of docs.rs: what CI runs
    #[arg(long)]
    full: bool,
}

/// The library and the program, which share features when they are selected together.
const BOTH: [&str; 4] = ["-p", "burn-revision", "-p", "burn-revision-cli"];

/// A command that has to succeed.
struct Step {
    name: String,
    command: Command,
}

impl Step {
    fn cargo(arguments: &[&str]) -> Self {
        Self { name: format!("cargo {}", arguments.join(" ")), command: cargo(arguments.iter().copied()) }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }
}

/// Runs the steps until one fails; whether all passed.
pub fn run(options: &Options) -> Result<bool, String> {
    let started = Instant::now();
    println!("== cargo xtask architecture --check");
    if !architecture::run(&architecture::Options { check: true })? {
        return Ok(failed("cargo xtask architecture --check", started));
    }
    for Step { name, mut command } in steps(options)? {
        println!("\n== {name}");
        let step = Instant::now();
        let status = command.status().map_err(|error| format!("{name}: {error}"))?;
        if !status.success() {
            return Ok(failed(&name, started));
        }
        println!("passed in {:.1} s", step.elapsed().as_secs_f64());
    }
    println!("\nall steps passed in {:.1} s", started.elapsed().as_secs_f64());
    Ok(true)
}

fn failed(name: &str, started: Instant) -> bool {
    eprintln!(
        "\nerror: `{name}` failed, after {:.1} s; later steps were not run",
        started.elapsed().as_secs_f64()
    );
    false
}

fn steps(options: &Options) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    match spelling() {
        Some(step) => steps.push(step),
        None => println!("\nspelling is not checked: `typos` is not installed (pip install typos)"),
    }
    steps.push(Step::cargo(&["fmt", "--all", "--check"]));
    // What stands on DataFusion takes as long to build as all else: `cargo xtask engines`.
    let workspace =
        ["clippy", "--workspace", "--exclude", engines::PACKAGE, "--all-targets", "--", "-D", "warnings"];
    steps.push(Step::cargo(&workspace));
    let flags = "-D warnings --html-in-header docs/katex.html";
    if options.full {
        let features = docs_features(&metadata()?)?;
        steps.push(
            Step::cargo(&["doc", "--no-deps", "--lib", "--features", &features]).env("RUSTDOCFLAGS", flags),
        );
        steps.push(Step::cargo(&[&["test"], &BOTH[..]].concat()));
    } else {
        steps.push(Step::cargo(&["doc", "--no-deps", "--lib"]).env("RUSTDOCFLAGS", flags));
        steps.push(Step::cargo(&[&["test"], &BOTH[..], &["--lib", "--bins"]].concat()));
    }
    steps.push(Step::cargo(&["test", "-p", "xtask"]));
    Ok(steps)
}

fn spelling() -> Option<Step> {
    let version = Command::new("typos").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success()).then(|| {
        let mut command = Command::new("typos");
        command.current_dir(root());
        Step { name: "typos".into(), command }
    })
}

/// The features with which docs.rs documents the library, without the backends: no item depends on them, and to check their
/// crates takes as long as all others together.
fn docs_features(metadata: &Value) -> Result<String, String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let library = packages.into_iter().find(|package| package["name"] == "burn-revision");
    let features = library.and_then(|package| package["metadata"]["docs"]["rs"]["features"].as_array());
    let features = features.ok_or("Cargo.toml: no list package.metadata.docs.rs.features")?;
    let names = features.iter().filter_map(Value::as_str).filter(|name| !BACKENDS.contains(name));
    Ok(names.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_docs_rs_are_read() {
        let docs = serde_json::json!({"docs": {"rs": {"features": ["flex", "image", "cuda", "hub"]}}});
        let packages = serde_json::json!({"packages": [{"name": "burn", "metadata": null}, {"name": "burn-revision", "metadata": docs}]});
        assert_eq!(docs_features(&packages).unwrap(), "image,hub");
        assert!(docs_features(&serde_json::json!({"packages": []})).unwrap_err().contains("docs.rs"));
    }

    #[test]
    fn the_full_check_runs_every_test() {
        let names = |full| -> Vec<String> {
            let steps = steps(&Options { full }).unwrap();
            steps.into_iter().map(|step| step.name).filter(|name| name.starts_with("cargo test")).collect()
        };
        let both = "cargo test -p burn-revision -p burn-revision-cli";
        assert_eq!(names(false), [format!("{both} --lib --bins"), "cargo test -p xtask".into()]);
        assert_eq!(names(true), [both, "cargo test -p xtask"]);
        let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
        assert!(readme.contains(&format!("$ {both} ")), "the README says how the tests are run");
    }

    #[test]
    fn no_step_builds_what_stands_on_datafusion() {
        for step in [false, true].into_iter().flat_map(|full| steps(&Options { full }).unwrap()) {
            let all = step.name.contains("--workspace") || step.name.contains("--all ");
            let left_out = step.name.contains(&format!("--exclude {}", engines::PACKAGE));
            assert!(!all || left_out || step.name.starts_with("cargo fmt"), "{}", step.name);
        }
    }
}
