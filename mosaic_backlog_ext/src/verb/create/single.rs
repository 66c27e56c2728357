//! Creation of one card that depends on nothing and has no idempotency key: most of them.

use super::batch::{array_literal, created_event, generated_id};
use super::draft::Draft;
use crate::card::history;
use crate::card::own_columns;
use crate::card::row::{self, Places};
use crate::card::status::Status;
use crate::frontier;
use crate::frontier::wake;
use crate::postgres::clock::{self, Micros};
use crate::postgres::sequence::Sequence;
use crate::postgres::statement::{Answer, Session, jsonb, param, statements};
use crate::refusal::Refusal;

statements! {
    INSERT(TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID, INT8OID,
           TIMESTAMPTZOID) = concat!(
        "insert into mosaic.backlog as c (id, title, body, phase, priority, labels, requires, acceptance, not_before,
           max_attempts, creation_seq, created_at, updated_at, claimable_since, status, attempts, open_dependencies, linked,
           idempotency_key, creation_request)
         values ($1, $2, $3, $4, $5, $6::text[], $7::text[], $8::jsonb, $9, $10, $11, $12, $12, $12, 'ready', 0, 0, false,
           null, null)
         on conflict (id) do nothing
         returning ", own_columns!(), ", '{}'::text[], true");
}

/// Where the numbers of creations end, by the column `claim_order`.
const CREATION_SEQ_END: i64 = 1 << 42;
/// Above the highest priority, by the same column.
const PRIORITY_END: i64 = 1 << 20;

/// Whether `draft` can be created here.
pub fn suits(draft: &Draft) -> bool {
    draft.depends_on.is_empty() && draft.idempotency_key.is_none()
}

/// Writes the card without a statement.
fn insert<'a>(
    session: &'a Session,
    draft: &Draft,
    id: &str,
    seq: i64,
    now: Micros,
) -> Option<Answer<'a>> {
    if !(1..CREATION_SEQ_END).contains(&seq) {
        return None;
    }
    let claim_order = (PRIORITY_END - i64::from(draft.priority)) * CREATION_SEQ_END + seq;
    let values = |at: &Places| {
        let texts = |texts: &[String]| match texts {
            [] => at.no_names(),
            _ => param(texts.to_vec()),
        };
        [
            (at.id, param(id)),
            (at.title, param(draft.title.as_str())),
            (at.body, param(draft.body.as_deref())),
            (at.phase, param(draft.phase.as_deref())),
            (at.labels, texts(&draft.labels)),
            (at.requires, texts(&draft.requires)),
            (at.priority, param(draft.priority)),
            (at.status, at.status(Status::Ready)),
            (at.acceptance, draft.acceptance.as_deref().and_then(jsonb)),
            (at.idempotency_key, None),
            (at.creation_request, None),
            (at.not_before, param(draft.not_before)),
            (at.attempts, param(0)),
            (at.max_attempts, param(draft.max_attempts)),
            (at.open_dependencies, param(0)),
            (at.linked, param(false)),
            (at.creation_seq, param(seq)),
            (at.claim_order, param(claim_order)),
            (at.opened, param(true)),
            (at.created_at, param(now)),
            (at.updated_at, param(now)),
            (at.claimable_since, param(now)),
        ]
    };
    let answer = row::insert(session, values, |at| at.created, &[param(true)])?;
    frontier::opened(draft.not_before, claim_order);
    Some(answer)
}

/// The created card, as `backlog_create` returns it.
pub fn create<'a>(
    session: &'a Session,
    draft: &Draft,
    actor: Option<&str>,
) -> Result<Answer<'a>, Refusal> {
    let now = clock::now();
    loop {
        let seq = Sequence::Creations.next();
        let id = draft.id.clone().unwrap_or_else(|| generated_id(seq));
        let directly = insert(session, draft, &id, seq, now);
        let answer = directly.unwrap_or_else(|| {
            session.run(
                &INSERT,
                &[
                    param(id.as_str()),
                    param(draft.title.as_str()),
                    param(draft.body.as_deref()),
                    param(draft.phase.as_deref()),
                    param(draft.priority),
                    param(array_literal(&draft.labels)),
                    param(array_literal(&draft.requires)),
                    param(draft.acceptance.as_deref()),
                    param(draft.not_before),
                    param(draft.max_attempts),
                    param(seq),
                    param(now),
                ],
            )
        });
        if !answer.is_empty() {
            wake::waiters();
            history::record(session, now, &created_event(draft, &id, actor));
            return Ok(answer);
        }
        if draft.id.is_some() {
            return Err(Refusal::id_conflict(&id));
        }
        // A generated id was taken: the next number gives another.
    }
}
