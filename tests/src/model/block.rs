//! Taking a card out of circulation, and back.

use super::call::Token;
use super::card::{Block, Status, USED_UP};
use super::{Answer, Backlog, Caller};

const KINDS: [&str; 5] = ["input", "dependency", "capability", "attempts", "other"];

/// Reasons and names must say something.
pub(super) fn given(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() {
        return Err("invalid_argument");
    }
    Ok(())
}

impl Backlog {
    /// A card that is blocked already gets the new reason. Attempts stay as they are.
    pub(super) fn block(
        &mut self,
        id: &str,
        reason: &str,
        kind: &str,
        token: Token,
        by: &Caller,
    ) -> Answer {
        given(reason)?;
        if !KINDS.contains(&kind) {
            return Err("invalid_argument");
        }
        let card = self.find(id)?;
        let block = Block {
            kind: kind.to_owned(),
            reason: reason.to_owned(),
        };
        match (card.status, token) {
            (Status::Done | Status::Cancelled, _) => return Err("bad_transition"),
            (Status::Claimed, Token::None) => return Err("already_claimed"),
            (Status::Claimed, token) if card.is_held_under(token) => {}
            (Status::Ready | Status::Blocked, Token::None) => {}
            // The holder who blocked it may repeat that, or find better words.
            (Status::Blocked, token) if card.is_settled_under(token) => {}
            _ => return Err("claim_lost"),
        }
        // A repeat changes nothing.
        if card.block.as_ref() != Some(&block) {
            // (Silent.) New words without the token end the former holder's say in the matter.
            self.card_mut(id).settled = match token {
                Token::Number(token) => Some(token),
                _ => None,
            };
            self.turn(id, Status::Blocked, "blocked", &by.actor);
            self.card_mut(id).block = Some(block);
        }
        self.get(id)
    }

    /// Gives a fresh budget of attempts. A ready card stays as it is.
    pub(super) fn unblock(&mut self, id: &str, by: &Caller) -> Answer {
        match self.find(id)?.status {
            Status::Ready => {}
            Status::Blocked => {
                self.card_mut(id).attempts = 0;
                self.card_mut(id).settled = None;
                self.turn(id, Status::Ready, "unblocked", &by.actor);
            }
            _ => return Err("bad_transition"),
        }
        self.get(id)
    }

    /// Blocks a card whose attempts are used up, until somebody unblocks it. `kind` is how the
    /// last attempt ended; a failure is told in the reason.
    pub(super) fn quarantine(
        &mut self,
        id: &str,
        kind: &'static str,
        failure: Option<&str>,
        actor: &str,
    ) {
        self.card_mut(id).settled = None;
        self.turn(id, Status::Blocked, kind, actor);
        self.card_mut(id).block = Some(Block {
            kind: "attempts".to_owned(),
            reason: format!("{USED_UP}{}", failure.unwrap_or_default()),
        });
    }
}
