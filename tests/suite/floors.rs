//! The house of the extension: who imports from whom, by its sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mosaic_backlog_tests::programs;

/// The modules that each module imports from, by paths such as `verb::claim`; the root is "".
type Imports = BTreeMap<String, BTreeSet<String>>;

fn sources(folder: &Path, module: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        let inner = match (module, name) {
            (_, "pgrx_tests") => continue,
            ("", "lib") => String::new(),
            ("", name) => name.to_owned(),
            (module, name) => format!("{module}::{name}"),
        };
        if path.is_dir() {
            sources(&path, &inner, found);
        } else {
            let text = fs::read_to_string(&path).expect("a source");
            let product = text.split("#[cfg(test)]\nmod tests").next();
            found.insert(inner, product.unwrap_or_default().to_owned());
        }
    }
}

/// A path of a `use` or an expression, without what is no module.
fn module_of<'a>(path: &'a str, all: &BTreeMap<String, String>) -> Option<&'a str> {
    let mut path = path.trim_end_matches(':');
    while !all.contains_key(path) {
        path = path.rsplit_once("::")?.0;
    }
    Some(path)
}

fn all_sources() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let root = programs::sources().join("mosaic_backlog_ext/src");
    sources(&root, "", &mut all);
    all
}

fn imports() -> Imports {
    let all = all_sources();
    let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut imports = Imports::new();
    for (module, text) in &all {
        let of = imports.entry(module.clone()).or_default();
        for line in text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
        {
            for (at, word) in line
                .match_indices("crate::")
                .chain(line.match_indices("super::"))
            {
                let path: String = line[at..].chars().take_while(|c| is_path(*c)).collect();
                let mut path = path.as_str();
                let mut base = match word {
                    "crate::" => "",
                    _ => module.rsplit_once("::").map_or("", |(outer, _)| outer),
                };
                path = &path[word.len()..];
                while let Some(rest) = path.strip_prefix("super::") {
                    base = base.rsplit_once("::").map_or("", |(outer, _)| outer);
                    path = rest;
                }
                let whole = if base.is_empty() {
                    path.to_owned()
                } else {
                    format!("{base}::{path}")
                };
                if let Some(other) = module_of(&whole, &all)
                    && other != module
                {
                    of.insert(other.to_owned());
                }
            }
        }
    }
    imports
}

fn floor(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

#[test]
fn no_floor_of_the_extension_imports_from_one_above_it() {
    let source = programs::sources().join("mosaic_backlog_ext/src/lib.rs");
    let source = fs::read_to_string(source).expect("the table of contents");
    let listed = source
        .split("// Each floor imports from those below it.")
        .nth(1)
        .and_then(|rest| rest.split("// The order of").next())
        .expect("the floors");
    // What stands together is one floor, of modules that do not know each other.
    let floors: Vec<Vec<&str>> = listed
        .split("\n\n")
        .map(|together| {
            together
                .lines()
                .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
                .collect()
        })
        .collect();
    let height = |name: &str| floors.iter().position(|together| together.contains(&name));
    let mut seen = 0;
    for (module, others) in imports() {
        let Some(own) = height(floor(&module)) else {
            continue;
        };
        for other in others.iter().filter(|other| floor(other) != floor(&module)) {
            seen += 1;
            let below = height(floor(other)).is_some_and(|other| own < other);
            assert!(below, "{module} imports from {other}");
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn no_modules_of_the_extension_import_each_other_in_a_circle() {
    let mut imports = imports();
    // Takes away who imports from nobody that is left.
    loop {
        let free: Vec<String> = imports
            .iter()
            .filter(|(_, others)| !others.iter().any(|other| imports.contains_key(other)))
            .map(|(module, _)| module.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        for module in free {
            imports.remove(&module);
        }
    }
    assert!(imports.is_empty(), "{imports:?}");
}

/// The lines of a source on which `unsafe` is said to the compiler, and not to PostgreSQL.
fn unsafe_lines(source: &str) -> impl Iterator<Item = &str> {
    let ways = ["{", "fn ", "impl", "extern ", "trait "];
    source.lines().map(str::trim_start).filter(move |line| {
        let code = line.split("//").next().unwrap_or_default();
        code.contains("unsafe(")
            || code.match_indices("unsafe ").any(|(at, word)| {
                let is_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                is_word
                    && ways
                        .iter()
                        .any(|way| code[at + word.len()..].starts_with(way))
            })
    })
}

#[test]
fn unsafe_lives_in_postgres_and_in_the_frontiers_memory() {
    let homes = ["postgres", "frontier::memory"];
    let mut seen = 0;
    for (module, source) in all_sources() {
        let is_home = |home: &&str| {
            module
                .strip_prefix(*home)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        let lines: Vec<&str> = unsafe_lines(&source).collect();
        if homes.iter().any(is_home) {
            seen += lines.len();
        } else {
            assert!(lines.is_empty(), "{module}: {lines:?}");
        }
    }
    assert!(seen > 100, "{seen}");
}
