//! The modules of all crates, and where a path leads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::graph::Graph;
use super::parse::{Import, Module, Segments, parse};

/// The modules by their paths, of which the first segment is the name of the crate.
#[derive(Default)]
pub struct Modules {
    modules: BTreeMap<Segments, Source>,
}

struct Source {
    /// From the folder of the repository on.
    file: String,
    module: Module,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    module: Segments,
    /// Whether it is something in the module, and not the module itself.
    is_item: bool,
}

/// Imports of imports are followed so far.
const DEPTH: usize = 32;

impl Modules {
    /// Adds a crate, from the file of its root module on.
    pub fn read(&mut self, name: &str, repository: &Path, root: &Path) -> Result<(), String> {
        let folder = root.parent().unwrap_or(repository).to_path_buf();
        self.read_file(vec![name.to_string()], repository, root, &folder)
    }

    fn read_file(
        &mut self,
        path: Segments,
        repository: &Path,
        file: &Path,
        folder: &Path,
    ) -> Result<(), String> {
        let failed = |error: String| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
        let module = parse(&text).map_err(failed)?;
        let name = file.strip_prefix(repository).unwrap_or(file).to_string_lossy().into_owned();
        for (child, at) in self.add(path, &name, module) {
            // Of modules that are written out, the folder is named after them.
            let inner: PathBuf =
                at[..at.len() - 1].iter().fold(folder.to_path_buf(), |folder, name| folder.join(name));
            let candidates = [
                inner.join(format!("{}.rs", at[at.len() - 1])),
                inner.join(&at[at.len() - 1]).join("mod.rs"),
            ];
            let file = candidates.iter().find(|file| file.is_file());
            let file = file.ok_or_else(|| failed(format!("module {}: no file", child.join("::"))))?;
            self.read_file(child, repository, file, &inner.join(&at[at.len() - 1]))?;
        }
        Ok(())
    }

    /// Adds a module and those that are written out in it; the modules that have files of their own, with the names that lead
    /// to them from here.
    fn add(&mut self, path: Segments, file: &str, mut module: Module) -> Vec<(Segments, Segments)> {
        let join = |name: &String| [path.as_slice(), std::slice::from_ref(name)].concat();
        let mut children: Vec<(Segments, Segments)> =
            module.files.iter().map(|name| (join(name), vec![name.clone()])).collect();
        for (name, inner) in std::mem::take(&mut module.inline) {
            for (child, mut at) in self.add(join(&name), file, inner) {
                at.insert(0, name.clone());
                children.push((child, at));
            }
        }
        self.modules.insert(path, Source { file: file.to_string(), module });
        children
    }

    /// The files and their modules' paths.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.modules.iter().map(|(path, source)| (source.file.as_str(), path.as_slice()))
    }

    /// Which module uses which: modules as `node` names them, and files as they are called. A `pub use` only passes on what
    /// its file does not use itself.
    pub fn graphs(&self, node: impl Fn(&[String]) -> Option<String>) -> (Graph, Graph) {
        let (mut nodes, mut files) = (Graph::default(), Graph::default());
        for (path, source) in &self.modules {
            files.add_node(&source.file);
            let own = node(path);
            own.iter().for_each(|own| nodes.add_node(own));
            let mut add = |target: &Target, what: &[String], is_used: bool| {
                let used = node(&target.module);
                let evidence = format!("{} uses {}", source.file, what.join("::"));
                if let (Some(own), Some(used)) = (&own, &used) {
                    nodes.add(own, used, evidence.clone());
                }
                if target.is_item && (is_used || own != used) {
                    files.add(&source.file, &self.modules[&target.module].file, evidence);
                }
            };
            for Import { path: imported, name, is_public } in &source.module.imports {
                let Some(target) = self.resolve(path, imported, DEPTH) else { continue };
                match name {
                    Some(name) => add(&target, imported, !is_public || source.module.names.contains(name)),
                    None => {
                        add(&target, imported, false);
                        for name in &source.module.names {
                            if let Some(target) = self.find(&target.module, name, DEPTH) {
                                add(
                                    &target,
                                    &[imported.as_slice(), std::slice::from_ref(name)].concat(),
                                    true,
                                );
                            }
                        }
                    }
                }
            }
            for used in &source.module.paths {
                if let Some(target) = self.resolve(path, used, DEPTH) {
                    add(&target, used, true);
                }
            }
        }
        (nodes, files)
    }

    /// Where a path leads that is written in the module `from`; nothing where it leaves the crates that are known.
    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let mut module = from.to_vec();
        let (first, mut rest) = path.split_first()?;
        match first.as_str() {
            "crate" => module.truncate(1),
            "self" => {}
            "super" => {
                module.pop();
                while let Some(("super", more)) =
                    rest.split_first().map(|(first, more)| (first.as_str(), more))
                {
                    module.pop();
                    rest = more;
                }
            }
            name if rest.is_empty() || !self.modules.contains_key(&child(&module, name)) => {
                let import =
                    self.modules.get(&module)?.module.imports.iter().find(|import| {
                        import.name.as_deref() == Some(name) && import.path.as_slice() != path
                    });
                match import {
                    Some(import) => {
                        let target = self.resolve(&module, &import.path, depth)?;
                        if target.is_item {
                            return Some(target);
                        }
                        module = target.module;
                    }
                    None if self.modules.contains_key(&child(&module, name)) => module.push(name.to_string()),
                    None if self.modules.contains_key(std::slice::from_ref(first)) => {
                        module = vec![first.clone()]
                    }
                    None => return None,
                }
            }
            name => module.push(name.to_string()),
        }
        while let Some((name, more)) = rest.split_first() {
            let is_module = self.modules.contains_key(&child(&module, name));
            if is_module && !more.is_empty() {
                module.push(name.clone());
            } else {
                // The last name may be that of a module and of a function in it that is passed on.
                let target = match self.find(&module, name, depth) {
                    Some(target) => target,
                    None if is_module => {
                        return Some(Target { module: child(&module, name), is_item: false });
                    }
                    None => Target { module: module.clone(), is_item: true },
                };
                if target.is_item {
                    return Some(target);
                }
                module = target.module;
            }
            rest = more;
        }
        Some(Target { module, is_item: false })
    }

    /// What a module defines or passes on under a name.
    fn find(&self, module: &[String], name: &str, depth: usize) -> Option<Target> {
        let depth = depth.checked_sub(1)?;
        let source = &self.modules.get(module)?.module;
        if source.items.contains(name) {
            return Some(Target { module: module.to_vec(), is_item: true });
        }
        let named = source.imports.iter().filter(|import| import.name.as_deref() == Some(name));
        if let Some(target) = named.filter_map(|import| self.resolve(module, &import.path, depth)).next() {
            return Some(target);
        }
        let globs = source.imports.iter().filter(|import| import.name.is_none());
        let mut passed_on = globs.filter_map(|import| {
            let target = self.resolve(module, &import.path, depth)?;
            self.find(&target.module, name, depth)
        });
        passed_on.next().or_else(|| {
            // Exported macros are at the root of the crate.
            let is_exported = |(path, source): &(&Segments, &Source)| {
                path[0] == module[0] && source.module.exported.contains(name)
            };
            let (path, _) = self.modules.iter().find(is_exported).filter(|_| module.len() == 1)?;
            Some(Target { module: path.clone(), is_item: true })
        })
    }
}

