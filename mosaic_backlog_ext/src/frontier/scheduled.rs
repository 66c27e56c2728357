//! Cards that wait for a time, made known to claims when it has come.

use std::thread::LocalKey;

use crate::frontier::{self, Flight, Key, Next, Range, SCAN, Set};
use crate::postgres::clock::{self, Micros};
use crate::postgres::statement::{Session, Statement, param, statements};

statements! {
    /// Times for which cards wait, from one up to another.
    TIMES(TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID) =
        "select distinct not_before from mosaic.backlog
         where opened and not_before is not null
           and not_before between $1 and $2
         order by not_before limit $3";
    COME(TIMESTAMPTZARRAYOID) =
        "select claim_order from mosaic.backlog
         where opened and not_before is not null and not_before = any($1)";
}

/// Lets claims find the cards whose time has come by `now`. False where another session takes long
/// to do that for some of them.
#[must_use]
pub fn promote(session: &Session, now: Micros) -> bool {
    while frontier::may_come(Set::Scheduled, now) {
        let mut flight = Flight::begin(Set::Scheduled);
        match flight.next(now, SCAN) {
            Next::Candidates(times, _) => {
                // A card that is given one of these times by a commit from here on adds it anew.
                flight.come(&times, orders(session, &times));
            }
            Next::Scan(scan) => {
                let times = times(session, &TIMES, scan.window(now));
                scan.end_times(&times, now);
            }
            Next::Unknown => return false,
            Next::Nothing => break,
        }
    }
    let own = frontier::take_own_scheduled(now);
    if !own.is_empty() {
        for order in orders(session, &own) {
            frontier::add_claimable(order);
        }
        own.into_iter().for_each(frontier::add_come);
    }
    true
}

/// The cards that wait for these times.
fn orders(session: &Session, times: &[Key]) -> Vec<Key> {
    session.run(&COME, &[param(clock::times(times))]).column(1)
}

/// The first times of a range, one more than a scan collects.
pub fn times(session: &Session, statement: &'static LocalKey<Statement>, range: Range) -> Vec<Key> {
    let last = range.last().clamp(clock::FIRST, Key::MAX);
    let first = range.from.max(clock::FIRST);
    let limit = SCAN as i32 + 1;
    let answer = session.run(statement, &[param(first), param(last), param(limit)]);
    answer.column(1)
}
