//! Figures of the whole backlog or of one phase.

use std::collections::BTreeMap;

use serde_json::json;

use super::card::{Card, Status};
use super::{Answer, Backlog, Event, Seconds};

/// The value below which a share of the values lies, between two values in proportion.
fn percentile(values: &[Seconds], share: f64) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_unstable();
    let at = share * values.len().checked_sub(1)? as f64;
    let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some(below as f64 + (above - below) as f64 * at.fract())
}

impl Backlog {
    pub(super) fn stats(&self, phase: Option<&'static str>) -> Answer {
        let is_of_phase = |card: &Card| phase.is_none() || card.phase == phase;
        let cards: Vec<&Card> = self.cards.values().filter(|c| is_of_phase(c)).collect();
        let of = |status| cards.iter().filter(move |card| card.status == status);
        let mut by_owner: BTreeMap<&str, usize> = BTreeMap::new();
        for owner in cards.iter().filter_map(|card| card.owner()) {
            *by_owner.entry(owner).or_default() += 1;
        }
        let oldest = cards.iter().filter_map(|card| card.claimable_since).min();
        let gated = of(Status::Ready)
            .filter(|card| self.is_gated(&card.id))
            .count();
        let claimable = cards
            .iter()
            .filter(|card| self.is_claimable(&card.id))
            .count();
        let expired = cards
            .iter()
            .filter(|card| self.lease_ended(&card.id, self.now))
            .count();

        // (Silent.) What happened to a card counts for the phase that the card is in today.
        let recent: Vec<&Event> = self
            .events
            .iter()
            .filter(|event| event.at > self.now - 3600 && is_of_phase(&self.cards[&event.card]))
            .collect();
        let count = |kinds: &[&str]| recent.iter().filter(|e| kinds.contains(&e.kind)).count();
        let seconds = |kind: &str| -> Vec<Seconds> {
            let events = recent.iter().filter(|event| event.kind == kind);
            events.filter_map(|event| event.seconds).collect()
        };
        let (wait, cycle) = (seconds("claimed"), seconds("completed"));
        Ok(vec![json!({
            "ready": of(Status::Ready).count(),
            "claimed": of(Status::Claimed).count(),
            "blocked": of(Status::Blocked).count(),
            "done": of(Status::Done).count(),
            "cancelled": of(Status::Cancelled).count(),
            "claimable": claimable,
            "gated": gated,
            "deferred": of(Status::Ready).count() - gated - claimable,
            "expired_leases": expired,
            "oldest_claimable_seconds": oldest.map(|since| self.now - since),
            "by_owner": by_owner,
            "created_last_hour": count(&["created"]),
            "completed_last_hour": count(&["completed"]),
            "failed_last_hour": count(&["failed"]),
            "lapsed_last_hour": count(&["lapsed", "reclaimed"]),
            "wait_p50_seconds": percentile(&wait, 0.5),
            "wait_p95_seconds": percentile(&wait, 0.95),
            "cycle_p50_seconds": percentile(&cycle, 0.5),
            "cycle_p95_seconds": percentile(&cycle, 0.95),
        })])
    }
}
