//! How much of an answer is printed: all of it, some fields of each card, or ids alone.

use std::io::{self, IsTerminal};

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::failure::suggest::{question, similar};
use crate::output::hint::Words;
use crate::output::notes::warn;
use crate::output::screen::{Paint, Screen, escaped_json, local_time, many_lines, one_line};
use crate::output::table::{Cell, Table};

/// Where an answer keeps its cards.
const PLACES: [&str; 3] = ["card", "cards", "reclaimed"];

/// Turns the document into the text that people read.
pub type View = fn(&Value, &Screen) -> String;

/// What a command has to say.
pub enum Prints {
    /// Cards that have these fields.
    Cards(Vec<&'static str>),
    /// What came of it, which need not be said.
    Outcome,
    /// What the caller wants to read.
    Report,
}

/// What the flags say about the answer.
#[derive(Default)]
pub struct Asked {
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
    /// Empty: all of them.
    pub fields: Vec<String>,
}

/// What the caller wants to see of it, and in which words.
pub struct Selection {
    json: bool,
    quiet: bool,
    /// Empty: all of them.
    fields: Vec<String>,
    pub words: Words,
}

impl Selection {
    /// Of an error that comes before the flags are known.
    pub fn unknown(json: bool, words: Words) -> Self {
        Selection {
            json,
            quiet: false,
            fields: Vec::new(),
            words,
        }
    }

