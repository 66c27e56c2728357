//! Numbers from sequences, drawn without a statement, and never one that the tables know.
//!
//! A sequence falls behind the tables in more ways than can be closed: `pg_restore` sets it back in a
//! store that has cards, a logical replica gets rows and no sequences, and `setval` is anybody's who is
//! a superuser. So what is drawn is compared with the tables: when a session first draws, when it draws
//! no more than it has seen before, and once a second.

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::CStr;
use std::thread::LocalKey;

use pgrx::prelude::*;

use crate::postgres::clock::{self, Micros, SECOND};
use crate::postgres::lock;
use crate::postgres::statement::{Session, Statement, session, statements};
use crate::postgres::table;

/// So far beyond the tables a sequence that was behind goes on: what open transactions have drawn,
/// and draw at this moment, is nobody's to see.
const MARGIN: i64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// Fencing tokens.
    Tokens,
    /// Numbers of events.
    Events,
    /// Numbers of creations.
    Creations,
}

pub const ALL: [Sequence; 3] = [Sequence::Tokens, Sequence::Events, Sequence::Creations];

/// What this session knows of a sequence.
#[derive(Clone, Copy)]
struct Seen {
    sequence: pg_sys::Oid,
    last: i64,
    compared_at: Micros,
}

thread_local! {
    static SEEN: [Cell<Option<Seen>>; 3] = const { [const { Cell::new(None) }; 3] };
}

statements! {
    /// Each reads a few rows at the end of an index. What is beyond the end that numbers can reach was
    /// drawn from nowhere.
    NEWEST_TOKEN() =
        "select claim_token from mosaic.backlog_event where kind = 'claimed' and claim_token < 1::bigint << 62
         order by claim_token desc limit 1";
    NEWEST_EVENT() =
        "select event_id from mosaic.backlog_event where event_id < 1::bigint << 62 order by event_id desc limit 1";
    NEWEST_CREATION() =
        "select max(c.creation_seq) from (
           select kind, card_id from mosaic.backlog_event order by event_id desc limit 20) e
         join mosaic.backlog c on c.id = e.card_id
         where e.kind = 'created' and c.creation_seq < 1::bigint << 42";
}

thread_local! {
    /// All that the tables know, in the order of `ALL`.
    static KNOWN: Statement = const {
        Statement::new(
            "
        select greatest(b.claimed, b.settled, e.token, r.token), e.event, b.creation
        from (select max(claim_token) filter (where claim_token < 1::bigint << 62) as claimed,
                max(settled_token) filter (where settled_token < 1::bigint << 62) as settled,
                max(creation_seq) filter (where creation_seq < 1::bigint << 42) as creation
              from mosaic.backlog) b
        cross join (select max(claim_token) filter (where claim_token < 1::bigint << 62) as token,
                max(event_id) filter (where event_id < 1::bigint << 62) as event
              from mosaic.backlog_event) e
        cross join (select max(t.token) filter (where t.token < 1::bigint << 62) as token
              from mosaic.backlog_claim_request q cross join lateral unnest(q.tokens) as t(token)) r",
            &[],
        )
        .with_scans()
    };
}

