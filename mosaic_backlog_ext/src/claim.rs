//! Claiming: exactly one worker gets a card, and with it a fresh fencing token.

use std::collections::HashSet;

use pgrx::datum::{Interval, Uuid};
use pgrx::prelude::*;
use serde_json::json;

use crate::argument;
use crate::card::{Card, Status, card_columns, card_table, own_columns};
use crate::clock::{self, Micros, SECOND};
use crate::due;
use crate::event::{self, Event};
use crate::frontier::{self, Key, LOOK, Look, Next, Set};
use crate::guard;
use crate::reclaim;
use crate::refusal::Refusal;
use crate::rows::{Rows, shapes};
use crate::settings;
use crate::statement::{Answer, Parameter, Session, param, session, statements};

shapes! {
    /// A claimed card with everything that a worker needs to start.
    ClaimedRow = concat!("TABLE (", card_table!(), ", dependencies jsonb, last_failure text)");
}

/// The columns of a claimed card, and behind those that the caller sees: its place in the claim
/// order and since when it was claimable.
macro_rules! claimed_columns {
    () => {
        concat!(
            card_columns!(),
            ",
           coalesce((select pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
                 'id', x.id, 'title', x.title, 'result', x.result) order by x.id)
              from mosaic.backlog_dependency d join mosaic.backlog x on x.id = d.depends_on
              where d.card_id = c.id), '[]'),
           c.last_failure, c.claim_order, greatest(c.claimable_since, c.not_before)"
        )
    };
}

/// The same of a card just taken, as if it had no dependencies, and whether it has some: to
/// prepare for reading them costs as much as the rest, also where there are none.
macro_rules! taken_columns {
    () => {
        concat!(
            own_columns!(),
            ", '{}'::text[], '[]'::jsonb,
           c.last_failure, c.claim_order, greatest(c.claimable_since, c.not_before),
           exists (select from mosaic.backlog_dependency d where d.card_id = c.id)"
        )
    };
}

/// Assigns a claim to a row; the parameters are the same in every statement that takes cards.
macro_rules! claimed {
    () => {
        "update mosaic.backlog c set status = 'claimed', claim_owner = $2,
           claim_token = pg_catalog.nextval('mosaic.backlog_claim_token_seq'), claim_ttl_seconds = $3,
           claimed_at = $4, claim_expires_at = $5, attempts = attempts + 1, settled_token = null,
           updated_at = $4"
    };
}

statements! {
    /// Takes those of the candidates that are claimable. FOR NO KEY UPDATE re-checks the whole
    /// predicate on the locked row, and what a rival has locked is skipped.
    TAKE_CANDIDATES(INT8ARRAYOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTOID,
                    TEXTARRAYOID, INT4OID) = concat!(
        claimed!(), " from (
             select ctid as place from mosaic.backlog
             where claim_order = any($1) and opened and (not_before is null or not_before <= $4) and requires <@ $6
               and ($7 is null or phase = $7) and labels @> $8 and attempts < coalesce(max_attempts, $9)
             for no key update skip locked) picked
         where c.ctid = picked.place returning ", taken_columns!());
    /// What has become of candidates that could not be taken.
    NOT_TAKEN(INT8ARRAYOID, INT4OID, TEXTARRAYOID, TEXTOID, TEXTARRAYOID) =
        "select claim_order, id, not_before, attempts >= coalesce(max_attempts, $2),
           requires <@ $3 and ($4 is null or coalesce(phase = $4, false)) and labels @> $5
         from mosaic.backlog where claim_order = any($1) and opened";
    STILL_THERE(INT8ARRAYOID) =
        "select claim_order from mosaic.backlog where claim_order = any($1) and opened";
    /// Looks through a part of the order, whatever is locked in it.
    EXAMINE(INT8OID, INT8OID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTOID, TEXTARRAYOID, INT4OID) =
        "select claim_order from mosaic.backlog
         where opened and claim_order between $1 and $2
           and (not_before is null or not_before <= $3) and requires <@ $4
           and ($5 is null or phase = $5) and labels @> $6
         order by claim_order limit $7";
    /// The last card of all in claim order, whatever its status.
    LAST() =
        "select max(last.claim_order) from unnest(enum_range(null::mosaic.backlog_status)) as s(status)
         cross join lateral (select claim_order from mosaic.backlog b where b.status = s.status
                             order by claim_order desc limit 1) last";
    /// The next claimable cards from a place in the order on.
    PICK(TIMESTAMPTZOID, TEXTARRAYOID, INT4OID, TEXTOID, TEXTARRAYOID, INT8OID) =
        "select id, attempts, max_attempts from mosaic.backlog
         where opened and claim_order >= $6
           and (not_before is null or not_before <= $1) and requires <@ $2
           and ($4 is null or phase = $4) and labels @> $5
         order by claim_order limit $3 for no key update skip locked";
    /// Takes locked cards.
    TAKE(TEXTARRAYOID, TEXTOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID) = concat!(
        claimed!(), " where id = any($1) returning ", taken_columns!());
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
/// Behind the columns that the caller sees.
const ORDER_COLUMN: i32 = 29;
const SINCE_COLUMN: i32 = 30;
const HAS_DEPENDENCIES_COLUMN: i32 = 31;
const CLAIMED_COLUMNS: usize = 28;

/// Cards that the calling transaction itself made claimable and that are merged with the
/// candidates; with more, the table is scanned.
const OWN_MAX: usize = 1_000;

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
        None => claim(session, &request).map(|claimed| reply(session, &claimed)),
        Some(request_id) => claim_once(session, &request, request_id),
    })?)
}

