//! `export`: the whole backlog as JSON lines.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::Type;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::database::store::{Address, Store};
use crate::failure::{Exit, Failure, sentence};
use crate::files::replacement::Replacement;
use crate::output::progress::Progress;
use crate::output::reply::Reply;
use crate::output::screen::{Screen, escaped_json, one_line};
use crate::output::selection::Selection;

/// Write the whole backlog to a file, as JSON lines
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog export backlog.jsonl
  mosaic backlog export --no-events | gzip > backlog.jsonl.gz

The first line is a header, the last one says that the file is whole; import refuses a file
without it. Everything in between is of one moment, however long the export takes.")]
pub struct Export {
    /// The file to write; it gets its name only when it is complete [default: standard output]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Leave out the dependencies
    #[arg(long)]
    no_dependencies: bool,

    /// Leave out the history
    #[arg(long)]
    no_events: bool,
}

/// The first line.
#[derive(Deserialize)]
struct Header {
    cards: u64,
    dependencies: Option<u64>,
    events: Option<u64>,
}

impl Export {
    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        let file = self.file.as_deref().filter(|path| *path != Path::new("-"));
        let Some(file) = file else {
            if selection.is_json() {
                return Err(
                    Failure::usage("export --json needs a FILE for the lines").hint(
                        "The lines are JSON by themselves; --json prints one document about them.",
                    ),
                );
            }
            let stdout = io::stdout().lock();
            let shown = stdout.is_terminal();
            return self
                .write(address, stdout, shown)
                .map(|_| Reply::Written(Exit::Success))
                .or_else(
                    // The reader has seen enough.
                    |failed| match failed {
                        Failed::Output(error) if error.kind() == ErrorKind::BrokenPipe => {
                            Ok(Reply::Written(Exit::Success))
                        }
                        Failed::Output(error) => {
                            Err(Failure::io("cannot write to standard output", &error)
                                .detail(sentence(&error)))
                        }
                        Failed::Database(failure) => Err(failure),
                    },
                );
        };
        let replacement = Replacement::begin(file)?;
        let header =
            self.write(address, replacement.open()?, false)
                .map_err(|failed| match failed {
                    Failed::Output(error) => replacement.failed(&error),
                    Failed::Database(failure) => failure,
                })?;
        let bytes = replacement.finish()?;
        Ok(Reply::new(
            json!({
                "file": file.to_string_lossy(), "cards": header.cards,
                "dependencies": header.dependencies, "events": header.events, "bytes": bytes,
            }),
            view,
        ))
    }

    /// `shown`: on a terminal.
    fn write(&self, address: &Address, to: impl Write, shown: bool) -> Result<Header, Failed> {
        let mut store = Store::open(address)?;
        store.require("backlog_export")?;
        let parameters = [!self.no_dependencies, !self.no_events].map(|on| (on, Type::BOOL));
        let mut rows = store
            .client
            .query_typed_raw("select line from mosaic.backlog_export($1, $2)", parameters)
            .map_err(Failure::from)?;
        let mut to = BufWriter::with_capacity(1 << 16, to);
        let mut progress = Progress::new("export");
        let mut header: Option<Header> = None;
        let mut lines = 0;
        while let Some(row) = rows.next().map_err(Failure::from)? {
            let line: &str = row.try_get(0).map_err(Failure::from)?;
            if header.is_none() {
                let first: Header = serde_json::from_str(line).map_err(|error| {
                    Failure::internal("the export's header is not readable")
                        .detail(sentence(&error))
                })?;
                progress.expect(first.lines());
                header = Some(first);
            }
            if shown {
                let line = escaped_json(line.to_owned());
                to.write_all(line.as_bytes()).map_err(Failed::Output)?;
            } else {
                to.write_all(line.as_bytes()).map_err(Failed::Output)?;
            }
            to.write_all(b"\n").map_err(Failed::Output)?;
            lines += 1;
            progress.reach(lines);
        }
        to.flush().map_err(Failed::Output)?;
        match header {
            Some(header) if header.lines() == lines => Ok(header),
            _ => Err(Failure::internal("the export ended before its last line").into()),
        }
    }
}

impl Header {
    /// All lines, the first and the last included.
    fn lines(&self) -> u64 {
        self.cards + self.dependencies.unwrap_or(0) + self.events.unwrap_or(0) + 2
    }
}

enum Failed {
    Output(io::Error),
    Database(Failure),
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Failed::Database(failure)
    }
}

/// "3 cards, 2 dependencies, 9 events"; what was left out is not named.
pub fn counted(document: &Value) -> String {
    let counts = [
        ("cards", "card", "cards"),
        ("dependencies", "dependency", "dependencies"),
        ("events", "event", "events"),
    ];
    let parts: Vec<String> = counts
        .into_iter()
        .filter_map(|(key, one, many)| {
            let count = document[key].as_u64()?;
            Some(format!("{count} {}", if count == 1 { one } else { many }))
        })
        .collect();
    parts.join(", ")
}

fn view(document: &Value, _: &Screen) -> String {
    format!(
        "exported {} to {}\n",
        counted(document),
        one_line(document["file"].as_str().unwrap_or_default())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_not_named() {
        assert_eq!(
            counted(&json!({"cards": 1, "dependencies": null, "events": 2})),
            "1 card, 2 events"
        );
    }
}
