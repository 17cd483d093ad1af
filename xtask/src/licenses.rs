//! What may be among the dependencies, as `deny.toml` says it: the part of `cargo deny check bans licenses sources` that needs no
//! more than cargo, without the minutes that it takes to compile that program.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};

use crate::cargo::output;
use crate::root;

/// All that is compiled for some feature and some system, with its license.
const TREE: [&str; 12] = [
    "tree",
    "--locked",
    "--workspace",
    "--all-features",
    "--target",
    "all",
    "--edges",
    "normal,build,dev",
    "--prefix",
    "none",
    "--format",
    "{p}|{l}",
];

/// Prints what `deny.toml` does not allow; whether there is nothing.
pub fn run() -> Result<bool, String> {
    let path = root().join("deny.toml");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let rules = Rules::read(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    let tree = output(&TREE)?;
    // What was printed before has a mark.
    let lines: BTreeSet<&str> = tree.lines().map(|line| line.strip_suffix(" (*)").unwrap_or(line)).collect();
    let metadata = output(&["metadata", "--format-version", "1", "--no-deps", "--locked"])?;
    let metadata: Value =
        serde_json::from_str(&metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let own = metadata["packages"].as_array().ok_or("cargo metadata: no packages")?;
    let folder = root().to_string_lossy().into_owned();
    let found: Vec<String> = lines
        .iter()
        .filter_map(|line| refusal(line, &folder, &rules))
        .chain(own.iter().flat_map(any_versions))
        .collect();
    found.iter().for_each(|refusal| eprintln!("error: {refusal}"));
    println!("{} packages, {} refused", lines.len(), found.len());
    Ok(found.is_empty())
}

/// What the table `licenses` says.
struct Rules {
    allowed: Vec<Licensee>,
    /// The licenses of packages that name none, by `name version`.
    clarified: BTreeMap<String, String>,
}

impl Rules {
    fn read(deny: &str) -> Result<Self, String> {
        let table: toml::Table = deny.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let list = |name| {
            let list = table.get("licenses").and_then(|licenses| licenses.get(name));
            list.and_then(toml::Value::as_array)
        };
        let names = list("allow").ok_or("no list licenses.allow")?.iter();
        let allowed = names.map(|name| {
            let name = name.as_str().ok_or_else(|| format!("licenses.allow: {name:?} is no text"))?;
            Licensee::parse(name).map_err(|error| format!("licenses.allow: {name:?}: {error}"))
        });
        let clarified = list("clarify").into_iter().flatten().map(|entry| {
            let text = |name| entry.get(name).and_then(toml::Value::as_str);
            // Another version may have another license.
            let package = text("crate").and_then(|package| package.split_once("@="));
            let (name, version) =
                package.ok_or_else(|| format!("licenses.clarify: {entry:?}: crate is no name@=version"))?;
            let license =
                text("expression").ok_or_else(|| format!("licenses.clarify: {entry:?}: no expression"))?;
            Ok::<_, String>((format!("{name} v{version}"), license.to_string()))
        });
        Ok(Self {
            allowed: allowed.collect::<Result<_, _>>()?,
            clarified: clarified.collect::<Result<_, _>>()?,
        })
    }
}

/// Why a package is refused, of a line `name version (where from)|license`, where a registry goes without saying.
fn refusal(line: &str, folder: &str, rules: &Rules) -> Option<String> {
    let (package, license) = line.rsplit_once('|')?;
    let name: Vec<&str> = package.split_whitespace().take(2).collect();
    let refuse = |why: String| Some(format!("{}: {why}", name.join(" ")));
    let origins = package.split('(').skip(1).map(|origin| origin.trim().trim_end_matches(')'));
    let elsewhere = origins.clone().find(|origin| *origin != "proc-macro" && !origin.starts_with(folder));
    if let Some(origin) = elsewhere {
        return refuse(format!("comes from {origin}"));
    }
    let license = match rules.clarified.get(&name.join(" ")) {
        Some(clarified) if license.is_empty() => clarified,
        _ if license.is_empty() => return refuse("names no license".into()),
        _ => license,
    };
    match Expression::parse_mode(license, ParseMode::LAX) {
        Err(error) => refuse(format!("license {license:?}: {}", error.reason)),
        Ok(expression) => {
            let is_allowed = |required: &spdx::LicenseReq| {
                rules.allowed.iter().any(|licensee| licensee.satisfies(required))
            };
            match expression.evaluate(is_allowed) {
                true => None,
                false => refuse(format!("license {license:?} is not among licenses.allow")),
            }
        }
    }
}

/// The dependencies of a package of this repository that take any version, but for those that lie in it as well.
fn any_versions(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or("?");
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let any = dependencies.filter(|dependency| dependency["req"] == "*" && dependency["path"].is_null());
    any.filter_map(|dependency| Some(format!("{name}: any version of {}", dependency["name"].as_str()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DENY: &str = "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\"]";

    fn refused(line: &str) -> Option<String> {
        refusal(line, "/home/x", &Rules::read(DENY).unwrap())
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
            assert_eq!(refused(&format!("x v1.0.0|{license}")), None, "{license}");
        }
        for (license, why) in [
            ("GPL-3.0-only", "is not among"),
            ("MIT AND GPL-3.0-only", "is not among"),
            ("Mine", "license \"Mine\""),
            ("", "names no license"),
        ] {
            let found = refused(&format!("x v1.0.0|{license}")).unwrap();
            assert!(found.starts_with("x v1.0.0: ") && found.contains(why), "{found}");
        }
    }

    #[test]
    fn packages_come_from_the_registry_or_from_here_and_name_versions() {
        assert_eq!(refused("x v1.0.0 (proc-macro)|MIT"), None);
        assert_eq!(refused("own v1.0.0 (proc-macro) (/home/x/own)|MIT"), None);
        let found = refused("x v1.0.0 (https://example.org/x#1a2b)|MIT").unwrap();
        assert_eq!(found, "x v1.0.0: comes from https://example.org/x#1a2b");
        let own = json!({"name": "own", "dependencies": [
            {"name": "a", "req": "*", "path": null},
            {"name": "b", "req": "*", "path": "/home/x/b"},
            {"name": "c", "req": "^1", "path": null},
        ]});
        assert_eq!(any_versions(&own), ["own: any version of a"]);
    }

    #[test]
    fn what_is_allowed_are_known_licenses() {
        let error = |deny| Rules::read(deny).err().unwrap();
        assert!(error("[licenses]\nallow = [\"Mine\"]").contains("Mine"));
        assert!(error("[bans]").contains("licenses.allow"));
    }

    #[test]
    fn a_license_is_clarified_for_one_version_of_what_names_none() {
        let clarified = |license| {
            let entry = format!("[[licenses.clarify]]\ncrate = \"x@=1.0.0\"\nexpression = \"{license}\"");
            Rules::read(&format!("{DENY}\n{entry}")).unwrap()
        };
        let refused = |line, license| refusal(line, "/home/x", &clarified(license));
        assert_eq!(refused("x v1.0.0|", "MIT"), None);
        assert!(refused("x v1.0.0|", "GPL-3.0-only").unwrap().contains("is not among"));
        assert!(refused("x v1.0.0|GPL-3.0-only", "MIT").unwrap().contains("is not among"));
        assert!(refused("x v1.0.1|", "MIT").unwrap().contains("names no license"));
        let without_version =
            "[licenses]\nallow = []\n[[licenses.clarify]]\ncrate = \"x\"\nexpression = \"MIT\"";
        assert!(Rules::read(without_version).err().unwrap().contains("name@=version"));
    }
}
