//! Which calls may have caused an event.

use std::collections::HashMap;

use super::violation::{Rule, Violation, report};
use crate::record::{Call, Entry, Event, Moment, Record, Time, Verb, time};

/// When something may have happened.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub start: Moment,
    /// The latest; without an answer there is none.
    pub end: Moment,
    /// The latest for what locks: nothing goes on for longer after its caller went away.
    pub settled: Moment,
}

pub const NEVER: Moment = Moment::MAX;

/// How long a call may go on in the server after its caller went away.
const AFTERMATH: Moment = 3_000_000_000;

impl Window {
    pub fn of(entry: &Entry) -> Self {
        let unknown = entry.outcome.is_unknown();
        Self {
            start: entry.start,
            end: if unknown { NEVER } else { entry.end },
            settled: entry.end + if unknown { AFTERMATH } else { 0 },
        }
    }

    fn join(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
            settled: self.settled.max(other.settled),
        }
    }
}

pub struct Trace<'a> {
    pub record: &'a Record,
    /// For each event, when it happened.
    pub windows: Vec<Window>,
    /// The times that creations deferred their cards to, by title.
    deferred: HashMap<&'a str, Time>,
    /// The events of a key.
    events: HashMap<String, Vec<usize>>,
}

impl<'a> Trace<'a> {
    pub fn of(record: &'a Record, found: &mut Vec<Violation>) -> Self {
        let mut causes: HashMap<String, Window> = HashMap::new();
        for entry in &record.entries {
            if entry.outcome.is_refused() {
                continue;
            }
            let window = Window::of(entry);
            for key in keys_of_call(&entry.call) {
                causes
                    .entry(key)
                    .and_modify(|known| *known = known.join(window))
                    .or_insert(window);
            }
        }
        let deferred = (record.entries.iter())
            .filter_map(|entry| {
                let until = time(entry.call.arguments.get("not_before")?)?;
                Some((entry.call.text("title")?, until))
            })
            .collect();
        let mut events: HashMap<String, Vec<usize>> = HashMap::new();
        let mut windows = Vec::new();
        let mut latest: Option<(Moment, &Event)> = None;
        for (place, event) in record.backlog.events.iter().enumerate() {
            let key = key_of_event(event);
            let window = causes.get(&key).copied().unwrap_or_else(|| {
                report(
                    found,
                    Rule::Invented,
                    format!("no call that was not refused explains {}", told(event)),
                );
                Window {
                    start: 0,
                    end: NEVER,
                    settled: 0,
                }
            });
            if let Some((start, earlier)) = latest
                && start > window.end
            {
                let what = format!(
                    "{} comes before {}, which had been answered before it was called for",
                    told(earlier),
                    told(event)
                );
                report(found, Rule::OutOfTime, what);
            }
            if latest.is_none_or(|(start, _)| start < window.start) {
                latest = Some((window.start, event));
            }
            windows.push(window);
            events.entry(key).or_default().push(place);
        }
        Self {
            record,
            windows,
            deferred,
            events,
        }
    }

    /// Until when the creation of this event deferred its card.
    pub fn deferred(&self, event: &Event) -> Option<Time> {
        let title = event.detail["title"].as_str()?;
        self.deferred.get(title).copied()
    }

    /// The events that a call may have caused.
    pub fn events_of(&self, call: &Call) -> Vec<&'a Event> {
        keys_of_call(call)
            .iter()
            .filter_map(|key| self.events.get(key))
            .flatten()
            .map(|place| &self.record.backlog.events[*place])
            .collect()
    }

    /// Whether the server's clock was moved during the run.
    pub fn clock_moved(&self) -> bool {
        self.record.marks.iter().any(|mark| mark.clock)
    }
}

/// An event in short.
pub fn told(event: &Event) -> String {
    let token = event.claim_token.map(|token| format!(" under {token}"));
    format!(
        "event {} ({} {}{} by {})",
        event.event_id,
        event.card_id,
        event.kind,
        token.unwrap_or_default(),
        event.actor
    )
}

/// Whose claim it is, also where it is one in the midst of that one's.
pub fn worker(actor: &str) -> &str {
    actor.split('/').next().unwrap_or(actor)
}

/// What an event and the call that caused it have in common.
fn key_of_event(event: &Event) -> String {
    let Event {
        card_id,
        kind,
        actor,
        detail,
        ..
    } = event;
    let reason = detail["reason"].as_str().unwrap_or_default();
    match kind.as_str() {
        "created" => format!("created {}", detail["title"].as_str().unwrap_or_default()),
        "claimed" => format!("claimed {}", worker(actor)),
        "lapsed" | "quarantined" => format!("swept {}", worker(actor)),
        "renewed" | "released" | "failed" | "completed" => under(kind, card_id, event.claim_token),
        "blocked" => format!("blocked {reason}"),
        _ => format!("{kind} {card_id}"),
    }
}

fn under(kind: &str, card: &str, token: Option<i64>) -> String {
    format!("{kind} {card} {}", token.unwrap_or_default())
}

fn keys_of_call(call: &Call) -> Vec<String> {
    let card = call.card().unwrap_or_default();
    let token = call.token();
    let text = |name: &str| call.text(name).unwrap_or_default();
    let key = match call.verb {
        Verb::Create => format!("created {}", text("title")),
        Verb::Claim => {
            let worker = text("worker");
            return vec![format!("claimed {worker}"), format!("swept {worker}")];
        }
        Verb::Renew => under("renewed", card, token),
        Verb::Release => under("released", card, token),
        Verb::Fail => under("failed", card, token),
        Verb::Complete => under("completed", card, token),
        Verb::Block => format!("blocked {}", text("reason")),
        Verb::Unblock => format!("unblocked {card}"),
        Verb::Cancel => format!("cancelled {card}"),
        Verb::Reopen => format!("reopened {card}"),
        Verb::Update => format!("updated {card}"),
        Verb::Link => format!("linked {card}"),
        Verb::Unlink => format!("unlinked {card}"),
        Verb::Reclaim => {
            return vec![
                format!("swept {}", text("actor")),
                format!("reclaimed {card}"),
            ];
        }
    };
    vec![key]
}
