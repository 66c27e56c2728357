//! How a card looks to people: as a line, as a row of a table, as a page.

use serde_json::Value;

use crate::database::store::Record;
use crate::output::document;
use crate::output::reply::Reply;
use crate::output::screen::{Paint, Screen, local_time, many_lines, one_line};
use crate::output::table::{Cell, Table};

/// The columns of a card.
const FIELDS: [&str; 26] = [
    "id",
    "title",
    "body",
    "phase",
    "labels",
    "requires",
    "priority",
    "status",
    "acceptance",
    "idempotency_key",
    "not_before",
    "claim_owner",
    "claim_token",
    "claim_ttl_seconds",
    "claimed_at",
    "claim_expires_at",
    "attempts",
    "max_attempts",
    "block_kind",
    "block_reason",
    "result",
    "open_dependencies",
    "created_at",
    "updated_at",
    "completed_at",
    "depends_on",
];

/// What its next worker is told, beside the card.
pub const SAID: [&str; 5] = [
    "last_failure",
    "notes",
    "notes_total",
    "last_release",
    "last_answer",
];

/// The fields of a card that was claimed.
pub fn claimed_fields() -> Vec<&'static str> {
    fields(&[
        "dependencies",
        "last_failure",
        "dependencies_total",
        "notes",
        "notes_total",
        "last_release",
        "last_answer",
    ])
}

/// The fields of a card, and those that a verb adds.
pub fn fields(more: &[&'static str]) -> Vec<&'static str> {
    [&FIELDS, more].concat()
}

/// A text column, or "" for null.
pub fn text<'a>(record: &'a Value, column: &str) -> &'a str {
    record[column].as_str().unwrap_or_default()
}

pub fn number(record: &Value, column: &str) -> i64 {
    record[column].as_i64().unwrap_or_default()
}

/// A text[] column with commas.
pub fn words(record: &Value, column: &str) -> String {
    let words: Vec<&str> = items(&record[column])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    words.join(", ")
}

pub fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The answer `{"card":{…}}`.
pub fn reply(card: Record) -> Reply {
    Reply::new(document::card(card), |document, screen| {
        line(&document["card"], screen)
    })
}

/// The answer `{"cards":[…]}` of a verb that touches several.
pub fn replies(cards: Vec<Record>) -> Reply {
    Reply::new(document::cards(cards), |document, screen| {
        let cards = items(&document["cards"]);
        if cards.is_empty() {
            return "nothing to change\n".into();
        }
        cards.iter().map(|card| line(card, screen)).collect()
    })
}

/// `A4 claimed by w1 until 12:31 (token 42): Title`
pub fn line(card: &Value, screen: &Screen) -> String {
    format!(
        "{} {}: {}\n",
        id(card, screen),
        state(card, screen),
        one_line(text(card, "title"))
    )
}

pub fn id(card: &Value, screen: &Screen) -> String {
    screen.paint(Paint::Bold, &one_line(text(card, "id")))
}

/// The status with what explains it.
pub fn state(card: &Value, screen: &Screen) -> String {
    let status = screen.paint(status_paint(card), text(card, "status"));
    match note(card) {
        note if note.is_empty() => status,
        note => match text(card, "status") {
            "claimed" => match card["claim_token"].as_i64() {
                Some(token) => format!("{status} by {note} (token {token})"),
                None => format!("{status} by {note}"),
            },
            "blocked" => format!("{status} ({note})"),
            _ => format!("{status}, {note}"),
        },
    }
}

fn status_paint(card: &Value) -> Paint {
    match text(card, "status") {
        "ready" => Paint::Good,
        "claimed" => Paint::Info,
        "blocked" => Paint::Warn,
        _ => Paint::Dim,
    }
}

