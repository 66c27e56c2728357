//! What callers were told is in the history, and nothing that they were told is wrong.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::replay::Replay;
use super::trace::{Trace, worker};
use super::violation::{Rule, Violation, report};
use crate::record::{Entry, Event, Outcome, Verb, time};

pub fn check(trace: &Trace, replay: &Replay, found: &mut Vec<Violation>) {
    for entry in &trace.record.entries {
        match &entry.outcome {
            Outcome::Acknowledged(rows) => {
                for row in rows {
                    if let Some(what) = lost(trace, replay, entry, row) {
                        report(found, Rule::Lost, format!("{what}: {}", told(entry)));
                    }
                }
            }
            Outcome::Refused {
                code,
                sqlstate,
                message,
            } => {
                if !may_be_met(code, sqlstate, message) {
                    let what = format!("{} met {sqlstate} {message}", told(entry));
                    report(found, Rule::BadError, what);
                }
            }
            Outcome::Unknown(_) => {}
        }
    }
    repeats(trace, found);
    untold(trace, found);
    dependencies(trace, replay, found);
}

/// What a claim got is in its answer, if there is one.
fn untold(trace: &Trace, found: &mut Vec<Violation>) {
    let mut told_to: HashMap<&str, BTreeSet<i64>> = HashMap::new();
    let mut unknown: BTreeSet<&str> = BTreeSet::new();
    for entry in &trace.record.entries {
        let Some(name) = entry.call.text("worker") else {
            continue;
        };
        if entry.outcome.is_unknown() {
            unknown.insert(name);
        }
        let tokens = entry.outcome.rows().iter();
        let tokens = tokens.filter_map(|row| row["claim_token"].as_i64());
        told_to.entry(name).or_default().extend(tokens);
    }
    for event in &trace.record.backlog.events {
        // A claim in the midst of another tells its trigger alone.
        let own = event.kind == "claimed" && worker(&event.actor) == event.actor;
        let (name, token) = (event.actor.as_str(), event.claim_token.unwrap_or_default());
        if own
            && !unknown.contains(name)
            && (told_to.get(name)).is_some_and(|tokens| !tokens.contains(&token))
        {
            let what = format!("{name} got {} under {token} untold", event.card_id);
            report(found, Rule::Untold, what);
        }
    }
}

/// Of what a card waited for, a claim tells a hundred at most, and how many there are.
fn dependencies(trace: &Trace, replay: &Replay, found: &mut Vec<Violation>) {
    const MOST: usize = 100;
    let claims = trace.record.entries.iter();
    for entry in claims.filter(|entry| entry.call.verb == Verb::Claim) {
        for row in entry.outcome.rows() {
            let (Some(card), Some(token)) = (row["id"].as_str(), row["claim_token"].as_i64())
            else {
                continue;
            };
            let Some(needs) = replay.claims.get(&(card.to_owned(), token)) else {
                continue;
            };
            let list = row["dependencies"].as_array();
            let list: Vec<&str> = (list.into_iter().flatten())
                .filter_map(Value::as_str)
                .collect();
            let right = list.len() == needs.len().min(MOST)
                && list.iter().all(|id| needs.contains(*id))
                && row["dependencies_total"].as_u64() == u64::try_from(needs.len()).ok();
            // The card of a repeat may have been linked meanwhile.
            let repeat = entry.call.text("request_id").is_some();
            if list.len() > MOST || !right && !repeat {
                let what = format!(
                    "{card} waits for {}, told are {} of {}: {}",
                    needs.len(),
                    list.len(),
                    row["dependencies_total"],
                    told(entry)
                );
                report(found, Rule::DependenciesWrong, what);
            }
        }
    }
}

/// A call in short.
pub fn told(entry: &Entry) -> String {
    let arguments = Value::Object(entry.call.arguments.clone());
    format!(
        "{} {} {arguments} at {} ms",
        entry.caller,
        entry.call.verb.name(),
        entry.start / 1_000_000
    )
}

