//! The layers of the library, out of its own imports.
//!
//! A folder of `src` may only use folders below it. Nobody writes the order down: it is what the imports say, as long as
//! no folders use each other in a circle, and neither do files. What is compiled for tests only is left out.

mod draw;
mod graph;
mod parse;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::root;
use graph::Graph;
use resolve::Modules;

#[derive(Args)]
pub struct Options {
    /// Write nothing; fail where the drawing of the repository differs
    #[arg(long)]
    pub check: bool,
}

const DRAWING: &str = "book/src/images/architecture.svg";

/// Draws the layers, and names circles; whether there are none and the drawing is up to date.
pub fn run(options: &Options) -> Result<bool, String> {
    let crates = crates(&root())?;
    let mut modules = Modules::default();
    for Crate { name, file, .. } in &crates {
        modules.read(name, &root(), file)?;
    }
    let node = |path: &[String]| node(&crates, path);
    let (folders, files) = modules.graphs(node);
    let circles =
        [("folders use", &folders), ("files import", &files)].map(|(what, graph)| report(what, graph));
    if circles[0] > 0 {
        eprintln!("no drawing: circles have no layers");
        return Ok(false);
    }

    let mut parts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (file, path) in modules.files() {
        if let Some(node) = node(path) {
            parts.entry(node).or_default().insert(file);
        }
    }
    let programs = crates.iter().skip(1).map(|one| one.label.as_str()).collect();
    let single = parts.iter().filter(|(_, files)| files.len() == 1).map(|(node, _)| node.as_str()).collect();
    let drawing = draw::draw(&folders, &programs, &base(&folders, &single));
    let path = root().join(DRAWING);
    let current = fs::read_to_string(&path).unwrap_or_default();
    if options.check && drawing != current {
        eprintln!("{DRAWING} is not what the imports say: run `cargo xtask architecture`");
    } else if drawing != current {
        fs::write(&path, &drawing).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{DRAWING} is drawn anew");
    } else {
        println!("{DRAWING} is what the imports say");
    }
    Ok(circles[1] == 0 && (drawing == current || !options.check))
}

/// A crate of the workspace.
struct Crate {
    /// As it is called in paths.
    name: String,
    /// As it is called in the drawing.
    label: String,
    /// Its root module.
    file: PathBuf,
}

/// The library, and the crates in `crates`.
fn crates(repository: &Path) -> Result<Vec<Crate>, String> {
    let mut folders = vec![repository.to_path_buf()];
    if let Ok(entries) = fs::read_dir(repository.join("crates")) {
        folders.extend(entries.flatten().map(|entry| entry.path()));
    }
    folders[1..].sort();
    let mut crates = Vec::new();
    for folder in folders {
        let Ok(manifest) = fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        let name = manifest.lines().skip_while(|line| line.trim() != "[package]");
        let name = name.filter_map(|line| line.strip_prefix("name = \"")).next();
        let name = name.and_then(|name| name.split('"').next());
        let name = name.ok_or_else(|| format!("{}/Cargo.toml: no name", folder.display()))?.replace('-', "_");
        let files = ["src/lib.rs", "src/main.rs"].map(|file| folder.join(file));
        let file = files.into_iter().find(|file| file.is_file());
        let file = file.ok_or_else(|| format!("{}: neither src/lib.rs nor src/main.rs", folder.display()))?;
        let label = folder.strip_prefix(repository).unwrap_or(&folder).to_string_lossy().into_owned();
        crates.push(Crate { name, label, file });
    }
    Ok(crates)
}

/// The box of a module: a folder or file of the library, or another crate as a whole. The root of the library has none.
fn node(crates: &[Crate], path: &[String]) -> Option<String> {
    let (library, others) = crates.split_first()?;
    if path[0] == library.name {
        return path.get(1).cloned();
    }
    others.iter().find(|other| other.name == path[0]).map(|other| other.label.clone())
}

/// Those of the modules of one file that use nothing but each other: what every folder stands on.
fn base<'a>(folders: &Graph, single: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let mut base = single.clone();
    loop {
        let kept: BTreeSet<&str> = base
            .iter()
            .copied()
            .filter(|node| folders.used_by(node).all(|used| base.contains(used)))
            .collect();
        if kept.len() == base.len() {
            return base;
        }
        base = kept;
    }
}

/// Prints the circles of a graph; how many there are.
fn report(what: &str, graph: &Graph) -> usize {
    let circles = graph.circles();
    for circle in &circles {
        eprintln!("{what} each other in a circle: {} -> {}", circle.join(" -> "), circle[0]);
        for (at, from) in circle.iter().enumerate() {
            let to = circle[(at + 1) % circle.len()];
            graph.evidence(from, to).for_each(|evidence| eprintln!("  {evidence}"));
        }
    }
    circles.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_is_what_uses_no_folder() {
        let mut graph = Graph::default();
        for (from, to) in
            [("device", "error"), ("folder", "device"), ("facade", "folder"), ("above", "facade")]
        {
            graph.add(from, to, String::new());
        }
        let single = ["device", "error", "facade", "above"].into();
        assert_eq!(base(&graph, &single), ["device", "error"].into());
    }

    #[test]
    fn the_crates_of_this_repository_are_found() {
        let crates = crates(&root()).unwrap();
        assert_eq!((crates[0].name.as_str(), crates[0].label.as_str()), ("burn_revision", ""));
        let program = crates.iter().find(|one| one.name == "burn_revision_cli").unwrap();
        assert_eq!(node(&crates, &["burn_revision_cli".into(), "args".into()]).unwrap(), program.label);
        assert_eq!(node(&crates, &["burn_revision".into(), "geometry".into()]).unwrap(), "geometry");
        assert_eq!(node(&crates, &["burn_revision".into()]), None);
    }
}