/// Why a card is where it is: its holder, its reason, or what it waits for.
pub fn note(card: &Value) -> String {
    let note = match text(card, "status") {
        "claimed" => format!(
            "{} until {}",
            text(card, "claim_owner"),
            local_time(text(card, "claim_expires_at"))
        ),
        "blocked" => match (text(card, "block_kind"), text(card, "block_reason")) {
            (kind, "") => kind.to_owned(),
            (kind, reason) => format!("{kind}: {reason}"),
        },
        "ready" => match (number(card, "open_dependencies"), text(card, "not_before")) {
            (0, "") => String::new(),
            (0, time) if is_past(time) => String::new(),
            (0, time) => format!("not before {}", local_time(time)),
            (1, _) => "waits for 1 card".into(),
            (open, _) => format!("waits for {open} cards"),
        },
        _ => String::new(),
    };
    one_line(&note)
}

pub fn is_past(time: &str) -> bool {
    chrono::DateTime::parse_from_rfc3339(time).is_ok_and(|time| time <= chrono::Utc::now())
}

pub fn table(cards: &[Value], screen: &Screen) -> String {
    let mut table = Table::new(["ID", "STATUS", "PRIO", "PHASE", "TITLE", "NOTE"], "TITLE");
    for card in cards {
        table.push([
            Cell::painted(text(card, "id"), Paint::Bold),
            Cell::painted(text(card, "status"), status_paint(card)),
            Cell::plain(card["priority"].to_string()),
            Cell::plain(text(card, "phase")),
            Cell::plain(text(card, "title")),
            Cell::painted(note(card), Paint::Dim),
        ]);
    }
    table.render(screen)
}

/// Everything about one card.
pub fn page(card: &Value, screen: &Screen) -> String {
    let mut page = format!(
        "{}  {}\n",
        id(card, screen),
        screen.paint(Paint::Bold, &one_line(text(card, "title")))
    );
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let name = screen.paint(Paint::Dim, &format!("{name:<12}"));
            page.push_str(&format!("{name}{value}\n"));
        }
    };
    field("status", &state(card, screen));
    field("phase", &one_line(text(card, "phase")));
    field("priority", &card["priority"].to_string());
    field("labels", &one_line(&words(card, "labels")));
    field("requires", &one_line(&words(card, "requires")));
    let needs = one_line(&words(card, "depends_on"));
    let open = number(card, "open_dependencies");
    if open > 0 {
        field("needs", &format!("{needs} ({open} open)"));
    } else {
        field("needs", &needs);
    }
    match card["max_attempts"].as_i64() {
        Some(most) => field(
            "attempts",
            &format!("{} of {most}", number(card, "attempts")),
        ),
        None => field("attempts", &number(card, "attempts").to_string()),
    }
    field("key", &one_line(text(card, "idempotency_key")));
    for (name, column) in [
        ("not before", "not_before"),
        ("claimed", "claimed_at"),
        ("created", "created_at"),
        ("updated", "updated_at"),
        ("completed", "completed_at"),
    ] {
        let time = text(card, column);
        if !time.is_empty() {
            field(name, &local_time(time));
        }
    }
    for (name, column) in BEFORE {
        field(name, &one_line(text(card, column)));
    }
    if let Some(body) = card["body"].as_str() {
        page.push_str(&format!("\n{}\n", many_lines(body.trim_end())));
    }
    for column in ["acceptance", "result"] {
        if !card[column].is_null() {
            let title = screen.paint(Paint::Dim, column);
            page.push_str(&format!("\n{title}\n{}\n", pretty(&card[column])));
        }
    }
    page.push_str(&notes(card, screen));
    page
}

/// What was said before, and the column that has it.
const BEFORE: [(&str, &str); 3] = [
    ("failed", "last_failure"),
    ("released", "last_release"),
    ("answer", "last_answer"),
];

