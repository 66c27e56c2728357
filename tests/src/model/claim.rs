//! Claiming: the next cards, a named card, and the retry of a claim.

use serde_json::{Value, json};

use super::block::given;
use super::call::Claim;
use super::card::{Lease, Status};
use super::lease::valid_ttl;
use super::{Answer, Backlog, Drawn, Remembered, Seconds};

/// Ended leases that one claim sweeps at most.
const SWEEP_MAX: usize = 100;

/// How long the answer to a request is remembered: a day longer than the longest lease.
const REMEMBERED: Seconds = 31 * 86_400;

/// Labels and capabilities are sets, whatever the order in which they are said.
pub(super) fn set(values: &[&'static str]) -> Vec<&'static str> {
    let mut values = values.to_vec();
    values.sort_unstable();
    values.dedup();
    values
}

impl Backlog {
    pub(super) fn claim(&mut self, claim: &Claim, drawn: &Drawn) -> Answer {
        given(claim.worker)?;
        valid_ttl(claim.ttl)?;
        let has_filter = claim.phase.is_some() || !claim.labels.is_empty();
        if claim.max_cards == 0 || (claim.id.is_some() && has_filter) {
            return Err("invalid_argument");
        }
        let claim = Claim {
            labels: set(&claim.labels),
            offers: set(&claim.offers),
            ..claim.clone()
        };
        let Some(request) = claim.request else {
            let ids = self.hand_out(&claim, drawn)?;
            return Ok(self.claimed_rows(&ids));
        };
        if let Some(before) = self.requests.get(&request) {
            return self.claim_again(&claim, before);
        }
        let ids = self.hand_out(&claim, drawn)?;
        // An empty answer is not remembered.
        if !ids.is_empty() {
            let token = |id: &String| self.cards[id].claim.as_ref().expect("a claim").token;
            let tokens = ids.iter().map(|id| (id.clone(), token(id))).collect();
            let at = self.now;
            // (Silent.) What was remembered for longer is forgotten on this occasion.
            self.requests
                .retain(|_, before| before.at >= at - REMEMBERED);
            let answer = Remembered { at, claim, tokens };
            self.requests.insert(request, answer);
        }
        Ok(self.claimed_rows(&ids))
    }

    /// The same request again: what it got the first time and still holds, never fresh work.
    fn claim_again(&self, claim: &Claim, before: &Remembered) -> Answer {
        if before.claim != *claim {
            return Err("key_conflict");
        }
        let held = |(id, token): &&(String, i64)| {
            let claim = self.cards[id].claim.as_ref();
            claim.is_some_and(|claim| claim.token == *token)
        };
        let mut ids: Vec<String> = before
            .tokens
            .iter()
            .filter(held)
            .map(|(id, _)| id.clone())
            .collect();
        if ids.is_empty() {
            return Err("claim_lost");
        }
        ids.sort_by_key(|id| self.cards[id].claim_order());
        Ok(self.claimed_rows(&ids))
    }

    /// Claims cards and gives their ids, in the order of claims.
    fn hand_out(&mut self, claim: &Claim, drawn: &Drawn) -> Result<Vec<String>, &'static str> {
        let ids = match &claim.id {
            Some(id) => {
                self.refuse_unless_claimable(id, claim)?;
                if self.lease_ended(id, self.now) {
                    self.take_away(id, "lapsed", claim.worker);
                }
                vec![id.clone()]
            }
            None => {
                // Every claim sweeps first, whatever it is looking for.
                for id in self.ended_leases(self.now, SWEEP_MAX, drawn) {
                    self.take_away(&id, "lapsed", claim.worker);
                }
                self.pick(claim)
            }
        };
        let newest = self.tokens.iter().map(|(_, token)| *token).max();
        for id in &ids {
            let next = self.tokens.last().map_or(1, |(_, token)| token + 1);
            let token = drawn.tokens.get(id).copied().unwrap_or(next);
            assert!(Some(token) > newest, "token {token} is not fresh");
            assert!(self.tokens.iter().all(|(_, other)| *other != token));
            self.take(id, token, claim);
        }
        Ok(ids)
    }

    /// The claimable cards that the claim describes: highest priority first, then oldest, at
    /// most as many as it asks for.
    fn pick(&self, claim: &Claim) -> Vec<String> {
        let mut ids = self.ids();
        ids.retain(|id| {
            let card = &self.cards[id];
            self.is_claimable(id)
                && claim.phase.is_none_or(|phase| card.phase == Some(phase))
                && card.has_all(&claim.labels)
                && card.requires.iter().all(|r| claim.offers.contains(r))
        });
        ids.sort_by_key(|id| self.cards[id].claim_order());
        ids.truncate(claim.max_cards);
        ids
    }

    /// A named card: why it cannot be had. A lease that has ended is no obstacle, unless it
    /// was the card's last.
    fn refuse_unless_claimable(&self, id: &str, claim: &Claim) -> Result<(), &'static str> {
        let card = self.find(id)?;
        match card.status {
            Status::Ready => {}
            Status::Claimed if !self.lease_ended(id, self.now) => return Err("already_claimed"),
            Status::Claimed if !card.is_used_up() => {}
            _ => return Err("bad_transition"),
        }
        if self.is_gated(id) {
            return Err("open_dependencies");
        }
        // (Silent.) What the worker cannot do is refused like what it cannot do yet.
        if self.is_deferred(id) || card.requires.iter().any(|r| !claim.offers.contains(r)) {
            return Err("bad_transition");
        }
        Ok(())
    }

    fn take(&mut self, id: &str, token: i64, claim: &Claim) {
        let now = self.now;
        let card = self.change(id);
        card.status = Status::Claimed;
        card.attempts += 1;
        card.settled = None;
        card.claim = Some(Lease {
            owner: claim.worker.to_owned(),
            token,
            ttl: claim.ttl,
            since: now,
            ends: now + claim.ttl,
        });
        let waited = now - card.claimable_since.unwrap_or(now);
        self.tokens.push((id.to_owned(), token));
        self.tokens.sort_by_key(|(_, token)| *token);
        self.record(
            id,
            "claimed",
            claim.worker,
            Some(token),
            Some(Status::Ready),
            Some(waited),
        );
    }

    /// Claimed cards with everything that a worker needs to start.
    fn claimed_rows(&self, ids: &[String]) -> Vec<Value> {
        let mut rows = self.rows(ids);
        for (row, id) in rows.iter_mut().zip(ids) {
            let card = &self.cards[id];
            let dependencies: Vec<Value> = card
                .depends_on
                .iter()
                .map(|on| &self.cards[on])
                .map(|on| json!({"id": on.id, "title": on.title, "result": on.result}))
                .collect();
            row["dependencies_total"] = dependencies.len().into();
            row["dependencies"] = dependencies.into();
            row["last_failure"] = json!(card.last_failure);
        }
        rows
    }
}
