//! What a source file declares, imports and names, out of its tokens.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A path, segment by segment.
pub type Segments = Vec<String>;

/// A module as it is written, without what is compiled for tests only.
#[derive(Debug, Default, PartialEq)]
pub struct Module {
    /// The modules in files of their own: `mod name;`.
    pub files: Vec<String>,
    /// The modules that are written out: `mod name { ... }`.
    pub inline: Vec<(String, Module)>,
    /// The names of types, functions, constants and macros that it defines.
    pub items: BTreeSet<String>,
    /// Those macros that `#[macro_export]` puts into the root of the crate.
    pub exported: BTreeSet<String>,
    pub imports: Vec<Import>,
    /// The paths of two or more segments outside of imports.
    pub paths: BTreeSet<Segments>,
    /// The names outside of imports, of paths their first segment.
    pub names: BTreeSet<String>,
}

/// One name of a `use`.
#[derive(Debug, PartialEq)]
pub struct Import {
    pub path: Segments,
    /// What it is called here; nothing for `*`.
    pub name: Option<String>,
    /// Whether it is passed on: `pub use`, `pub(crate) use`.
    pub is_public: bool,
}

/// Reads a source file.
pub fn parse(source: &str) -> Result<Module, String> {
    let tokens: TokenStream = source.parse().map_err(|error| format!("{error}"))?;
    let mut module = Module::default();
    Scanner { module: &mut module, at_top: true }.scan(tokens);
    Ok(module)
}

struct Scanner<'a> {
    module: &'a mut Module,
    /// Whether the tokens are those of the module itself, not of a body in it.
    at_top: bool,
}

const ITEMS: [&str; 10] =
    ["struct", "enum", "union", "trait", "fn", "type", "const", "static", "macro_rules", "mod"];
/// What is behind these ends with a semicolon, even where it has braces.
const STATEMENTS: [&str; 5] = ["use", "const", "static", "type", "let"];
const BLOCKS: [&str; 8] = ["fn", "struct", "enum", "union", "trait", "impl", "mod", "macro_rules"];

impl Scanner<'_> {
    fn scan(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let (mut at, mut is_public, mut is_exported) = (0, false, false);
        while at < tokens.len() {
            let rest = &tokens[at..];
            if let Some((attribute, length)) = attribute(rest) {
                at += length;
                if is_test_only(&attribute) {
                    at += item_length(&tokens[at..]);
                }
                is_exported |= matches!(attribute.first(), Some(token) if is_word(token, "macro_export"));
                continue;
            }
            let Some(name) = word(&rest[0]) else {
                match &rest[0] {
                    TokenTree::Group(group) => {
                        Scanner { module: self.module, at_top: false }.scan(group.stream());
                        (is_public, is_exported) = (false, false);
                        at += 1;
                    }
                    // Methods and fields are no names of the module.
                    TokenTree::Punct(punct) if punct.as_char() == '.' && at + 1 < tokens.len() => {
                        at += if word(&tokens[at + 1]).is_some() { 2 } else { 1 };
                    }
                    _ => at += 1,
                }
                continue;
            };
            if name == "pub" {
                is_public = true;
                // `pub(in path)` is no use of the path.
                at += if is_restriction(rest.get(1)) { 2 } else { 1 };
                continue;
            }
            let next = rest.get(1).and_then(word);
            at += if name == "use" && next_begins_import(rest) {
                let length = rest.iter().position(|token| is_punct(token, ';')).unwrap_or(rest.len());
                imports(&[], &rest[1..length], is_public, &mut self.module.imports);
                length
            } else if let (true, "mod", Some(name)) = (self.at_top, name.as_str(), &next) {
                self.submodule(name, rest.get(2));
                3
            } else if let (true, "macro_rules", Some(name)) =
                (self.at_top, name.as_str(), rest.get(2).and_then(word))
            {
                if is_exported {
                    self.module.exported.insert(name.clone());
                }
                self.module.items.insert(name);
                3
            } else if let (true, true, Some(name)) = (self.at_top, ITEMS.contains(&name.as_str()), next) {
                // Of `const fn name`, `fn` is read next.
                if name == "fn" || name == "unsafe" || name == "mut" {
                    1
                } else {
                    self.module.items.insert(name);
                    2
                }
            } else {
                self.path(&tokens, at)
            };
            (is_public, is_exported) = (false, false);
        }
    }

    fn submodule(&mut self, name: &str, body: Option<&TokenTree>) {
        match body {
            Some(TokenTree::Group(group)) => {
                let mut module = Module::default();
                Scanner { module: &mut module, at_top: true }.scan(group.stream());
                self.module.inline.push((name.to_string(), module));
            }
            _ => self.module.files.push(name.to_string()),
        }
    }

    /// Records the path that begins at a word; its length in tokens.
    fn path(&mut self, tokens: &[TokenTree], start: usize) -> usize {
        let mut segments: Segments = word(&tokens[start]).into_iter().collect();
        let mut at = start + 1;
        while is_separator(&tokens[at..])
            && let Some(segment) = tokens.get(at + 2).and_then(word)
        {
            segments.push(segment);
            at += 3;
        }
        // A path that begins with `::` names another crate, and one behind `>::` a part of a type.
        if start < 2 || !is_separator(&tokens[start - 2..]) {
            self.module.names.insert(segments[0].clone());
            if segments.len() > 1 {
                self.module.paths.insert(segments);
            }
        }
        at - start
    }
}

