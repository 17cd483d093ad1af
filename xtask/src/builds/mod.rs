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
}

/// Shows whether the commands share one build; whether they do.
pub fn run(options: &Options) -> Result<bool, String> {
    let workspace = Workspace::new(&metadata()?)?;
    Ok(features::run(&workspace)? && (options.features || compiled::run(&workspace)?))
}

/// The packages that `cargo metadata` knows, by their ids.
struct Workspace {
    /// Those of this repository.
    own: BTreeSet<String>,
    /// `burn` and everything that it depends on.
    burn: BTreeSet<String>,
}

impl Workspace {
    fn new(metadata: &Value) -> Result<Self, String> {
        let ids = |value: &Value| -> Vec<String> {
            let ids = value.as_array().into_iter().flatten();
            ids.filter_map(Value::as_str).map(String::from).collect()
        };
        let own = ids(&metadata["workspace_members"]).into_iter().collect();
        let nodes = metadata["resolve"]["nodes"].as_array().ok_or("cargo metadata: no resolved packages")?;
        let named = |node: &&Value| node["id"].as_str().is_some_and(|id| package_name(id) == "burn");
        let root = nodes.iter().find(named).ok_or("cargo metadata: no package `burn`")?;
        let mut burn = BTreeSet::new();
        let mut open = ids(&Value::Array(vec![root["id"].clone()]));
        while let Some(id) = open.pop() {
            if burn.contains(&id) {
                continue;
            }
            if let Some(node) = nodes.iter().find(|node| node["id"] == *id) {
                open.extend(ids(&node["dependencies"]));
            }
            burn.insert(id);
        }
        Ok(Self { own, burn })
    }

    fn is_own_name(&self, name: &str) -> bool {
        self.own.iter().any(|id| package_name(id) == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dependencies_of_burn_are_followed() {
        let metadata = serde_json::json!({
            "workspace_members": ["path+file:///x/burn-revision#0.1.0"],
            "resolve": {"nodes": [
                {"id": "path+file:///x/burn-revision#0.1.0", "dependencies": ["r#burn@1.0.0", "r#toml@1.0.0"]},
                {"id": "r#burn@1.0.0", "dependencies": ["r#burn-core@1.0.0"]},
                {"id": "r#burn-core@1.0.0", "dependencies": ["r#libc@0.2.0"]},
                {"id": "r#libc@0.2.0", "dependencies": []},
                {"id": "r#toml@1.0.0", "dependencies": []},
            ]},
        });
        let workspace = Workspace::new(&metadata).unwrap();
        let burn: Vec<&str> = workspace.burn.iter().map(|id| package_name(id)).collect();
        assert_eq!(burn, ["burn-core", "burn", "libc"]);
        assert!(workspace.is_own_name("burn-revision") && !workspace.is_own_name("burn"));
        assert!(Workspace::new(&serde_json::json!({"resolve": {"nodes": []}})).is_err());
    }
}
