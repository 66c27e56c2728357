//! The servers in a file of TOML. It is changed as a text, so that every other byte stays, and read again before it
//! is taken.

use std::ops::Range;

use serde_json::{Map, Value, json};
use toml_edit::{Document, Item, TableLike};

use super::ledger::Before;
use super::server::{Found, NAME, find, is_ours};

/// What of ours is in the text.
pub fn look(text: Option<&str>, key: &str, wanted: &Value) -> Result<Found, String> {
    let document = parse(text.unwrap_or_default())?;
    let Some(servers) = document.get(key) else {
        return Ok(Found::Nothing);
    };
    let servers = servers
        .as_table_like()
        .ok_or_else(|| format!("\"{key}\" is not a table"))?;
    let servers: Vec<(&str, Value)> = servers
        .iter()
        .map(|(name, server)| (name, to_json(server)))
        .collect();
    Ok(find(servers.into_iter(), wanted))
}

/// What the text is before ours is put into it.
pub fn before(text: Option<&str>) -> Before {
    match text {
        None => Before::NoFile,
        Some(text) => Before::Lead(lead(text)),
    }
}

/// The text with our entry in it, or with this one in the place of an older one.
pub fn put(text: Option<&str>, key: &str, entry: &Value) -> Result<String, String> {
    let text = text.unwrap_or_default();
    let newline = newline(text);
    let block = block(key, entry, newline);
    let document = parse(text)?;
    let old = document.get(key).and_then(|servers| servers.get(NAME));
    let after = match old {
        None => format!("{text}{}{block}", lead(text)),
        Some(Item::Value(value)) => {
            let place = value.span().ok_or_else(|| unclear(key))?;
            format!(
                "{}{}{}",
                &text[..place.start],
                inline(entry),
                &text[place.end..]
            )
        }
        Some(old) => {
            let place = lines_of(text, old).ok_or_else(|| unclear(key))?;
            format!("{}{block}{}", &text[..place.start], &text[place.end..])
        }
    };
    let mut wanted = to_json(document.as_item());
    wanted[key][NAME] = entry.clone();
    match parse(&after) {
        Ok(after_it) if to_json(after_it.as_item()) == wanted => Ok(after),
        _ => Err(unclear(key)),
    }
}

/// The text without our entry; `None`: there is none. An empty one: nothing is left of the file.
pub fn take_out(text: &str, key: &str, before: &Before) -> Result<Option<String>, String> {
    let document = parse(text)?;
    let Some(ours) = document.get(key).and_then(|servers| servers.get(NAME)) else {
        return Ok(None);
    };
    if !is_ours(&to_json(ours)) {
        return Ok(None);
    }
    let place = match ours {
        Item::Value(value) => value.span().map(|place| line_around(text, place)),
        ours => lines_of(text, ours),
    };
    let place = place.ok_or_else(|| unclear(key))?;
    let ahead = &text[..place.start];
    let newline = newline(text);
    let lead = match before {
        Before::Lead(lead) if ahead.ends_with(lead.as_str()) => lead.len(),
        Before::NoFile => 0,
        // A line between it and what stands before.
        _ if ahead.ends_with(&newline.repeat(2)) => newline.len(),
        _ => 0,
    };
    let after = format!("{}{}", &text[..place.start - lead], &text[place.end..]);
    let mut wanted = to_json(document.as_item());
    if let Some(servers) = wanted[key].as_object_mut() {
        servers.remove(NAME);
    }
    let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    let same = parse(&after).is_ok_and(|after| {
        let mut after = to_json(after.as_item());
        // The table of servers may have been there by ours alone.
        for value in [&mut after, &mut wanted] {
            if is_empty(&value[key])
                && let Some(root) = value.as_object_mut()
            {
                root.remove(key);
            }
        }
        after == wanted
    });
    if !same {
        return Err(unclear(key));
    }
    Ok(Some(after))
}

fn parse(text: &str) -> Result<Document<&str>, String> {
    Document::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!("line {line}, column {column}: {}", error.message())
    })
}

fn unclear(key: &str) -> String {
    format!("its \"{key}\" is written in a way that is not changed from here")
}

