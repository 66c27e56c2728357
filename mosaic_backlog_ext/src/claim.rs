//! Claiming: exactly one worker gets a card, and with it a fresh fencing token.

use std::collections::HashMap;

use pgrx::datum::{Interval, Uuid};
use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::{Card, Status, card_columns, card_table};
use crate::clock::{self, Micros, SECOND};
use crate::event::{self, Event};
use crate::guard;
use crate::reclaim;
use crate::refusal::Refusal;
use crate::rows::{Rows, shapes};
use crate::settings;
use crate::statement::{Answer, Session, param, session, statements};

shapes! {
    /// A claimed card with everything that a worker needs to start.
    ClaimedRow = concat!("TABLE (", card_table!(), ", dependencies jsonb, last_failure text)");
}

macro_rules! claimed_columns {
    () => {
        concat!(card_columns!(), ",
           case when exists (select from mosaic.backlog_dependency d where d.card_id = c.id) then
             (select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                 'id', x.id, 'title', x.title, 'result', x.result) order by x.id)
              from mosaic.backlog_dependency d join mosaic.backlog x on x.id = d.depends_on
              where d.card_id = c.id)
             else '[]'::jsonb end,
           c.last_failure")
    };
}

statements! {
    /// The next claimable cards. FOR NO KEY UPDATE re-checks the whole predicate on the locked
    /// row, and what a rival has locked is skipped, so the scan goes on to the next.
    PICK(TIMESTAMPTZOID, TEXTARRAYOID, INT4OID) =
        "select id, greatest(claimable_since, not_before), attempts, max_attempts from mosaic.backlog
         where status = 'ready' and open_dependencies = 0
           and (not_before is null or not_before <= $1) and requires <@ $2
         order by claim_order limit $3 for no key update skip locked";
    PICK_FILTERED(TIMESTAMPTZOID, TEXTARRAYOID, INT4OID, TEXTOID, TEXTARRAYOID) =
        "select id, greatest(claimable_since, not_before), attempts, max_attempts from mosaic.backlog
         where status = 'ready' and open_dependencies = 0
           and (not_before is null or not_before <= $1) and requires <@ $2
           and ($4 is null or phase = $4) and labels @> $5
         order by claim_order limit $3 for no key update skip locked";
    TAKE(TEXTARRAYOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID) = concat!(
        "with taken as (
           update mosaic.backlog set status = 'claimed', claim_owner = $2,
             claim_token = pg_catalog.nextval('mosaic.backlog_claim_token_seq'), claim_ttl_seconds = $3,
             claimed_at = $4, claim_expires_at = $5, attempts = attempts + 1, settled_token = null,
             updated_at = $4
           where id = any($1) returning *)
         select ", claimed_columns!(), " from taken c order by c.claim_order");
    HELD(TEXTARRAYOID, INT8ARRAYOID) = concat!(
        "select ", claimed_columns!(), " from unnest($1, $2) as asked(id, token)
           join mosaic.backlog c on c.id = asked.id and c.claim_token = asked.token
         where c.status = 'claimed' order by c.claim_order");
    LOCK_REQUEST(INT8OID) = "select pg_catalog.pg_advisory_xact_lock($1)";
    FIND_REQUEST(UUIDOID) =
        "select arguments::text, card_ids, tokens from mosaic.backlog_claim_request where request_id = $1";
    /// A few of the oldest at each claim, so that the table stays small.
    FORGET_REQUESTS(TIMESTAMPTZOID) =
        "delete from mosaic.backlog_claim_request where request_id = any(array(
           select r.request_id from mosaic.backlog_claim_request r
           where r.at < $1 and not exists (
             select from unnest(r.card_ids, r.tokens) as h(id, token)
             join mosaic.backlog c on c.id = h.id and c.claim_token = h.token)
           order by r.at limit 10 for update skip locked))";
    KEEP_REQUEST(UUIDOID, TEXTOID, TEXTARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID) =
        "insert into mosaic.backlog_claim_request (request_id, arguments, card_ids, tokens, at)
         values ($1, $2::jsonb, $3, $4, $5)";
}

/// How long the answer to a claim with a request id is remembered, once nothing of it is held.
const REMEMBERED: Micros = (argument::TTL_MAX + 86_400) * SECOND;

const ID_COLUMN: i32 = 1;
const TOKEN_COLUMN: i32 = 13;
const ATTEMPTS_COLUMN: i32 = 17;

/// What a claim asks for, validated.
struct Request {
    worker: String,
    ttl: i32,
    max_cards: i32,
    phase: Option<String>,
    labels: Vec<String>,
    offers: Vec<String>,
    id: Option<String>,
}

