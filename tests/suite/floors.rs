//! The houses of the extension and of the program: who imports from whom, by their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mosaic_backlog_tests::programs;

/// One crate: its sources, and the file that lists its floors.
struct House {
    folder: &'static str,
    root: &'static str,
    /// Whether a module that uses what is below its own folder imports from there.
    counts_inner: bool,
}

const EXTENSION: House = House {
    folder: "mosaic_backlog_ext/src",
    root: "lib",
    counts_inner: false,
};

const PROGRAM: House = House {
    folder: "mosaic-cli/src",
    root: "main",
    counts_inner: true,
};

/// The text of each module, by paths such as `verb::claim`; the root is "".
type Sources = BTreeMap<String, String>;

/// The modules that each module imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn below(module: &str, name: &str) -> String {
    match module {
        "" => name.to_owned(),
        module => format!("{module}::{name}"),
    }
}

fn above(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(above, _)| above)
}

/// What the tests inside of it import is no part of the house.
fn without_tests(text: &str) -> &str {
    let tests = ["mod tests", "pub mod tests"].map(|tests| format!("#[cfg(test)]\n{tests}"));
    let end = tests.iter().filter_map(|tests| text.find(tests)).min();
    &text[..end.unwrap_or(text.len())]
}

impl House {
    fn sources(&self) -> Sources {
        let mut found = Sources::new();
        self.look(&programs::sources().join(self.folder), "", &mut found);
        found
    }

    fn look(&self, folder: &Path, module: &str, found: &mut Sources) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|name| name.to_str());
            let inner = match name.expect("a name") {
                "pgrx_tests" => continue,
                "mod" => module.to_owned(),
                name if module.is_empty() && name == self.root => String::new(),
                name => below(module, name),
            };
            if path.is_dir() {
                self.look(&path, &inner, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).expect("a source");
                found.insert(inner, without_tests(&text).to_owned());
            }
        }
    }

    fn imports(&self) -> Imports {
        let all = self.sources();
        all.iter()
            .map(|(module, text)| {
                let code: String = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .flat_map(|line| [line, "\n"])
                    .collect();
                let others = self
                    .paths(module, &code, &all)
                    .into_iter()
                    .map(|path| module_of(&path, &all).to_owned())
                    .filter(|other| other != module)
                    .collect();
                (module.clone(), others)
            })
            .collect()
    }

    /// What a module names by a path, from the root on.
    fn paths(&self, module: &str, code: &str, all: &Sources) -> Vec<String> {
        let mut starts = vec![
            ("crate::".to_owned(), String::new()),
            ("super::".to_owned(), above(module).to_owned()),
        ];
        if self.counts_inner {
            let inner = all
                .keys()
                .filter(|name| !name.is_empty() && above(name) == module);
            starts.extend(inner.map(|inner| {
                let name = inner.rsplit("::").next().unwrap_or(inner);
                (format!("{name}::"), inner.clone())
            }));
        }
        let mut paths = Vec::new();
        for (word, base) in starts {
            for (at, _) in code.match_indices(&word) {
                if !code[..at].ends_with(is_path) {
                    let mut base = base.as_str();
                    let mut rest = &code[at + word.len()..];
                    while let Some(further) = rest.strip_prefix("super::") {
                        (base, rest) = (above(base), further);
                    }
                    expand(base, rest, &mut paths);
                }
            }
        }
        paths
    }

    /// The floors, from the top. What stands together is one floor, of modules that do not know each other.
    fn floors(&self) -> Vec<Vec<String>> {
        let root = &self.sources()[""];
        let (_, listed) = root
            .split_once("// Each floor imports from those below it.\n")
            .expect("the floors");
        let mut floors = vec![Vec::new()];
        for line in listed.lines() {
            match line.strip_prefix("mod ") {
                Some(name) => {
                    let floor = floors.last_mut().expect("a floor");
                    floor.push(name.trim_end_matches(';').to_owned());
                }
                None if line.is_empty() => floors.push(Vec::new()),
                None => break,
            }
        }
        floors
    }

    fn check_floors(&self) {
        let floors = self.floors();
        let height = |module: &str| {
            let name = floor(module);
            floors
                .iter()
                .position(|floor| floor.iter().any(|module| module == name))
        };
        let mut seen = 0;
        for (module, others) in self.imports() {
            let Some(own) = height(&module) else {
                continue;
            };
            for other in others.iter().filter(|other| floor(other) != floor(&module)) {
                seen += 1;
                let is_below = height(other).is_some_and(|other| own < other);
                assert!(is_below, "{module} imports from {other:?}");
            }
        }
        assert!(seen > 200, "{seen}");
    }

    fn check_circles(&self) {
        let mut imports = self.imports();
        // Takes away who imports from nobody that is left, and whom nobody that is left imports from.
        loop {
            let imported: BTreeSet<&String> = imports.values().flatten().collect();
            let free: Vec<String> = imports
                .iter()
                .filter(|(module, others)| others.is_empty() || !imported.contains(module))
                .map(|(module, _)| module.clone())
                .collect();
            if free.is_empty() {
                break;
            }
            imports.retain(|module, _| !free.contains(module));
            for others in imports.values_mut() {
                others.retain(|other| !free.contains(other));
            }
        }
        assert!(imports.is_empty(), "{imports:#?}");
    }
}

fn is_path(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The paths that a text begins with: one, or those of a group such as `{a, b::{c, d}}`.
fn expand(base: &str, text: &str, paths: &mut Vec<String>) {
    let end = text.find(|c| !is_path(c)).unwrap_or(text.len());
    let path = below(base, text[..end].trim_end_matches("::"));
    let path = path.trim_end_matches("::");
    let Some(group) = text[end..].strip_prefix('{') else {
        // Macros live in no module.
        if !text[end..].starts_with('!') {
            paths.push(path.to_owned());
        }
        return;
    };
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                let part = group[start..at].trim();
                if !part.is_empty() {
                    expand(path, part, paths);
                }
                start = at + 1;
                if c == '}' {
                    return;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

/// The module that a path leads to, without what is none; the root, if nothing of it is one.
fn module_of<'a>(mut path: &'a str, all: &Sources) -> &'a str {
    while !all.contains_key(path) {
        path = above(path);
    }
    path
}

fn floor(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

#[test]
fn no_floor_of_the_extension_imports_from_one_above_it() {
    EXTENSION.check_floors();
}

#[test]
fn no_floor_of_the_program_imports_from_one_above_it() {
    PROGRAM.check_floors();
}

#[test]
fn no_modules_of_the_extension_import_each_other_in_a_circle() {
    EXTENSION.check_circles();
}

#[test]
fn no_modules_of_the_program_import_each_other_in_a_circle() {
    PROGRAM.check_circles();
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
    for (module, source) in EXTENSION.sources() {
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

/// Of an update of cards that is not declared as a verb's, the frontier takes each for somebody's by hand and forgets all.
#[test]
fn every_update_of_cards_is_declared_as_a_verbs() {
    let mut declared = 0;
    for (module, text) in EXTENSION.sources() {
        declared += text.matches("card_updates! {").count();
        let code = text.split('"').map(str::trim_start);
        let bare = code
            .filter(|text| text.starts_with("update mosaic.backlog "))
            .count();
        assert_eq!(bare, usize::from(module == "card::change"), "{module}");
    }
    assert!(declared > 5, "{declared}");
}
