//! What is refused for the state that a card is in.

use crate::card::Card;
use crate::postgres::clock;
use crate::postgres::code::Code;
use crate::refusal::Refusal;

impl Refusal {
    /// The caller's token is not the one under which the card is held.
    pub fn claim_lost(card: &Card, token: i64) -> Self {
        // The current token is not told: it would let a worker go on that must stop.
        let now = match &card.claim_owner {
            Some(owner) => format!("The card is held by worker \"{owner}\" under another token."),
            None => format!("The card is {}.", card.status.name()),
        };
        Self::new(
            Code::ClaimLost,
            format!("token {token} does not hold card \"{}\"", card.id),
            format!("{now} Nothing was changed."),
            "Stop working on this card; claim again to get work.",
        )
    }

    pub fn not_held(card: &Card) -> Self {
        Self::new(
            Code::BadTransition,
            format!(
                "card \"{}\" has no token: it is {}",
                card.id,
                card.status.name()
            ),
            "Only a claimed card has one. Nothing was changed.",
            "Look at the card with mosaic.backlog_get().",
        )
    }

    pub fn open_dependencies(card: &Card) -> Self {
        let n = card.open_dependencies;
        Self::new(
            Code::OpenDependencies,
            format!(
                "card \"{}\" waits for {n} open dependenc{}",
                card.id,
                if n == 1 { "y" } else { "ies" }
            ),
            "Nothing was changed.",
            format!(
                "See which with mosaic.backlog_why('{}').",
                card.id.replace('\'', "''")
            ),
        )
    }

    /// The verb does not apply to a card in this state.
    pub fn bad_transition(card: &Card, verb: &str, hint: &str) -> Self {
        Self::new(
            Code::BadTransition,
            format!(
                "cannot {verb} card \"{}\": it is {}",
                card.id,
                card.status.name()
            ),
            "Nothing was changed.",
            hint,
        )
    }

    pub fn deferred(card: &Card, until: clock::Micros) -> Self {
        Self::new(
            Code::BadTransition,
            format!(
                "cannot claim card \"{}\": it is deferred until {}",
                card.id,
                clock::rfc3339(until)
            ),
            "Nothing was changed.",
            "Claim it then, or claim another card.",
        )
    }

    pub fn exhausted(card: &Card) -> Self {
        Self::new(
            Code::BadTransition,
            format!(
                "cannot claim card \"{}\": it has used up its {} attempts",
                card.id, card.attempts
            ),
            "Nothing was changed.",
            "Unblock it to reset its attempts.",
        )
    }

    pub fn capability(card: &Card, missing: &str) -> Self {
        Self::new(
            Code::BadTransition,
            format!("cannot claim card \"{}\": it requires {missing}", card.id),
            "The worker does not offer all that the card requires. Nothing was changed.",
            "Name the worker's capabilities in offers, or leave the card to another worker.",
        )
    }

    pub fn already_claimed(card: &Card) -> Self {
        Self::new(
            Code::AlreadyClaimed,
            format!(
                "card \"{}\" is claimed by worker \"{}\"",
                card.id,
                card.claim_owner.as_deref().unwrap_or_default()
            ),
            format!(
                "Its lease ends at {}. Nothing was changed.",
                card.claim_expires_at
                    .map(clock::rfc3339)
                    .unwrap_or_default()
            ),
            "Leave it to its holder and claim another card. Only the worker that claimed it may go on with it, under the token that the claim returned.",
        )
    }
}
