//! One worker: what it does next, and what it remembers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::nested::{HELPER, LEAD, WAYS};
use super::{Caller, Shared};
use crate::record::{Call, Outcome, Verb};

/// A card that was handed to this worker.
#[derive(Clone, PartialEq)]
struct Lease {
    card: String,
    token: i64,
}

pub struct Worker {
    name: String,
    caller: Box<dyn Caller>,
    shared: Arc<Shared>,
    rng: Rng,
    calls: u64,
    held: Vec<Lease>,
    /// Leases that are over, by a call or because they were forgotten.
    over: Vec<Lease>,
    /// For a worker that claims under one label after the other, the next.
    label: Option<usize>,
    /// Calls whose outcome is unknown and that do no harm when they are repeated.
    again: Vec<Call>,
}

/// A time soon to come, which others choose as well.
fn shared_time() -> String {
    let step = i64::try_from(AHEAD.as_millis()).expect("a short time");
    let now = chrono::Utc::now().timestamp_millis();
    let time = chrono::DateTime::from_timestamp_millis((now / step + 1) * step).expect("a time");
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// Whether a repeat of the call does no harm.
fn may_be_repeated(call: &Call) -> bool {
    match call.verb {
        Verb::Create => call.text("idempotency_key").is_some(),
        Verb::Claim => call.text("request_id").is_some(),
        Verb::Complete => call.token().is_some(),
        _ => false,
    }
}

/// How many cards a worker holds at most.
const HELD: usize = 4;
/// How far ahead the next time is that new cards are deferred to, which many of them share.
const AHEAD: Duration = Duration::from_millis(250);
/// Labels of cards: more than claims keep heads for.
const LABELS: usize = 400;
/// Labels that most cards with a label have.
const COMMON: usize = 20;
/// How the ids begin of the cards that one card waits for.
const FAN_IN: &str = "fan.";
/// How soon a connection that failed is tried again.
const RETRY: Duration = Duration::from_millis(5);

impl Worker {
    pub(super) fn new(name: &str, caller: Box<dyn Caller>, shared: &Arc<Shared>, rng: Rng) -> Self {
        Self {
            name: name.to_owned(),
            caller,
            shared: Arc::clone(shared),
            rng,
            calls: 0,
            held: Vec::new(),
            over: Vec::new(),
            label: None,
            again: Vec::new(),
        }
    }

    /// Claims under one label after the other, so that heads are pushed out.
    pub(super) fn by_label(mut self) -> Self {
        self.label = Some(0);
        self
    }

    /// Creates the first cards.
    pub(super) fn create(&mut self, count: usize) {
        for _ in 0..count {
            assert!(self.caller.ready(), "cannot connect");
            let call = self.creation();
            self.make(call);
        }
    }

    /// Creates many cards that are done first, and one that waits for all of them.
    pub(super) fn create_fan_in(&mut self, count: usize) {
        let ids: Vec<String> = (0..count).map(|n| format!("{FAN_IN}{n}")).collect();
        let new = |title: String, id: &str| {
            Call::new(Verb::Create)
                .with("title", title)
                .with("id", id)
                .with("priority", 3)
        };
        for id in &ids {
            let call = new(self.unique(), id);
            self.make(call);
        }
        if count > 0 {
            let call = new(self.unique(), "join").with("depends_on", json!(ids));
            self.make(call);
        }
    }

    pub(super) fn work(&mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            if !self.caller.ready() {
                std::thread::sleep(RETRY);
                continue;
            }
            let call = self.again.pop().unwrap_or_else(|| self.next());
            self.make(call);
        }
    }

    /// A name that no other call has: it says in the history which call an event is of.
    fn unique(&mut self) -> String {
        self.calls += 1;
        format!("{}.{}", self.name, self.calls)
    }

    fn make(&mut self, call: Call) {
        let caller = &mut self.caller;
        let outcome = self
            .shared
            .recorder
            .call(&self.name, &call, |call| caller.call(call));
        match &outcome {
            Outcome::Acknowledged(rows) => {
                for row in rows {
                    let Some(card) = row["id"].as_str() else {
                        continue;
                    };
                    match call.verb {
                        Verb::Create => self.know(card),
                        Verb::Claim => self.hold(Lease {
                            card: card.to_owned(),
                            token: row["claim_token"].as_i64().expect("a token"),
                        }),
                        _ => {}
                    }
                }
            }
            Outcome::Refused { .. } | Outcome::Unknown(_) => {}
        }
        // Who got no answer asks again, and now and then somebody who did.
        let doubt = match outcome {
            Outcome::Acknowledged(_) => self.rng.u8(0..4) == 0,
            Outcome::Refused { .. } => false,
            Outcome::Unknown(_) => true,
        };
        if doubt && may_be_repeated(&call) {
            self.again.push(call);
        }
    }

    fn hold(&mut self, lease: Lease) {
        if !self.held.contains(&lease) {
            self.held.push(lease);
        }
    }

    /// Whether nothing happens to the card but what brings it to done.
    fn is_of_fan_in(card: &str) -> bool {
        card.starts_with(FAN_IN)
    }

    fn know(&self, card: &str) {
        if Self::is_of_fan_in(card) {
            return;
        }
        let mut known = self.shared.known.lock().expect("the cards");
        if !known.iter().any(|other| other == card) {
            known.push(card.to_owned());
        }
    }

    /// One of the newest cards.
    fn some_card(&mut self) -> Option<String> {
        let known = self.shared.known.lock().expect("the cards");
        let newest = known.len().min(150);
        (newest > 0).then(|| known[known.len() - 1 - self.rng.usize(0..newest)].clone())
    }

    fn next(&mut self) -> Call {
        if !self.held.is_empty() && (self.held.len() >= HELD || self.rng.u8(0..100) < 75) {
            return self.go_on();
        }
        if let Some(number) = self.label {
            self.label = Some((number + 1) % LABELS);
            let worker = self.unique();
            return self
                .claim_as(worker)
                .with("labels", json!([format!("l{number}")]));
        }
        let named = |verb: Verb, card: String| Call::new(verb).with("id", card);
        let Some(card) = self.some_card() else {
            return self.creation();
        };
        match self.rng.u8(0..100) {
            0..48 => self.claim(),
            48..76 => self.creation(),
            76..84 => {
                let other = self.some_card().unwrap_or_default();
                let verb = if self.rng.u8(0..4) > 0 {
                    Verb::Link
                } else {
                    Verb::Unlink
                };
                named(verb, card)
                    .with("depends_on", json!([other]))
                    .with("actor", self.unique())
            }
            84..87 => named(Verb::Unblock, card).with("actor", self.unique()),
            87..95 => self.stale(),
            95..97 => Call::new(Verb::Reclaim).with("actor", self.unique()),
            97 => named(Verb::Cancel, card).with("reason", self.unique()),
            98 => named(Verb::Reopen, card).with("reason", self.unique()),
            _ => named(Verb::Complete, card).with("actor", self.unique()),
        }
    }

    fn creation(&mut self) -> Call {
        let title = self.unique();
        let mut call = Call::new(Verb::Create)
            .with("title", title.clone())
            .with("priority", self.rng.i32(-2..=2));
        if self.rng.bool() {
            call = call.with("idempotency_key", title.clone());
        }
        if self.rng.u8(0..4) > 0 {
            call = call.with("id", title);
        }
        if self.rng.u8(0..3) == 0 {
            let phases = [LEAD, "B", HELPER];
            call = call.with("phase", phases[self.rng.usize(0..phases.len())]);
        }
        if self.rng.u8(0..3) == 0 {
            call = call.with("labels", json!([self.label()]));
        }
        if self.rng.u8(0..6) == 0 {
            call = call.with("not_before", shared_time());
        }
        let mut needs: Vec<String> = Vec::new();
        if self.rng.u8(0..3) == 0 {
            needs.extend(self.some_card());
            needs.extend(self.some_card().filter(|card| !needs.contains(card)));
        }
        if !needs.is_empty() {
            call = call.with("depends_on", json!(needs));
        }
        call
    }

    fn label(&mut self) -> String {
        let count = if self.rng.bool() { COMMON } else { LABELS };
        format!("l{}", self.rng.usize(0..count))
    }

    fn claim_as(&self, worker: String) -> Call {
        Call::new(Verb::Claim)
            .with("worker", worker)
            .with("ttl", format!("{} seconds", self.shared.plan.ttl))
    }

    fn claim(&mut self) -> Call {
        let worker = self.unique();
        let call = self.claim_as(worker);
        match self.rng.u8(0..20) {
            0 => match self.some_card() {
                Some(card) => call.with("id", card),
                None => call,
            },
            1 => call.with("phase", "A"),
            2..6 => call.with("max_cards", self.rng.i32(2..=3)),
            6..9 => call.with("request_id", format!("{:032x}", self.rng.u128(..))),
            9..14 => self.filtered(call),
            14 if self.caller.by_sql() => call.with("nested", WAYS[self.rng.usize(0..WAYS.len())]),
            _ => call,
        }
    }

    /// With a filter that few others have.
    fn filtered(&mut self, mut call: Call) -> Call {
        call = call.with("labels", json!([self.label()]));
        if self.rng.u8(0..4) == 0 {
            call = call.with("phase", LEAD);
        }
        if self.rng.u8(0..4) == 0 {
            call = call.with("offers", json!([format!("o{}", self.rng.u8(0..4))]));
        }
        call
    }

    /// Does something with a card that it holds.
    fn go_on(&mut self) -> Call {
        let place = self.rng.usize(0..self.held.len());
        let Lease { card, token } = self.held[place].clone();
        let of = |verb: Verb| {
            Call::new(verb)
                .with("id", card.clone())
                .with("claim_token", token)
        };
        let unique = self.unique();
        let choice = self.rng.u8(0..100);
        if choice < 12 {
            return of(Verb::Renew);
        }
        self.over.push(self.held.swap_remove(place));
        match choice {
            12..93 if Self::is_of_fan_in(&card) => {
                of(Verb::Complete).with("result", json!({"by": unique}))
            }
            12..77 => of(Verb::Complete).with("result", json!({"by": unique})),
            77..83 => of(Verb::Fail).with("reason", unique).with("retry_in", "0"),
            83..89 => of(Verb::Release).with("reason", unique),
            89..93 => of(Verb::Block).with("reason", unique),
            // The lease is forgotten, and the card comes back by itself.
            _ => self.claim(),
        }
    }

    /// Uses a token that is over, or that somebody may have taken away meanwhile.
    fn stale(&mut self) -> Call {
        if self.over.is_empty() {
            return self.claim();
        }
        let Lease { card, token } = self.over[self.rng.usize(0..self.over.len())].clone();
        let unique = self.unique();
        let of = |verb: Verb| {
            Call::new(verb)
                .with("id", card.clone())
                .with("claim_token", token)
        };
        match self.rng.u8(0..5) {
            0 => of(Verb::Renew),
            1 => of(Verb::Fail).with("reason", unique).with("retry_in", "0"),
            2 => of(Verb::Release).with("reason", unique),
            3 => of(Verb::Block).with("reason", unique),
            _ => of(Verb::Complete).with("result", json!({"by": unique})),
        }
    }
}
