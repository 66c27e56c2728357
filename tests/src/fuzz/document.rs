//! JSON for `create_many` and `import`: a right document, in which something may be wrong.

use serde_json::{Map, Value, json};

use super::argument::{IDS, text, time};
use super::dice::Dice;

/// Numbers that no integer of ours holds; they are written into the text.
const NUMBERS: [&str; 8] = [
    "1e400",
    "-1e400",
    "1e-400",
    "0.5",
    "-0",
    "1E30",
    "9223372036854775808",
    "123456789012345678901234567890",
];
const MARK: &str = "\u{1}number";

/// Any JSON, at most so deep.
pub fn any(dice: &mut Dice, depth: usize) -> String {
    let value = value(dice, depth);
    finish(dice, value)
}

fn value(dice: &mut Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(dice.one_in(2)),
        2 => json!(dice.number()),
        3 => json!(MARK),
        4 => json!(text(dice)),
        5 => json!(dice.pick(&IDS)),
        6 => (0..dice.below(4)).map(|_| value(dice, depth - 1)).collect(),
        _ => {
            let pairs = (0..dice.below(4)).map(|_| (text(dice), value(dice, depth - 1)));
            Value::Object(pairs.collect())
        }
    }
}

/// As text, with numbers that a `Value` cannot hold, and now and then not as JSON at all.
fn finish(dice: &mut Dice, value: Value) -> String {
    let mut text = value.to_string();
    let mark = json!(MARK).to_string();
    while text.contains(&mark) {
        text = text.replacen(&mark, dice.pick(&NUMBERS), 1);
    }
    if dice.one_in(300) {
        let deep = [10, 100, 5_000][dice.below(3)];
        text = format!("{}{text}{}", "[".repeat(deep), "]".repeat(deep));
    }
    if dice.one_in(400) {
        text = text.replacen('"', "\"\\u0000", 1);
    }
    if dice.one_in(400) {
        text.pop();
    }
    text
}

/// Puts something wrong somewhere into a document.
fn mutate(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Object(map) if !map.is_empty() && !dice.one_in(8) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            let key = &keys[dice.below(keys.len())];
            match dice.below(8) {
                0 => {
                    map.remove(key);
                }
                1 => rename(dice, map, key),
                2 => {
                    map.insert(text(dice), self::value(dice, 1));
                }
                3 => {
                    let other = keys[dice.below(keys.len())].clone();
                    let moved = map[key].clone();
                    map.insert(other, moved);
                }
                _ => mutate(dice, map.get_mut(key).expect("a key")),
            }
        }
        Value::Array(items) if !items.is_empty() && !dice.one_in(8) => {
            let at = dice.below(items.len());
            match dice.below(7) {
                0 => {
                    items.remove(at);
                }
                1 => items.insert(at, self::value(dice, 2)),
                2 => items.push(items[at].clone()),
                3 => {
                    let other = dice.below(items.len());
                    items.swap(at, other);
                }
                _ => mutate(dice, &mut items[at]),
            }
        }
        other => *other = self::value(dice, 2),
    }
}

fn rename(dice: &mut Dice, map: &mut Map<String, Value>, key: &str) {
    let value = map.remove(key).unwrap_or_default();
    let name = match dice.below(4) {
        0 => key.to_uppercase(),
        1 => format!("{key} "),
        2 => key.chars().skip(1).collect(),
        _ => format!("{key}{}", text(dice)),
    };
    map.insert(name, value);
}

/// Mostly once, at times not at all or several times.
fn spoil(dice: &mut Dice, mut document: Value) -> String {
    for _ in 0..[0, 0, 1, 1, 1, 2, 5][dice.below(7)] {
        mutate(dice, &mut document);
    }
    finish(dice, document)
}

fn names(dice: &mut Dice, from: &[&str]) -> Value {
    (0..dice.below(3)).map(|_| json!(dice.pick(from))).collect()
}

