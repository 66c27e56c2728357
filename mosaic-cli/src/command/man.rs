//! `man`: the manual pages, made from the same text as `--help`.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man as Page;
use serde_json::json;

use crate::environment;
use crate::failure::{Failure, sentence};
use crate::files::replacement::{self, Replacement};
use crate::output::reply::Reply;
use crate::output::screen::one_line;
use crate::output::selection::Prints;

/// Print the manual page of a command, or write those of all
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic man backlog claim | man -l -
  mosaic man --output /usr/local/share/man/man1

install.sh puts the pages where `man mosaic-backlog-claim` finds them.")]
pub struct Man {
    /// The command, as in `backlog claim` [default: mosaic itself]
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    words: Vec<String>,

    /// Write a page for every command into this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Man {
    pub fn prints(&self) -> Prints {
        match self.output {
            Some(_) => Prints::Outcome,
            None => Prints::Report,
        }
    }

    pub fn run(self, program: Command) -> Result<Reply, Failure> {
        let root = tree(program);
        if let Some(folder) = &self.output {
            return write_all(&root, &environment::from_home(folder));
        }
        let mut command = &root;
        for word in self.words.iter().filter(|word| *word != "fleet") {
            command = command.find_subcommand(word).ok_or_else(|| {
                Failure::usage(format!(
                    "there is no command \"{word}\" in {}",
                    name(command)
                ))
                .hint("`mosaic --help` shows the commands.")
            })?;
        }
        Ok(Reply::new(
            json!({"name": name(command), "page": page(command)?}),
            |document, _| document["page"].as_str().unwrap_or_default().to_owned(),
        ))
    }
}

/// The commands without the long way to write `mosaic backlog`.
fn tree(program: Command) -> Command {
    let mut root = program.mut_subcommand("fleet", |fleet| fleet.hide(true));
    root.build();
    root
}

fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or("mosaic")
}

fn write_all(root: &Command, folder: &Path) -> Result<Reply, Failure> {
    let cannot = |path: &Path, error: std::io::Error| {
        Failure::io(format!("cannot write {}", path.display()), &error).detail(sentence(&error))
    };
    let folder = &replacement::place(folder)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(|error| cannot(folder, error))?;
    let mut pages = Vec::new();
    let mut commands = vec![root];
    while let Some(command) = commands.pop() {
        let file = format!("{}.1", name(command));
        let path = folder.join(&file);
        let replacement = Replacement::begin_public(&path)?;
        replacement
            .open()?
            .write_all(page(command)?.as_bytes())
            .map_err(|error| replacement.failed(&error))?;
        replacement.finish()?;
        pages.push(file);
        commands.extend(
            command
                .get_subcommands()
                .filter(|below| !below.is_hide_set()),
        );
    }
    pages.sort();
    Ok(Reply::new(
        json!({"folder": folder.to_string_lossy(), "pages": pages}),
        |document, _| {
            let pages = document["pages"].as_array().map_or(0, Vec::len);
            let folder = one_line(document["folder"].as_str().unwrap_or_default());
            format!("{pages} pages in {folder}")
        },
    ))
}

fn page(command: &Command) -> Result<String, Failure> {
    let examples = command.get_after_help().map(ToString::to_string);
    let page = Page::new(command.clone())
        .title(name(command).to_uppercase())
        .source(format!("mosaic {}", env!("CARGO_PKG_VERSION")))
        .manual("Mosaic Backlog");
    let mut text = Vec::new();
    let sections = [
        Page::render_title,
        Page::render_name_section,
        Page::render_synopsis_section,
        Page::render_description_section,
        Page::render_options_section,
    ];
    let rendered = sections
        .iter()
        .try_for_each(|section| section(&page, &mut text))
        .and_then(|()| match command.has_subcommands() {
            true => page.render_subcommands_section(&mut text),
            false => Ok(()),
        });
    rendered.map_err(|error| {
        Failure::internal("the manual page cannot be written").detail(sentence(&error))
    })?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    if let Some(examples) = examples {
        text.push_str(&format!(".SH NOTES\n.nf\n{}.fi\n", verbatim(&examples)));
    }
    Ok(in_ascii(&text))
}

/// Not every troff reads UTF-8.
fn in_ascii(text: &str) -> String {
    text.chars()
        .map(|letter| match letter.is_ascii() {
            true => letter.to_string(),
            false => format!("\\[u{:04X}]", u32::from(letter)),
        })
        .collect()
}

/// Lines as they are, in what troff reads.
fn verbatim(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('`', "\\(ga")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti");
    escaped
        .lines()
        .map(|line| match line.starts_with('.') {
            true => format!("\\&{line}\n"),
            false => format!("{line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{in_ascii, verbatim};

    #[test]
    fn what_troff_would_read_as_its_own_is_escaped() {
        assert_eq!(
            verbatim(".x\n  mosaic --json '{\"a\":1}'\n'y"),
            "\\&.x\n  mosaic \\-\\-json \\(aq{\"a\":1}\\(aq\n\\(aqy\n"
        );
    }

    #[test]
    fn other_letters_are_named() {
        assert_eq!(in_ascii("a…\u{1F600}"), "a\\[u2026]\\[u1F600]");
    }
}
