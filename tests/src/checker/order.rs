//! No claim passes over a card that comes before what it got.
//!
//! A card counts as passed over by a claim whose filter it fits if
//!
//! - the card was claimable all the while from 20 ms before the claim began to its answer: what
//!   made it claimable was answered before, and what next changed it was called for after;
//! - in that time no call that was under way named the card or one that it waits for, whatever
//!   came of that call, since it may have had the card locked; a call whose caller went away
//!   counts as under way for 3 s more;
//! - its time had come: a claim that was answered before had been made later than that;
//! - in that time no claim was under way that failed, that was rolled back or whose answer is unknown;
//! - the claim got less than it asked for, or a card that sorts behind.
//!
//! If another claim of the same kind was under way together with this one, it may have had the card
//! in flight. Then it takes three such claims, each called for after the one before and all that were
//! under way together with it had been answered. A claim that got less than it asked for has no such
//! excuse: it has to wait for what is in flight.
//!
//! The 20 ms are for what a bystander had locked: a claim that gets another card may leave it out
//! for 10 ms more.

use std::collections::HashMap;

use super::answers::told;
use super::replay::{Change, Replay};
use super::trace::{Trace, Window};
use super::violation::{Rule, Violation, report};
use crate::record::{Call, Card, Entry, Moment, Time, Verb, time};

const MARGIN: Moment = 20_000_000;
/// How often a card may be in flight whenever a claim comes by.
const CHANCES: usize = 2;
/// The end of the order.
const END: i64 = i64::MAX;

/// From when to when.
type Span = (Moment, Moment);

/// What a claim asks for. No card of the load requires anything, whatever is offered.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Filter<'a> {
    phase: Option<&'a str>,
    labels: Vec<&'a str>,
    offers: Vec<&'a str>,
}

impl<'a> Filter<'a> {
    fn of(call: &'a Call) -> Self {
        Self {
            phase: call.text("phase"),
            labels: call.list("labels"),
            offers: call.list("offers"),
        }
    }

    fn takes(&self, card: &Card) -> bool {
        let has = |label: &&str| card.labels.iter().any(|other| other == label);
        (self.phase).is_none_or(|phase| card.phase.as_deref() == Some(phase))
            && self.labels.iter().all(has)
    }
}

/// From when on calls could know that a time had come.
struct Clock(Vec<(Time, Moment)>);

impl Clock {
    fn of(trace: &Trace) -> Self {
        let mut told: Vec<(Time, Moment)> = (trace.record.entries.iter())
            .filter(|entry| entry.call.verb == Verb::Claim)
            .filter_map(|entry| {
                let row = entry.outcome.rows().first()?;
                Some((time(&row["claimed_at"])?, entry.end))
            })
            .collect();
        told.sort_unstable();
        let mut first = Moment::MAX;
        for (_, moment) in told.iter_mut().rev() {
            first = first.min(*moment);
            *moment = first;
        }
        Self(told)
    }

    fn came(&self, time: Time) -> Moment {
        let place = self.0.partition_point(|(told, _)| *told < time);
        self.0.get(place).map_or(Moment::MAX, |(_, moment)| *moment)
    }
}

/// A claim that may have passed something over.
struct Claim<'a> {
    entry: &'a Entry,
    filter: Filter<'a>,
    /// The last place in the order that it got to.
    reached: i64,
    /// Whether no other claim of its kind was under way.
    alone: bool,
    /// When all that were under way together with it had been answered.
    over: Moment,
}

pub fn check(trace: &Trace, replay: &Replay, found: &mut Vec<Violation>) {
    let cards = &trace.record.backlog.cards;
    let order: HashMap<&str, i64> = (cards.iter())
        .map(|card| (card.id.as_str(), card.claim_order))
        .collect();
    let claims = claims(trace, &order);
    let clock = Clock::of(trace);
    let mut touches = touches(trace, replay);
    let everywhere: Vec<Span> = (trace.record.entries.iter())
        .filter(|entry| {
            entry.call.verb == Verb::Claim && (!entry.outcome.is_acknowledged() || undone(entry))
        })
        .map(|entry| span(Window::of(entry)))
        .collect();
    for card in cards {
        let Some(changes) = replay.changes.get(&card.id) else {
            continue;
        };
        let mut touched = touches.remove(card.id.as_str()).unwrap_or_default();
        touched.extend(&everywhere);
        touched.extend(changes.iter().map(|change| span(change.window)));
        for (from, until) in gaps(touched) {
            // No change is under way in the gap, so those before it are the first ones.
            let before = changes
                .iter()
                .filter(|change| change.window.start < until)
                .count();
            let state = before.checked_sub(1).map(|place| &changes[place]);
            if let Some(since) = state.and_then(|state| claimable_since(trace, &clock, state)) {
                let from = from.max(since).saturating_add(MARGIN);
                passed_over(card, (from, until), &claims, found);
            }
        }
    }
}

