//! Finding the next cards to claim: candidates of the frontier, a scan where it knows nothing, a
//! scan where it cannot tell.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::request::Request;
use super::take::{orders, take, take_candidates};
use crate::card::Card;
use crate::card::claimable::{has_attempts, is_claimable, max_attempts, suits};
use crate::card::status::Status;
use crate::frontier::{self, AUDITED, Audit, Flight, Key, Next, SCAN, Scan, Set};
use crate::postgres::clock::Micros;
use crate::postgres::settings;
use crate::postgres::statement::{Answer, Session, param, statements};
use crate::postgres::subtransaction::Subtransaction;
use crate::refusal::Refusal;
use crate::verb::lease::ending;

statements! {
    /// What has become of candidates that could not be taken.
    NOT_TAKEN(INT8ARRAYOID, INT4OID, TEXTARRAYOID, TEXTOID, TEXTARRAYOID) =
        concat!("select claim_order, id, not_before, not ", has_attempts!("$2"), ", coalesce(", suits!("$3", "$4", "$5"), ", false)
         from mosaic.backlog where claim_order = any($1) and opened");
    STILL_THERE(INT8ARRAYOID) =
        "select claim_order from mosaic.backlog where claim_order = any($1) and opened";
    /// Scans a part of the order, whatever is locked in it.
    EXAMINE(INT8OID, INT8OID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTOID, TEXTARRAYOID, INT4OID) =
        concat!("select claim_order, not_before from mosaic.backlog
         where claim_order between $1 and $2 and ", is_claimable!("$3"), " and ", suits!("$4", "$5", "$6"), "
         order by claim_order limit $7");
    /// The same within one phase.
    EXAMINE_PHASE(INT8OID, INT8OID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTOID, TEXTARRAYOID, INT4OID) =
        concat!("select claim_order, not_before from mosaic.backlog
         where claim_order between $1 and $2 and ", is_claimable!("$3"), " and phase = $5 and ", suits!("$4", "$5", "$6"), "
         order by claim_order limit $7");
    /// Those that are claimable and that no transaction has changed that is open, or is ending.
    TOLD(INT8ARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTOID, TEXTARRAYOID) =
        concat!("select claim_order, id, not_before from mosaic.backlog b
         where claim_order = any($1) and ", is_claimable!("$2"), " and ", suits!("$3", "$4", "$5"), "
           and not exists (select from pg_catalog.pg_locks l
                           where l.locktype = 'transactionid' and l.transactionid in (b.xmin, b.xmax))");
    FREE(TEXTOID) =
        "select from mosaic.backlog where id = $1 and opened for no key update skip locked";
    /// The last card of all in claim order, whatever its status.
    LAST() =
        "select max(last.claim_order) from unnest(enum_range(null::mosaic.backlog_status)) as s(status)
         cross join lateral (select claim_order from mosaic.backlog b where b.status = s.status
                             order by claim_order desc limit 1) last";
    /// The next claimable cards from a place in the order on.
    PICK(TIMESTAMPTZOID, TEXTARRAYOID, INT4OID, TEXTOID, TEXTARRAYOID, INT8OID) =
        concat!("select id, attempts, max_attempts from mosaic.backlog
         where claim_order >= $6 and ", is_claimable!("$1"), " and ", suits!("$2", "$4", "$5"), "
         order by claim_order limit $3 for no key update skip locked");
}

/// Cards that the calling transaction itself made claimable and that are merged with the
/// candidates; with more, the table is scanned.
const OWN_MAX: usize = 1_000;

/// How long a claim scans ranges and tries in vain before it scans the table instead: others may create cards that
/// are not for it faster than it finds that out. The first scans have as long as they take.
const PATIENCE: Duration = Duration::from_millis(100);
const FIRST_SCANS: u32 = 4;

/// Takes the next `wanted` claimable cards, as far as the frontier knows of them, and looks further
/// where it does not. `all_came`: the cards whose time has come by `now` are known as claimable.
pub fn take_next<'a>(
    session: &'a Session,
    request: &Request,
    wanted: usize,
    all_came: bool,
    now: Micros,
) -> Result<Vec<Answer<'a>>, Refusal> {
    let set = frontier::claims(request.phase.as_deref(), &request.labels, &request.offers);
    if let Some(audit) = frontier::audit(set) {
        prove(session, request, audit, now);
    }
    if !all_came {
        return Ok(vec![scan_table_from(
            session,
            request,
            Key::MIN,
            wanted,
            now,
        )?]);
    }
    let Some(own) = frontier::own_claimable(OWN_MAX) else {
        return Ok(vec![scan_table(session, request, set, wanted, now)?]);
    };
    let mut hunt = Hunt {
        session,
        request,
        set,
        now,
        own,
        tried: HashSet::new(),
        wanted,
        claimed: Vec::new(),
    };
    let mut vain_since = None;
    while hunt.wanted > 0 {
        let round = hunt.round()?;
        let is_vain = round == Round::Vain
            && vain_since.get_or_insert_with(Instant::now).elapsed() > PATIENCE;
        match round {
            Round::Some => vain_since = None,
            Round::Vain if !is_vain => {}
            Round::Nothing => {
                hunt.take_locked()?;
                break;
            }
            Round::Vain | Round::Unknown => {
                hunt.claimed
                    .push(scan_table(session, request, set, hunt.wanted, now)?);
                break;
            }
        }
    }
    Ok(hunt.claimed)
}

/// A search for the next cards of a claim, in rounds.
struct Hunt<'a, 'r> {
    session: &'a Session,
    request: &'r Request,
    set: Set,
    now: Micros,
    /// Cards that this transaction itself made claimable, ascending.
    own: Vec<Key>,
    /// What somebody else has locked is tried once, and once more before the claim gives up.
    tried: HashSet<Key>,
    wanted: usize,
    claimed: Vec<Answer<'a>>,
}

/// What came of a round.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Some,
    /// None of the candidates could be had.
    Vain,
    /// There are no candidates but those that are locked.
    Nothing,
    /// The table has to be asked.
    Unknown,
}

impl<'a> Hunt<'a, '_> {
    /// Tries the next candidates.
    fn round(&mut self) -> Result<Round, Refusal> {
        let mut flight = Flight::begin(self.set);
        let Some((shared, known)) = self.gather(&mut flight) else {
            return Ok(Round::Unknown);
        };
        let (again, shared): (Vec<Key>, Vec<Key>) =
            shared.into_iter().partition(|key| self.tried.contains(key));
        let mut has_room = flight.put_aside(&again);
        let keys = self.choose(&shared, known);
        if keys.is_empty() {
            return Ok(match (again.is_empty(), has_room) {
                (true, _) => Round::Nothing,
                (false, true) => Round::Vain,
                // Others put aside so much meanwhile that these would be tried again at once.
                (false, false) => Round::Unknown,
            });
        }
        let answers = take_candidates(self.session, &keys, self.request, self.now);
        let taken = orders(&answers);
        self.wanted -= taken.len();
        self.claimed.extend(answers);
        frontier::own_taken(&taken);
        let left: Vec<Key> = keys
            .iter()
            .copied()
            .filter(|key| !taken.contains(key))
            .collect();
        let locked = settle(self.session, self.request, &left, self.now)?;
        has_room &= flight.put_aside(&locked);
        flight.settle(&keys);
        drop(flight);
        if !has_room && self.wanted > 0 {
            return Ok(Round::Unknown);
        }
        if !taken.is_empty() {
            self.tried.extend(locked);
            return Ok(Round::Some);
        }
        if locked.is_empty() {
            prune(self.session, self.set);
        }
        self.tried.extend(locked);
        Ok(Round::Vain)
    }

    /// The first of the shared candidates, which are known up to `known`, and of this transaction's own, in
    /// order. Its own are left out of the rounds to come.
    fn choose(&mut self, shared: &[Key], known: Key) -> Vec<Key> {
        let mut keys = [shared, self.own.as_slice()].concat();
        keys.retain(|key| *key < known);
        keys.sort_unstable();
        keys.dedup();
        keys.truncate(self.wanted);
        self.own.retain(|key| keys.binary_search(key).is_err());
        keys
    }

    /// Collects candidates in order, as many as are wanted, and up to where all are known, looking through what
    /// has not been examined; `None` where the frontier cannot tell.
    fn gather(&self, flight: &mut Flight) -> Option<(Vec<Key>, Key)> {
        let mut keys = Vec::new();
        let mut scans = 0;
        let mut since = None;
        loop {
            match flight.next(Key::MAX, self.wanted - keys.len()) {
                Next::Candidates(more, known) => {
                    keys.extend(more);
                    if keys.len() == self.wanted {
                        return Some((keys, known));
                    }
                }
                Next::Scan(scan) => {
                    scans += 1;
                    let since = since.get_or_insert_with(Instant::now);
                    if scans > FIRST_SCANS && since.elapsed() > PATIENCE {
                        return None;
                    }
                    examine(self.session, self.request, scan, self.wanted, self.now);
                }
                Next::Nothing => return Some((keys, Key::MAX)),
                Next::Unknown => return None,
            }
        }
    }

    /// Takes what was locked when it was tried, as far as it is free by now: nothing else is left.
    fn take_locked(&mut self) -> Result<(), Refusal> {
        let mut flight = Flight::begin(self.set);
        let mut left = flight.take_locked();
        left.reverse();
        while self.wanted > 0
            && let Some(key) = left.pop()
        {
            let answers = take_candidates(self.session, &[key], self.request, self.now);
            if answers.iter().all(Answer::is_empty) {
                let locked = settle(self.session, self.request, &[key], self.now)?;
                flight.put_aside(&locked);
            } else {
                self.wanted -= 1;
                self.claimed.extend(answers);
            }
            flight.settle(&[key]);
        }
        flight.put_aside(&left);
        Ok(())
    }
}

/// Compares what is known of the first claimable cards with the table.
fn prove(session: &Session, request: &Request, audit: Audit, now: Micros) {
    let first = first_claimable(session, request, (Key::MIN, Key::MAX), AUDITED, now);
    let found: Vec<(Key, Option<Key>)> = (0..first.len())
        .map(|row| (first.must(row, 1), first.get(row, 2)))
        .collect();
    let suspects = audit.suspect(&found);
    let mut free = Vec::new();
    if !suspects.is_empty() {
        // What a transaction that is ending has done is visible before it tells of it. It holds the
        // lock of its number until then.
        let told = session.run(
            &TOLD,
            &[
                param(suspects),
                param(now),
                param(request.offers.clone()),
                param(request.phase.as_deref()),
                param(request.labels.clone()),
            ],
        );
        for row in 0..told.len() {
            let id: String = told.must(row, 2);
            let subtransaction = Subtransaction::begin();
            let is_free = !session.run(&FREE, &[param(id.as_str())]).is_empty();
            drop(subtransaction);
            if is_free {
                free.push((told.must(row, 1), told.get(row, 3)));
            }
        }
    }
    audit.end(&free);
}

/// After a vain attempt: drops the candidates that are none any more, all with one scan.
fn prune(session: &Session, set: Set) {
    let mut flight = Flight::begin(set);
    let keys = flight.prune();
    if !keys.is_empty() {
        let left: Vec<Key> = session.run(&STILL_THERE, &[param(keys.clone())]).column(1);
        let gone: Vec<Key> = keys.into_iter().filter(|key| !left.contains(key)).collect();
        flight.settle(&gone);
    }
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
            frontier::waits_again(at);
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
    ending::quarantine(session, card, "quarantined", None, actor, now);
}

/// Ends a scan at a part of the order that nobody has examined.
fn examine(session: &Session, request: &Request, mut scan: Scan, wanted: usize, now: Micros) {
    let range = scan.range();
    let limit = wanted.clamp(SCAN, 2 * SCAN);
    let first = first_claimable(session, request, (range.from, range.last()), limit, now);
    let found: Vec<Key> = first.column(1);
    if found.is_empty() && scan.is_first() {
        scan.set_highest(session.run(&LAST, &[]).get(0, 1));
    }
    scan.end_claims(&found, limit, now);
}

/// The first `limit` cards in a part of the order that the claim may have, whoever has them
/// locked, each with the time that it waited for.
fn first_claimable<'a>(
    session: &'a Session,
    request: &Request,
    (first, last): (Key, Key),
    limit: usize,
    now: Micros,
) -> Answer<'a> {
    let examine = match request.phase {
        Some(_) => &EXAMINE_PHASE,
        None => &EXAMINE,
    };
    session.run(
        examine,
        &[
            param(first),
            param(last),
            param(now),
            param(request.offers.clone()),
            param(request.phase.as_deref()),
            param(request.labels.clone()),
            param(limit as i32),
        ],
    )
}

/// Takes cards by a scan, past everything that is locked: where the frontier cannot tell.
fn scan_table<'a>(
    session: &'a Session,
    request: &Request,
    set: Set,
    wanted: usize,
    now: Micros,
) -> Result<Answer<'a>, Refusal> {
    let from = frontier::floor(set).min(frontier::own_floor());
    scan_table_from(session, request, from, wanted, now)
}

fn scan_table_from<'a>(
    session: &'a Session,
    request: &Request,
    from: Key,
    wanted: usize,
    now: Micros,
) -> Result<Answer<'a>, Refusal> {
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
        let (exhausted, left): (Vec<usize>, Vec<usize>) = (0..answer.len())
            .partition(|row| answer.must::<i32>(*row, 2) >= max_attempts(answer.get(*row, 3)));
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
