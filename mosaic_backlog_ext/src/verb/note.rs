//! Saying something about a card, whoever holds it.

use pgrx::prelude::*;

use crate::argument;
use crate::card::{Card, said};
use crate::guard;
use crate::postgres::clock;
use crate::postgres::rows::Rows;
use crate::postgres::statement::{param, session, statements};
use crate::refusal::Refusal;
use crate::verb::events::{EventRow, event_columns};

statements! {
    WRITTEN(TEXTOID) = concat!(
        "select ", event_columns!(), " from mosaic.backlog_event e
         where e.card_id = $1 and e.kind = 'noted' order by e.event_id desc limit 1");
}

/// Keeps a note in the history of a card, in any state and whoever holds it. Whoever gives a token
/// must hold the card under it.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_note(
    id: Option<String>,
    note: Option<String>,
    claim_token: default!(Option<i64>, "NULL"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<EventRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let id = argument::id("id", id)?;
    let note = argument::note("note", note)?;
    let actor = argument::optional_name("actor", actor)?;
    Ok(session(|session| {
        let card = Card::lock(session, &id)?;
        if let Some(token) = claim_token
            && !card.is_held(token)
        {
            return Err(Refusal::claim_lost(&card, token));
        }
        said::note(
            session,
            &card,
            &note,
            claim_token,
            actor.as_deref(),
            clock::now(),
        );
        Ok::<_, Refusal>(Rows::new(session, &session.run(&WRITTEN, &[param(id)])))
    })?)
}
