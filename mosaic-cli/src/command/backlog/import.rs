//! `import`: the lines of an export, as a whole or not at all.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use clap::Args;
use postgres::types::Type;
use postgres::{IsolationLevel, Transaction};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::export::counted;
use super::worker::Actor;
use crate::database::store::{Address, Store};
use crate::failure::{Code, Failure, sentence};
use crate::input::filled;
use crate::output::progress::Progress;
use crate::output::reply::Reply;
use crate::output::screen::Screen;

/// A call takes lines up to so many bytes, or one that is longer.
const CALL: usize = 1 << 20;
/// No line of an export is longer.
const LONGEST_LINE: u64 = 64 << 20;

/// Add the cards of an export, all or nothing
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog import backlog.jsonl
  gunzip -c backlog.jsonl.gz | mosaic backlog import - --json

Nothing is imported if the file is cut off or changed, or if one of its cards already exists.
A card that was claimed arrives as ready; everything else is as it was.")]
pub struct Import {
    /// The file that export wrote, or - for standard input
    #[arg(value_name = "FILE", value_parser = filled)]
    file: String,

    /// Ignore the dependencies: no imported card waits
    #[arg(long)]
    no_dependencies: bool,

    /// Ignore the history
    #[arg(long)]
    no_events: bool,

    #[command(flatten)]
    actor: Actor,
}

impl Import {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let from: Box<dyn Read> = if self.file == "-" {
            Box::new(io::stdin().lock())
        } else {
            Box::new(File::open(&self.file).map_err(|error| unreadable(&self.file, &error))?)
        };
        let mut lines = Lines::new(&self.file, from);
        // What is no export at all need not trouble the database.
        let Some(first) = lines.chunk()? else {
            return Err(Failure::usage(format!("{} is empty", self.file)));
        };
        let mut progress = Progress::new("import");
        progress.expect(expected(&first));
        let mut store = Store::open(address)?;
        store.require("backlog_import")?;
        let transaction = store
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()?;
        let mut call = Call {
            transaction,
            dependencies: !self.no_dependencies,
            events: !self.no_events,
            actor: self.actor.name(),
        };
        let mut chunk = Some(first);
        let mut imported = Imported::default();
        while let Some(text) = chunk {
            if imported.finished {
                return Err(Failure::usage(format!(
                    "{} goes on after its end line, at line {}",
                    self.file,
                    imported.lines + 1
                ))
                .detail("Nothing was changed."));
            }
            imported = call.send(&text)?;
            progress.reach(imported.lines.unsigned_abs());
            chunk = lines.chunk()?;
        }
        if !imported.finished {
            return Err(Failure::new(
                Code::InvalidArgument,
                format!("{} is cut off after line {}", self.file, imported.lines),
            )
            .detail("Its end line is missing. Nothing was changed.")
            .hint("Export again, or find the whole file."));
        }
        call.transaction.commit()?;
        Ok(Reply::new(
            json!({"cards": imported.cards, "dependencies": imported.dependencies, "events": imported.events}),
            |document: &Value, _: &Screen| format!("imported {}\n", counted(document)),
        ))
    }
}

/// How far the import has come.
#[derive(Default)]
struct Imported {
    lines: i64,
    cards: i64,
    dependencies: i64,
    events: i64,
    finished: bool,
}

struct Call<'a> {
    transaction: Transaction<'a>,
    dependencies: bool,
    events: bool,
    actor: String,
}

impl Call<'_> {
    fn send(&mut self, lines: &str) -> Result<Imported, Failure> {
        let row = self.transaction.query_typed_one(
            "select lines, cards, dependencies, events, finished \
             from mosaic.backlog_import($1::jsonb, $2, $3, $4)",
            &[
                (&lines, Type::TEXT),
                (&self.dependencies, Type::BOOL),
                (&self.events, Type::BOOL),
                (&self.actor, Type::TEXT),
            ],
        )?;
        Ok(Imported {
            lines: row.try_get(0)?,
            cards: row.try_get(1)?,
            dependencies: row.try_get(2)?,
            events: row.try_get(3)?,
            finished: row.try_get(4)?,
        })
    }
}

