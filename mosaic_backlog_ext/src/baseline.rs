//! The floors that the benchmarks measure against: calls that are told which card is meant and
//! do the rest of a verb alike. Built with the feature `bench` alone; `tests/bench/floor.sql`
//! declares them.

use pgrx::datum::Interval;
use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::change::{card_updates, set, without_lease};
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::card::{CardRow, card_columns};
use crate::guard;
use crate::postgres::clock;
use crate::postgres::rows::{Rows, Stream};
use crate::postgres::statement::{param, session, statements};
use crate::refusal::Refusal;
use crate::verb::claim::{self, ClaimedRow};

macro_rules! done {
    ($to:ident $with:tt) => {
        without_lease! { $to $with status = (status done), completed_at = (parameter 2), updated_at = (parameter 2) }
    };
}

statements! {
    CREATE(TEXTOID, TEXTOID, TIMESTAMPTZOID) = concat!(
        "with c as (insert into mosaic.backlog (id, title, created_at, updated_at, claimable_since)
           values ($1, $2, $3, $3, $3) returning *)
         select ", card_columns!(), " from c");
}

card_updates! {
    COMPLETE(TEXTOID, TIMESTAMPTZOID) =
        done!(set ()), ", settled_token = claim_token where id = $1 returning ", card_columns!();
}

/// Nothing but the call.
#[pg_extern(sql = false)]
fn floor_nothing() {}

/// A claim of cards that are known by id.
#[pg_extern(sql = false)]
fn floor_claim(
    ids: Vec<String>,
    worker: Option<String>,
    ttl: Option<Interval>,
) -> Result<Stream<ClaimedRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let worker = argument::name("worker", worker)?;
    let ttl = argument::ttl(ttl)?;
    Ok(Stream::new(move |sink| {
        session(|session| {
            claim::claim_known(session, sink, ids, worker, ttl);
            Ok::<_, Refusal>(())
        })
    }))
}

/// An insert of a card with an id.
#[pg_extern(sql = false)]
fn floor_create(
    title: Option<String>,
    id: Option<String>,
) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let title = argument::name("title", title)?;
    let id = argument::id("id", id)?;
    let now = clock::now();
    Ok(session(|session| {
        let card = session.run(
            &CREATE,
            &[param(id.as_str()), param(title.as_str()), param(now)],
        );
        history::record(
            session,
            now,
            &Event {
                card_id: &id,
                kind: "created",
                actor: None,
                claim_token: None,
                old_status: None,
                new_status: Status::Ready,
                detail: json!({"title": title}),
            },
        );
        Ok::<_, Refusal>(Rows::new(session, &card))
    })?)
}

/// A completion of a card that has no dependents.
#[pg_extern(sql = false)]
fn floor_complete(id: Option<String>) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let now = clock::now();
    Ok(session(|session| {
        let card = session.run(&COMPLETE, &[param(id.as_str()), param(now)]);
        history::record(
            session,
            now,
            &Event {
                card_id: &id,
                kind: "completed",
                actor: None,
                claim_token: None,
                old_status: Some(Status::Claimed),
                new_status: Status::Done,
                detail: json!({"forced": false, "unblocked": [], "unblocked_count": 0}),
            },
        );
        Ok::<_, Refusal>(Rows::new(session, &card))
    })?)
}