/// The claimed cards in claim order.
fn reply(session: &Session, claimed: &[Answer]) -> Rows<ClaimedRow> {
    let mut rows: Vec<(&Answer, usize)> = all_rows(claimed);
    let wait_for_others =
        |(answer, row): &(&Answer, usize)| answer.must(*row, HAS_DEPENDENCIES_COLUMN);
    if rows.iter().any(wait_for_others) {
        return held(
            session,
            column(claimed, ID_COLUMN),
            column(claimed, TOKEN_COLUMN),
        );
    }
    rows.sort_by_key(|(answer, row)| answer.must::<Key>(*row, ORDER_COLUMN));
    Rows::first_columns(session, &rows, CLAIMED_COLUMNS)
}

/// Those of the cards that are still held under these tokens, read anew.
fn held(session: &Session, ids: Vec<String>, tokens: Vec<i64>) -> Rows<ClaimedRow> {
    let held = [session.run(&HELD, &[param(ids), param(tokens)])];
    Rows::first_columns(session, &all_rows(&held), CLAIMED_COLUMNS)
}

fn all_rows(answers: &[Answer]) -> Vec<(&Answer, usize)> {
    let rows = |answer: &'_ Answer| 0..answer.len();
    answers
        .iter()
        .flat_map(|answer| rows(answer).map(move |row| (answer, row)))
        .collect()
}

fn column<T: FromDatum>(answers: &[Answer], column: i32) -> Vec<T> {
    answers.iter().flat_map(|a| a.column(column)).collect()
}

/// Claims, and records it.
fn claim(session: &Session, request: &Request) -> Result<Vec<Answer>, Refusal> {
    let (claimed, now) = match &request.id {
        Some(id) => {
            let now = lock_named(session, id, request)?;
            (vec![take(session, vec![id.clone()], request, now)], now)
        }
        None => {
            let now = clock::now();
            frontier::begin();
            reclaim::sweep(session, &request.worker, now)?;
            due::promote(session, now);
            (take_next(session, request, now)?, now)
        }
    };
    record(session, request, &claimed, now);
    Ok(claimed)
}

impl Request {
    fn set(&self) -> Set {
        frontier::claims(self.phase.as_deref(), &self.labels, &self.offers)
    }

    /// What every statement that takes cards has as its second to fifth parameter.
    fn lease(&self, now: Micros) -> [Parameter; 4] {
        [
            param(self.worker.as_str()),
            param(self.ttl),
            param(now),
            param(now + i64::from(self.ttl) * SECOND),
        ]
    }
}

/// Takes the next claimable cards, as far as the frontier knows of them, and looks further
/// where it does not.
fn take_next(session: &Session, request: &Request, now: Micros) -> Result<Vec<Answer>, Refusal> {
    let set = request.set();
    let mut wanted = request.max_cards as usize;
    let mut claimed = Vec::new();
    let Some(mut own) = frontier::own_claimable(OWN_MAX) else {
        return Ok(vec![scan(session, request, set, wanted, now)?]);
    };
    // What somebody else has locked is tried once, and once more before the claim gives up.
    let mut tried = HashSet::new();
    while wanted > 0 {
        let (shared, known) = match gather(session, request, set, wanted, now) {
            Gathered::Candidates(keys, known) => (keys, known),
            Gathered::Unknown => {
                claimed.push(scan(session, request, set, wanted, now)?);
                break;
            }
        };
        let (again, shared): (Vec<Key>, Vec<Key>) =
            shared.into_iter().partition(|key| tried.contains(key));
        let mut keys = [shared.as_slice(), own.as_slice()].concat();
        keys.retain(|key| *key < known);
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(wanted);
        let chosen: HashSet<Key> = keys.iter().copied().collect();
        let surplus: Vec<Key> = shared.into_iter().filter(|k| !chosen.contains(k)).collect();
        frontier::give_back(set, &surplus);
        own.retain(|key| !chosen.contains(key));
        let mut has_room = frontier::put_aside(set, &again);
        if keys.is_empty() {
            frontier::tried();
            if again.is_empty() {
                claimed.extend(take_locked(session, request, set, wanted, now)?);
                break;
            }
            continue;
        }
        let answer = take_candidates(session, &keys, request, now);
        let taken: HashSet<Key> = answer.column(ORDER_COLUMN).into_iter().collect();
        wanted -= taken.len();
        claimed.push(answer);
        frontier::own_taken(&taken);
        keys.retain(|key| !taken.contains(key));
        let locked = settle(session, request, &keys, now)?;
        has_room &= frontier::put_aside(set, &locked);
        frontier::tried();
        if !has_room && wanted > 0 {
            claimed.push(scan(session, request, set, wanted, now)?);
            break;
        }
        if taken.is_empty() && locked.is_empty() {
            sift(session, set);
        }
        tried.extend(locked);
    }
    Ok(claimed)
}

