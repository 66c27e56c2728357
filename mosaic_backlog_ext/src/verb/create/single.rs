//! Creation of one card that depends on nothing: most of them.

use super::batch::{created_event, generated_id};
use super::draft::NewCard;
use crate::card::change::{inserted, values};
use crate::card::row::{self, Places, Row};
use crate::card::{history, own_columns};
use crate::frontier;
use crate::frontier::wake;
use crate::postgres::clock::{self, Micros};
use crate::postgres::sequence::Sequence;
use crate::postgres::statement::{Answer, Parameter, Session, jsonb, param, statements};

macro_rules! created {
    ($to:ident $with:tt) => {
        $to! { $with id = (parameter 1), title = (parameter 2), body = (parameter 3), phase = (parameter 4),
               priority = (parameter 5), labels = (parameter 6), requires = (parameter 7), acceptance = (parameter 8),
               idempotency_key = (parameter 9), creation_request = (parameter 10), not_before = (parameter 11),
               max_attempts = (parameter 12), creation_seq = (parameter 13), created_at = (parameter 14),
               updated_at = (parameter 14), claimable_since = (parameter 14), status = (status ready), attempts = (zero),
               open_dependencies = (zero), linked = (false) }
    };
}

statements! {
    INSERT(TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTARRAYOID, TEXTARRAYOID, JSONBOID, TEXTOID, JSONBOID,
           TIMESTAMPTZOID, INT4OID, INT8OID, TIMESTAMPTZOID) = concat!(
        "insert into mosaic.backlog as c ", created!(inserted ()), "
         on conflict (id) do nothing
         returning ", own_columns!(), ", '{}'::text[], true");
}

/// Whether `card` can be created here.
pub fn suits(card: &NewCard) -> bool {
    card.depends_on.is_empty()
}

/// The card as parameters of the statement.
fn parameters(card: &NewCard, id: &str, seq: i64, now: Micros) -> [Parameter; 14] {
    let request = card.idempotency_key.as_ref().map(|_| card.fingerprint());
    [
        param(id),
        param(card.title.as_str()),
        param(card.body.as_deref()),
        param(card.phase.as_deref()),
        param(card.priority),
        param(card.labels.clone()),
        param(card.requires.clone()),
        card.acceptance.as_deref().and_then(jsonb),
        param(card.idempotency_key.as_deref()),
        request.and_then(|request| jsonb(&request.to_string())),
        param(card.not_before),
        param(card.max_attempts),
        param(seq),
        param(now),
    ]
}

/// Writes the card without a statement.
fn insert<'a>(session: &'a Session, parameters: &[Parameter; 14]) -> Option<Answer<'a>> {
    let values = |at: &Places, row: &Row| created!(values(at, row, parameters));
    row::insert(session, values, |at| at.created, &[param(true)])
}

/// The created card, as `backlog_create` returns it; `None` if there may be one of that id or key.
pub fn create<'a>(session: &'a Session, card: &NewCard, actor: Option<&str>) -> Option<Answer<'a>> {
    let now = clock::now();
    loop {
        let seq = Sequence::Creations.next();
        let id = card.id.clone().unwrap_or_else(|| generated_id(seq));
        let parameters = parameters(card, &id, seq, now);
        let directly = insert(session, &parameters);
        if directly.is_some() {
            frontier::opened(card.not_before, row::claim_order(card.priority, seq));
        }
        // Of a key, whoever creates a batch finds out whose card is met.
        if directly.is_none() && card.idempotency_key.is_some() {
            return None;
        }
        let answer = directly.unwrap_or_else(|| session.run(&INSERT, &parameters));
        if !answer.is_empty() {
            wake::waiters();
            history::record(session, now, &created_event(card, &id, actor));
            return Some(answer);
        }
        if card.id.is_some() {
            return None;
        }
        // A generated id was taken: the next number gives another.
    }
}