/// Hands the next claimable cards to `worker`, highest priority first, then oldest: at most
/// `max_cards`, fewer only if no more are claimable that no open transaction holds. With `id`:
/// that card, or an error that says why not. The lease ends after `ttl` unless renewed. With
/// `request_id`, a retry gets what the first call got and still holds.
#[allow(clippy::too_many_arguments)]
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_claim(
    worker: Option<String>,
    ttl: default!(Option<Interval>, "'15 minutes'"),
    max_cards: default!(Option<i32>, "1"),
    phase: default!(Option<String>, "NULL"),
    labels: default!(Option<Vec<Option<String>>>, "NULL"),
    offers: default!(Option<Vec<Option<String>>>, "NULL"),
    id: default!(Option<String>, "NULL"),
    request_id: default!(Option<Uuid>, "NULL"),
) -> Result<Rows<ClaimedRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let request = Request {
        worker: argument::name("worker", worker)?,
        ttl: argument::ttl(ttl)?,
        max_cards: argument::count("max_cards", max_cards)?,
        phase: argument::optional_name("phase", phase)?,
        labels: argument::labels("labels", labels)?,
        offers: argument::labels("offers", offers)?,
        id: id.map(|id| argument::id("id", Some(id))).transpose()?,
    };
    if request.id.is_some() && (request.phase.is_some() || !request.labels.is_empty()) {
        return Err(Refusal::argument(
            "id cannot be combined with phase or labels",
            "Name a card, or describe the cards that you want.",
        )
        .into());
    }
    Ok(session(|session| match request_id {
        None => claim(session, &request).map(|answer| Rows::new(session, &answer)),
        Some(request_id) => claim_once(session, &request, request_id),
    })?)
}

fn claim(session: &Session, request: &Request) -> Result<Answer, Refusal> {
    match &request.id {
        Some(id) => {
            let (since, now) = lock_named(session, id, request)?;
            Ok(take(session, vec![(id.clone(), since)], request, now))
        }
        None => {
            let now = clock::now();
            reclaim::sweep(session, &request.worker, now)?;
            let picked = pick(session, request, now)?;
            Ok(take(session, picked, request, now))
        }
    }
}

/// Locks the cards to hand out, each given with the time since when it is claimable. A card
/// that used up its attempts, because the maximum was lowered, is quarantined on the way.
fn pick(
    session: &Session,
    request: &Request,
    now: Micros,
) -> Result<Vec<(String, Micros)>, Refusal> {
    loop {
        let answer = pick_locked(session, request, now);
        let (exhausted, left): (Vec<usize>, Vec<usize>) = (0..answer.len()).partition(|row| {
            let max = answer
                .get(*row, 4)
                .unwrap_or_else(|| settings::MAX_ATTEMPTS.get());
            answer.must::<i32>(*row, 3) >= max
        });
        if exhausted.is_empty() {
            return Ok(left
                .into_iter()
                .map(|row| (answer.must(row, 1), answer.must(row, 2)))
                .collect());
        }
        for row in exhausted {
            let card = Card::lock(session, answer.must(row, 1))?;
            reclaim::quarantine(
                session,
                &card,
                "quarantined",
                None,
                Some(&request.worker),
                now,
            );
        }
    }
}

fn pick_locked(session: &Session, request: &Request, now: Micros) -> Answer {
    let offers = param(request.offers.clone());
    let max = param(request.max_cards);
    if request.phase.is_none() && request.labels.is_empty() {
        session.run(&PICK, &[param(now), offers, max])
    } else {
        let phase = param(request.phase.as_deref());
        session.run(
            &PICK_FILTERED,
            &[
                param(now),
                offers,
                max,
                phase,
                param(request.labels.clone()),
            ],
        )
    }
}