/// The content of the attribute that the tokens begin with, and its length in tokens.
fn attribute(tokens: &[TokenTree]) -> Option<(Vec<TokenTree>, usize)> {
    if !is_punct(tokens.first()?, '#') {
        return None;
    }
    let inner = usize::from(is_punct(tokens.get(1)?, '!'));
    match tokens.get(1 + inner)? {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
            Some((group.stream().into_iter().collect(), 2 + inner))
        }
        _ => None,
    }
}

/// Whether an attribute is a `cfg` that only tests and documentation tests meet.
fn is_test_only(attribute: &[TokenTree]) -> bool {
    fn condition(tokens: &[TokenTree]) -> bool {
        let Some(name) = tokens.first().and_then(word) else { return false };
        match (name.as_str(), tokens.get(1)) {
            ("test" | "doctest", None) => true,
            ("all", Some(TokenTree::Group(group))) => {
                parts(group.stream()).iter().any(|part| condition(part))
            }
            ("any", Some(TokenTree::Group(group))) => {
                parts(group.stream()).iter().all(|part| condition(part))
            }
            _ => false,
        }
    }
    match attribute {
        [name, TokenTree::Group(group)] if is_word(name, "cfg") => {
            condition(&group.stream().into_iter().collect::<Vec<_>>())
        }
        _ => false,
    }
}

/// How many tokens the item, field, arm or statement takes that the tokens begin with, its other attributes included.
fn item_length(tokens: &[TokenTree]) -> usize {
    let mut at = 0;
    while let Some((_, length)) = attribute(&tokens[at..]) {
        at += length;
    }
    let mut words = tokens[at..].iter().map_while(|token| match token {
        TokenTree::Group(_) | TokenTree::Literal(_) => Some(String::new()),
        token => word(token),
    });
    let keyword = words.find(|word| {
        BLOCKS.contains(&word.as_str()) || (STATEMENTS.contains(&word.as_str()) && word != "const")
    });
    let is_const = tokens.get(at).and_then(word).is_some_and(|word| word == "const");
    let ends = |token: &TokenTree| match (&keyword, token) {
        (_, token) if is_punct(token, ';') => true,
        (Some(word), TokenTree::Group(group)) if BLOCKS.contains(&word.as_str()) => {
            group.delimiter() == Delimiter::Brace
        }
        (None, token) if !is_const => is_punct(token, ','),
        _ => false,
    };
    tokens[at..].iter().position(ends).map_or(tokens.len(), |end| at + end + 1)
}

/// Adds the names of an import's tree.
fn imports(prefix: &[String], tokens: &[TokenTree], is_public: bool, found: &mut Vec<Import>) {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => {
                for part in parts(group.stream()) {
                    imports(&path, &part, is_public, found);
                }
                return;
            }
            TokenTree::Punct(punct) if punct.as_char() == '*' => {
                found.push(Import { path, name: None, is_public });
                return;
            }
            TokenTree::Ident(name) if name == "as" => break,
            // `self` in braces is what stands before them.
            TokenTree::Ident(name) if name == "self" && !path.is_empty() => {}
            token => path.extend(word(token)),
        }
        at += 1;
    }
    let name = tokens.get(at + 1).and_then(word).or_else(|| path.last().cloned());
    if !path.is_empty() {
        found.push(Import { path, name, is_public });
    }
}

/// The parts between commas.
fn parts(tokens: TokenStream) -> Vec<Vec<TokenTree>> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let parts = tokens.split(|token| is_punct(token, ',')).map(<[TokenTree]>::to_vec);
    parts.filter(|part| !part.is_empty()).collect()
}