/// Errors that a call may meet: those of the contract, and what a server says that is going
/// down or has run out of something. A deadlock and an internal error are not among them.
fn may_be_met(code: &str, sqlstate: &str, message: &str) -> bool {
    // With this a session cannot begin while the disk is full; PostgreSQL gives it no SQLSTATE.
    if message.contains("could not write init file") {
        return true;
    }
    if code.is_empty() {
        let classes = ["08", "53", "57P", "58030"];
        return classes.iter().any(|class| sqlstate.starts_with(class));
    }
    let never = [
        "internal",
        "isolation",
        "invalid_argument",
        "usage",
        "unauthorized",
        "read_only",
    ];
    !never.contains(&code)
}

/// What is missing of a row that was acknowledged.
fn lost(trace: &Trace, replay: &Replay, entry: &Entry, row: &Value) -> Option<&'static str> {
    let call = &entry.call;
    let events = trace.events_of(call);
    let has = |matches: &dyn Fn(&Event) -> bool| events.iter().any(|event| matches(event));
    let card = row["id"].as_str().or(call.card()).unwrap_or_default();
    let any = |kind: &str| {
        let mut all = trace.record.backlog.events.iter();
        all.any(|event| event.kind == kind && event.card_id == card)
    };
    let there = match call.verb {
        Verb::Create => {
            let exists = trace
                .record
                .backlog
                .cards
                .iter()
                .any(|other| other.id == card);
            exists && has(&|event| event.card_id == card)
        }
        Verb::Claim => has(&|event| {
            event.kind == "claimed"
                && event.card_id == card
                && event.claim_token == row["claim_token"].as_i64()
        }),
        Verb::Renew => {
            has(&|event| time(&event.detail["claim_expires_at"]) == time(&row["claim_expires_at"]))
        }
        // Without a token, a card that somebody else completed is a repeat.
        Verb::Complete if call.token().is_none() => any("completed"),
        Verb::Release | Verb::Fail | Verb::Complete | Verb::Block => has(&|_| true),
        Verb::Link => {
            let linked = replay.dependents.iter();
            let linked = linked.filter(|(_, waiting)| waiting.contains(card));
            let linked: BTreeSet<&str> = linked.map(|(needed, _)| needed.as_str()).collect();
            call.list("depends_on").iter().all(|on| linked.contains(on))
        }
        Verb::Cancel => any("cancelled"),
        Verb::Reclaim => any("lapsed") || any("reclaimed"),
        Verb::Unblock | Verb::Reopen | Verb::Update | Verb::Unlink => true,
    };
    (!there).then_some("the history does not have what was acknowledged")
}

/// A key makes one card; a request gets one set of leases.
fn repeats(trace: &Trace, found: &mut Vec<Violation>) {
    let mut made: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    let mut leases: HashMap<&str, Vec<BTreeSet<String>>> = HashMap::new();
    for entry in &trace.record.entries {
        let rows = entry.outcome.rows();
        if let Some(key) = entry.call.text("idempotency_key") {
            made.entry(key)
                .or_default()
                .extend(rows.iter().filter_map(|row| row["id"].as_str()));
        }
        if let Some(request) = entry.call.text("request_id")
            && !rows.is_empty()
        {
            let answer = rows
                .iter()
                .map(|row| format!("{} {}", row["id"], row["claim_token"]));
            leases.entry(request).or_default().push(answer.collect());
        }
    }
    for (key, cards) in made {
        if cards.len() > 1 {
            let what = format!("key {key} made {cards:?}");
            report(found, Rule::Repeated, what);
        }
    }
    for (request, mut answers) in leases {
        // Of what a request got, a repeat returns what is still held.
        answers.sort_by_key(BTreeSet::len);
        if !answers.windows(2).all(|pair| pair[0].is_subset(&pair[1])) {
            let what = format!("request {request} got {answers:?}");
            report(found, Rule::Repeated, what);
        }
    }
}
