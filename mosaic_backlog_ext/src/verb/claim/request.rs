//! What a claim asks for.

use pgrx::datum::Interval;

use crate::argument;
use crate::guard;
use crate::postgres::clock::{Micros, SECOND};
use crate::postgres::statement::{Parameter, param};
use crate::refusal::Refusal;

/// What a claim writes; the parameters are those of every statement that takes cards, `Request::lease`. The
/// token is drawn once the card is locked: whoever claimed it before has drawn a smaller one.
macro_rules! claimed {
    ($to:ident $with:tt) => {
        $to! { $with status = (status claimed), claim_owner = (parameter 2), claim_token = (fencing_token),
               claim_ttl_seconds = (parameter 3), claimed_at = (parameter 4), claim_expires_at = (parameter 5),
               attempts = (one_more), settled_token = (null), updated_at = (parameter 4) }
    };
}
pub(super) use claimed;

/// What a claim asks for, validated.
pub struct Request {
    pub worker: String,
    pub ttl: i32,
    pub max_cards: i32,
    pub phase: Option<String>,
    pub labels: Vec<String>,
    pub offers: Vec<String>,
    pub id: Option<String>,
}

impl Request {
    pub fn new(
        worker: Option<String>,
        ttl: Option<Interval>,
        max_cards: Option<i32>,
        phase: Option<String>,
        labels: Option<Vec<Option<String>>>,
        offers: Option<Vec<Option<String>>>,
        id: Option<String>,
    ) -> Result<Self, Refusal> {
        guard::writing()?;
        let request = Self {
            worker: argument::name("worker", worker)?,
            ttl: argument::ttl(ttl)?,
            max_cards: argument::count("max_cards", max_cards)?,
            phase: argument::optional_name("phase", phase)?,
            labels: argument::labels("labels", labels)?,
            offers: argument::labels("offers", offers)?,
            id: id.map(|id| argument::id("id", Some(id))).transpose()?,
        };
        if request.id.is_some() && (request.phase.is_some() || !request.labels.is_empty()) {
            return Err(Refusal::argument(
                "id cannot be combined with phase or labels",
                "Name a card, or describe the cards that you want.",
            ));
        }
        Ok(request)
    }

    /// What every statement that takes cards has as its second to fifth parameter.
    pub fn lease(&self, now: Micros) -> [Parameter; 4] {
        [
            param(self.worker.as_str()),
            param(self.ttl),
            param(now),
            param(now + i64::from(self.ttl) * SECOND),
        ]
    }
}
