//! What may be among the dependencies, as `deny.toml` says it: the part of `cargo deny check bans licenses sources` that needs no
//! more than `cargo metadata`, without the minutes that it takes to compile that program.

use std::collections::BTreeSet;

use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};

use crate::cargo::output;
use crate::root;

/// Prints what `deny.toml` does not allow; whether there is nothing.
pub fn run() -> Result<bool, String> {
    let path = root().join("deny.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let allowed = allowed(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let metadata = output(&["metadata", "--format-version", "1", "--all-features", "--locked"])?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata: no packages")?;
    let found = refusals(packages, &allowed);
    found.iter().for_each(|refusal| eprintln!("error: {refusal}"));
    println!("{} packages, {} refused", packages.len(), found.len());
    Ok(found.is_empty())
}

/// The list `allow` of the table `licenses`.
fn allowed(deny: &str) -> Result<Vec<Licensee>, String> {
    let table: toml::Table = deny.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let list =
        table.get("licenses").and_then(|licenses| licenses.get("allow")).and_then(toml::Value::as_array);
    let names = list.ok_or("no list licenses.allow")?.iter();
    names
        .map(|name| {
            let name = name.as_str().ok_or_else(|| format!("licenses.allow: {name} is no text"))?;
            Licensee::parse(name).map_err(|error| format!("licenses.allow: {name:?}: {error}"))
        })
        .collect()
}

/// A line for each package with a license that is not allowed or from elsewhere than the one registry, and for each dependency
/// of this workspace on any version.
fn refusals(packages: &[Value], allowed: &[Licensee]) -> Vec<String> {
    let registries: BTreeSet<&str> =
        packages.iter().filter_map(|package| package["source"].as_str()).collect();
    let mut found = Vec::new();
    // The registry of nearly all, whatever mirror stands for it.
    let registry = registries.iter().copied().max_by_key(|source| {
        packages.iter().filter(|package| package["source"].as_str() == Some(source)).count()
    });
    for package in packages {
        let name = format!(
            "{} {}",
            package["name"].as_str().unwrap_or("?"),
            package["version"].as_str().unwrap_or("?")
        );
        let source = package["source"].as_str();
        if let Some(source) = source
            && (Some(source) != registry
                || !source.starts_with("registry+") && !source.starts_with("sparse+"))
        {
            found.push(format!("{name}: comes from {source}"));
        }
        match package["license"].as_str() {
            None => found.push(format!("{name}: names no license")),
            Some(license) => match Expression::parse_mode(license, ParseMode::LAX) {
                Err(error) => found.push(format!("{name}: license {license:?}: {}", error.reason)),
                Ok(expression) => {
                    let is_allowed = |required: &spdx::LicenseReq| {
                        allowed.iter().any(|licensee| licensee.satisfies(required))
                    };
                    if !expression.evaluate(is_allowed) {
                        found.push(format!("{name}: license {license:?} is not among licenses.allow"));
                    }
                }
            },
        }
        if source.is_none() {
            let dependencies = package["dependencies"].as_array().into_iter().flatten();
            let any = dependencies
                .filter(|dependency| dependency["req"] == "*" && dependency["path"].is_null())
                .filter_map(|dependency| dependency["name"].as_str());
            found.extend(any.map(|dependency| format!("{name}: any version of {dependency}")));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DENY: &str = "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\"]";

    fn package(license: Value) -> Value {
        json!({"name": "x", "version": "1.0.0", "license": license, "source": "registry+r", "dependencies": []})
    }

    fn refused(package: Value) -> Vec<String> {
        let others = [self::package(json!("MIT")), self::package(json!("MIT"))];
        refusals(&[&others[..], &[package]].concat(), &allowed(DENY).unwrap())
    }

    #[test]
    fn licenses_are_expressions_of_allowed_ones() {
        for license in [
            "MIT",
            "MIT OR GPL-3.0",
            "MIT/Apache-2.0",
            "(MIT AND Apache-2.0) OR Zlib",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(refused(package(json!(license))), [""; 0], "{license}");
        }
        for (license, why) in [
            (json!("GPL-3.0-only"), "is not among"),
            (json!("MIT AND GPL-3.0-only"), "is not among"),
            (json!("Mine"), "license \"Mine\""),
            (Value::Null, "names no license"),
        ] {
            let found = refused(package(license));
            assert!(
                found.len() == 1 && found[0].starts_with("x 1.0.0") && found[0].contains(why),
                "{found:?}"
            );
        }
    }

    #[test]
    fn packages_come_from_one_registry_and_name_versions() {
        let mut elsewhere = package(json!("MIT"));
        elsewhere["source"] = json!("git+https://example.org/x");
        assert!(refused(elsewhere)[0].contains("comes from git+"));
        let mut own = package(json!("MIT"));
        own["source"] = Value::Null;
        own["dependencies"] = json!([{"name": "a", "req": "*", "path": null}, {"name": "b", "req": "*", "path": "/b"}, {"name": "c", "req": "^1"}]);
        assert_eq!(refused(own), ["x 1.0.0: any version of a"]);
    }

    #[test]
    fn what_is_allowed_are_known_licenses() {
        assert!(allowed("[licenses]\nallow = [\"Mine\"]").unwrap_err().contains("Mine"));
        assert!(allowed("[bans]").unwrap_err().contains("licenses.allow"));
    }
}
