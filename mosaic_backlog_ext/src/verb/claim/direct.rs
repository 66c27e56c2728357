//! Taking cards that nobody else touches, without a statement: what the statement that takes
//! candidates would do, at half its cost. What is not plain is left to that statement.

use super::request::Request;
use crate::card::row::{Cards, Places, Row};
use crate::card::status::Status;
use crate::frontier::Key;
use crate::postgres::clock::{Micros, SECOND};
use crate::postgres::sequence::Sequence;
use crate::postgres::settings;
use crate::postgres::statement::{Answer, Parameter, Session, param};
use crate::postgres::table::{self, Found};

/// Claims those of the candidates that are claimable and that nobody else touches. Gives also the
/// candidates of which a statement must tell; `None` where statements have to do it all.
pub fn take<'a>(
    session: &'a Session,
    keys: &[Key],
    request: &Request,
    now: Micros,
) -> Option<(Answer<'a>, Vec<Key>)> {
    let mut cards = Cards::open(c"backlog_claimable", |at| at.claim_order)?;
    let places = &*cards.places();
    let mut taken = Vec::new();
    let mut left = Vec::new();
    for &key in keys {
        match cards.find(table::Key::Number(key)) {
            Found::None => {}
            Found::One(mut card) => {
                if is_for(places, &card, request, now) {
                    // What was judged is the newest version, and stays it.
                    let written = card.lock() && card.update(claimed(places, &card, request, now));
                    if written {
                        let more = taken_columns(places, &card);
                        taken.push(card.answer(places, places.taken, &more));
                    } else {
                        left.push(key);
                    }
                }
            }
            Found::Several => left.push(key),
        }
    }
    Some((Answer::of(session, &taken, places.taken), left))
}

/// Whether the card is claimable, and the claim may have it.
fn is_for(places: &Places, card: &Row, request: &Request, now: Micros) -> bool {
    let all = |column| card.get::<Vec<Option<String>>>(column).unwrap_or_default();
    let max: Option<i32> = card.get(places.max_attempts);
    let max = max.unwrap_or_else(|| settings::MAX_ATTEMPTS.get());
    card.get(places.opened) == Some(true)
        && card.get::<i32>(places.attempts).is_some_and(|n| n < max)
        && card
            .get(places.not_before)
            .is_none_or(|at: Micros| at <= now)
        && (request.phase.is_none() || request.phase.as_deref() == card.get(places.phase))
        && all(places.requires)
            .iter()
            .all(|needed| needed.as_ref().is_some_and(|n| request.offers.contains(n)))
        && (request.labels.is_empty() || {
            let labels = all(places.labels);
            let mut wanted = request.labels.iter();
            wanted.all(|label| labels.iter().flatten().any(|has| has == label))
        })
}

/// What makes the card claimed.
fn claimed(
    places: &Places,
    card: &Row,
    request: &Request,
    now: Micros,
) -> [(usize, Parameter); 10] {
    let attempts = card.get::<i32>(places.attempts).unwrap_or_default() + 1;
    // Drawn once the card is locked: whoever claimed it before has drawn a smaller one.
    let token = Sequence::Tokens.next();
    let end = now + i64::from(request.ttl) * SECOND;
    [
        (places.status, places.status(Status::Claimed)),
        (places.claim_owner, param(request.worker.as_str())),
        (places.claim_token, param(token)),
        (places.claim_ttl_seconds, param(request.ttl)),
        (places.claimed_at, param(now)),
        (places.claim_expires_at, param(end)),
        (places.attempts, param(attempts)),
        (places.settled_token, None),
        (places.updated_at, param(now)),
        (places.opened, param(false)),
    ]
}

/// What the macro `taken_columns` has behind the card's own columns.
fn taken_columns(places: &Places, card: &Row) -> [Parameter; 11] {
    let since: Option<Micros> = card.get(places.claimable_since);
    [
        places.no_names(),
        places.no_objects(),
        card.value(places.last_failure),
        param(0),
        places.no_objects(),
        param(0),
        None,
        None,
        card.value(places.claim_order),
        param(since.max(card.get(places.not_before))),
        card.value(places.linked),
    ]
}