/// Locks the card that the claim names and makes sure that it is claimable. Gives since when
/// it is, and the time of the decision, read after the wait for the lock.
fn lock_named(session: &Session, id: &str, request: &Request) -> Result<(Micros, Micros), Refusal> {
    let mut card = Card::lock(session, id)?;
    let now = clock::now();
    if card.status == Status::Claimed && card.lease_ended(now) {
        reclaim::sweep_card(session, &card, &request.worker, now);
        card = Card::lock(session, id)?;
    }
    match card.status {
        Status::Ready => {}
        Status::Claimed => return Err(Refusal::already_claimed(&card)),
        Status::Blocked => {
            return Err(Refusal::bad_transition(&card, "claim", "Unblock it first."));
        }
        Status::Done => {
            return Err(Refusal::bad_transition(
                &card,
                "claim",
                "Claim another card.",
            ));
        }
        Status::Cancelled => {
            return Err(Refusal::bad_transition(&card, "claim", "Reopen it first."));
        }
    }
    if card.is_exhausted() {
        return Err(Refusal::exhausted(&card));
    }
    if card.open_dependencies > 0 {
        return Err(Refusal::open_dependencies(&card));
    }
    if let Some(until) = card.not_before.filter(|until| *until > now) {
        return Err(Refusal::deferred(&card, until));
    }
    let missing: Vec<&str> = card
        .requires
        .iter()
        .filter(|r| !request.offers.contains(r))
        .map(String::as_str)
        .collect();
    if !missing.is_empty() {
        return Err(Refusal::capability(&card, &missing.join(", ")));
    }
    Ok((
        card.claimable_since
            .max(card.not_before.unwrap_or(Micros::MIN)),
        now,
    ))
}

/// Claims locked, claimable cards, each given with the time since when it is claimable.
fn take(
    session: &Session,
    picked: Vec<(String, Micros)>,
    request: &Request,
    now: Micros,
) -> Answer {
    let ids: Vec<String> = picked.iter().map(|(id, _)| id.clone()).collect();
    let since: HashMap<String, Micros> = picked.into_iter().collect();
    let expires_at = now + i64::from(request.ttl) * SECOND;
    let answer = session.run(
        &TAKE,
        &[
            param(ids),
            param(request.worker.as_str()),
            param(request.ttl),
            param(now),
            param(expires_at),
        ],
    );
    let claimed: Vec<String> = answer.column(ID_COLUMN);
    let events: Vec<Event> = claimed
        .iter()
        .enumerate()
        .map(|(row, id)| Event {
            card_id: id,
            kind: "claimed",
            actor: Some(&request.worker),
            claim_token: answer.get(row, TOKEN_COLUMN),
            old_status: Some(Status::Ready),
            new_status: Status::Claimed,
            detail: json!({
                "claim_ttl_seconds": request.ttl, "claim_expires_at": clock::rfc3339(expires_at),
                "attempts": answer.must::<i32>(row, ATTEMPTS_COLUMN),
                "waited_seconds": (now - since[id]).max(0) as f64 / SECOND as f64,
            }),
        })
        .collect();
    event::record_many(session, now, &events);
    answer
}

/// A claim whose answer is remembered: the same request gets it again, under the same tokens.
fn claim_once(
    session: &Session,
    request: &Request,
    request_id: Uuid,
) -> Result<Rows<ClaimedRow>, Refusal> {
    let bytes = request_id.as_bytes();
    let key = i64::from_be_bytes(bytes[..8].try_into().expect("8 bytes"))
        ^ i64::from_be_bytes(bytes[8..].try_into().expect("8 bytes"));
    // The second of two equal calls waits here until the first has committed its answer.
    session.run(&LOCK_REQUEST, &[param(key)]);
    let arguments = json!({
        "worker": request.worker, "ttl": request.ttl, "max_cards": request.max_cards, "phase": request.phase,
        "labels": request.labels, "offers": request.offers, "id": request.id,
    });
    let found = session.run(&FIND_REQUEST, &[param(request_id)]);
    if !found.is_empty() {
        let before: serde_json::Value =
            serde_json::from_str(found.must(0, 1)).expect("stored arguments are JSON");
        let differing: Vec<&str> = [
            "worker",
            "ttl",
            "max_cards",
            "phase",
            "labels",
            "offers",
            "id",
        ]
        .into_iter()
        .filter(|field| before.get(field) != arguments.get(field))
        .collect();
        if !differing.is_empty() {
            return Err(Refusal::request_conflict(
                &request_id.to_string(),
                &differing,
            ));
        }
        let (ids, tokens): (Vec<String>, Vec<i64>) = (found.must(0, 2), found.must(0, 3));
        let held = session.run(&HELD, &[param(ids), param(tokens)]);
        if held.is_empty() {
            return Err(Refusal::request_lost(&request_id.to_string()));
        }
        return Ok(Rows::new(session, &held));
    }
    let answer = claim(session, request)?;
    if !answer.is_empty() {
        let now = clock::now();
        session.run(&FORGET_REQUESTS, &[param(now - REMEMBERED)]);
        let ids: Vec<String> = answer.column(ID_COLUMN);
        let tokens: Vec<i64> = answer.column(TOKEN_COLUMN);
        session.run(
            &KEEP_REQUEST,
            &[
                param(request_id),
                param(arguments.to_string()),
                param(ids),
                param(tokens),
                param(now),
            ],
        );
    }
    Ok(Rows::new(session, &answer))
}
