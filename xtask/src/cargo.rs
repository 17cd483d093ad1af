//! Cargo, called in the folder of the repository, and its messages.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::root;

/// A cargo command in the root of the repository.
pub fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(arguments).current_dir(root());
    as_in_a_shell(&mut command);
    command
}

/// Takes from a command's environment what `cargo run` sets for this program: it makes some build scripts run again, and all
/// crates that depend on them.
pub fn as_in_a_shell(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
}

/// What cargo reports about one crate of a build.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// The package id, as in `cargo metadata`.
    pub package: String,
    /// The name of the target: of a library, a program, a test or a build script.
    pub target: String,
    /// Whether the target is a build script.
    pub is_script: bool,
    /// The settings of the compiler, which are others for procedural macros, build scripts and what they use.
    pub profile: String,
    /// The features that it was compiled with.
    pub features: Vec<String>,
    /// The files that it was compiled to; their names tell different builds of a crate apart.
    pub files: BTreeSet<String>,
    /// The program, where the target is one.
    pub executable: Option<PathBuf>,
    /// Whether it had been compiled before.
    pub fresh: bool,
}

impl Artifact {
    /// Reads a line of `--message-format json`; nothing where it is not about an artifact.
    pub fn parse(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        if message["reason"] != "compiler-artifact" {
            return None;
        }
        let strings = |value: &Value| {
            let values = value.as_array().into_iter().flatten();
            values.filter_map(Value::as_str).map(String::from).collect::<Vec<_>>()
        };
        Some(Self {
            package: message["package_id"].as_str()?.to_string(),
            target: message["target"]["name"].as_str()?.to_string(),
            is_script: strings(&message["target"]["kind"]).iter().any(|kind| kind == "custom-build"),
            profile: message["profile"].to_string(),
            features: strings(&message["features"]),
            files: strings(&message["filenames"]).into_iter().collect(),
            executable: message["executable"].as_str().map(PathBuf::from),
            fresh: message["fresh"].as_bool()?,
        })
    }
}

/// Runs a build or `test --no-run`; what it consists of. Errors of the compiler go to standard error.
pub fn build(arguments: &[&str]) -> Result<Vec<Artifact>, String> {
    let mut command = cargo(arguments.iter().copied());
    command.args(["--message-format", "json-render-diagnostics"]).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cargo: {error}"))?;
    let lines = BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
    let artifacts = lines.map_while(Result::ok).filter_map(|line| Artifact::parse(&line)).collect();
    let status = child.wait().map_err(|error| format!("cargo: {error}"))?;
    if status.success() { Ok(artifacts) } else { Err(format!("cargo {} failed", arguments.join(" "))) }
}

/// What a cargo command prints to standard output.
pub fn output(arguments: &[&str]) -> Result<String, String> {
    let output = cargo(arguments.iter().copied())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo {} failed", arguments.join(" ")));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("cargo {}: {error}", arguments.join(" ")))
}

/// `cargo metadata` of the workspace.
pub fn metadata() -> Result<Value, String> {
    let text = output(&["metadata", "--format-version", "1"])?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

/// The name in a package id: `registry+https://...#name@1.0.0`, `path+file:///folder/name#1.0.0`.
pub fn package_name(id: &str) -> &str {
    let (source, fragment) = id.rsplit_once('#').unwrap_or(("", id));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => source.rsplit('/').next().unwrap_or(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_read_and_other_messages_are_not() {
        let line = r#"{"reason":"compiler-artifact","package_id":"registry+https://x/index#burn-core@0.22.1",
            "target":{"kind":["lib"],"name":"burn_core"},"features":["std"],"executable":null,"profile":{"opt_level":"3"},
            "filenames":["/t/libburn_core-1a.rlib","/t/libburn_core-1a.rmeta"],"fresh":false}"#;
        let artifact = Artifact::parse(&line.replace('\n', "")).unwrap();
        assert_eq!(package_name(&artifact.package), "burn-core");
        assert_eq!(
            (artifact.target.as_str(), artifact.is_script, artifact.fresh),
            ("burn_core", false, false)
        );
        assert_eq!((artifact.features.len(), artifact.files.len(), artifact.executable), (1, 2, None));
        assert_eq!(artifact.profile, r#"{"opt_level":"3"}"#);
        let script = line.replace('\n', "").replace("lib\"]", "custom-build\"]");
        assert!(Artifact::parse(&script).unwrap().is_script);
        assert_eq!(Artifact::parse(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(Artifact::parse("running 3 tests"), None);
    }

    #[test]
    fn package_ids_of_registries_and_of_folders_are_read() {
        assert_eq!(package_name("registry+https://github.com/rust-lang/crates.io-index#libc@0.2.1"), "libc");
        assert_eq!(
            package_name("path+file:///home/x/crates/cli#burn-revision-cli@0.1.0"),
            "burn-revision-cli"
        );
        assert_eq!(package_name("path+file:///home/x/burn-revision#0.1.0"), "burn-revision");
    }
}
