//! Leases and tokens as the callers saw them, without the events where that is possible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::answers::told;
use super::replay::Replay;
use super::trace::{NEVER, Trace};
use super::violation::{Rule, Violation, report};
use crate::record::{Entry, Moment, Time, Verb, time};

/// A lease that a caller was told of.
struct Lease<'a> {
    entry: &'a Entry,
    claimed: Time,
    expires: Time,
}

/// By card, then by token.
type Leases<'a> = HashMap<&'a str, BTreeMap<i64, Lease<'a>>>;

pub fn check(trace: &Trace, replay: &Replay, found: &mut Vec<Violation>) {
    let leases = leases(trace, found);
    tokens_grow(trace, found);
    if !trace.clock_moved() {
        one_at_a_time(trace, &leases, found);
    }
    for entry in &trace.record.entries {
        let (Some(card), Some(token)) = (entry.call.card(), entry.call.token()) else {
            continue;
        };
        let end = replay.ends.get(&(card.to_owned(), token));
        if entry.outcome.is_acknowledged() {
            let own = match entry.call.verb {
                Verb::Complete => "completed",
                Verb::Block => "blocked",
                _ => "",
            };
            // A repeat of what ended the lease is none under a stale token.
            let over = end.is_some_and(|end| end.window.end < entry.start && end.kind != own);
            let later = leases.get(card).is_some_and(|leases| {
                let mut later = leases.range(token + 1..);
                later.any(|(_, lease)| lease.entry.end < entry.start)
            });
            if over || later {
                report(found, Rule::StaleTokenAccepted, told(entry));
            }
        } else if entry.outcome.code() == Some("claim_lost") {
            let begun = leases.get(card).and_then(|leases| leases.get(&token));
            let begun = begun.is_some_and(|lease| lease.entry.end < entry.start);
            let ended = end.map_or(NEVER, |end| end.window.start);
            if begun && ended > entry.end {
                report(found, Rule::HolderRefused, told(entry));
            }
        }
    }
}

/// All leases that callers were told of; no two claims have one token.
fn leases<'a>(trace: &Trace<'a>, found: &mut Vec<Violation>) -> Leases<'a> {
    let mut leases = Leases::new();
    let mut owners: HashMap<i64, &Entry> = HashMap::new();
    for entry in claims(trace) {
        for row in entry.outcome.rows() {
            let (Some(card), Some(token)) = (row["id"].as_str(), row["claim_token"].as_i64())
            else {
                continue;
            };
            let other = owners.entry(token).or_insert(entry);
            if other.call.text("worker") != entry.call.text("worker") {
                let what = format!("{token}: {} and {}", told(other), told(entry));
                report(found, Rule::TokenReused, what);
            }
            let lease = Lease {
                entry,
                claimed: time(&row["claimed_at"]).unwrap_or_default(),
                expires: time(&row["claim_expires_at"]).unwrap_or_default(),
            };
            leases
                .entry(card)
                .or_default()
                .entry(token)
                .or_insert(lease);
        }
    }
    for entry in &trace.record.entries {
        if entry.call.verb == Verb::Renew
            && let (Some(card), Some(token)) = (entry.call.card(), entry.call.token())
            && let Some(lease) = leases.get_mut(card).and_then(|all| all.get_mut(&token))
            && let Some(row) = entry.outcome.rows().first()
        {
            let until = time(&row["claim_expires_at"]).unwrap_or_default();
            lease.expires = lease.expires.max(until);
        }
    }
    leases
}

fn claims<'a>(trace: &Trace<'a>) -> impl Iterator<Item = &'a Entry> {
    let entries = trace.record.entries.iter();
    entries.filter(|entry| entry.call.verb == Verb::Claim)
}

/// A claim that begins after another was answered has larger tokens, whichever their cards.
fn tokens_grow(trace: &Trace, found: &mut Vec<Violation>) {
    let mut seen = HashSet::new();
    let tokens = |entry: &Entry| -> Vec<i64> {
        let rows = entry.outcome.rows().iter();
        rows.filter_map(|row| row["claim_token"].as_i64()).collect()
    };
    let mut answered: Vec<(Moment, i64)> = claims(trace)
        .filter_map(|entry| Some((entry.end, tokens(entry).into_iter().max()?)))
        .collect();
    answered.sort_unstable();
    let mut answered = answered.into_iter().peekable();
    let mut largest = 0;
    for entry in claims(trace) {
        while let Some((_, token)) = answered.next_if(|(end, _)| *end < entry.start) {
            largest = largest.max(token);
        }
        let repeat = (entry.call.text("request_id")).is_some_and(|request| !seen.insert(request));
        let smallest = tokens(entry).into_iter().min();
        if let Some(token) = smallest.filter(|token| *token < largest && !repeat) {
            let what = format!("{token} after {largest}: {}", told(entry));
            report(found, Rule::TokenWentBack, what);
        }
    }
}

/// A card is claimed again after its lease has ended, or after a call that ended it was made. A claim
/// reads the clock when it begins, and may be given what became free before it was answered.
fn one_at_a_time(trace: &Trace, leases: &Leases, found: &mut Vec<Violation>) {
    let mut ending: HashMap<&str, Vec<&Entry>> = HashMap::new();
    for entry in &trace.record.entries {
        let ends = match entry.call.verb {
            Verb::Release | Verb::Fail | Verb::Complete | Verb::Block => true,
            Verb::Reclaim => entry.call.arguments.contains_key("force"),
            _ => false,
        };
        if let Some(card) = entry
            .call
            .card()
            .filter(|_| ends && !entry.outcome.is_refused())
        {
            ending.entry(card).or_default().push(entry);
        }
    }
    for (card, leases) in leases {
        for ((token, lease), (_, next)) in leases.iter().zip(leases.iter().skip(1)) {
            let ended = ending.get(card).into_iter().flatten().any(|entry| {
                entry.start < next.entry.end
                    && entry.call.token().is_none_or(|other| other == *token)
            });
            let took = Duration::from_nanos(next.entry.end - next.entry.start);
            let answered = next.claimed + i64::try_from(took.as_micros()).unwrap_or_default();
            // The answer to a repeat came later than the claim.
            let repeat = next.entry.call.text("request_id").is_some();
            if answered < lease.expires && !ended && !repeat {
                let what = format!("{card}: {} and {}", told(lease.entry), told(next.entry));
                report(found, Rule::TwoLeases, what);
            }
        }
    }
}