/// From when on the card could be claimed, as far as its state and its time go.
fn claimable_since(trace: &Trace, clock: &Clock, state: &Change) -> Option<Moment> {
    match state.not_before {
        _ if !state.claimable => None,
        None => Some(0),
        Some(_) if trace.clock_moved() => None,
        Some(time) => Some(clock.came(time)),
    }
}

/// Whether it has claims that were rolled back.
fn undone(entry: &Entry) -> bool {
    entry.call.nested().is_some_and(|way| way != "kept")
}

fn passed_over(card: &Card, (from, until): Span, claims: &[Claim], found: &mut Vec<Violation>) {
    let first = claims.partition_point(|claim| claim.entry.start < from);
    let (mut chances, mut over) = (CHANCES, 0);
    for claim in &claims[first..] {
        if claim.entry.start > until {
            return;
        }
        let passed =
            claim.filter.takes(card) && claim.entry.end < until && card.claim_order < claim.reached;
        if !passed || claim.entry.start < over {
            continue;
        }
        if claim.alone || claim.reached == END || chances == 0 {
            let got: Vec<&str> = (claim.entry.outcome.rows().iter())
                .filter_map(|row| row["id"].as_str())
                .collect();
            let what = format!("{} by {}, which got {got:?}", card.id, told(claim.entry));
            report(found, Rule::PassedOver, what);
            return;
        }
        chances -= 1;
        over = claim.over;
    }
}

fn claims<'a>(trace: &Trace<'a>, order: &HashMap<&str, i64>) -> Vec<Claim<'a>> {
    let any = |entry: &&Entry| entry.call.verb == Verb::Claim && entry.call.card().is_none();
    let mut kinds: HashMap<Filter, Vec<&Entry>> = HashMap::new();
    for entry in trace.record.entries.iter().filter(any) {
        kinds
            .entry(Filter::of(&entry.call))
            .or_default()
            .push(entry);
    }
    let mut claims: Vec<Claim> = Vec::new();
    for (filter, entries) in kinds {
        // When all that began up to a place were over.
        let mut over: Vec<Moment> = Vec::with_capacity(entries.len());
        for entry in &entries {
            let before = over.last().copied().unwrap_or_default();
            over.push(before.max(Window::of(entry).settled));
        }
        for (place, entry) in entries.iter().enumerate() {
            let together = entries.partition_point(|other| other.start <= entry.end);
            let before = place.checked_sub(1).map_or(0, |before| over[before]);
            let fresh = entry.call.text("request_id").is_none();
            // A repeat of a request gets what the first got.
            if fresh && entry.outcome.is_acknowledged() && !undone(entry) {
                claims.push(Claim {
                    entry,
                    filter: filter.clone(),
                    reached: reached(entry, order),
                    alone: before < entry.start && together == place + 1,
                    over: over[together - 1],
                });
            }
        }
    }
    claims.sort_by_key(|claim| claim.entry.start);
    claims
}

/// The place up to which a claim got everything.
fn reached(entry: &Entry, order: &HashMap<&str, i64>) -> i64 {
    let rows = entry.outcome.rows();
    let wanted = entry.call.number("max_cards").unwrap_or(1);
    if i64::try_from(rows.len()).is_ok_and(|got| got < wanted) {
        return END;
    }
    let places = rows.iter().filter_map(|row| order.get(row["id"].as_str()?));
    places.max().copied().unwrap_or(END)
}

fn span(window: Window) -> Span {
    (window.start, window.settled)
}

/// When calls that may have locked a card were under way.
fn touches<'a>(trace: &Trace<'a>, replay: &'a Replay) -> HashMap<&'a str, Vec<Span>> {
    let mut touches: HashMap<&str, Vec<Span>> = HashMap::new();
    for entry in &trace.record.entries {
        let span = span(Window::of(entry));
        let mut touch = |card: &'a str| touches.entry(card).or_default().push(span);
        for row in entry.outcome.rows() {
            row["id"].as_str().into_iter().for_each(&mut touch);
        }
        for card in entry
            .call
            .card()
            .into_iter()
            .chain(entry.call.list("depends_on"))
        {
            touch(card);
            if let Some(waiting) = replay.dependents.get(card) {
                waiting.iter().map(String::as_str).for_each(&mut touch);
            }
        }
    }
    touches
}

/// The time between spans.
fn gaps(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut gaps = Vec::new();
    let mut free = 0;
    for (start, end) in spans {
        if start > free {
            gaps.push((free, start));
        }
        free = free.max(end);
    }
    gaps.push((free, Moment::MAX));
    gaps
}
