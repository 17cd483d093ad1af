//! What each command compiles, by cargo's messages.

use std::collections::BTreeSet;

use super::Workspace;
use crate::cargo::{Artifact, build, package_name};

/// The first command builds Burn; the others must find it built.
const COMMANDS: [&[&str]; 4] = [
    &["build", "--example", "revision_tiny"],
    &["test", "--no-run", "-p", "burn-revision", "-p", "burn-revision-cli"],
    &["build", "-p", "burn-revision-cli"],
    &["build"],
];

/// Runs the commands, or checks what they would build; whether the first built what the others need of it.
pub fn run(workspace: &Workspace, check: bool) -> Result<bool, String> {
    let commands = COMMANDS.map(|command| if check { checked(command) } else { command.to_vec() });
    let [first, others @ ..] = &commands;
    println!(
        "\n| command | crates | compiled now | of this repository | a second time |\n|---|--:|--:|--:|--:|"
    );
    let built = build(first)?;
    println!("{}", row(first, &built, &[], workspace));
    let mut again = Vec::new();
    for command in others {
        let artifacts = build(command)?;
        let found = second_builds(&built, &artifacts, workspace);
        println!("{}", row(command, &artifacts, &found, workspace));
        again.extend(found.into_iter().map(|artifact| (command, artifact.clone())));
    }
    for (command, artifact) in &again {
        println!(
            "cargo {} compiles {} a second time ({}, features [{}])",
            command.join(" "),
            package_name(&artifact.package),
            artifact.target,
            artifact.features.join(",")
        );
    }
    Ok(again.is_empty())
}

/// The command that checks what another builds.
fn checked<'a>(command: &[&'a str]) -> Vec<&'a str> {
    match command {
        ["test", "--no-run", selection @ ..] => {
            [&["check", "--lib", "--bins", "--examples", "--tests"], selection].concat()
        }
        [_, selection @ ..] => [&["check"], selection].concat(),
        [] => Vec::new(),
    }
}

fn row(command: &[&str], artifacts: &[Artifact], again: &[&Artifact], workspace: &Workspace) -> String {
    let compiled = || artifacts.iter().filter(|artifact| !artifact.fresh);
    let own = compiled().filter(|artifact| workspace.own.contains(&artifact.package)).count();
    let (all, compiled) = (artifacts.len(), compiled().count());
    format!("| cargo {} | {all} | {compiled} | {own} | {} |", command.join(" "), again.len())
}

/// The crates of a later command that the first built already, and that the later command compiled or uses in another
/// build; and those of Burn that the first did not need. A crate that only the later command needs is none of them, nor
/// is one that the first needs for a procedural macro alone, and the later in a program, or the other way round. Build scripts
/// are none of them: they have one profile for both, and where one is compiled again, so is its crate.
fn second_builds<'a>(
    first: &'a [Artifact],
    later: &'a [Artifact],
    workspace: &Workspace,
) -> Vec<&'a Artifact> {
    let files: BTreeSet<&String> = first.iter().flat_map(|artifact| &artifact.files).collect();
    // The script of a package may be all that was built of it.
    let crate_of = |artifact: &'a Artifact| [&artifact.package, &artifact.target, &artifact.profile];
    let built: BTreeSet<[&String; 3]> = first.iter().map(crate_of).collect();
    let foreign =
        later.iter().filter(|artifact| !artifact.is_script && !workspace.own.contains(&artifact.package));
    foreign
        .filter(|artifact| {
            let name = package_name(&artifact.package);
            name == "burn" || name.starts_with("burn-") || built.contains(&crate_of(artifact))
        })
        // A file of another name is another build, even where an earlier command left it there.
        .filter(|artifact| !artifact.fresh || artifact.files.iter().any(|file| !files.contains(file)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(package: &str, file: &str, fresh: bool) -> Artifact {
        Artifact {
            package: format!("r#{package}@1.0.0"),
            target: package.to_string(),
            is_script: false,
            profile: "{}".to_string(),
            features: Vec::new(),
            files: [file.to_string()].into(),
            executable: None,
            fresh,
        }
    }

    fn workspace() -> Workspace {
        let own = ["burn-revision", "burn-revision-cli"];
        Workspace { own: own.iter().map(|name| format!("r#{name}@1.0.0")).collect() }
    }

    #[test]
    fn what_is_checked_is_what_would_be_built() {
        let both = ["-p", "burn-revision", "-p", "burn-revision-cli"];
        assert_eq!(checked(COMMANDS[0]), ["check", "--example", "revision_tiny"]);
        assert!(checked(COMMANDS[1]).starts_with(&["check"]) && checked(COMMANDS[1]).ends_with(&both));
        assert_eq!(checked(&["build"]), ["check"]);
    }

    #[test]
    fn a_later_command_may_compile_this_repository_and_what_it_alone_needs() {
        let macros =
            Artifact { profile: r#"{"opt_level":"0"}"#.into(), ..artifact("winnow", "winnow-1", false) };
        let script = |file| Artifact {
            target: "build-script-build".into(),
            is_script: true,
            ..artifact("libc", file, false)
        };
        let first = [
            artifact("burn", "burn-1", false),
            artifact("burn-revision", "lib-1", false),
            macros,
            script("script-1"),
        ];
        let later = [
            artifact("burn", "burn-1", true),
            artifact("burn-revision", "lib-2", false),
            artifact("burn-revision-cli", "cli-1", false),
            artifact("clap_complete", "clap-1", false),
            artifact("winnow", "winnow-2", false),
            artifact("libc", "libc-1", false),
            script("script-2"),
        ];
        assert!(second_builds(&first, &later, &workspace()).is_empty());
        let row = row(&["build"], &later, &[], &workspace());
        assert_eq!(row, "| cargo build | 7 | 6 | 2 | 0 |");
    }

    #[test]
    fn second_builds_are_found_whether_they_were_compiled_now_or_before() {
        let first = [
            artifact("burn", "burn-1", true),
            artifact("libc", "libc-1", true),
            artifact("zip", "zip-1", true),
        ];
        let compiled_now = artifact("libc", "libc-2", false);
        let compiled_before = artifact("zip", "zip-2", true);
        let compiled_again = artifact("burn", "burn-1", false);
        let new_part_of_burn = artifact("burn-tui", "tui-1", false);
        let later = [compiled_now, compiled_before, compiled_again, new_part_of_burn];
        assert_eq!(second_builds(&first, &later, &workspace()), later.iter().collect::<Vec<_>>());
    }
}
