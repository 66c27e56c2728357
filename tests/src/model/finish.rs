//! The end of a card, and its return.

use std::collections::BTreeSet;

use serde_json::json;

use super::block::given;
use super::call::Token;
use super::card::Status;
use super::{Answer, Backlog, Caller};

impl Backlog {
    /// What waited for the card alone is claimable in the same moment, and named.
    pub(super) fn complete(
        &mut self,
        id: &str,
        token: Token,
        result: Option<i32>,
        force: bool,
        by: &Caller,
    ) -> Answer {
        by.may_force(force)?;
        let card = self.find(id)?;
        match (card.status, token) {
            // A repeat: the same token or none. Another result would be lost.
            (Status::Done, token) if token == Token::None || card.is_settled_under(token) => {
                if result.is_some() && result != card.result {
                    return Err("claim_lost");
                }
                let mut row = self.row(id);
                row["unblocked"] = json!([]);
                return Ok(vec![row]);
            }
            (Status::Cancelled, _) => return Err("bad_transition"),
            (Status::Blocked, _) if !force => return Err("bad_transition"),
            (Status::Claimed, Token::None) if !force => return Err("already_claimed"),
            (Status::Ready, Token::None) if self.is_gated(id) && !force => {
                return Err("open_dependencies");
            }
            (_, Token::None) => {}
            (Status::Claimed, token) if card.is_held_under(token) => {}
            // (Silent.) With a token the caller means its claim, also where none is needed.
            _ => return Err("claim_lost"),
        }
        let waiting: Vec<String> = self.dependents(id);
        self.turn(id, Status::Done, "completed", &by.actor);
        let card = self.card_mut(id);
        card.result = result;
        card.settled = match token {
            Token::Number(token) => Some(token),
            _ => None,
        };
        let mut unblocked = Vec::new();
        for dependent in waiting {
            self.change(&dependent);
            if self.cards[&dependent].status == Status::Ready && !self.is_gated(&dependent) {
                unblocked.push(dependent);
            }
        }
        let mut row = self.row(id);
        row["unblocked"] = json!(unblocked);
        Ok(vec![row])
    }

    /// Dependents stay gated. With `cascade` the open cards that wait for this one through
    /// open cards are cancelled too: all of them or, if one is held, none without force.
    pub(super) fn cancel(
        &mut self,
        id: &str,
        reason: &str,
        cascade: bool,
        force: bool,
        by: &Caller,
    ) -> Answer {
        given(reason)?;
        if self.find(id)?.status == Status::Done {
            return Err("bad_transition");
        }
        let mut touched = vec![id.to_owned()];
        if cascade {
            touched.extend(self.waiting_for(id));
        }
        let claimed = |id: &String| self.cards[id].status == Status::Claimed;
        if !force && touched.iter().any(claimed) {
            return Err("already_claimed");
        }
        for id in &touched {
            // (Silent.) A card that is cancelled already is a repeat, but passes the cascade on.
            if self.cards[id].status.is_open() {
                self.card_mut(id).settled = None;
                self.turn(id, Status::Cancelled, "cancelled", &by.actor);
            }
        }
        Ok(self.rows(&touched))
    }

    fn waiting_for(&self, id: &str) -> BTreeSet<String> {
        let mut waiting = BTreeSet::new();
        let mut next = vec![id.to_owned()];
        while let Some(at) = next.pop() {
            for dependent in self.dependents(&at) {
                let is_open = self.cards[&dependent].status.is_open();
                if is_open && waiting.insert(dependent.clone()) {
                    next.push(dependent);
                }
            }
        }
        waiting
    }

    /// Ready again with a fresh budget. What depends on a card that was done is gated again;
    /// those that are still open are named. A claimed one keeps its lease. (Silent.) The old
    /// result stays until there is a new one.
    pub(super) fn reopen(&mut self, id: &str, reason: &str, by: &Caller) -> Answer {
        given(reason)?;
        let before = self.find(id)?.status;
        match before {
            Status::Ready => return self.get(id),
            Status::Claimed | Status::Blocked => return Err("bad_transition"),
            Status::Done | Status::Cancelled => {}
        }
        let card = self.card_mut(id);
        card.attempts = 0;
        card.settled = None;
        self.turn(id, Status::Ready, "reopened", &by.actor);
        let mut touched = vec![id.to_owned()];
        if before == Status::Done {
            for dependent in self.dependents(id) {
                self.change(&dependent);
                if self.cards[&dependent].status.is_open() {
                    touched.push(dependent);
                }
            }
        }
        Ok(self.rows(&touched))
    }
}
