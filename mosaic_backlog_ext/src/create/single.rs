//! Creation of one card that depends on nothing and has no idempotency key: most of them.

use super::batch::{array_literal, created_event, generated_id};
use super::draft::Draft;
use crate::card::own_columns;
use crate::clock;
use crate::event;
use crate::refusal::Refusal;
use crate::sequence;
use crate::statement::{Answer, Session, param, statements};
use crate::wake;

statements! {
    INSERT(TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT4OID, INT8OID,
           TIMESTAMPTZOID) = concat!(
        "insert into mosaic.backlog as c (id, title, body, phase, priority, labels, requires, acceptance, not_before,
           max_attempts, creation_seq, created_at, updated_at, claimable_since)
         values ($1, $2, $3, $4, $5, $6::text[], $7::text[], $8::jsonb, $9, $10, $11, $12, $12, $12)
         on conflict do nothing
         returning ", own_columns!(), ", '{}'::text[], true");
}

/// Whether `draft` can be created here.
pub fn suits(draft: &Draft) -> bool {
    draft.depends_on.is_empty() && draft.idempotency_key.is_none()
}

/// The created card, as `backlog_create` returns it.
pub fn create(session: &Session, draft: &Draft, actor: Option<&str>) -> Result<Answer, Refusal> {
    let now = clock::now();
    loop {
        let seq = sequence::next(c"backlog_creation_seq");
        let id = draft.id.clone().unwrap_or_else(|| generated_id(seq));
        let answer = session.run(
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
        );
        if !answer.is_empty() {
            wake::waiters(session);
            event::record(session, now, &created_event(draft, &id, actor));
            return Ok(answer);
        }
        if draft.id.is_some() {
            return Err(Refusal::id_conflict(&id));
        }
        // A generated id was taken: the next number gives another.
    }
}
