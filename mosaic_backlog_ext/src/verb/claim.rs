//! Claiming: exactly one worker gets a card, and with it a fresh fencing token.

mod answer;
mod direct;
mod next;
mod request;
mod take;

use pgrx::datum::{Interval, Uuid};
use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::Card;
use crate::card::claimable::Hindrance;
use crate::card::status::Status;
use crate::frontier;
use crate::frontier::scheduled;
use crate::postgres::clock::{self, Micros, SECOND};
use crate::postgres::lock;
use crate::postgres::rows::{Shape, Stream};
use crate::postgres::statement::{Session, param, session, statements};
use crate::refusal::Refusal;
use crate::verb::lease;
use crate::verb::reclaim;

use answer::{Answers, Unanswered};
use next::take_next;
use request::Request;
use take::{ClaimedRow01, LAST_COLUMN, TOTAL_COLUMN, held, record, take};

pub use take::ClaimedRow;

statements! {
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

/// Columns of the answer.
const COLUMNS: usize = LAST_COLUMN as usize;
/// The same as 0.1.0 declares them.
pub const COLUMNS_01: usize = TOTAL_COLUMN as usize - 1;

/// Hands the next claimable cards to `worker`, highest priority first, then oldest: at most
/// `max_cards`, fewer only if no more are claimable that no open transaction holds. With `id`:
/// that card, or an error that says why not. The lease ends after `ttl` unless renewed. With
/// `request_id`, a retry gets what the first call got and still holds.
#[allow(clippy::too_many_arguments)]
#[pg_extern(
    schema = "mosaic",
    name = "backlog_claim",
    volatile,
    parallel_unsafe,
    security_definer
)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_claim_02(
    worker: Option<String>,
    ttl: default!(Option<Interval>, "'15 minutes'"),
    max_cards: default!(Option<i32>, "1"),
    phase: default!(Option<String>, "NULL"),
    labels: default!(Option<Vec<Option<String>>>, "NULL"),
    offers: default!(Option<Vec<Option<String>>>, "NULL"),
    id: default!(Option<String>, "NULL"),
    request_id: default!(Option<Uuid>, "NULL"),
) -> Result<Stream<ClaimedRow>, pgrx::pg_sys::panic::ErrorReport> {
    let request = Request::new(worker, ttl, max_cards, phase, labels, offers, id)?;
    Ok(request.stream(request_id, COLUMNS))
}

/// What the SQL of 0.1.0 calls.
#[allow(clippy::too_many_arguments)]
#[pg_extern(sql = false)]
fn backlog_claim(
    worker: Option<String>,
    ttl: Option<Interval>,
    max_cards: Option<i32>,
    phase: Option<String>,
    labels: Option<Vec<Option<String>>>,
    offers: Option<Vec<Option<String>>>,
    id: Option<String>,
    request_id: Option<Uuid>,
) -> Result<Stream<ClaimedRow01>, pgrx::pg_sys::panic::ErrorReport> {
    let request = Request::new(worker, ttl, max_cards, phase, labels, offers, id)?;
    Ok(request.stream(request_id, COLUMNS_01))
}

impl Request {
    /// Claims, and answers with the first `columns` columns.
    fn stream<T: Shape>(self, request_id: Option<Uuid>, columns: usize) -> Stream<T> {
        Stream::new(move |sink| {
            session(|session| {
                let mut answers = Answers::new(session, sink, columns);
                match request_id {
                    None => claim(session, &self, &mut answers),
                    Some(request_id) => claim_once(session, &self, request_id, answers),
                }
            })
        })
    }
}

