//! Answers that a client can take: what would make one too long is cut, with a mark that names the call that reads
//! the rest.

use serde_json::{Map, Value, json};

/// The bytes of an answer, which holds its document twice: with structure, and as text. A fourth of them are tokens.
const MOST: usize = 78_000;
/// What an answer has beside its documents.
const FRAME: usize = 500;
/// How many bytes of one value are left, tried one after the other.
const LEFT: [usize; 9] = [16_000, 8_000, 4_000, 2_000, 1_000, 500, 200, 60, 0];
/// Lists that can go on with another call keep at least so much of each value.
const LEFT_ON_PAGES: usize = 500;
/// Never cut: the next calls need them.
const WHOLE: [&str; 6] = [
    "id",
    "card_id",
    "claim_token",
    "claim_tokens",
    "claim_owner",
    "next",
];
/// Where answers keep what they list.
const LISTS: [&str; 4] = ["cards", "events", "reasons", "reclaimed"];

/// The part of a text that begins with a character.
pub struct Part {
    pub text: String,
    /// The character after it, unless that is the end.
    pub next: Option<usize>,
    /// The characters of the whole text.
    pub length: usize,
}

/// As much of the text from there as an answer can hold.
pub fn part(whole: &str, offset: usize) -> Part {
    let length = whole.chars().count();
    let begin = offset.min(length);
    let rest = &whole[place(whole, begin)..];
    let mut left = MOST;
    loop {
        let text = head(rest, left);
        if written(&json!(text)) <= MOST {
            let end = begin + text.chars().count();
            return Part {
                text: text.to_owned(),
                next: (end < length).then_some(end),
                length,
            };
        }
        left = left / 4 * 3;
    }
}

/// The byte of a character.
fn place(text: &str, character: usize) -> usize {
    let found = text.char_indices().nth(character);
    found.map_or(text.len(), |(byte, _)| byte)
}

/// The text's first bytes, up to the end of a character.
fn head(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The bytes of an answer with this document.
fn written(document: &Value) -> usize {
    let text = document.to_string();
    text.len() + Value::String(text).to_string().len() + FRAME
}

/// The document, cut as far as it must be. `cursors` are those of its list, by which it can be continued; `after` is
/// the one before them.
pub fn bounded(document: Value, cursors: &[Value], after: Option<&str>) -> Value {
    if written(&document) <= MOST {
        return document;
    }
    let least = match cursors {
        [] => 0,
        _ => LEFT_ON_PAGES,
    };
    let mut shorter = document.clone();
    for left in LEFT.into_iter().filter(|left| *left >= least) {
        shorter = document.clone();
        Cut {
            left,
            cursors,
            after,
        }
        .document(&mut shorter);
        if written(&shorter) <= MOST {
            return shorter;
        }
    }
    leave_out(shorter, cursors)
}

/// Keeps the beginning of the list.
fn leave_out(mut document: Value, cursors: &[Value]) -> Value {
    let mut omitted = 0;
    while written(&document) > MOST {
        let key = LISTS.into_iter().find(|key| document[*key].is_array());
        let Some(list) = key
            .and_then(|key| document[key].as_array_mut())
            .filter(|list| !list.is_empty())
        else {
            return document;
        };
        let keep = list.len() * 9 / 10;
        omitted += list.len() - keep;
        list.truncate(keep);
        match keep.checked_sub(1).and_then(|last| cursors.get(last)) {
            Some(cursor) => document["next"] = cursor.clone(),
            None => document["omitted"] = json!(omitted),
        }
    }
    document
}

struct Cut<'a> {
    /// Bytes of each value.
    left: usize,
    cursors: &'a [Value],
    after: Option<&'a str>,
}

impl Cut<'_> {
    fn document(&self, document: &mut Value) {
        let Some(document) = document.as_object_mut() else {
            return;
        };
        for (key, value) in document.iter_mut() {
            match (key.as_str(), value) {
                ("card", Value::Object(card)) => self.card(card),
                ("events", Value::Array(events)) => {
                    for (at, event) in events.iter_mut().enumerate() {
                        self.event(at, event);
                    }
                }
                ("reasons", Value::Array(reasons)) => {
                    for reason in reasons.iter_mut().filter_map(Value::as_object_mut) {
                        let column = |key: &str| match key {
                            "reason" => "block_reason".to_owned(),
                            key => key.to_owned(),
                        };
                        self.record(reason, |id, key, at| shows(id, &column(key), at));
                    }
                }
                (key, Value::Array(cards)) if LISTS.contains(&key) => {
                    let cards = cards.iter_mut().filter_map(Value::as_object_mut);
                    cards.for_each(|card| self.card(card));
                }
                (key, value) if !WHOLE.contains(&key) => {
                    let list = match key {
                        "unblocked" => json!({"ready_only": true}),
                        _ => json!({"statuses": ["claimed"]}),
                    };
                    self.value(value, |_| format!("backlog_list {list} lists what exists"));
                }
                _ => {}
            }
        }
    }

    fn card(&self, card: &mut Map<String, Value>) {
        if let Some(dependencies) = card.get_mut("dependencies").and_then(Value::as_array_mut) {
            let dependencies = dependencies.iter_mut().filter_map(Value::as_object_mut);
            dependencies.for_each(|dependency| self.record(dependency, shows));
        }
        self.record(card, |id, column, at| match column {
            "last_failure" => {
                let call = json!({"id": id});
                format!("backlog_events {call} has all of it in the newest event \"failed\"")
            }
            "dependencies" => shows(id, "depends_on", 0),
            column => shows(id, column, at),
        });
    }

    fn event(&self, at: usize, event: &mut Value) {
        // The call begins behind the event before it.
        let after = match at
            .checked_sub(1)
            .and_then(|before| self.cursors.get(before))
        {
            Some(cursor) => cursor.clone(),
            None => json!(self.after),
        };
        let Some(event) = event.as_object_mut() else {
            return;
        };
        let id = event.get("card_id").cloned().unwrap_or_default();
        self.record(event, |_, _, at| {
            let mut call = json!({"id": id, "after": after, "max_events": 1, "offset": at});
            if let (Value::Null, Some(call)) = (&after, call.as_object_mut()) {
                call.remove("after");
            }
            format!("backlog_events {call} reads on")
        });
    }

    fn record(&self, record: &mut Map<String, Value>, call: impl Fn(&str, &str, usize) -> String) {
        let id = record
            .get("id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        for (column, value) in record.iter_mut() {
            if !WHOLE.contains(&column.as_str()) {
                self.value(value, |at| call(&id, column, at));
            }
        }
    }

    /// What is cut becomes a text: the beginning, and a mark.
    fn value(&self, value: &mut Value, call: impl Fn(usize) -> String) {
        // A mark is no gain on what is shorter than it.
        const MARK: usize = 150;
        let text = text(value);
        if text.len() <= self.left + MARK {
            return;
        }
        let kept = head(&text, self.left);
        let at = kept.chars().count();
        let length = text.chars().count();
        *value = json!(format!(
            "{kept} [cut: {at} of {length} characters; {}]",
            call(at)
        ));
    }
}

