//! A card that this program holds.

use crate::database::call::Call;
use crate::database::store::Record;
use crate::failure::{Code, Failure};

/// The proof that a card is ours.
#[derive(Clone)]
pub struct Lease {
    pub id: String,
    pub token: i64,
    /// Who holds it, and since when: by these the history knows the claim.
    pub worker: String,
    pub since: String,
}

impl Lease {
    pub fn of(card: &Record) -> Result<Self, Failure> {
        let text = |column: &str| card.get(column).and_then(|value| value.as_str());
        let token = card.get("claim_token").and_then(|token| token.as_i64());
        match (text("id"), token, text("claim_owner")) {
            (Some(id), Some(token), Some(worker)) => Ok(Lease {
                id: id.to_owned(),
                token,
                worker: worker.to_owned(),
                since: text("claimed_at").unwrap_or_default().to_owned(),
            }),
            _ => Err(Failure::internal(
                "the claimed card has no id, token or holder",
            )),
        }
    }

    pub fn call(&self, function: &'static str) -> Call {
        Call::new(function)
            .text("id", self.id.clone())
            .bigint("claim_token", self.token)
    }

    /// Whether this event of the card is the claim that gave us the lease.
    pub fn began_with(&self, claimed: &Record) -> bool {
        claimed["actor"] == self.worker.as_str() && claimed["at"] == self.since.as_str()
    }

    /// Whether an answer says that the card is not held under this token.
    pub fn is_over(failure: &Failure) -> bool {
        matches!(
            failure.code,
            Code::ClaimLost | Code::BadTransition | Code::NotFound
        )
    }
}
