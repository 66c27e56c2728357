//! A history of the database, told to the models event by event: each has to be a step that the
//! models allow, and has to lead to what it says.

use serde_json::Value;
use stateright::Model;

use crate::gate::{self, Call, Gate};
use crate::lease::{self, Action, Lease, Status, Time, Token, Verb};

/// A line of the history.
#[derive(Clone, Debug)]
pub struct Event {
    pub card: usize,
    pub at: Time,
    pub kind: String,
    pub token: Option<Token>,
    pub old: Option<Status>,
    pub new: Status,
    pub detail: Value,
    /// The cards that `detail` names as dependencies.
    pub depends_on: Vec<usize>,
    /// The cards that it names as opened.
    pub unblocked: Vec<usize>,
    /// When the lease of `detail` ends, and until when the card waits.
    pub expires_at: Option<Time>,
    pub not_before: Option<Time>,
}

pub struct Replay {
    lease: Lease,
    gate: Gate,
    pub cards: lease::State,
    pub links: gate::State,
}

impl Replay {
    pub fn new(cards: usize, max_attempts: i32) -> Self {
        let lease = Lease {
            workers: 1,
            cards,
            max_attempts,
            until: 0,
            tokens: 0,
            bug: None,
        };
        let gate = Gate {
            workers: 1,
            cards,
            calls: Vec::new(),
            bug: None,
        };
        Self {
            cards: lease.state(),
            links: gate.state(),
            lease,
            gate,
        }
    }

    /// Takes an event, or says why the models do not have it.
    pub fn step(&mut self, event: &Event) -> Result<(), String> {
        let Event { card, .. } = *event;
        let told = format!("{event:?} after {:?}", self.cards.cards[card]);
        let before = self.ready_and_open();
        if event
            .old
            .is_some_and(|old| old != self.cards.cards[card].status)
        {
            return Err(format!("the status was another: {told}"));
        }
        let pass = Action::Pass { to: event.at };
        self.cards = self.lease.next_state(&self.cards, pass).ok_or("time")?;
        self.change_gate(event)
            .ok_or(format!("the gate does not allow {told}"))?;
        if let Some(verb) = self.verb(event) {
            let token = event.token.unwrap_or_default();
            // Who shows the token is taken for its holder; whether it is good is judged.
            self.cards.hand_token(0, card, token);
            let next = self.lease.call(&self.cards, 0, card, verb, token);
            self.cards = next.ok_or(format!("the lease does not allow {told}"))?;
        }
        let now = &self.cards.cards[card];
        let attempts = event.detail["attempts"].as_i64();
        let end = now.lease.map(|(_, end)| end);
        if now.status != event.new
            || attempts.is_some_and(|n| n != i64::from(now.attempts))
            || event.expires_at.is_some_and(|at| Some(at) != end)
        {
            return Err(format!("{told} led to {now:?}"));
        }
        if event.kind == "completed" {
            let mut opened = self.ready_and_open();
            opened.retain(|card| !before.contains(card));
            if opened != event.unblocked {
                return Err(format!("{told} opened {opened:?}"));
            }
        }
        Ok(())
    }

    fn ready_and_open(&self) -> Vec<usize> {
        let cards = self.cards.cards.iter().zip(&self.links.cards).enumerate();
        cards
            .filter(|(_, (card, gate))| card.status == Status::Ready && gate.counter == 0)
            .map(|(number, _)| number)
            .collect()
    }

    /// What the event is in the model of leases; `None`: nothing.
    fn verb(&self, event: &Event) -> Option<Verb> {
        let ttl = event.detail["claim_ttl_seconds"].as_i64();
        let retry_in = event.not_before.map(|at| at - event.at);
        let is_held = event.old == Some(Status::Claimed);
        Some(match event.kind.as_str() {
            "claimed" => Verb::Claim { ttl: ttl? },
            "renewed" => Verb::Renew { ttl: ttl? },
            "released" => Verb::Release { retry_in },
            "failed" => Verb::Fail {
                retry_in: retry_in.unwrap_or_default(),
            },
            "lapsed" => Verb::Sweep,
            "reclaimed" => Verb::ReclaimForced,
            "completed" if is_held => Verb::Complete,
            "completed" => Verb::CompleteUnheld,
            "blocked" if is_held => Verb::Block,
            "blocked" => Verb::BlockUnheld,
            "unblocked" => Verb::Unblock,
            "cancelled" => Verb::Cancel,
            "reopened" => Verb::Reopen,
            _ => return None,
        })
    }

    fn change_gate(&mut self, event: &Event) -> Option<()> {
        let Event { card, .. } = *event;
        let links = event.depends_on.iter();
        let calls: Vec<Call> = match event.kind.as_str() {
            "created" | "linked" => links.map(|on| Call::Link(card, *on)).collect(),
            "unlinked" => links.map(|on| Call::Unlink(card, *on)).collect(),
            "claimed" => vec![Call::Claim(card)],
            "completed" => vec![Call::Complete(card)],
            "reopened" if event.old == Some(Status::Done) => vec![Call::Reopen(card)],
            _ if event.old == Some(Status::Claimed) && event.new != Status::Claimed => {
                vec![Call::GiveUp(card)]
            }
            _ => Vec::new(),
        };
        for call in calls {
            self.links = self.gate.call(&self.links, call)?;
        }
        Some(())
    }
}

/// Tells a whole history.
pub fn replay(events: &[Event], cards: usize, max_attempts: i32) -> Result<Replay, String> {
    let mut replay = Replay::new(cards, max_attempts);
    for event in events {
        replay.step(event)?;
    }
    Ok(replay)
}
