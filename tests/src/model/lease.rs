//! What the holder of a lease does with it, and how a lease ends without its holder.

use serde_json::json;

use super::block::given;
use super::call::Token;
use super::card::{Card, Status};
use super::{Answer, Backlog, Caller, Drawn, Seconds, Time};

const LONGEST: Seconds = 30 * 86_400;

pub(super) fn valid_ttl(ttl: Seconds) -> Result<(), &'static str> {
    if (1..=LONGEST).contains(&ttl) {
        Ok(())
    } else {
        Err("invalid_argument")
    }
}

impl Backlog {
    /// The card, if it is held under the token. A card that nobody holds is held under none.
    /// The end of the lease plays no part: until it is taken away, the token is good.
    fn held(&self, id: &str, token: Token) -> Result<&Card, &'static str> {
        if token == Token::None {
            return Err("invalid_argument");
        }
        let card = self.find(id)?;
        if card.is_held_under(token) {
            Ok(card)
        } else {
            Err("claim_lost")
        }
    }

    /// The lease counts from now on. (Silent.) A ttl that is given stays the claim's own.
    pub(super) fn renew(&mut self, id: &str, token: Token, ttl: Option<Seconds>) -> Answer {
        ttl.map_or(Ok(()), valid_ttl)?;
        let owner = self.held(id, token)?.owner().expect("an owner").to_owned();
        let now = self.now;
        let claim = self.change(id).claim.as_mut().expect("a claim");
        claim.ttl = ttl.unwrap_or(claim.ttl);
        claim.ends = now + claim.ttl;
        let ends = claim.ends;
        self.record_change(id, "renewed", &owner);
        Ok(vec![json!({"claim_expires_at": ends})])
    }

    /// No blame: the attempt is given back. (Silent.) Without a delay `not_before` stays.
    pub(super) fn release(
        &mut self,
        id: &str,
        token: Token,
        retry_in: Option<Seconds>,
        reason: Option<&str>,
    ) -> Answer {
        reason.map_or(Ok(()), given)?;
        let owner = self.held(id, token)?.owner().expect("an owner").to_owned();
        let not_before = retry_in.map(|delay| self.now + delay);
        let card = self.card_mut(id);
        card.attempts -= 1;
        if card.is_used_up() {
            // The maximum was lowered meanwhile.
            self.quarantine(id, "released", None, &owner);
        } else {
            card.not_before = not_before.or(card.not_before);
            self.turn(id, Status::Ready, "released", &owner);
        }
        self.get(id)
    }

    /// The attempt counts; the last one that the card has ends in quarantine.
    pub(super) fn fail(
        &mut self,
        id: &str,
        token: Token,
        reason: &str,
        retry_in: Seconds,
    ) -> Answer {
        given(reason)?;
        let owner = self.held(id, token)?.owner().expect("an owner").to_owned();
        let not_before = self.now + retry_in;
        let card = self.card_mut(id);
        card.last_failure = Some(reason.to_owned());
        if card.is_used_up() {
            self.quarantine(id, "failed", Some(reason), &owner);
        } else {
            card.not_before = Some(not_before);
            self.turn(id, Status::Ready, "failed", &owner);
        }
        self.get(id)
    }

    /// Says whether the card is held, and changes nothing.
    pub(super) fn assert_held(&self, id: &str, token: Token) -> Answer {
        self.held(id, token)?;
        Ok(vec![json!({})])
    }

    pub(super) fn lease_ended(&self, id: &str, before: Time) -> bool {
        let claim = self.cards[id].claim.as_ref();
        claim.is_some_and(|claim| claim.ends <= before)
    }

    /// Takes a lease away. That counts as an attempt, as a failure does: the last one that
    /// the card has ends in quarantine.
    pub(super) fn take_away(&mut self, id: &str, kind: &'static str, actor: &str) -> &'static str {
        if self.cards[id].is_used_up() {
            self.quarantine(id, kind, None, actor);
            "quarantined"
        } else {
            self.turn(id, Status::Ready, kind, actor);
            "requeued"
        }
    }

    /// The leases that ended, the longest ended first. Among equals the order is open.
    pub(super) fn ended_leases(&self, before: Time, max: usize, drawn: &Drawn) -> Vec<String> {
        let mut ended: Vec<String> = self
            .ids()
            .into_iter()
            .filter(|id| self.lease_ended(id, before))
            .collect();
        ended.sort_by_key(|id| {
            let claim = self.cards[id].claim.as_ref().expect("a claim");
            (claim.ends, !drawn.ids.contains(id))
        });
        ended.truncate(max);
        ended
    }

    /// Without an id: leases that ended more than `grace` ago. With one: that card's, also a
    /// live one with force. A card that nobody holds has none to take away.
    pub(super) fn reclaim(
        &mut self,
        id: Option<&str>,
        force: bool,
        grace: Seconds,
        max_cards: usize,
        by: &Caller,
        drawn: &Drawn,
    ) -> Answer {
        if max_cards == 0 || (force && id.is_none()) {
            return Err("invalid_argument");
        }
        by.may_force(force)?;
        let before = self.now - grace;
        let (taken, kind) = match id {
            None => (self.ended_leases(before, max_cards, drawn), "lapsed"),
            Some(id) => {
                let taken = vec![id.to_owned()];
                match self.find(id)?.status {
                    Status::Claimed if self.lease_ended(id, before) => (taken, "lapsed"),
                    Status::Claimed if force => (taken, "reclaimed"),
                    Status::Claimed => return Err("already_claimed"),
                    _ => (Vec::new(), ""),
                }
            }
        };
        let mut rows = Vec::new();
        for id in taken {
            let owner = self.cards[&id].owner().map(str::to_owned);
            let action = self.take_away(&id, kind, &by.actor);
            rows.push(json!({
                "id": id, "previous_owner": owner, "attempts": self.cards[&id].attempts, "action": action,
            }));
        }
        Ok(rows)
    }
}