/// Of `use <'a>` in a type there is nothing to import.
fn next_begins_import(tokens: &[TokenTree]) -> bool {
    tokens.get(1).is_some_and(|token| !is_punct(token, '<'))
}

fn is_restriction(token: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = token else { return false };
    let first = group.stream().into_iter().next().and_then(|token| word(&token));
    group.delimiter() == Delimiter::Parenthesis
        && first.is_some_and(|word| ["crate", "super", "self", "in"].contains(&word.as_str()))
}

fn is_separator(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, ..] if is_punct(first, ':') && is_punct(second, ':'))
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

fn is_word(token: &TokenTree, wanted: &str) -> bool {
    matches!(token, TokenTree::Ident(name) if name == wanted)
}

fn word(token: &TokenTree) -> Option<String> {
    match token {
        TokenTree::Ident(name) => Some(name.to_string().trim_start_matches("r#").to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(path: &str) -> Segments {
        path.split("::").map(String::from).collect()
    }

    fn imported(source: &str) -> Vec<(String, Option<String>, bool)> {
        let imports = parse(source).unwrap().imports.into_iter();
        imports.map(|import| (import.path.join("::"), import.name, import.is_public)).collect()
    }

    #[test]
    fn trees_of_imports_are_taken_apart() {
        let found = imported("pub(crate) use crate::a::{self, b::{C, D as E}, f::*};\nuse super::x;");
        let expected = [
            ("crate::a", Some("a"), true),
            ("crate::a::b::C", Some("C"), true),
            ("crate::a::b::D", Some("E"), true),
            ("crate::a::f", None, true),
            ("super::x", Some("x"), false),
        ];
        let expected =
            expected.map(|(path, name, public)| (path.to_string(), name.map(String::from), public));
        assert_eq!(found, expected);
    }

    #[test]
    fn paths_and_names_are_found_in_bodies_and_macros_but_not_in_text() {
        let module = parse(
            "/// See [`crate::not::This`].\n// crate::nor::this\nfn f(x: impl crate::a::T) -> u8 {\n\
             let y = vec![noise::add(x.field, \"crate::no::no\")]; y.len() + ::other::b() }\n\
             macro_rules! m { () => { $crate::c::D } }",
        )
        .unwrap();
        let expected = ["crate::a::T", "crate::c::D", "noise::add"].map(segments);
        assert_eq!(module.paths.into_iter().collect::<Vec<_>>(), expected);
        assert!(module.names.contains("y") && module.names.contains("noise"));
        assert!(!module.names.contains("field") && !module.names.contains("len"));
        assert_eq!(module.items.into_iter().collect::<Vec<_>>(), ["f", "m"]);
    }

    #[test]
    fn what_is_for_tests_only_is_left_out() {
        let module = parse(
            "#[cfg(test)] mod tests { use crate::a::B; }\n#[cfg(test)]\nmod more;\n\
             #[cfg(all(test, unix))] #[allow(dead_code)] pub(crate) fn f<A, B>(x: crate::c::D) { }\n\
             #[cfg(test)] use crate::e::{F, G};\n#[cfg(test)] const X: H = H { i: crate::j::K };\n\
             struct L { #[cfg(test)] m: crate::n::O, p: crate::q::R }\n\
             #[cfg(any(test, unix))] mod kept;\n#[cfg(not(test))] mod kept_too;\n#[cfg(feature = \"s\")] mod t;",
        )
        .unwrap();
        assert_eq!(module.imports, []);
        assert_eq!(module.files, ["kept", "kept_too", "t"]);
        assert_eq!(module.paths.into_iter().collect::<Vec<_>>(), [segments("crate::q::R")]);
        assert_eq!(module.items.into_iter().collect::<Vec<_>>(), ["L"]);
    }

    #[test]
    fn items_and_modules_are_declared() {
        let module = parse(
            "pub(in crate::a) const fn f() {} pub static S: u8 = 0; pub(super) mod inner { pub use super::f; }\n\
             #[macro_export] macro_rules! shape { () => {} }\nimpl S { fn not_an_item() {} }",
        )
        .unwrap();
        assert_eq!(module.items.into_iter().collect::<Vec<_>>(), ["S", "f", "shape"]);
        assert_eq!(module.exported.into_iter().collect::<Vec<_>>(), ["shape"]);
        assert_eq!(module.paths, BTreeSet::new());
        let [(name, inner)] = module.inline.as_slice() else { panic!("one inline module") };
        assert_eq!((name.as_str(), inner.imports.len()), ("inner", 1));
    }
}
