//! The sequence of fencing tokens, raised above those that were handed out elsewhere.

use std::time::Duration;

use pgrx::prelude::*;

use crate::postgres::lock;
use crate::postgres::retry;
use crate::postgres::statement::{Session, param, statements};
use crate::refusal::Refusal;

/// How long the sequence may be in use by open transactions.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

statements! {
    /// The last token that was drawn, 0 if none was.
    LAST() =
        "select case when is_called then last_value else 0 end, 'mosaic.backlog_claim_token_seq'::regclass::oid
         from mosaic.backlog_claim_token_seq";
    RAISE(INT8OID) = "select pg_catalog.setval('mosaic.backlog_claim_token_seq', $1)";
}

/// Makes sure that no token up to `last` is ever drawn here.
///
/// The sequence is locked against drawing while it is looked at and set, as a claim in between
/// would be handed the same token as one after it. The lock is not waited for in the queue:
/// claims would have to wait behind it.
pub fn raise(session: &Session, last: i64) -> Result<(), Refusal> {
    let drawn = || -> (i64, pg_sys::Oid) {
        let answer = session.run(&LAST, &[]);
        (answer.must(0, 1), answer.must(0, 2))
    };
    let (before, sequence) = drawn();
    if before >= last {
        return Ok(());
    }
    let held = retry::until(PATIENCE, PAUSE, || lock::try_against_drawing(sequence))
        .ok_or_else(Refusal::tokens_in_use)?;
    if drawn().0 < last {
        session.run(&RAISE, &[param(last)]);
    }
    drop(held);
    Ok(())
}