    /// What the flags ask for; refused before anything is done if the command cannot give it.
    pub fn of(asked: Asked, prints: &Prints, words: Words) -> Result<Self, Failure> {
        let quiet = asked.quiet;
        for (other, given) in [
            ("--json", asked.json),
            ("--fields", !asked.fields.is_empty()),
            ("--verbose", asked.verbose),
        ] {
            if quiet && given {
                return Err(Failure::usage(format!("--quiet does not go with {other}"))
                    .hint("--quiet prints only ids, one per line."));
            }
        }
        if quiet && matches!(prints, Prints::Report) {
            return Err(Failure::usage("--quiet would leave nothing of this output")
                .detail("It holds no cards, whose ids could be printed."));
        }
        match prints {
            Prints::Cards(known) => check_fields(&asked.fields, known)?,
            _ if !asked.fields.is_empty() => {
                return Err(Failure::usage("--fields is for commands that print cards")
                    .detail("The output of this command holds none."));
            }
            _ => {}
        }
        Ok(Selection {
            json: asked.json,
            quiet,
            fields: asked.fields,
            words,
        })
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether ids alone are printed.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The text of an answer.
    pub fn text(&self, mut document: Value, view: View) -> String {
        if self.quiet {
            return ids(&document);
        }
        if !self.fields.is_empty() {
            for card in cards_of(&mut document) {
                self.cut(card);
            }
        }
        if self.json {
            return json_text(&document);
        }
        let screen = Screen::stdout();
        if self.fields.is_empty() || cards_in(&document).is_empty() {
            return view(&document, &screen);
        }
        let cards = match document.get("card") {
            Some(card) => lines(card, &screen),
            None => self.table(&document, &screen),
        };
        cards + &beside(&document, &screen)
    }

    /// Leaves of a card only what was asked for, in that order.
    fn cut(&self, card: &mut Value) {
        let mut fields = Map::new();
        for field in &self.fields {
            fields.insert(field.clone(), card[field.as_str()].take());
        }
        *card = Value::Object(fields);
    }

    /// The fields are what was asked for, so that none is cut, on a terminal either.
    fn table(&self, document: &Value, screen: &Screen) -> String {
        let heads = self.fields.iter().map(|field| field.to_uppercase());
        let mut table = Table::new(heads, "");
        for card in cards_in(document) {
            table.push(self.fields.iter().map(|field| {
                let text = shown(field, &card[field.as_str()]);
                match field.as_str() {
                    "id" => Cell::painted(text, Paint::Bold),
                    _ => Cell::plain(text),
                }
            }));
        }
        table.render(&Screen {
            width: None,
            colour: screen.colour,
        })
    }
}

pub fn check_fields(given: &[String], known: &[&str]) -> Result<(), Failure> {
    for (at, field) in given.iter().enumerate() {
        if !known.contains(&field.as_str()) {
            let failure = Failure::usage(format!("there is no field \"{field}\""))
                .detail(format!("The fields are: {}.", known.join(", ")));
            let near = similar(field, known.iter().copied());
            return Err(match question(&near) {
                Some(question) => failure.hint(question),
                None => failure,
            });
        }
        if given[..at].contains(field) {
            return Err(Failure::usage(format!(
                "the field \"{field}\" is named twice"
            )));
        }
    }
    Ok(())
}

fn cards_in(document: &Value) -> &[Value] {
    match PLACES.iter().find_map(|place| document.get(place)) {
        Some(Value::Array(cards)) => cards,
        Some(card) => std::slice::from_ref(card),
        None => &[],
    }
}

fn cards_of(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let keys = document.as_object_mut().into_iter().flatten();
    keys.filter(|(key, _)| PLACES.contains(&key.as_str()))
        .flat_map(|(_, value)| match value {
            Value::Array(cards) => cards.iter_mut().collect(),
            card => vec![card],
        })
}

/// One id a line. Where a list goes on, only a warning can say so.
fn ids(document: &Value) -> String {
    if let Some(next) = document["next"].as_str() {
        warn(&format!("there are more cards: --after {}", one_line(next)));
    }
    cards_in(document)
        .iter()
        .filter_map(|card| Some(one_line(card["id"].as_str()?) + "\n"))
        .collect()
}

/// Compact, as every token costs those who read it by program; indented for people.
pub fn json_text(document: &Value) -> String {
    escaped_json(if io::stdout().is_terminal() {
        format!("{document:#}")
    } else {
        document.to_string()
    })
}

/// A field a line.
fn lines(fields: &Value, screen: &Screen) -> String {
    let Some(fields) = fields.as_object() else {
        return String::new();
    };
    let width = fields.keys().map(String::len).max().unwrap_or(0) + 2;
    fields
        .iter()
        .map(|(field, value)| {
            let name = screen.paint(Paint::Dim, field);
            let gap = " ".repeat(width - field.len());
            let text = many_lines(&shown(field, value));
            let text = text.replace('\n', &format!("\n{}", " ".repeat(width)));
            format!("{name}{gap}{text}").trim_end().to_owned() + "\n"
        })
        .collect()
}

/// What stands beside the cards, unless it is empty.
fn beside(document: &Value, screen: &Screen) -> String {
    let mut others = document.as_object().cloned().unwrap_or_default();
    others.retain(|key, value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        !empty && !PLACES.contains(&key.as_str())
    });
    lines(&Value::Object(others), screen)
}

/// A value as people read it.
fn shown(field: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(time) if field.ends_with("_at") || field == "not_before" => local_time(time),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            words.join(", ")
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Screen = Screen {
        width: None,
        colour: false,
    };

    fn selection(fields: &[&str]) -> Selection {
        Selection {
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            ..Selection::unknown(false, Words::of(clap::Command::default))
        }
    }

    #[test]
    fn a_card_keeps_the_fields_that_were_asked_for_in_their_order() {
        let mut document =
            json!({"cards": [{"id": "A", "title": "T", "phase": null}], "next": "7"});
        let selection = selection(&["phase", "id"]);
        for card in cards_of(&mut document) {
            selection.cut(card);
        }
        assert_eq!(
            document.to_string(),
            r#"{"cards":[{"phase":null,"id":"A"}],"next":"7"}"#
        );
        assert_eq!(selection.table(&document, &PLAIN), "PHASE  ID\n       A\n");
        assert_eq!(beside(&document, &PLAIN), "next  7\n");
    }

    #[test]
    fn a_single_card_is_shown_line_by_line() {
        let card = json!({"id": "A", "body": "one\ntwo", "labels": ["x", "y"], "result": {"n": 1}});
        assert_eq!(
            lines(&card, &PLAIN),
            "id      A\nbody    one\n        two\nlabels  x, y\nresult  {\"n\":1}\n"
        );
    }

    #[test]
    fn an_unknown_field_is_refused_with_the_nearest_and_all() {
        let known = ["id", "title", "priority"];
        let asked = |fields: &[&str]| check_fields(&selection(fields).fields, &known);
        assert!(asked(&["priority", "id"]).is_ok());
        let failure = asked(&["prioritty"]).unwrap_err();
        assert_eq!(failure.hint.unwrap(), "Did you mean \"priority\"?");
        assert_eq!(
            failure.detail.unwrap(),
            "The fields are: id, title, priority."
        );
        assert!(asked(&["id", "id"]).is_err());
    }

    #[test]
    fn quiet_is_ids_alone() {
        assert_eq!(
            ids(&json!({"card": {"id": "A"}, "unblocked": ["B"]})),
            "A\n"
        );
        assert_eq!(ids(&json!({"cards": [{"id": "A"}, {"id": "B"}]})), "A\nB\n");
        assert_eq!(ids(&json!({"reclaimed": [{"id": "A"}]})), "A\n");
        assert_eq!(ids(&json!({"file": "f", "bytes": 1})), "");
    }
}
