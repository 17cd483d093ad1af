//! One build of Burn serves the examples, the tests and the program: this shows that it does.
//!
//! Cargo compiles a crate once for each set of features, and which features a crate has depends on the packages that a
//! command selects. [`features`] compares the sets without compiling anything; [`compiled`] runs the commands and
//! compares what they compiled, build scripts and procedural macros included.

mod compiled;
mod features;

use std::collections::BTreeSet;

use clap::Args;
use serde_json::Value;

use crate::cargo::{metadata, package_name};

#[derive(Args)]
pub struct Options {
    /// Compare the features only, and compile nothing
    #[arg(long)]
    features: bool,
    /// Run `cargo check` in place of the builds: sooner, and of the same crates
    #[arg(long)]
    check: bool,
}

/// Shows whether the commands share one build; whether they do.
pub fn run(options: &Options) -> Result<bool, String> {
    let workspace = Workspace::new(&metadata()?)?;
    Ok(features::run(&workspace)? && (options.features || compiled::run(&workspace, options.check)?))
}

/// The packages of this repository, by their ids.
struct Workspace {
    own: BTreeSet<String>,
}

impl Workspace {
    fn new(metadata: &Value) -> Result<Self, String> {
        let members = metadata["workspace_members"].as_array().ok_or("cargo metadata: no workspace")?;
        Ok(Self { own: members.iter().filter_map(Value::as_str).map(String::from).collect() })
    }

    fn is_own_name(&self, name: &str) -> bool {
        self.own.iter().any(|id| package_name(id) == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packages_of_the_repository_are_told_from_others() {
        let members =
            ["path+file:///x/burn-revision#0.1.0", "path+file:///x/crates/cli#burn-revision-cli@0.1.0"];
        let workspace = Workspace::new(&serde_json::json!({"workspace_members": members})).unwrap();
        assert!(workspace.is_own_name("burn-revision") && workspace.is_own_name("burn-revision-cli"));
        assert!(!workspace.is_own_name("burn"));
        assert!(Workspace::new(&serde_json::json!({})).is_err());
    }
}