/// What the header says how many lines there are; if it is none, the database says so.
fn expected(chunk: &str) -> u64 {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Header {
        cards: u64,
        dependencies: Option<u64>,
        events: Option<u64>,
    }
    let mut headers = serde_json::Deserializer::from_str(&chunk[1..]).into_iter::<Header>();
    let header = headers.next().and_then(Result::ok).unwrap_or_default();
    header
        .cards
        .saturating_add(header.dependencies.unwrap_or(0))
        .saturating_add(header.events.unwrap_or(0))
        .saturating_add(2)
}

fn unreadable(file: &str, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot read {file}")).detail(sentence(error))
}

/// The lines of a file, some at a time.
struct Lines<'a> {
    file: &'a str,
    from: BufReader<Box<dyn Read>>,
    number: u64,
}

impl<'a> Lines<'a> {
    fn new(file: &'a str, from: Box<dyn Read>) -> Self {
        Lines {
            file,
            from: BufReader::with_capacity(1 << 16, from),
            number: 0,
        }
    }

    /// The next lines as a JSON array, unchanged; `None` at the end of the file.
    fn chunk(&mut self) -> Result<Option<String>, Failure> {
        let mut chunk = String::from("[");
        while chunk.len() < CALL {
            let Some(line) = self.line()? else { break };
            if chunk.len() > 1 {
                chunk.push(',');
            }
            chunk.push_str(line.trim());
        }
        if chunk.len() == 1 {
            return Ok(None);
        }
        chunk.push(']');
        Ok(Some(chunk))
    }

    fn line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        let read = (&mut self.from)
            .take(LONGEST_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(|error| unreadable(self.file, &error))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if line.len() as u64 > LONGEST_LINE {
            return Err(self.wrong("It is too long for one."));
        }
        let Ok(line) = String::from_utf8(line) else {
            return Err(self.wrong("It is not UTF-8."));
        };
        // A line of its own in the array that is sent, whatever stands in it.
        if !line.trim_start().starts_with('{') {
            return Err(self.wrong("It is not a JSON object."));
        }
        match serde_json::from_str::<IgnoredAny>(&line) {
            Ok(_) => Ok(Some(line)),
            Err(error) if error.is_eof() => Err(self.wrong("It is cut off.")),
            Err(error) => Err(self.wrong(&sentence(&error))),
        }
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::new(
            Code::InvalidArgument,
            format!(
                "line {} of {} is not a line of an export",
                self.number, self.file
            ),
        )
        .detail(format!("{why} Nothing was changed."))
        .hint("Export again, or find the whole file.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &'static str) -> Result<Vec<String>, Failure> {
        let mut lines = Lines::new("f", Box::new(text.as_bytes()));
        let mut chunks = Vec::new();
        while let Some(chunk) = lines.chunk()? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    #[test]
    fn lines_become_an_array_unchanged() {
        assert_eq!(chunks("").unwrap(), Vec::<String>::new());
        assert_eq!(
            chunks("{\"a\":1.10}\n{\"b\":2}").unwrap(),
            ["[{\"a\":1.10},{\"b\":2}]"]
        );
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for (text, why) in [
            ("{\"a\":1}\n{\"b\":", "It is cut off."),
            ("{\"a\":1}\n\n", "It is not a JSON object."),
            ("{\"a\":1}\n{\"b\":1},{\"c\":1}\n", "Trailing characters"),
        ] {
            let failure = chunks(text).unwrap_err();
            assert_eq!(failure.message, "line 2 of f is not a line of an export");
            assert!(failure.detail.unwrap().starts_with(why), "{text}");
            assert_eq!(failure.code, Code::InvalidArgument);
        }
    }

    #[test]
    fn the_header_says_how_much_is_to_come() {
        assert_eq!(
            expected("[{\"cards\":3,\"dependencies\":null,\"events\":4},{}]"),
            9
        );
        assert_eq!(expected("[{\"cards\":-3}]"), 2);
    }
}
