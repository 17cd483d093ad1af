//! Query engines: lints and tests of `crates/datafusion`, which nothing else builds, and `examples/engines`, in Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::cargo::{Artifact, build, cargo};
use crate::root;

#[derive(Args)]
pub struct Options {
    /// Run Clippy only
    #[arg(long)]
    lints: bool,
    /// A Python with NumPy and pyarrow: hold Spark and Ray Data against the program as well, whichever it has
    #[arg(long, env = "ENGINES_PYTHON")]
    python: Option<PathBuf>,
    /// The program for that, built before; without it, it is built
    #[arg(long, requires = "python")]
    program: Option<PathBuf>,
}

/// The crate. DataFusion is as large as all else here together.
pub const PACKAGE: &str = "burn-revision-datafusion";

/// Runs Clippy and the tests of the crate, and the engines of a Python; whether all passed.
pub fn run(options: &Options) -> Result<bool, String> {
    for arguments in steps(options) {
        let name = format!("cargo {}", arguments.join(" "));
        println!("\n== {name}");
        let status = cargo(arguments.iter().copied()).status().map_err(|error| format!("{name}: {error}"))?;
        if !status.success() {
            eprintln!("error: `{name}` failed");
            return Ok(false);
        }
    }
    match &options.python {
        _ if options.lints => Ok(true),
        None => {
            println!("\nSpark and Ray Data were not run: `--python` names a Python that has them");
            Ok(true)
        }
        Some(python) => compare(python, options.program.as_deref()),
    }
}

/// Runs the Python engines that are there on small tables; whether they agree with the program.
fn compare(python: &Path, program: Option<&Path>) -> Result<bool, String> {
    let program = match program {
        Some(program) => program.to_path_buf(),
        None => executable(build(&["build", "-p", "burn-revision-cli"])?)?,
    };
    println!("\n== {} examples/engines/check.py {}", python.display(), program.display());
    let script = root().join("examples/engines/check.py");
    let status = Command::new(python).arg(script).arg(program).status();
    let passed = status.map_err(|error| format!("{}: {error}", python.display()))?.success();
    if !passed {
        eprintln!("error: an engine differs from the program");
    }
    Ok(passed)
}

/// The program among what was built.
fn executable(artifacts: Vec<Artifact>) -> Result<PathBuf, String> {
    let mut programs = artifacts.into_iter().filter(|artifact| artifact.target == "burn-revision");
    programs.find_map(|artifact| artifact.executable).ok_or("cargo names no program burn-revision".into())
}

fn steps(options: &Options) -> Vec<Vec<&'static str>> {
    let mut steps = vec![vec!["clippy", "-p", PACKAGE, "--all-targets", "--", "-D", "warnings"]];
    if !options.lints {
        steps.push(vec!["test", "-p", PACKAGE]);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cargo::metadata;

    /// Beside the program, so that `cargo build` and `cargo test` do not mean it.
    #[test]
    fn the_crate_is_a_member_and_no_default_member() {
        let metadata = metadata().unwrap();
        let has = |list: &str| {
            let members = metadata[list].as_array().unwrap();
            members.iter().any(|id| crate::cargo::package_name(id.as_str().unwrap()) == PACKAGE)
        };
        assert!(has("workspace_members") && !has("workspace_default_members"));
    }

    #[test]
    fn lints_come_first_and_alone_where_nothing_else_is_asked_for() {
        let names = |lints| {
            let steps = steps(&Options { lints, python: None, program: None });
            steps.iter().map(|step| step[0]).collect::<Vec<_>>()
        };
        assert_eq!(names(false), ["clippy", "test"]);
        assert_eq!(names(true), ["clippy"]);
    }

    #[test]
    fn the_program_is_found_among_libraries_of_its_name() {
        let artifact = |target: &str, executable: Option<&str>| Artifact {
            package: "r#burn-revision-cli@1.0.0".into(),
            target: target.into(),
            is_script: false,
            profile: "{}".into(),
            features: Vec::new(),
            files: Default::default(),
            executable: executable.map(PathBuf::from),
            fresh: true,
        };
        let others = [artifact("burn-revision", None), artifact("xtask", Some("t/xtask"))];
        assert!(executable(others.to_vec()).is_err());
        let all = [&others[..], &[artifact("burn-revision", Some("t/burn-revision"))]].concat();
        assert_eq!(executable(all), Ok("t/burn-revision".into()));
    }
}