impl Sequence {
    pub fn name(self) -> &'static CStr {
        match self {
            Self::Tokens => c"backlog_claim_token_seq",
            Self::Events => c"backlog_event_id_seq",
            Self::Creations => c"backlog_creation_seq",
        }
    }

    fn newest(self) -> &'static LocalKey<Statement> {
        match self {
            Self::Tokens => &NEWEST_TOKEN,
            Self::Events => &NEWEST_EVENT,
            Self::Creations => &NEWEST_CREATION,
        }
    }

    fn id(self) -> pg_sys::Oid {
        table::relation_id(self.name())
    }

    /// The next number, above all that the tables know.
    pub fn next(self) -> i64 {
        let sequence = self.id();
        loop {
            // SAFETY: the argument is that of `nextval_oid`; a number that is no sequence's is an error.
            let number: i64 = unsafe {
                pgrx::direct_function_call(pg_sys::nextval_oid, &[sequence.into_datum()])
            }
            .expect("a sequence gives a number");
            if self.is_new(sequence, number) {
                return number;
            }
        }
    }

    /// Draws by what `statement` does, which must be above all that the tables know, too.
    pub fn drawing<R>(self, statement: impl FnOnce() -> R) -> R {
        let sequence = self.id();
        // What is drawn next is one more.
        while !self.is_new(sequence, last_value(sequence) + 1) {}
        let result = statement();
        self.see(sequence, last_value(sequence), None);
        result
    }

    /// Whether the tables do not know `number`; if they may, the sequence is past them afterwards.
    fn is_new(self, sequence: pg_sys::Oid, number: i64) -> bool {
        let now = clock::server();
        let seen = SEEN.with(|seen| seen[self as usize].get());
        let is_past = seen.is_some_and(|seen| {
            seen.sequence == sequence
                && number > seen.last
                && now.abs_diff(seen.compared_at) < SECOND as u64
        });
        if is_past {
            self.see(sequence, number, None);
            return true;
        }
        if number > self.newest_known() {
            self.see(sequence, number, Some(now));
            return true;
        }
        let Ok(()) = session(|session| {
            raise_all(session);
            Ok::<_, Infallible>(())
        });
        false
    }

    fn see(self, sequence: pg_sys::Oid, last: i64, compared_at: Option<Micros>) {
        SEEN.with(|seen| {
            let seen = &seen[self as usize];
            let before = seen.get().filter(|seen| seen.sequence == sequence);
            let compared_at = compared_at.or(before.map(|seen| seen.compared_at));
            if let Some(compared_at) = compared_at {
                seen.set(Some(Seen {
                    sequence,
                    last,
                    compared_at,
                }));
            }
        });
    }

    /// The largest number that was given lately.
    fn newest_known(self) -> i64 {
        // A database that an older version made has no index to read the end of.
        if self == Self::Tokens && table::relation_id(c"backlog_event_token") == pg_sys::InvalidOid
        {
            return 0;
        }
        // Locks of tables are taken in one order, cards before the history: an update of the extension waits
        // in that order, too.
        lock::cards_first();
        let Ok(newest) = session(|session| {
            let answer = session.run(self.newest(), &[]);
            let newest = (!answer.is_empty()).then(|| answer.get::<i64>(0, 1));
            Ok::<_, Infallible>(newest.flatten().unwrap_or(0))
        });
        newest
    }
}

/// The number that was drawn last, 0 if none was.
fn last_value(sequence: pg_sys::Oid) -> i64 {
    last_value_of(sequence).unwrap_or(0)
}

/// The number that was drawn last or set, if any was.
pub fn last_value_of(sequence: pg_sys::Oid) -> Option<i64> {
    // SAFETY: the argument is that of `pg_sequence_last_value`; a number that is no sequence's is an
    // error.
    unsafe { pgrx::direct_function_call(pg_sys::pg_sequence_last_value, &[sequence.into_datum()]) }
}

/// The largest token, event number and creation number that the tables know.
pub fn known(session: &Session) -> [i64; 3] {
    let answer = session.run(&KNOWN, &[]);
    [1, 2, 3].map(|column| answer.get(0, column).unwrap_or(0))
}

/// What was drawn last from each.
pub fn drawn() -> [i64; 3] {
    ALL.map(|sequence| last_value(sequence.id()))
}

/// Takes each sequence that is behind the tables past them.
fn raise_all(session: &Session) {
    lock::setting_sequences(|| {
        let known = known(session);
        for (sequence, known) in ALL.into_iter().zip(known) {
            let last = last_value(sequence.id());
            if last < known {
                set(sequence, known + MARGIN);
                log!(
                    "mosaic.{} was at {last}, and the backlog knows {known}: it goes on after {}",
                    sequence.name().to_string_lossy(),
                    known + MARGIN
                );
            }
        }
    });
}

/// Takes each sequence past all that is known, here and elsewhere, by `ahead`, in the order of `ALL`.
/// Gives where they were and where they are.
pub fn advance(session: &Session, elsewhere: [i64; 3], ahead: [i64; 3]) -> [(i64, i64); 3] {
    let mut steps = [(0, 0); 3];
    lock::setting_sequences(|| {
        let known = known(session);
        for (at, sequence) in ALL.into_iter().enumerate() {
            let before = last_value(sequence.id());
            let after = before.max(known[at]).max(elsewhere[at]) + ahead[at];
            set(sequence, after);
            steps[at] = (before, after);
        }
    });
    steps
}

fn set(sequence: Sequence, last: i64) {
    set_value_of(sequence.id(), last);
}

pub fn set_value_of(sequence: pg_sys::Oid, last: i64) {
    // SAFETY: the arguments are those of `setval_oid`; a number that is no sequence's is an error.
    unsafe {
        pgrx::direct_function_call::<i64>(
            pg_sys::setval_oid,
            &[sequence.into_datum(), last.into_datum()],
        );
    }
}
