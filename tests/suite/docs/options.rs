//! The tables of options in the CLI reference are made from `--help`.
//!
//! `MOSAIC_DOCS_UPDATE=1` writes them anew; without it they are compared.

use std::fs;
use std::process::Command;

use mosaic_backlog_tests::programs;

use super::{Faults, page};

const PAGE: &str = "docs/cli-reference.md";
const BEGIN: &str = "<!-- options: ";
const END: &str = "<!-- end -->";

/// An argument or option, as `--help` shows it.
struct Entry {
    section: String,
    flag: String,
    meaning: String,
}

/// What `mosaic … -h` says.
struct Help {
    subcommands: Vec<String>,
    entries: Vec<Entry>,
}

#[track_caller]
fn help(command: &str) -> Help {
    let mut words = command.split(' ').skip(1).collect::<Vec<_>>();
    words.push("-h");
    let text = programs::run(
        Command::new(programs::mosaic())
            .args(words)
            .env("NO_COLOR", "1"),
    );
    let mut help = Help {
        subcommands: Vec::new(),
        entries: Vec::new(),
    };
    let mut section = "";
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        if indent == 0 {
            section = line.strip_suffix(':').unwrap_or("");
            continue;
        }
        let (word, rest) = line.split_once("  ").unwrap_or((line, ""));
        match section {
            "Commands" if indent == 2 => help.subcommands.push(word.to_owned()),
            "Arguments" | "Options" | "Global options" => {
                if indent <= 6 && (section == "Arguments" || word.starts_with('-')) {
                    help.entries.push(Entry {
                        section: section.to_owned(),
                        flag: word.replace(['<', '>'], ""),
                        meaning: rest.trim().to_owned(),
                    });
                } else if let Some(entry) = help.entries.last_mut() {
                    // The line before was too long and goes on here.
                    entry.meaning = format!("{} {line}", entry.meaning).trim().to_owned();
                }
            }
            _ => {}
        }
    }
    help
}

/// Every command that does something, under its full name.
fn commands() -> Vec<String> {
    fn visit(command: &str, found: &mut Vec<String>) {
        let help = help(command);
        if help.subcommands.is_empty() {
            found.push(command.to_owned());
        }
        for subcommand in help.subcommands {
            visit(&format!("{command} {subcommand}"), found);
        }
    }
    let mut found = Vec::new();
    visit("mosaic", &mut found);
    // The short way to write the same.
    found.retain(|command| !command.starts_with("mosaic backlog "));
    found
}

fn table(command: &str) -> String {
    let root = command == "mosaic";
    let rows: Vec<String> = help(command)
        .entries
        .into_iter()
        .filter(|entry| root || (entry.section != "Global options" && entry.flag != "-h, --help"))
        .map(|entry| {
            let meaning = entry.meaning.replace('|', "\\|");
            format!("| `{}` | {meaning} |\n", entry.flag)
        })
        .collect();
    if rows.is_empty() {
        return "No options of its own.\n".to_owned();
    }
    format!("| Option | Meaning |\n|---|---|\n{}", rows.concat())
}

/// The page with every table made anew, and the commands that it has tables of.
fn written_anew(text: &str) -> (String, Vec<String>) {
    let mut anew = String::new();
    let mut commands = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (command, after) = after.split_once(" -->").expect("the end of the comment");
        let (_, after) = after.split_once(END).expect("the end of the table");
        anew.push_str(&format!(
            "{before}{BEGIN}{command} -->\n\n{}\n{END}",
            table(command)
        ));
        commands.push(command.to_owned());
        rest = after;
    }
    anew.push_str(rest);
    (anew, commands)
}

#[test]
fn every_command_and_option_is_in_the_cli_reference() {
    let page = page(PAGE);
    let (anew, mut documented) = written_anew(&page.text);
    let mut faults = Faults::default();
    let root = documented.iter().position(|command| command == "mosaic");
    documented.remove(root.expect("the global options"));
    documented.sort();
    let mut real = commands();
    real.sort();
    faults.expect("the commands of the CLI reference", documented, real);
    faults.none();

    if std::env::var_os("MOSAIC_DOCS_UPDATE").is_some() {
        fs::write(&page.file, anew).expect("write");
        return;
    }
    let differing: Vec<String> = page
        .text
        .lines()
        .zip(anew.lines())
        .filter(|(documented, real)| documented != real)
        .take(3)
        .map(|(documented, real)| format!("documented: {documented}\nreal:       {real}"))
        .collect();
    assert!(
        page.text == anew,
        "{PAGE} differs from --help; MOSAIC_DOCS_UPDATE=1 writes its tables anew\n{}",
        differing.join("\n")
    );
}