/// For `create_many`.
pub fn cards(dice: &mut Dice) -> String {
    let count = if dice.one_in(30) { 200 } else { dice.below(5) };
    let cards = (0..count).map(|number| {
        let mut card = Map::new();
        card.insert("title".into(), json!("t"));
        let mut add = |dice: &mut Dice, key: &str, value: Value| {
            if dice.one_in(4) {
                card.insert(key.into(), value);
            }
        };
        let id = format!("new{}", dice.below(3) + number);
        add(dice, "id", json!(id));
        add(dice, "body", json!("b"));
        add(dice, "phase", json!("p"));
        let priority = dice.below(3);
        add(dice, "priority", json!(priority));
        let on = names(dice, &IDS);
        add(dice, "depends_on", on);
        let labels = names(dice, &["docs", "parser"]);
        add(dice, "labels", labels);
        let requires = names(dice, &["gpu"]);
        add(dice, "requires", requires);
        let acceptance = value(dice, 2);
        add(dice, "acceptance", acceptance);
        let key = format!("k{}", dice.below(4));
        add(dice, "idempotency_key", json!(key));
        let wild = dice.one_in(6);
        let at = time(dice, wild);
        add(dice, "not_before", json!(at));
        add(dice, "max_attempts", json!(2));
        Value::Object(card)
    });
    let cards = cards.collect();
    spoil(dice, cards)
}

/// For `import`.
pub fn export(dice: &mut Dice) -> String {
    let count = dice.below(4);
    let at = "2025-01-31T07:00:00.5+00:00";
    let ids: Vec<String> = (0..count).map(|number| format!("i{number}")).collect();
    let links: Vec<(usize, usize)> = (1..count).map(|from| (from, dice.below(from))).collect();
    let events = dice.one_in(2);
    let mut lines = vec![json!({
        "type": "header", "format": "mosaic-backlog", "format_version": 1, "extension_version": "0.1.0",
        "exported_at": at, "cards": count, "dependencies": links.len(), "events": if events { json!(count) } else { Value::Null },
        "last_claim_token": dice.below(9) + 1,
    })];
    for (number, id) in ids.iter().enumerate() {
        let open = links.iter().filter(|(from, _)| *from == number).count();
        let mut card = json!({
            "type": "card", "id": id, "title": "t", "labels": [], "requires": [], "priority": 0, "status": "ready",
            "attempts": 0, "open_dependencies": open, "created_at": at, "updated_at": at, "claimable_since": at,
        });
        let card_map = card.as_object_mut().expect("an object");
        match dice.below(5) {
            0 if open == 0 => {
                card_map.insert("status".into(), json!("claimed"));
                for (key, value) in [
                    ("claim_owner", json!("w")),
                    ("claim_token", json!(number + 1)),
                    ("claim_ttl_seconds", json!(60)),
                    ("claimed_at", json!(at)),
                    ("claim_expires_at", json!(at)),
                    ("attempts", json!(1)),
                ] {
                    card_map.insert(key.into(), value);
                }
            }
            1 => {
                card_map.insert("status".into(), json!("blocked"));
                card_map.insert("block_kind".into(), json!("input"));
                card_map.insert("block_reason".into(), json!("why"));
            }
            2 => {
                card_map.insert("status".into(), json!("cancelled"));
            }
            _ => {}
        }
        lines.push(card);
    }
    for (from, to) in &links {
        lines.push(json!({"type": "dependency", "card_id": ids[*from], "depends_on": ids[*to], "created_at": at}));
    }
    if events {
        for id in &ids {
            lines.push(json!({
                "type": "event", "at": at, "kind": "created", "actor": "a", "detail": {}, "card_id": id,
                "login_role": "a", "new_status": "ready", "old_status": null, "claim_token": null,
            }));
        }
    }
    lines.push(json!({"type": "end", "cards": count, "dependencies": links.len(), "events": if events { json!(count) } else { Value::Null }}));
    spoil(dice, Value::Array(lines))
}
