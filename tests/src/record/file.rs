//! A record as a file of JSON lines, to be checked again or read by a person.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Card, Entry, Event, Mark, Record};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Call(Entry),
    Mark(Mark),
    Card(Card),
    Link(String, String),
    Event(Event),
    Lost(i64),
    /// How many lines came before, so that a file that was cut off is recognised.
    End(usize),
}

pub fn write(record: &Record, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let backlog = &record.backlog;
    let lines = (record.entries.iter().cloned().map(Line::Call))
        .chain(record.marks.iter().cloned().map(Line::Mark))
        .chain(backlog.cards.iter().cloned().map(Line::Card))
        .chain((backlog.links.iter().cloned()).map(|(card, on)| Line::Link(card, on)))
        .chain(backlog.events.iter().cloned().map(Line::Event))
        .chain([Line::Lost(backlog.lost)]);
    let mut count = 0;
    for line in lines {
        serde_json::to_writer(&mut file, &line)?;
        writeln!(file)?;
        count += 1;
    }
    serde_json::to_writer(&mut file, &Line::End(count))?;
    writeln!(file)?;
    file.flush()
}

pub fn read(path: &Path) -> io::Result<Record> {
    let mut record = Record::default();
    for (count, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        match serde_json::from_str(&line?)? {
            Line::Call(entry) => record.entries.push(entry),
            Line::Mark(mark) => record.marks.push(mark),
            Line::Card(card) => record.backlog.cards.push(card),
            Line::Link(card, on) => record.backlog.links.push((card, on)),
            Line::Event(event) => record.backlog.events.push(event),
            Line::Lost(lost) => record.backlog.lost = lost,
            Line::End(expected) if expected == count => return Ok(record),
            Line::End(expected) => {
                return Err(broken(format!("{count} lines instead of {expected}")));
            }
        }
    }
    Err(broken("the end is missing".to_owned()))
}

fn broken(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
