//! What the CLI reference says beside its options: exit codes, environment, keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use mosaic_backlog_tests::{folder, programs};
use serde_json::Value;

use super::page;
use super::page::{plain, quoted};

const PAGE: &str = "docs/cli-reference.md";

/// A source file of the program, without its tests.
fn source(file: &Path) -> String {
    let text = fs::read_to_string(file).expect("a source file");
    let end = text.find("#[cfg(test)]").unwrap_or(text.len());
    text[..end].to_owned()
}

fn sources(folder: &Path, found: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push_str(&source(&path));
        }
    }
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let source = source(&programs::sources().join("mosaic-cli/src/failure.rs"));
    // Internal = 1,
    let numbers: BTreeMap<&str, &str> = source
        .lines()
        .filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "))
        .collect();
    let mut real: BTreeMap<String, BTreeSet<String>> = numbers
        .values()
        .map(|number| ((*number).to_owned(), BTreeSet::new()))
        .collect();
    // (Code::Internal, "internal", Exit::Internal),
    for line in source.lines().map(str::trim) {
        let Some((code, exit)) = line
            .strip_prefix("(Code::")
            .and_then(|rest| rest.trim_end_matches("),").split_once(", Exit::"))
        else {
            continue;
        };
        let (_, word) = code.split_once(", ").expect("a word");
        real.entry(numbers[exit].to_owned())
            .or_default()
            .insert(word.trim_matches('"').to_owned());
    }
    let documented: BTreeMap<String, BTreeSet<String>> = page(PAGE)
        .section("Exit codes")
        .table("Exit")
        .rows
        .iter()
        .map(|row| (row[0].clone(), quoted(&row[1]).into_iter().collect()))
        .collect();
    assert_eq!(documented, real);
}

#[test]
fn the_environment_is_that_of_the_program() {
    let mut text = String::new();
    sources(&programs::sources().join("mosaic-cli/src"), &mut text);
    let own = |name: &&str| {
        name.starts_with("MOSAIC_")
            || [
                "DATABASE_URL",
                "NO_COLOR",
                "CLAUDE_HOME",
                "CLAUDE_CONFIG_DIR",
            ]
            .contains(name)
    };
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let real: BTreeSet<String> = text
        .split('"')
        .filter(own)
        .filter(is_name)
        .map(str::to_owned)
        .collect();
    let documented: BTreeSet<String> = page(PAGE)
        .section("Environment")
        .table("Variable")
        .column(0)
        .into_iter()
        .map(plain)
        .filter(|name| !name.starts_with("PG"))
        .collect();
    assert_eq!(documented, real);
}

/// Each row of the table of settings, against what the program knows.
#[test]
fn the_settings_are_those_of_the_program() {
    let printed = programs::run(
        Command::new(programs::mosaic())
            .args(["config", "show", "--json"])
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("MOSAIC_HOME", &*folder::create()),
    );
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let mut real = printed.as_object().expect("an object").clone();
    real.remove("same_database");
    let page = page("docs/config.md");
    let rows = &page.section("Settings").table("Setting").rows;
    let documented: Vec<String> = rows.iter().map(|row| plain(&row[0])).collect();
    assert_eq!(documented, real.keys().cloned().collect::<Vec<_>>());
    for row in rows {
        let (key, variable, default) = (plain(&row[0]), plain(&row[1]), &row[3]);
        let name = key.trim_start_matches("cli.").to_uppercase();
        assert_eq!(variable.trim_start_matches("MOSAIC_"), name);
        if key == "home" || key == "claude_home" {
            continue;
        }
        let value = match &real[&key]["value"] {
            Value::Null => "–".to_owned(),
            Value::String(text) => format!("`{text}`"),
            Value::Array(items) => format!("`{}`", items[0].as_str().expect("text")),
            other => format!("`{other}`"),
        };
        assert_eq!(*default, value, "{key}");
    }
}

#[test]
fn the_keys_of_db_status_are_those_that_it_prints() {
    let printed = programs::run(
        Command::new(programs::mosaic())
            .args(["db", "status", "--json"])
            .env("MOSAIC_HOME", folder::create().join("home"))
            .env_remove("DATABASE_URL"),
    );
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let real: BTreeSet<String> = printed
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    let documented: BTreeSet<String> = page(PAGE)
        .section("db status")
        .table("Key")
        .column(0)
        .into_iter()
        .map(plain)
        .collect();
    assert_eq!(documented, real);
}
