//! Taking cards that nobody else touches, without a statement: what the statement that takes
//! candidates would do, at half its cost. What is not plain is left to that statement.

use super::request::{Request, claimed};
use crate::card::change::values;
use crate::card::claimable::{hindrance, max_attempts};
use crate::card::row::{Cards, Places, Row};
use crate::frontier::Key;
use crate::postgres::clock::Micros;
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
    let lease = request.lease(now);
    let lease = [&[None], &lease[..]].concat();
    let mut taken = Vec::new();
    let mut left = Vec::new();
    for &key in keys {
        match cards.find(table::Key::Number(key)) {
            Found::None => {}
            Found::One(mut card) => {
                if is_for(places, &card, request, now) {
                    // What was judged is the newest version, and stays it.
                    let written = card.lock() && card.update(claimed!(values(places, card, lease)));
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
    let is_exhausted =
        card.must::<i32>(places.attempts) >= max_attempts(card.get(places.max_attempts));
    let open_dependencies = card.must(places.open_dependencies);
    let not_before = card.get(places.not_before);
    hindrance(
        places.status_of(card),
        is_exhausted,
        open_dependencies,
        not_before,
        now,
    )
    .is_none()
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
