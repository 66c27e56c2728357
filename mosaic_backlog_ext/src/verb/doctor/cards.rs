//! What is wrong with cards and links. No verb leaves them so: they were changed by hand, or
//! somebody has to decide.

use std::thread::LocalKey;
use std::time::Duration;

use pgrx::prelude::*;

use super::finding::{Finding, State};
use crate::card::claimable::is_claimable;
use crate::card::cycle::Links;
use crate::frontier::{self, Key};
use crate::postgres::clock;
use crate::postgres::statement::{
    Answer, Moment, Parameter, Session, Statement, param, statements,
};
use crate::postgres::transaction;

/// Links are read in pages of so many.
const PAGE: i64 = 10_000;
/// A card that has been claimable for so long, in microseconds, is known to claims, or something is wrong.
const UNSEEN_AFTER: i64 = 10_000_000;
/// A longer cycle is not written out.
const CYCLE_SHOWN: usize = 10;

type Check = fn(&Session) -> Finding;

/// By the names of what they find.
pub const CHECKS: [(&str, Check); 8] = [
    ("sequences", super::operation::sequences),
    ("unseen_cards", unseen),
    ("expired_leases", expired_leases),
    ("orphans", orphans),
    ("cycles", cycles),
    ("counters", counters),
    ("cancelled_dependencies", cancelled_dependencies),
    ("failing_workers", super::operation::failing_workers),
];

/// Declares statements that read whole tables. Those that find cards give up to three examples,
/// and beside each the number of all of them.
macro_rules! reports {
    ($($name:ident($($ty:ident),*) = $sql:expr;)*) => {
        thread_local! {
            $(static $name: Statement = const {
                Statement::new($sql, &[$(pg_sys::$ty),*]).with_scans()
            };)*
        }
    };
}

reports! {
    EXPIRED(TIMESTAMPTZOID) =
        "select format('%s, held by %s until %s', id, claim_owner, claim_expires_at), count(*) over ()
         from mosaic.backlog where claim_expires_at <= $1
         order by claim_expires_at, id limit 3";
    ORPHANS() =
        "select format('%s waits for %s', d.card_id, d.depends_on), count(*) over ()
         from mosaic.backlog_dependency d
         left join mosaic.backlog c on c.id = d.card_id
         left join mosaic.backlog x on x.id = d.depends_on
         where c.id is null or x.id is null
         order by d.card_id, d.depends_on limit 3";
    // Only a card that waits and is waited for can be on a cycle.
    INNER_LINKS() =
        "select d.card_id, d.depends_on from mosaic.backlog_dependency d
         where exists (select from mosaic.backlog_dependency u where u.depends_on = d.card_id)
           and exists (select from mosaic.backlog_dependency b where b.card_id = d.depends_on)";
    // Of links that lead nowhere it is not known whether they were counted.
    COUNTERS() =
        "select case when c.open_dependencies <> coalesce(l.open, 0)
             then format('%s counts %s and has %s', c.id, c.open_dependencies, coalesce(l.open, 0))
             else format('%s has dependencies and linked is false', c.id) end,
           count(*) over ()
         from mosaic.backlog c
         left join (
           select d.card_id, count(*) filter (where x.status <> 'done') as open,
             bool_or(x.id is null) as is_torn
           from mosaic.backlog_dependency d left join mosaic.backlog x on x.id = d.depends_on
           group by d.card_id) l on l.card_id = c.id
         where (c.open_dependencies <> coalesce(l.open, 0) and l.is_torn is not true)
           or (l.card_id is not null and not c.linked)
         order by c.id limit 3";
}

thread_local! {
    /// Open cards that wait for a cancelled one, directly or through others.
    static CANCELLED: Statement = const {
        Statement::new(
            "with recursive direct as (
           select c.id, x.id as depends_on
           from mosaic.backlog x
           join mosaic.backlog_dependency d on d.depends_on = x.id
           join mosaic.backlog c on c.id = d.card_id
           where x.status = 'cancelled' and c.status in ('ready', 'claimed', 'blocked')
         ), stuck(id) as (
           select id from direct
           union
           select c.id
           from stuck s
           join mosaic.backlog_dependency d on d.depends_on = s.id
           join mosaic.backlog c on c.id = d.card_id
           where c.status in ('ready', 'claimed', 'blocked')
         )
         select format('%s waits for %s', id, depends_on), (select count(*) from stuck)
         from direct order by id, depends_on limit 3",
            &[],
        )
        .with_bitmaps()
        .with_lookups()
    };
}

