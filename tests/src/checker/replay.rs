//! Goes through the events under the rules of leases, tokens and the gate.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::trace::{Trace, Window, told};
use super::violation::{Rule, Violation, report};
use crate::record::{Event, Time, time};

#[derive(Default)]
pub struct State {
    pub status: String,
    pub token: Option<i64>,
    expires: Time,
    last_token: i64,
    pub needs: BTreeSet<String>,
    not_before: Option<Time>,
}

/// What an event made of a card.
pub struct Change {
    pub window: Window,
    /// Whether the card could be claimed from then on.
    pub claimable: bool,
    /// Not before this time.
    pub not_before: Option<Time>,
}

/// The end of a lease.
pub struct End {
    pub window: Window,
    pub kind: String,
}

#[derive(Default)]
pub struct Replay {
    pub cards: BTreeMap<String, State>,
    /// What became of each card, in order.
    pub changes: HashMap<String, Vec<Change>>,
    /// How leases ended, by card and token.
    pub ends: HashMap<(String, i64), End>,
    /// All that ever waited for a card.
    pub dependents: HashMap<String, BTreeSet<String>>,
    /// What a card waited for when it was claimed, by card and token.
    pub claims: HashMap<(String, i64), BTreeSet<String>>,
    tokens: HashSet<i64>,
}

impl Replay {
    pub fn of(trace: &Trace, found: &mut Vec<Violation>) -> Self {
        let mut replay = Self::default();
        for (event, window) in trace.record.backlog.events.iter().zip(&trace.windows) {
            if event.kind != "created" && !replay.cards.contains_key(&event.card_id) {
                let what = format!("{} of a card that was not created", told(event));
                report(found, Rule::Impossible, what);
            }
            let was_done = replay.is_done(&event.card_id);
            replay.follow(event, *window, found);
            if event.kind == "created" {
                let card = replay.cards.entry(event.card_id.clone()).or_default();
                card.not_before = trace.deferred(event);
            }
            replay.note(&event.card_id, *window);
            if was_done != replay.is_done(&event.card_id) {
                let waiting = replay.dependents.get(&event.card_id).cloned();
                for card in waiting.unwrap_or_default() {
                    replay.note(&card, *window);
                }
            }
        }
        replay
    }

    fn is_done(&self, card: &str) -> bool {
        self.cards
            .get(card)
            .is_some_and(|card| card.status == "done")
    }

    /// Cards that this one waits for.
    pub fn open<'a>(&'a self, card: &'a State) -> Vec<&'a str> {
        let needs = card.needs.iter().map(String::as_str);
        needs.filter(|card| !self.is_done(card)).collect()
    }

    fn note(&mut self, id: &str, window: Window) {
        let card = &self.cards[id];
        let change = Change {
            window,
            claimable: card.status == "ready" && self.open(card).is_empty(),
            not_before: card.not_before,
        };
        self.changes.entry(id.to_owned()).or_default().push(change);
    }

    fn follow(&mut self, event: &Event, window: Window, found: &mut Vec<Violation>) {
        let mut wrong = |rule: Rule, why: &str| {
            report(found, rule, format!("{}: {why}", told(event)));
        };
        if event.kind == "claimed" {
            let open = self.cards.get(&event.card_id).map(|card| self.open(card));
            if let Some(open) = open.filter(|open| !open.is_empty()) {
                let why = format!("it waits for {}", open.join(", "));
                wrong(Rule::OpenDependency, &why);
            }
            if !self.tokens.insert(event.claim_token.unwrap_or_default()) {
                wrong(Rule::TokenReused, "another claim had that token");
            }
        }
        let detail = &event.detail;
        let card = self.cards.entry(event.card_id.clone()).or_default();
        let (held, token) = (card.status == "claimed", card.token);
        let ends = match event.kind.as_str() {
            "created" => {
                if !card.status.is_empty() {
                    wrong(Rule::Impossible, "the card exists");
                }
                card.needs.extend(names(&detail["depends_on"]));
                "ready"
            }
            "claimed" => {
                match card.status.as_str() {
                    "ready" => {}
                    "claimed" => wrong(Rule::TwoLeases, "the card is held"),
                    _ => wrong(Rule::Impossible, "the card is not ready"),
                }
                let token = event.claim_token.unwrap_or_default();
                if token <= card.last_token {
                    wrong(Rule::TokenWentBack, "a claim before it had a larger token");
                }
                if card.not_before.is_some_and(|from| event.at < from) {
                    wrong(Rule::TooEarly, "its time has not come");
                }
                card.token = Some(token);
                card.last_token = token;
                let claim = (event.card_id.clone(), token);
                self.claims.insert(claim, card.needs.clone());
                card.expires = time(&detail["claim_expires_at"]).unwrap_or_default();
                "claimed"
            }
            "renewed" => {
                if !held || token != event.claim_token {
                    wrong(Rule::StaleTokenAccepted, "the token does not hold the card");
                }
                card.expires = time(&detail["claim_expires_at"]).unwrap_or_default();
                "claimed"
            }
            "released" | "failed" => {
                if !held || token != event.claim_token {
                    wrong(Rule::StaleTokenAccepted, "the token does not hold the card");
                }
                card.not_before = time(&detail["not_before"]).or(card.not_before);
                "ready"
            }
            "lapsed" => {
                if !held || token != event.claim_token {
                    wrong(Rule::Impossible, "no such lease");
                } else if event.at < card.expires {
                    wrong(Rule::LiveLeaseTaken, "the lease had not ended");
                }
                "ready"
            }
            "completed" | "blocked" => {
                if held && token != event.claim_token {
                    wrong(Rule::StaleTokenAccepted, "another token holds the card");
                }
                if ["done", "cancelled"].contains(&card.status.as_str()) {
                    wrong(Rule::Impossible, "the card is finished");
                }
                if event.kind == "completed" {
                    "done"
                } else {
                    "blocked"
                }
            }
            "linked" => {
                card.needs.extend(names(&detail["depends_on"]));
                ""
            }
            "unlinked" => {
                for name in names(&detail["depends_on"]) {
                    card.needs.remove(&name);
                }
                ""
            }
            "updated" => {
                if let Some(change) = detail.get("not_before") {
                    card.not_before = time(&change["new"]);
                }
                ""
            }
            "cancelled" => "cancelled",
            "quarantined" => "blocked",
            _ => "ready",
        };
        let status = match detail["quarantined"].as_bool() {
            Some(true) => "blocked",
            _ => ends,
        };
        for name in card.needs.clone() {
            let waiting = self.dependents.entry(name).or_default();
            waiting.insert(event.card_id.clone());
        }
        if !status.is_empty() {
            status.clone_into(&mut card.status);
        }
        if card.status != "claimed"
            && let Some(token) = card.token.take()
        {
            let end = End {
                window,
                kind: event.kind.clone(),
            };
            self.ends.insert((event.card_id.clone(), token), end);
        }
    }
}

fn names(list: &Value) -> Vec<String> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
