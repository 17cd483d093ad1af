//! The features that each command compiles a crate with, by `cargo tree`.

use std::collections::BTreeSet;

use super::Workspace;
use crate::cargo::output;
use crate::engines;

/// What a command selects, in the words of `cargo tree`. Examples and tests of the library share a selection.
/// Procedural macros and what they depend on are left out: `cargo tree` does not tell their features apart.
const FIRST: (&str, &[&str]) = ("cargo build --example", &["-e", "normal,dev,no-proc-macro"]);
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("cargo build", &["-e", "normal,no-proc-macro"]),
    ("cargo build -p burn-revision-cli", &["-p", "burn-revision-cli", "-e", "normal,no-proc-macro"]),
    (
        "cargo test -p burn-revision -p burn-revision-cli",
        &["-p", "burn-revision", "-p", "burn-revision-cli", "-e", "normal,dev,no-proc-macro"],
    ),
];
/// Examples with what the program has: nothing else than its tests build.
const EXAMPLES: (&str, &[&str]) = (
    "cargo build --example --features hub,image,parquet",
    &["--features", "hub,image,parquet", "-e", "normal,dev,no-proc-macro"],
);
/// Other backends compile Burn anew, and crates of their own, but nothing else that is there.
const BACKENDS: [&str; 4] = ["ndarray", "wgpu", "cuda", "cpu"];

pub fn run(workspace: &Workspace) -> Result<bool, String> {
    let first = tree(FIRST.1)?;
    println!("features of {} crates: {}", first.len(), FIRST.0);
    let report = |command: &str, other: &BTreeSet<String>, found: Vec<String>| {
        println!("features of {} crates: {command}: {} other than there", other.len(), found.len());
        found.iter().for_each(|difference| println!("  {difference}"));
        found.is_empty()
    };
    let mut equal = true;
    // What the first has not is compiled then.
    let known: BTreeSet<&str> = first.iter().map(|line| package(line)).collect();
    for (command, selection) in PROGRAMS {
        let mut other = tree(selection)?;
        let all = other.clone();
        other.retain(|line| known.contains(package(line)));
        let found = differences(&first, &other, |name| workspace.is_own_name(name));
        equal &= report(command, &all, found);
    }
    let [.., (tests, selection)] = PROGRAMS;
    let (built, other) = (tree(selection)?, tree(EXAMPLES.1)?);
    let found = differences(&built, &other, |name| workspace.is_own_name(name));
    equal &= report(&format!("{}, after {tests}", EXAMPLES.0), &other, found);
    for backend in BACKENDS {
        let mut other = tree(&[FIRST.1, &["--features", backend]].concat())?;
        let all = other.clone();
        other.retain(|line| known.contains(package(line)));
        let found = differences(&first, &other, |name| workspace.is_own_name(name) || is_of_a_backend(name));
        equal &= report(&format!("{} --features {backend}", FIRST.0), &all, found);
    }
    // DataFusion has crates of its own, with features of its own, but none of those that Burn stands on.
    let burn = tree(&["-p", "burn", "-e", "normal,no-proc-macro"])?;
    let burn: BTreeSet<&str> = burn.iter().map(|line| package(line)).collect();
    for edges in ["normal,no-proc-macro", "normal,dev,no-proc-macro"] {
        let mut other = tree(&["-p", engines::PACKAGE, "-e", edges])?;
        let all = other.clone();
        other.retain(|line| burn.contains(package(line)));
        let found = differences(&first, &other, |name| workspace.is_own_name(name));
        equal &=
            report(&format!("cargo build, test -p {} ({edges}), below Burn", engines::PACKAGE), &all, found);
    }
    Ok(equal)
}

/// Name and version in a line of [`tree`].
fn package(line: &str) -> &str {
    line.split('|').next().unwrap_or_default()
}

/// Whether a crate is Burn's, or of the compiler of kernels that its backends on accelerators have.
fn is_of_a_backend(name: &str) -> bool {
    name == "burn" || name.starts_with("burn-") || name.starts_with("cubecl-")
}

/// Crates with their features, as lines `name version|features`.
fn tree(selection: &[&str]) -> Result<BTreeSet<String>, String> {
    let printed = output(&[&["tree", "--prefix", "none", "--format", "{p}|{f}"], selection].concat())?;
    // What was printed before has a mark.
    let lines = printed.lines().map(|line| line.strip_suffix(" (*)").unwrap_or(line));
    Ok(lines.filter(|line| !line.is_empty()).map(String::from).collect())
}

/// The crates of `other` that `first` has not with the same features, but for those of this repository.
fn differences(
    first: &BTreeSet<String>,
    other: &BTreeSet<String>,
    is_own: impl Fn(&str) -> bool,
) -> Vec<String> {
    let foreign = other.difference(first).filter(|line| !is_own(line.split(' ').next().unwrap_or_default()));
    foreign
        .map(|line| {
            let (package, features) = line.split_once('|').unwrap_or((line, ""));
            let there = first.iter().filter_map(|line| line.split_once('|'));
            let there: Vec<&str> =
                there.filter(|(name, _)| *name == package).map(|(_, features)| features).collect();
            let there =
                if there.is_empty() { "not built".into() } else { format!("[{}]", there.join("], [")) };
            format!("{package}: features [{features}], there {there}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(lines: &[&str]) -> BTreeSet<String> {
        lines.iter().map(|line| line.to_string()).collect()
    }

    #[test]
    fn fewer_crates_are_no_difference_and_other_features_are() {
        let first =
            set(&["burn v0.22.1|std", "libc v0.2.1|default,std", "resvg v1.0.0|", "own v0.1.0 (/x)|a"]);
        let is_own = |name: &str| name == "own";
        assert!(differences(&first, &set(&["burn v0.22.1|std", "own v0.1.0 (/x)|b"]), is_own).is_empty());
        let found = differences(&first, &set(&["libc v0.2.1|std", "toml v1.0.0|"]), is_own);
        let expected =
            ["libc v0.2.1: features [std], there [default,std]", "toml v1.0.0: features [], there not built"];
        assert_eq!(found, expected);
    }
}
