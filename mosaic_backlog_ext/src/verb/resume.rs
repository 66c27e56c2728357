//! Going on after the backlog went back in time, or moved to a server that has its rows alone.

use pgrx::prelude::*;
use serde_json::{Map, Value, json};

use crate::argument;
use crate::guard;
use crate::postgres::clock;
use crate::postgres::roles;
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::sequence::{self, Sequence};
use crate::postgres::statement::{param, session, statements};
use crate::postgres::transaction;
use crate::refusal::Refusal;

shapes! {
    /// A sequence, by the column that its numbers go into, and the last number before and after.
    ResumeRow = "TABLE (name text, before bigint, after bigint)";
}

statements! {
    RECORD(INT8OID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID) =
        "insert into mosaic.backlog_event (event_id, at, kind, actor, login_role, detail, horizon)
         select $1, $2, 'resumed', $3, $4, $5::jsonb, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())";
    REPORT(TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID) =
        "select r.name, r.before, r.after from unnest($1, $2, $3) with ordinality as r(name, before, after, place)
         order by r.place";
}

/// The columns that the numbers go into, in the order of `sequence::ALL`.
const NAMES: [&str; 3] = ["claim_token", "event_id", "creation_seq"];
/// More than is given between two backups. Ids that are made of creation numbers stay short.
const AHEAD: [i64; 3] = [1_000_000_000, 1_000_000_000, 1_000_000];
/// So that others can still follow.
const LAST_MAX: i64 = 1 << 62;

/// Makes it safe to go on after a restore to an earlier moment, or on a logical replica: what was
/// given since, and is not known here any more, does not come again. Takes the sequences of tokens,
/// of event numbers and of creation numbers far beyond what the tables know and what was drawn here,
/// tokens beyond `last_token` too, and records it in the history.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_resume_after_restore(
    last_token: default!(Option<i64>, "NULL"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<ResumeRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let actor = argument::optional_name("actor", actor)?;
    let last_token = last_token.unwrap_or(0);
    if !(0..LAST_MAX).contains(&last_token) {
        return Err(Refusal::argument(
            format!("last_token is {last_token}, which no claim has received"),
            "Give the largest token that you know of, or null.",
        )
        .into());
    }
    Ok(session(|session| {
        // Whoever draws a smaller number has an older transaction, or a number from before.
        transaction::id();
        let steps = sequence::advance(session, [last_token, 0, 0], AHEAD);
        // Where they were may be somebody's token, and the history is anybody's to read.
        let detail: Map<String, Value> = NAMES
            .into_iter()
            .zip(steps)
            .map(|(name, (_, after))| (name.to_owned(), json!(after)))
            .collect();
        let login_role = roles::login();
        session.run(
            &RECORD,
            &[
                param(Sequence::Events.next()),
                param(clock::now()),
                param(actor.as_deref().unwrap_or(&login_role)),
                param(login_role.as_str()),
                param(Value::Object(detail).to_string()),
            ],
        );
        let answer = session.run(
            &REPORT,
            &[
                param(NAMES.map(Some).to_vec()),
                param(steps.map(|(before, _)| before).to_vec()),
                param(steps.map(|(_, after)| after).to_vec()),
            ],
        );
        Ok::<_, Refusal>(Rows::new(session, &answer))
    })?)
}