fn child(module: &[String], name: &str) -> Segments {
    let mut path = module.to_vec();
    path.push(name.to_string());
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)]) -> Modules {
        let mut modules = Modules::default();
        for (path, source) in files {
            let segments: Segments = path.split("::").map(String::from).collect();
            modules.add(segments, &format!("{path}.rs"), parse(source).unwrap());
        }
        modules
    }

    fn graphs(files: &[(&str, &str)]) -> (Graph, Graph) {
        modules(files).graphs(|path| path.get(1).cloned())
    }

    fn used<'a>(graph: &'a Graph, node: &str) -> Vec<&'a str> {
        graph.used_by(node).collect()
    }

    #[test]
    fn names_are_followed_to_the_files_that_define_them() {
        let (folders, files) = graphs(&[
            ("lib", "mod error; mod table; mod use_it; pub use error::Error;"),
            ("lib::error", "pub enum Error {} #[macro_export] macro_rules! check { () => {} }"),
            ("lib::table", "mod rows; mod model; pub(crate) use rows::{encode, rows}; pub use model::*;"),
            ("lib::table::rows", "pub fn rows() {} pub fn encode() {}"),
            ("lib::table::model", "pub struct Model;"),
            (
                "lib::use_it",
                "use crate::table::{rows, Model}; use crate::{Error, check}; use crate::table; \
                 fn f() { table::encode(); Error::new(); std::mem::swap() }",
            ),
        ]);
        assert_eq!(used(&folders, "use_it"), ["error", "table"]);
        assert_eq!(
            used(&files, "lib::use_it.rs"),
            ["lib::error.rs", "lib::table::model.rs", "lib::table::rows.rs"]
        );
        assert_eq!(used(&files, "lib::table.rs"), Vec::<&str>::new(), "passing on is no use");
        assert_eq!(files.circles(), Vec::<Vec<&str>>::new());
        let evidence: Vec<&str> = folders.evidence("use_it", "error").collect();
        assert!(evidence.contains(&"lib::use_it.rs uses crate::check"), "{evidence:?}");
    }

    #[test]
    fn circles_of_files_and_of_folders_are_found() {
        let (folders, files) = graphs(&[
            ("lib", "mod a; mod b;"),
            ("lib::a", "mod noise; pub use noise::Noise; pub trait T {} fn f() { noise::add() }"),
            ("lib::a::noise", "use super::T; use crate::b::*; pub struct Noise(Set);"),
            ("lib::b", "pub struct Set; mod inner { use super::super::a::Noise; }"),
        ]);
        assert_eq!(folders.circles(), [vec!["a", "b"]]);
        let expected = [vec!["lib::a.rs", "lib::a::noise.rs"], vec!["lib::a::noise.rs", "lib::b.rs"]];
        assert_eq!(files.circles(), expected);
    }

    #[test]
    fn other_crates_of_the_workspace_are_followed() {
        let (folders, files) = graphs(&[
            ("lib", "mod table; pub use table::Table;"),
            ("lib::table", "pub struct Table;"),
            ("program", "mod args; use lib::Table; use clap::Parser;"),
            ("program::args", "fn f() { lib::table::Table::new() }"),
        ]);
        assert_eq!(used(&folders, "args"), ["table"]);
        assert_eq!(used(&files, "program.rs"), ["lib::table.rs"]);
    }
}