statements! {
    /// Cards that any claim may get, and since before `$2`.
    CLAIMABLE(INT8OID, TIMESTAMPTZOID) =
        concat!("select claim_order, not_before from mosaic.backlog
         where ", is_claimable!("$2"), " and claim_order > $1 and requires = '{}' and claimable_since <= $2
         order by claim_order limit 1000");
    /// Which of them are so still, as versions of rows, and nobody has them in hand.
    FREE(INT8ARRAYOID, TIMESTAMPTZOID) =
        concat!("select claim_order, not_before, id, ctid::text || ' ' || xmax::text, xmax, xmin,
           not exists (
             select from pg_lock_status() l where l.relation = 'mosaic.backlog'::regclass and l.mode = 'RowShareLock'
               and l.pid is distinct from pg_backend_pid())
         from mosaic.backlog
         where claim_order = any($1) and ", is_claimable!("$2"), " and requires = '{}' and claimable_since <= $2");
}

/// Up to three examples in words, and how many there are.
fn found(
    session: &Session,
    statement: &'static LocalKey<Statement>,
    parameters: &[Parameter],
) -> Option<(i64, String)> {
    let answer = session.run(statement, parameters);
    if answer.is_empty() {
        return None;
    }
    let count: i64 = answer.must(0, 2);
    let mut examples = answer.column::<String>(1).join("; ");
    if count > answer.len() as i64 {
        examples.push_str("; …");
    }
    Some((count, examples))
}

/// `1 card`, `2 cards`.
fn counted(count: i64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn expired_leases(session: &Session) -> Finding {
    const NAME: &str = "expired_leases";
    match found(session, &EXPIRED, &[param(clock::now())]) {
        None => Finding::ok(NAME, "No lease has ended."),
        Some((count, examples)) => Finding::not_ok(
            NAME,
            State::Warning,
            format!(
                "{} and the card was not taken away yet: {examples}.",
                counted(count, "lease has ended", "leases have ended")
            ),
            "The next claim takes them away, or mosaic.backlog_reclaim() now. Are the workers alive?",
        ),
    }
}

/// Cards that a claim could have, as place in the order, time that they waited for, id, and version
/// of the row.
fn free(session: &Session, keys: &[Key], before: i64) -> Vec<(Key, Option<Key>, String, String)> {
    let answer = session.run(&FREE, &[param(keys.to_vec()), param(before)]);
    let is_free = |row: &usize| {
        let (locker, writer): (transaction::Id, transaction::Id) =
            (answer.must(*row, 5), answer.must(*row, 6));
        // What this transaction itself has made claimable, others hear of at its commit. The number of
        // several lockers is of another kind, and cannot be told from here.
        let is_own = transaction::is_own(writer);
        let is_unlocked = locker == transaction::NONE
            || answer.must::<bool>(*row, 7) && !transaction::is_running(locker);
        is_unlocked && !is_own
    };
    (0..answer.len())
        .filter(is_free)
        .map(|row| {
            (
                answer.must(row, 1),
                answer.get(row, 2),
                answer.must(row, 3),
                answer.must(row, 4),
            )
        })
        .collect()
}

/// Those of `keys` that no claim would find, although nobody has them in hand. Each that somebody takes,
/// gives back or claims in between is in another version of its row afterwards, or in a head.
fn unseen_of(session: &Session, keys: &[Key], before: i64) -> Vec<String> {
    if keys.is_empty() {
        return Vec::new();
    }
    let first = free(session, keys, before);
    let cards: Vec<(Key, Option<Key>)> = first.iter().map(|card| (card.0, card.1)).collect();
    let unseen = frontier::unseen(&cards);
    if unseen.is_empty() {
        return Vec::new();
    }
    let versions: Vec<String> = first.into_iter().map(|card| card.3).collect();
    free(session, &unseen, before)
        .into_iter()
        .filter(|card| versions.contains(&card.3))
        .map(|card| card.2)
        .collect()
}

fn unseen(session: &Session) -> Finding {
    const NAME: &str = "unseen_cards";
    let well = || {
        Finding::ok(
            NAME,
            "Claims know of every claimable card that requires nothing.",
        )
    };
    // On one snapshot it cannot be told what changes meanwhile.
    if transaction::is_in_recovery() || transaction::is_above_read_committed() {
        return Finding::ok(NAME, "Not compared on a standby, nor above READ COMMITTED.");
    }
    let before = clock::now() - UNSEEN_AFTER;
    let mut from = Key::MIN;
    let mut ids: Vec<String> = Vec::new();
    let page = |from: Key| -> Answer<'_> { session.run(&CLAIMABLE, &[param(from), param(before)]) };
    loop {
        let answer = page(from);
        let cards: Vec<(Key, Option<Key>)> = (0..answer.len())
            .map(|row| (answer.must(row, 1), answer.get(row, 2)))
            .collect();
        let Some((last, _)) = cards.last() else {
            break;
        };
        from = *last;
        let suspects = frontier::unseen(&cards);
        if !unseen_of(session, &suspects, before).is_empty() {
            // Whoever commits just now tells it in a moment.
            clock::sleep(Duration::from_millis(100));
            ids.extend(unseen_of(session, &suspects, before));
        }
        check_for_interrupts!();
    }
    if ids.is_empty() {
        return well();
    }
    let mut examples = ids[..ids.len().min(3)].join(", ");
    if ids.len() > 3 {
        examples.push_str(", …");
    }
    Finding::not_ok(
        NAME,
        State::Error,
        format!(
            "{} no claim knows of: {examples}.",
            counted(
                ids.len() as i64,
                "claimable card exists that",
                "claimable cards exist that"
            )
        ),
        "As a superuser: `update mosaic.backlog set id = id where false`, after which claims look at all cards \
         anew. If `triggers` is ok, this is a bug: please report it.",
    )
}

fn orphans(session: &Session) -> Finding {
    const NAME: &str = "orphans";
    match found(session, &ORPHANS, &[]) {
        None => Finding::ok(NAME, "Both cards of every link exist."),
        Some((count, examples)) => Finding::not_ok(
            NAME,
            State::Error,
            format!(
                "{} a card that does not exist: {examples}.",
                counted(count, "link names", "links name")
            ),
            "A card was deleted by hand. Create it again under its id with mosaic.backlog_create, complete \
             or cancel it if its work is done or void, and ask again.",
        ),
    }
}

fn cycles(session: &Session) -> Finding {
    const NAME: &str = "cycles";
    let mut links = Links::default();
    session.pages(&INNER_LINKS, &[], Moment::OfTheCall, PAGE, |page| {
        for row in 0..page.len() {
            links.add(page.must(row, 1), page.must(row, 2));
        }
        true
    });
    let Some(cycle) = links.cycle() else {
        return Finding::ok(NAME, "No cards wait for each other.");
    };
    let mut shown = cycle[..cycle.len().min(CYCLE_SHOWN)].join(" -> ");
    if cycle.len() > CYCLE_SHOWN {
        shown.push_str(" -> …");
    }
    Finding::not_ok(
        NAME,
        State::Error,
        format!(
            "{} for each other, so that none can ever be claimed: {shown} -> {}.",
            counted(cycle.len() as i64, "card waits", "cards wait"),
            cycle[0]
        ),
        "A link was added by hand. Take one of these away with mosaic.backlog_unlink, and ask again: there may be more.",
    )
}

fn counters(session: &Session) -> Finding {
    const NAME: &str = "counters";
    match found(session, &COUNTERS, &[]) {
        None => Finding::ok(NAME, "Every card counts its open dependencies correctly."),
        Some((count, examples)) => Finding::not_ok(
            NAME,
            State::Error,
            format!(
                "{} its open dependencies wrongly: {examples}.",
                counted(count, "card counts", "cards count")
            ),
            "Cards or links were changed by hand. docs/operator.md has the statement that counts them again.",
        ),
    }
}

fn cancelled_dependencies(session: &Session) -> Finding {
    const NAME: &str = "cancelled_dependencies";
    match found(session, &CANCELLED, &[]) {
        None => Finding::ok(NAME, "No open card waits for a cancelled one."),
        Some((count, examples)) => Finding::not_ok(
            NAME,
            State::Warning,
            format!(
                "{} for a cancelled card, directly or through others, and will for ever: {examples}.",
                counted(count, "open card waits", "open cards wait")
            ),
            "Reopen the cancelled card (mosaic.backlog_reopen), take the link away (mosaic.backlog_unlink), or \
             cancel what waits (mosaic.backlog_cancel).",
        ),
    }
}