/// The notes that the card came with, each with who said it and when.
fn notes(card: &Value, screen: &Screen) -> String {
    let (told, total) = (items(&card["notes"]), number(card, "notes_total"));
    if told.is_empty() {
        return String::new();
    }
    let title = match told.len() as i64 {
        n if n == total => "notes".to_owned(),
        n => format!("notes (the last {n} of {total})"),
    };
    let mut page = format!("\n{}\n", screen.paint(Paint::Dim, &title));
    for note in told {
        let who = format!(
            "{} {}:",
            local_time(text(note, "at")),
            one_line(text(note, "actor"))
        );
        let said = match note["note_omitted"].as_i64() {
            Some(bytes) => format!("({bytes} bytes left out: `mosaic backlog events` has them)"),
            None => many_lines(text(note, "note").trim_end()),
        };
        page.push_str(&format!("{} {said}\n", screen.paint(Paint::Dim, &who)));
    }
    page
}

/// In a claim's answer: what was said before, in a line each.
pub fn said(card: &Value) -> String {
    let mut lines = String::new();
    for (name, column) in [
        ("failed before", "last_failure"),
        ("released before", "last_release"),
        ("answer", "last_answer"),
    ] {
        let said = text(card, column);
        if !said.is_empty() {
            lines.push_str(&format!("  {name}: {}\n", one_line(said)));
        }
    }
    let (count, last) = (number(card, "notes_total"), items(&card["notes"]).last());
    if let Some(last) = last {
        let notes = if count == 1 { "note" } else { "notes" };
        let said = format!("{}: {}", text(last, "actor"), text(last, "note"));
        lines.push_str(&format!(
            "  {count} {notes}, the last by {}\n",
            one_line(&said)
        ));
    }
    lines
}

/// JSON for people. JSON escapes control characters by itself, but not the marks that reorder a line.
fn pretty(value: &Value) -> String {
    many_lines(&format!("{value:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Screen = Screen {
        width: None,
        colour: false,
    };

    #[test]
    fn a_claimed_card_names_its_holder_and_the_token_where_it_is_told() {
        let mut card = json!({
            "id": "A4", "title": "Parse", "status": "claimed", "claim_owner": "w1",
            "claim_token": 42, "claim_expires_at": "2001-02-03T12:00:00+00:00",
        });
        let told = line(&card, &PLAIN);
        assert!(
            told.starts_with("A4 claimed by w1 until 2001-02-0"),
            "{told}"
        );
        assert!(told.ends_with("(token 42): Parse\n"), "{told}");
        card["claim_token"] = json!(null);
        assert!(!line(&card, &PLAIN).contains("token"));
    }

    #[test]
    fn a_ready_card_says_what_it_waits_for() {
        let mut card = json!({
            "id": "A4", "title": "T", "status": "ready", "open_dependencies": 2, "not_before": null,
        });
        assert_eq!(line(&card, &PLAIN), "A4 ready, waits for 2 cards: T\n");
        card["open_dependencies"] = json!(0);
        assert_eq!(line(&card, &PLAIN), "A4 ready: T\n");
        card["not_before"] = json!("2001-02-03T12:00:00+00:00");
        assert_eq!(line(&card, &PLAIN), "A4 ready: T\n");
    }

    #[test]
    fn a_blocked_card_gives_its_reason() {
        let card = json!({
            "id": "A4", "title": "T", "status": "blocked", "block_kind": "input",
            "block_reason": "which colour?",
        });
        assert_eq!(
            line(&card, &PLAIN),
            "A4 blocked (input: which colour?): T\n"
        );
    }

    #[test]
    fn the_page_leaves_out_what_is_absent() {
        let card = json!({
            "id": "A4", "title": "T", "status": "ready", "phase": null, "priority": 0, "labels": [],
            "requires": [], "depends_on": ["A1"], "open_dependencies": 1, "attempts": 0,
            "max_attempts": null, "body": "line\n", "result": {"ok": true}, "acceptance": null,
        });
        assert_eq!(
            page(&card, &PLAIN),
            "A4  T\n\
             status      ready, waits for 1 card\n\
             priority    0\n\
             needs       A1 (1 open)\n\
             attempts    0\n\
             \nline\n\
             \nresult\n{\n  \"ok\": true\n}\n"
        );
    }
}