fn shows(id: &str, column: &str, at: usize) -> String {
    let call = json!({"id": id, "fields": [column], "offset": at});
    format!("backlog_show {call} reads on")
}

/// A value as the text whose characters offsets count.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The mark's call: its tool and its arguments.
    fn rest(text: &str) -> (usize, Value) {
        let (_, mark) = text.rsplit_once("[cut: ").unwrap_or_default();
        let (at, _) = mark.split_once(' ').unwrap_or_default();
        let begin = mark.find('{').unwrap_or_default();
        let end = mark.rfind('}').unwrap_or_default();
        let call = serde_json::from_str(&mark[begin..=end]).unwrap_or_default();
        (at.parse().unwrap_or_default(), call)
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let document = json!({"card": {"id": "A", "body": "b".repeat(30_000)}});
        assert_eq!(bounded(document.clone(), &[], None), document);
    }

    #[test]
    fn a_cut_text_goes_on_where_its_call_says() {
        for body in ["é\"\\\n".repeat(100_000), "b".repeat(1_000_000)] {
            let document = json!({"card": {"id": "A", "claim_token": 1, "body": body}});
            let cut = bounded(document, &[], None);
            assert!(written(&cut) <= MOST);
            let text = cut["card"]["body"].as_str().unwrap_or_default();
            let (at, call) = rest(text);
            assert_eq!(call, json!({"id": "A", "fields": ["body"], "offset": at}));
            let mut whole: String = text.chars().take(at).collect();
            let mut offset = Some(at);
            while let Some(at) = offset {
                let part = part(&body, at);
                assert!(!part.text.is_empty() && written(&json!(part.text)) <= MOST);
                whole += &part.text;
                offset = part.next;
            }
            assert!(whole == body);
        }
    }

    #[test]
    fn a_page_that_is_too_long_ends_before_its_next_one() {
        let cards: Vec<Value> = (0..500)
            .map(|n| json!({"id": format!("A{n}"), "title": "t".repeat(300)}))
            .collect();
        let cursors: Vec<Value> = (0..500).map(|n| json!(format!("c{n}"))).collect();
        let page = bounded(json!({"cards": cards, "next": null}), &cursors, None);
        let kept = page["cards"].as_array().map_or(0, Vec::len);
        assert!((1..500).contains(&kept));
        assert_eq!(page["next"], format!("c{}", kept - 1));
        assert!(written(&page) <= MOST);
    }

    #[test]
    fn the_tokens_of_a_claim_stay_whatever_else_is_left_out() {
        let ids = (0..20).map(|n| format!("{}{n}", "長".repeat(195)));
        let cards: Vec<Value> = ids
            .map(|id| json!({"id": id, "claim_token": 7, "title": "長".repeat(900)}))
            .collect();
        let tokens: Vec<Value> = cards
            .iter()
            .map(|card| json!({"id": card["id"], "claim_token": 7}))
            .collect();
        let document = json!({"claim_tokens": tokens, "cards": cards});
        let cut = bounded(document.clone(), &[], None);
        assert!(written(&cut) <= MOST);
        assert_eq!(cut["claim_tokens"], document["claim_tokens"]);
    }

    #[test]
    fn the_detail_of_an_event_is_read_behind_the_one_before_it() {
        let event = |id: &str| json!({"card_id": id, "detail": {"reason": "r".repeat(60_000)}});
        let document = json!({"events": [event("A"), event("B")], "next": "c1"});
        let cut = bounded(document, &[json!("c0"), json!("c1")], None);
        let call = |at: usize| rest(cut["events"][at]["detail"].as_str().unwrap_or_default()).1;
        assert_eq!(call(0)["after"], Value::Null);
        assert_eq!(
            (&call(1)["after"], &call(1)["id"]),
            (&json!("c0"), &json!("B"))
        );
    }

    #[test]
    fn the_measure_is_that_of_the_answer() {
        for text in ["plain".repeat(100), "\"\\\n\u{1}é".repeat(100)] {
            let document = json!({"x": text});
            let answer = json!({"structuredContent": document, "text": document.to_string()});
            let length = answer.to_string().len();
            assert!((length..=length + FRAME).contains(&written(&document)));
        }
    }
}