/// Takes what was locked when it was tried, as far as it is free by now: nothing else is left.
fn take_locked(
    session: &Session,
    request: &Request,
    set: Set,
    mut wanted: usize,
    now: Micros,
) -> Result<Vec<Answer>, Refusal> {
    let mut claimed = Vec::new();
    let mut left = frontier::take_locked(set);
    left.reverse();
    while wanted > 0
        && let Some(key) = left.pop()
    {
        let answer = take_candidates(session, &[key], request, now);
        if answer.is_empty() {
            let locked = settle(session, request, &[key], now)?;
            frontier::put_aside(set, &locked);
        } else {
            wanted -= 1;
            claimed.push(answer);
        }
    }
    frontier::put_aside(set, &left);
    frontier::tried();
    Ok(claimed)
}

enum Gathered {
    /// Candidates in order, and up to where all are known.
    Candidates(Vec<Key>, Key),
    Unknown,
}

/// Collects candidates for `wanted` cards, looking through what has not been examined.
fn gather(session: &Session, request: &Request, set: Set, wanted: usize, now: Micros) -> Gathered {
    let mut keys = Vec::new();
    loop {
        match frontier::next(set, Key::MAX, wanted - keys.len()) {
            Next::Candidates(more, known) => {
                keys.extend(more);
                if keys.len() == wanted {
                    return Gathered::Candidates(keys, known);
                }
            }
            Next::Look(look) => examine(session, request, look, wanted, now),
            Next::Nothing => return Gathered::Candidates(keys, Key::MAX),
            Next::Unknown => {
                frontier::give_back(set, &keys);
                frontier::tried();
                return Gathered::Unknown;
            }
        }
    }
}

/// After a vain attempt: drops the candidates that are none any more, all with one look.
fn sift(session: &Session, set: Set) {
    if let Next::Candidates(keys, _) = frontier::next(set, Key::MAX, LOOK) {
        let left = session.run(&STILL_THERE, &[param(keys)]);
        frontier::give_back(set, &left.column::<Key>(1));
        frontier::tried();
    }
}

fn take_candidates(session: &Session, keys: &[Key], request: &Request, now: Micros) -> Answer {
    let [worker, ttl, at, until] = request.lease(now);
    session.run(
        &TAKE_CANDIDATES,
        &[
            param(keys.to_vec()),
            worker,
            ttl,
            at,
            until,
            param(request.offers.clone()),
            param(request.phase.as_deref()),
            param(request.labels.clone()),
            param(settings::MAX_ATTEMPTS.get()),
        ],
    )
}

/// Finds out about candidates that could not be taken. A card that used up its attempts,
/// because the maximum was lowered, is quarantined. Gives those that somebody has locked.
fn settle(
    session: &Session,
    request: &Request,
    keys: &[Key],
    now: Micros,
) -> Result<Vec<Key>, Refusal> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let answer = session.run(
        &NOT_TAKEN,
        &[
            param(keys.to_vec()),
            param(settings::MAX_ATTEMPTS.get()),
            param(request.offers.clone()),
            param(request.phase.as_deref()),
            param(request.labels.clone()),
        ],
    );
    let mut locked = Vec::new();
    let mut exhausted = Vec::new();
    for row in 0..answer.len() {
        let key: Key = answer.must(row, 1);
        let wait_until: Option<Micros> = answer.get(row, 3);
        if let Some(at) = wait_until.filter(|at| *at > now) {
            // Another session's clock is ahead of this one's.
            frontier::waits_again(&[at]);
        } else if !answer.must::<bool>(row, 5) {
            // Not for this claim.
        } else if answer.must(row, 4) {
            exhausted.push((key, answer.must::<String>(row, 2)));
        } else {
            locked.push(key);
        }
    }
    for (key, id) in exhausted {
        match Card::try_lock(session, &id) {
            Some(card) if card.is_exhausted() && card.status == Status::Ready => {
                quarantine(session, &card, request, now);
            }
            _ => locked.push(key),
        }
    }
    Ok(locked)
}