fn newline(text: &str) -> &'static str {
    match text.split_once('\n') {
        Some((line, _)) if line.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// What sets our table off from what stands before it.
fn lead(text: &str) -> String {
    match text {
        "" => String::new(),
        text if text.ends_with('\n') => newline(text).to_owned(),
        text => newline(text).repeat(2),
    }
}

fn block(key: &str, entry: &Value, newline: &str) -> String {
    let mut lines = vec![format!("[{key}.{NAME}]")];
    for (name, value) in entry.as_object().into_iter().flatten() {
        lines.push(format!("{name} = {}", value_text(value)));
    }
    lines.join(newline) + newline
}

fn inline(entry: &Value) -> String {
    let fields = entry.as_object().into_iter().flatten();
    let fields: Vec<String> = fields
        .map(|(name, value)| format!("{name} = {}", value_text(value)))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

fn value_text(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(value_text).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => toml_edit::Value::from(text.as_str()).to_string(),
        other => other.to_string(),
    }
}

/// From its header to the end of its last line.
fn lines_of(text: &str, table: &Item) -> Option<Range<usize>> {
    let start = table.as_table()?.span()?.start;
    if !text.get(start..)?.starts_with('[') {
        return None;
    }
    let end = last(table)?;
    Some(line_around(text, start..end))
}

fn last(item: &Item) -> Option<usize> {
    let end = item.span().map(|span| span.end);
    let inside = item.as_table().into_iter().flat_map(|table| table.iter());
    inside.filter_map(|(_, item)| last(item)).chain(end).max()
}

fn line_around(text: &str, place: Range<usize>) -> Range<usize> {
    let start = text[..place.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[place.end..]
        .find('\n')
        .map_or(text.len(), |at| place.end + at + 1);
    start..end
}

fn to_json(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => value_to_json(value),
        Item::Table(table) => table_to_json(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|table| table_to_json(table)).collect(),
    }
}

fn table_to_json(table: &dyn TableLike) -> Value {
    let fields = table
        .iter()
        .map(|(name, item)| (name.to_owned(), to_json(item)));
    Value::Object(fields.collect())
}

fn value_to_json(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => json!(text.value()),
        toml_edit::Value::Integer(number) => json!(number.value()),
        toml_edit::Value::Boolean(value) => json!(value.value()),
        toml_edit::Value::Float(number) => json!(number.value().to_string()),
        toml_edit::Value::Datetime(time) => json!(time.value().to_string()),
        toml_edit::Value::Array(items) => items.iter().map(value_to_json).collect(),
        toml_edit::Value::InlineTable(table) => table_to_json(table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "mcp_servers";

    fn entry() -> Value {
        json!({"command": "/opt/bin/mosaic", "args": ["mcp"]})
    }

    #[test]
    fn what_is_put_in_comes_out_without_a_trace() {
        for text in [
            "",
            "model = \"x\"\n",
            "model = \"x\"",
            "# theirs\r\nmodel = \"x\"\r\n\r\n[mcp_servers.a]\r\ncommand = \"npx\" # why\r\n",
            "[mcp_servers]\n",
            "[mcp_servers.a]\ncommand = \"npx\"\n\n[mcp_servers.a.env]\nA = \"1\"\n\n# the end\n",
            "[projects.\"/home/me\"]\ntrust_level = \"trusted\"\n\n\n",
            "[[things]]\na = 1\n[[things]]\na = 2\n",
        ] {
            let before = before(Some(text));
            let with = put(Some(text), KEY, &entry()).unwrap();
            assert!(with.starts_with(text), "{with}");
            assert_eq!(
                look(Some(&with), KEY, &entry()).unwrap(),
                Found::Ours,
                "{with}"
            );
            let moved = json!({"command": "/usr/bin/mosaic", "args": ["mcp"], "env_vars": ["DATABASE_URL"]});
            let other = put(Some(&with), KEY, &moved).unwrap();
            assert_eq!(
                look(Some(&other), KEY, &entry()).unwrap(),
                Found::Older,
                "{other}"
            );
            assert_eq!(put(Some(&other), KEY, &entry()).unwrap(), with);
            assert_eq!(
                take_out(&with, KEY, &before).unwrap().unwrap(),
                text,
                "{with}"
            );
            // Also with something behind it.
            let more = format!("{with}\n[later]\nx = 1 # y\n");
            let left = take_out(&more, KEY, &before).unwrap().unwrap();
            assert_eq!(left, format!("{text}\n[later]\nx = 1 # y\n"));
        }
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let new = put(
            None,
            KEY,
            &json!({"command": "/a\"b/mosaic", "args": ["mcp"], "env_vars": ["DATABASE_URL"]}),
        )
        .unwrap();
        assert_eq!(
            new,
            "[mcp_servers.mosaic]\ncommand = '/a\"b/mosaic'\nargs = [\"mcp\"]\nenv_vars = [\"DATABASE_URL\"]\n"
        );
        assert_eq!(take_out(&new, KEY, &Before::NoFile).unwrap().unwrap(), "");
        let crlf = put(Some("a = 1\r\n"), KEY, &entry()).unwrap();
        assert_eq!(crlf.matches("\r\n").count(), crlf.matches('\n').count());
    }

    #[test]
    fn what_the_user_wrote_in_another_way_is_known_too() {
        for text in [
            "[mcp_servers]\na = { command = \"npx\" }\nmosaic = { command = \"mosaic\", args = [\"mcp\"] }\n",
            "a = 1\n\n[mcp_servers.mosaic]\ncommand = \"mosaic\"\nargs = [\n  \"mcp\", # it\n]\n\n# b\n[b]\n",
        ] {
            assert_eq!(
                look(Some(text), KEY, &entry()).unwrap(),
                Found::Older,
                "{text}"
            );
            let newer = put(Some(text), KEY, &entry()).unwrap();
            assert_eq!(
                look(Some(&newer), KEY, &entry()).unwrap(),
                Found::Ours,
                "{newer}"
            );
            let left = take_out(text, KEY, &Before::Servers).unwrap().unwrap();
            assert!(!left.contains("mosaic"), "{left}");
            assert_eq!(left.contains("# b"), text.contains("# b"), "{left}");
        }
        let foreign = "[mcp_servers.mosaic]\nurl = \"https://example.com\"\n";
        assert_eq!(look(Some(foreign), KEY, &entry()).unwrap(), Found::Foreign);
        assert_eq!(take_out(foreign, KEY, &Before::NoFile).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_added_to_is_refused_and_what_is_no_toml_is_told_with_its_place() {
        for text in [
            "mcp_servers = { a = { command = \"npx\" } }\n",
            "mcp_servers.a.command = \"npx\"\n",
        ] {
            let outcome = put(Some(text), KEY, &entry());
            assert!(
                outcome.is_err() || outcome.unwrap().contains("[mcp_servers.mosaic]"),
                "{text}"
            );
        }
        assert!(put(Some("mcp_servers = { }\n"), KEY, &entry()).is_err());
        assert!(look(Some("mcp_servers = 1\n"), KEY, &entry()).is_err());
        let place = look(Some("a = 1\nb = \n"), KEY, &entry()).unwrap_err();
        assert!(place.starts_with("line 2, column "), "{place}");
    }
}
