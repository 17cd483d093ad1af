//! The features that each command compiles a crate with, by `cargo tree`.

use std::collections::BTreeSet;

use super::Workspace;
use crate::cargo::output;

/// What a command selects, in the words of `cargo tree`. Examples and tests of the default packages share a selection.
/// Procedural macros and what they depend on are left out: `cargo tree` does not tell their features apart.
const FIRST: (&str, &[&str]) = ("cargo build --example, cargo test", &["-e", "normal,dev,no-proc-macro"]);
const OTHERS: [(&str, &[&str]); 2] = [
    ("cargo build", &["-e", "normal,no-proc-macro"]),
    ("cargo build -p burn-revision-cli", &["-p", "burn-revision-cli", "-e", "normal,no-proc-macro"]),
];

pub fn run(workspace: &Workspace) -> Result<bool, String> {
    let first = tree(FIRST.1)?;
    println!("features of {} crates: {}", first.len(), FIRST.0);
    let mut equal = true;
    for (command, selection) in OTHERS {
        let other = tree(selection)?;
        let found = differences(&first, &other, |name| workspace.is_own_name(name));
        println!("features of {} crates: {command}: {} other than there", other.len(), found.len());
        found.iter().for_each(|difference| println!("  {difference}"));
        equal &= found.is_empty();
    }
    Ok(equal)
}

/// Crates with their features, as lines `name version|features`.
fn tree(selection: &[&str]) -> Result<BTreeSet<String>, String> {
    let arguments = ["tree", "--prefix", "none", "--no-dedupe", "--format", "{p}|{f}"];
    let printed = output(&[&arguments, selection].concat())?;
    Ok(printed.lines().filter(|line| !line.is_empty()).map(String::from).collect())
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
