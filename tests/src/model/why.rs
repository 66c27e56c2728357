//! Why nobody is working on a card.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::card::Status;
use super::{Answer, Backlog, Time};

impl Backlog {
    /// The nearest reason first, no row for a claimable card: what the card itself has against
    /// it, then, if it waits, the cards at the bottom of what it waits for.
    pub(super) fn why(&self, id: &str) -> Answer {
        let card = self.find(id)?;
        let own = match card.status {
            Status::Ready if self.is_deferred(id) => Some("deferred"),
            Status::Ready => None,
            Status::Claimed => Some("held"),
            Status::Blocked => {
                let kind = card.block.as_ref().map(|block| block.kind.as_str());
                Some(if kind == Some("attempts") {
                    "quarantined"
                } else {
                    "blocked"
                })
            }
            Status::Done => Some("done"),
            Status::Cancelled => Some("cancelled"),
        };
        let mut rows: Vec<Value> = own
            .map(|kind| self.reason(kind, id, 0))
            .into_iter()
            .collect();
        if matches!(card.status, Status::Ready | Status::Blocked) {
            rows.append(&mut self.roots(id));
        }
        Ok(rows)
    }

    /// The open cards below `id` that wait for nothing themselves, or that are claimed, blocked
    /// or cancelled, each once, at the end of the shortest way to it.
    fn roots(&self, id: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut seen = BTreeSet::new();
        let mut level = BTreeSet::from([id.to_owned()]);
        for depth in 1.. {
            let below: BTreeSet<String> = level
                .iter()
                .flat_map(|id| self.open_dependencies(id))
                .map(|card| card.id.clone())
                .filter(|id| seen.insert(id.clone()))
                .collect();
            level.clear();
            for id in below {
                match self.cards[&id].status {
                    Status::Ready if self.is_gated(&id) => {
                        level.insert(id);
                    }
                    Status::Cancelled => rows.push(self.reason("cancelled_dependency", &id, depth)),
                    _ => rows.push(self.reason("open_dependency", &id, depth)),
                }
            }
            if level.is_empty() {
                break;
            }
        }
        rows
    }

    fn reason(&self, kind: &str, id: &str, depth: i32) -> Value {
        let card = &self.cards[id];
        let claim = card.claim.as_ref();
        let deferred: Option<Time> = card
            .not_before
            .filter(|_| card.status == Status::Ready && self.is_deferred(id));
        json!({
            "kind": kind,
            "id": id,
            "title": card.title,
            "status": card.status.name(),
            "owner": card.owner(),
            "until": claim.map(|claim| claim.ends).or(deferred),
            "block_kind": card.block.as_ref().map(|block| &block.kind),
            "reason": card.block.as_ref().map(|block| &block.reason),
            "depth": depth,
        })
    }
}