fn quarantine(session: &Session, card: &Card, request: &Request, now: Micros) {
    let actor = Some(request.worker.as_str());
    reclaim::quarantine(session, card, "quarantined", None, actor, now);
}

/// Ends a look at a part of the order that nobody has examined.
fn examine(session: &Session, request: &Request, mut look: Look, wanted: usize, now: Micros) {
    let range = look.range();
    let limit = wanted.clamp(LOOK, 2 * LOOK);
    let found = session.run(
        &EXAMINE,
        &[
            param(range.from),
            param(range.last()),
            param(now),
            param(request.offers.clone()),
            param(request.phase.as_deref()),
            param(request.labels.clone()),
            param(limit as i32),
        ],
    );
    let found: Vec<Key> = found.column(1);
    if found.is_empty() && look.is_first() {
        look.set_highest(session.run(&LAST, &[]).get(0, 1));
    }
    look.end_claims(&found, limit, now);
}

/// Takes cards by a scan, past everything that is locked: where the frontier cannot tell.
fn scan(
    session: &Session,
    request: &Request,
    set: Set,
    wanted: usize,
    now: Micros,
) -> Result<Answer, Refusal> {
    let from = frontier::floor(set).min(frontier::own_floor());
    loop {
        let answer = session.run(
            &PICK,
            &[
                param(now),
                param(request.offers.clone()),
                param(wanted as i32),
                param(request.phase.as_deref()),
                param(request.labels.clone()),
                param(from),
            ],
        );
        let (exhausted, left): (Vec<usize>, Vec<usize>) = (0..answer.len()).partition(|row| {
            let max = answer
                .get(*row, 3)
                .unwrap_or_else(|| settings::MAX_ATTEMPTS.get());
            answer.must::<i32>(*row, 2) >= max
        });
        if exhausted.is_empty() {
            let ids = left.into_iter().map(|row| answer.must(row, 1)).collect();
            return Ok(take(session, ids, request, now));
        }
        for row in exhausted {
            let card = Card::lock(session, answer.must(row, 1))?;
            quarantine(session, &card, request, now);
        }
    }
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
    Ok(now)
}

/// Claims locked, claimable cards.
fn take(session: &Session, ids: Vec<String>, request: &Request, now: Micros) -> Answer {
    let [worker, ttl, at, until] = request.lease(now);
    session.run(&TAKE, &[param(ids), worker, ttl, at, until])
}

/// What a claim of `ids` would do if it had not to find them.
#[cfg(feature = "bench")]
pub fn claim_known(
    session: &Session,
    ids: Vec<String>,
    worker: String,
    ttl: i32,
) -> Rows<ClaimedRow> {
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
    reply(session, &claimed)
}

/// Writes the history of claimed cards.
fn record(session: &Session, request: &Request, claimed: &[Answer], now: Micros) {
    let expires_at = now + i64::from(request.ttl) * SECOND;
    if claimed.iter().any(|answer| !answer.is_empty()) {
        frontier::add_lease(expires_at);
    }
    let cards: Vec<(&Answer, usize, String)> = all_rows(claimed)
        .into_iter()
        .map(|(answer, row)| (answer, row, answer.must(row, ID_COLUMN)))
        .collect();
    let events: Vec<Event> = cards
        .iter()
        .map(|(answer, row, id)| {
            let since: Micros = answer.must(*row, SINCE_COLUMN);
            Event {
                card_id: id,
                kind: "claimed",
                actor: Some(&request.worker),
                claim_token: answer.get(*row, TOKEN_COLUMN),
                old_status: Some(Status::Ready),
                new_status: Status::Claimed,
                detail: json!({
                    "claim_ttl_seconds": request.ttl, "claim_expires_at": clock::rfc3339(expires_at),
                    "attempts": answer.must::<i32>(*row, ATTEMPTS_COLUMN),
                    "waited_seconds": (now - since).max(0) as f64 / SECOND as f64,
                }),
            }
        })
        .collect();
    event::record_many(session, now, &events);
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
        let held = held(session, ids, tokens);
        if held.is_empty() {
            return Err(Refusal::request_lost(&request_id.to_string()));
        }
        return Ok(held);
    }
    let claimed = claim(session, request)?;
    if claimed.iter().any(|answer| !answer.is_empty()) {
        let now = clock::now();
        session.run(&FORGET_REQUESTS, &[param(now - REMEMBERED)]);
        let ids: Vec<String> = column(&claimed, ID_COLUMN);
        let tokens: Vec<i64> = column(&claimed, TOKEN_COLUMN);
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
    Ok(reply(session, &claimed))
}
