//! Creating cards, one or a batch, at most once each.

mod batch;
mod draft;
mod single;

use pgrx::prelude::*;

use crate::argument::{self, Jsonb};
use crate::card::{card_columns, card_table};
use crate::guard;
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{param, session, statements};
use crate::refusal::Refusal;

use batch::create;
use draft::{Draft, Json, Time, parse_batch};

pub use batch::array_literal;

shapes! {
    /// A card, and whether this call created it.
    CreatedRow = concat!("TABLE (", card_table!(), ", created boolean)");
    /// The id of a card of a batch, and whether this call created it.
    BatchRow = "TABLE (id text, created boolean)";
}

statements! {
    CREATED(TEXTOID, BOOLOID) = concat!("select ", card_columns!(), ", $2 from mosaic.backlog c where c.id = $1");
    BATCH(TEXTARRAYOID, BOOLARRAYOID) = "select * from unnest($1, $2)";
}

/// Creates a card. With an `idempotency_key`, the same request again finds the card that the
/// first one made (`created` is false), also when both run at the same moment.
#[allow(clippy::too_many_arguments)]
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_create(
    title: Option<String>,
    id: default!(Option<String>, "NULL"),
    body: default!(Option<String>, "NULL"),
    phase: default!(Option<String>, "NULL"),
    priority: default!(Option<i32>, "0"),
    depends_on: default!(Option<Vec<Option<String>>>, "'{}'"),
    labels: default!(Option<Vec<Option<String>>>, "'{}'"),
    requires: default!(Option<Vec<Option<String>>>, "'{}'"),
    acceptance: default!(Option<Jsonb>, "NULL"),
    idempotency_key: default!(Option<String>, "NULL"),
    not_before: default!(Option<TimestampWithTimeZone>, "NULL"),
    max_attempts: default!(Option<i32>, "NULL"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<CreatedRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let actor = argument::optional_name("actor", actor)?;
    let not_before = argument::time("not_before", not_before)?;
    Jsonb::parameter("acceptance", acceptance.as_ref())?;
    let card = Draft {
        title,
        id,
        body,
        phase,
        priority,
        depends_on,
        labels,
        requires,
        acceptance: acceptance.map(|json| Json(json.text())),
        idempotency_key,
        not_before: not_before.map(Time::Known),
        max_attempts,
    }
    .validate()?;
    Ok(session(|session| {
        if single::suits(&card)
            && let Some(answer) = single::create(session, &card, actor.as_deref())
        {
            return Ok(Rows::new(session, &answer));
        }
        let outcome = create(session, &[card], actor.as_deref())?.swap_remove(0);
        let answer = session.run(&CREATED, &[param(outcome.id), param(outcome.created)]);
        Ok::<_, Refusal>(Rows::new(session, &answer))
    })?)
}

/// Creates the cards of a JSON array, all or none. The keys of each object are the arguments
/// of `backlog_create`; `depends_on` may name cards of the same array, in any order.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_create_many(
    cards: Option<Jsonb>,
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<BatchRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let actor = argument::optional_name("actor", actor)?;
    let Some(cards) = cards else {
        return Err(Refusal::argument("cards is missing", "Give a JSON array of cards.").into());
    };
    let cards = parse_batch(&cards.batch("cards")?)?;
    Ok(session(|session| {
        let outcomes = create(session, &cards, actor.as_deref())?;
        let (ids, created): (Vec<String>, Vec<bool>) =
            outcomes.into_iter().map(|o| (o.id, o.created)).unzip();
        Ok::<_, Refusal>(Rows::new(
            session,
            &session.run(&BATCH, &[param(ids), param(created)]),
        ))
    })?)
}
