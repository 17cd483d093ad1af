//! The functions for query engines: lints and tests of `crates/datafusion`, which nothing else builds.

use clap::Args;

use crate::cargo::cargo;

#[derive(Args)]
pub struct Options {
    /// Run Clippy only
    #[arg(long)]
    lints: bool,
}

/// The crate. DataFusion is as large as all else here together, and compiles Burn a second time.
pub const PACKAGE: &str = "burn-revision-datafusion";

/// Runs Clippy and the tests of the crate; whether both passed.
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
    Ok(true)
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
        let names = |lints| steps(&Options { lints }).iter().map(|step| step[0]).collect::<Vec<_>>();
        assert_eq!(names(false), ["clippy", "test"]);
        assert_eq!(names(true), ["clippy"]);
    }
}