/// Claims, records it, and puts what was claimed into the answer.
fn claim(session: &Session, request: &Request, answers: &mut Answers) -> Result<(), Refusal> {
    if let Some(id) = &request.id {
        let now = lock_named(session, id, request)?;
        let claimed = [take(session, vec![id.clone()], request, now)];
        record(session, request, &claimed, now);
        let unanswered = answers.put(&claimed).pop();
        return unanswered.map_or(Ok(()), |card| Err(Refusal::unanswerable(id, &card.why)));
    }
    let now = clock::now();
    frontier::begin();
    reclaim::sweep(session, &request.worker, now)?;
    let all_came = scheduled::promote(session, now);
    let mut wanted = request.max_cards as usize;
    while wanted > 0 {
        let claimed = take_next(session, request, wanted, all_came, now)?;
        record(session, request, &claimed, now);
        let unanswered = answers.put(&claimed);
        wanted = unanswered.len();
        set_aside(session, unanswered, now)?;
    }
    Ok(())
}

/// Counts an attempt at each card that could not be handed out, and gives it back: it is the card
/// that is at fault, and in the end it is quarantined.
fn set_aside(session: &Session, unanswered: Vec<Unanswered>, now: Micros) -> Result<(), Refusal> {
    for Unanswered { id, why } in unanswered {
        let card = Card::lock(session, &id)?;
        let reason = format!("a claim of it cannot be answered: {why}");
        // Not at once: the same claim would find it again.
        let delay = lease::backoff(card.attempts).max(SECOND);
        lease::fail(session, &card, &reason, delay, now);
    }
    Ok(())
}

/// Locks the card that the claim names and makes sure that it is claimable. Gives the
/// time of the decision, read after the wait for the lock.
fn lock_named(session: &Session, id: &str, request: &Request) -> Result<Micros, Refusal> {
    let mut card = Card::lock(session, id)?;
    let now = clock::now();
    if card.status == Status::Claimed && card.lease_ended(now) {
        reclaim::sweep_card(session, &card, &request.worker, now);
        card = Card::lock(session, id)?;
    }
    let closed = |hint| Refusal::bad_transition(&card, "claim", hint);
    match card.hindrance(now) {
        None => {}
        Some(Hindrance::Status(Status::Blocked)) => return Err(closed("Unblock it first.")),
        Some(Hindrance::Status(Status::Done)) => return Err(closed("Claim another card.")),
        Some(Hindrance::Status(Status::Cancelled)) => return Err(closed("Reopen it first.")),
        Some(Hindrance::Status(_)) => return Err(Refusal::already_claimed(&card)),
        Some(Hindrance::Exhausted) => return Err(Refusal::exhausted(&card)),
        Some(Hindrance::Gated) => return Err(Refusal::open_dependencies(&card)),
        Some(Hindrance::Deferred(until)) => return Err(Refusal::deferred(&card, until)),
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
    Ok(now)
}

/// A claim whose answer is remembered: the same request gets it again, under the same tokens.
fn claim_once(
    session: &Session,
    request: &Request,
    request_id: Uuid,
    mut answers: Answers,
) -> Result<(), Refusal> {
    lock::request(&request_id);
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
        let held = held(session, found.must(0, 2), found.must(0, 3));
        let unanswered = answers.put(&[held]);
        set_aside(session, unanswered, clock::now())?;
        if answers.is_empty() {
            return Err(Refusal::request_lost(&request_id.to_string()));
        }
        return Ok(());
    }
    claim(session, request, &mut answers)?;
    if !answers.is_empty() {
        let now = clock::now();
        session.run(&FORGET_REQUESTS, &[param(now - REMEMBERED)]);
        let (ids, tokens) = answers.ids_and_tokens();
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
    Ok(())
}

/// What a claim of `ids` would do if it had not to find them.
#[cfg(feature = "bench")]
pub fn claim_known(
    session: &Session,
    sink: &mut crate::postgres::rows::Sink,
    ids: Vec<String>,
    worker: String,
    ttl: i32,
) {
    let request = Request {
        worker,
        ttl,
        max_cards: 1,
        phase: None,
        labels: Vec::new(),
        offers: Vec::new(),
        id: None,
    };
    let now = clock::now();
    let claimed = vec![take(session, ids, &request, now)];
    record(session, &request, &claimed, now);
    Answers::new(session, sink, COLUMNS).put(&claimed);
}
