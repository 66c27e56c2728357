//! Taking cards that nobody else touches, without a statement: what the statement that takes
//! candidates would do, at half its cost. What is not plain is left to that statement.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::rc::Rc;

use pgrx::JsonB;
use pgrx::prelude::*;
use serde_json::json;

use super::Request;
use super::take::TAKEN_COLUMNS;
use crate::card::own_columns;
use crate::clock::{Micros, SECOND};
use crate::frontier::Key;
use crate::sequence;
use crate::settings;
use crate::statement::{Answer, Parameter, param};
use crate::status::{Status, Statuses};
use crate::table::{Found, Search, Table, Writes};

/// Of the checks and triggers on cards, none has anything to do when a ready card becomes
/// claimed: what they look at is not changed, or right by what is written here.
const CLAIMS: Writes = Writes {
    table: c"backlog",
    event: pg_sys::TRIGGER_TYPE_UPDATE,
    idle_triggers: &[c"backlog_watch", c"backlog_watch_hand"],
    checks: 1,
};

/// The generated columns, `claim_order` and `opened`.
const GENERATED: usize = 2;

/// Where the columns of a card are, and what a row of the answer looks like.
struct Places {
    table: pg_sys::Oid,
    width: usize,
    statuses: Statuses,
    /// Those that the caller sees.
    own: Vec<usize>,
    status: usize,
    claim_owner: usize,
    claim_token: usize,
    claim_ttl_seconds: usize,
    claimed_at: usize,
    claim_expires_at: usize,
    attempts: usize,
    settled_token: usize,
    updated_at: usize,
    opened: usize,
    not_before: usize,
    requires: usize,
    phase: usize,
    labels: usize,
    max_attempts: usize,
    last_failure: usize,
    claim_order: usize,
    claimable_since: usize,
    linked: usize,
    answer: pg_sys::TupleDesc,
    /// `depends_on` and `dependencies` of a card that has none.
    no_dependencies: [pg_sys::Datum; 2],
}

thread_local! {
    static PLACES: RefCell<Option<Rc<Places>>> = const { RefCell::new(None) };
}

impl Places {
    /// `None` if somebody has added a generated column.
    fn of(table: &Table) -> Option<Rc<Self>> {
        let known = PLACES.with_borrow(|known| known.clone());
        if let Some(known) = known.filter(|k| k.table == table.id() && k.width == table.width()) {
            return Some(known);
        }
        let generated =
            |column: &usize| unsafe { pg_sys::get_attgenerated(table.id(), *column as i16) != 0 };
        if (1..=table.width()).filter(generated).count() != GENERATED {
            return None;
        }
        let places = Rc::new(Self::find(table));
        PLACES.set(Some(places.clone()));
        Some(places)
    }

    fn find(table: &Table) -> Self {
        let at = |name: &CStr| table.column(name);
        let own: Vec<usize> = own_columns!()
            .split(", ")
            .map(|name| CString::new(name.trim_start_matches("c.")).expect("no NUL in a name"))
            .map(|name| at(&name))
            .collect();
        let status = at(c"status");
        let (answer, no_dependencies) = unsafe {
            let outer = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
            let answer = pg_sys::CreateTemplateTupleDesc(TAKEN_COLUMNS);
            for (to, from) in own.iter().enumerate() {
                pg_sys::TupleDescCopyEntry(answer, to as i16 + 1, table.descriptor(), *from as i16);
            }
            let more = [
                (c"depends_on", pg_sys::TEXTARRAYOID),
                (c"dependencies", pg_sys::JSONBOID),
                (c"last_failure", pg_sys::TEXTOID),
                (c"claim_order", pg_sys::INT8OID),
                (c"since", pg_sys::TIMESTAMPTZOID),
                (c"linked", pg_sys::BOOLOID),
            ];
            for (to, (name, kind)) in (own.len() as i16 + 1..).zip(more) {
                pg_sys::TupleDescInitEntry(answer, to, name.as_ptr(), kind, -1, 0);
            }
            let none = [
                pg_sys::construct_empty_array(pg_sys::TEXTOID).into(),
                JsonB(json!([])).into_datum().expect("a value"),
            ];
            pg_sys::MemoryContextSwitchTo(outer);
            (answer, none)
        };
        Self {
            table: table.id(),
            width: table.width(),
            statuses: Statuses::of_type(table.column_type(status)),
            own,
            status,
            claim_owner: at(c"claim_owner"),
            claim_token: at(c"claim_token"),
            claim_ttl_seconds: at(c"claim_ttl_seconds"),
            claimed_at: at(c"claimed_at"),
            claim_expires_at: at(c"claim_expires_at"),
            attempts: at(c"attempts"),
            settled_token: at(c"settled_token"),
            updated_at: at(c"updated_at"),
            opened: at(c"opened"),
            not_before: at(c"not_before"),
            requires: at(c"requires"),
            phase: at(c"phase"),
            labels: at(c"labels"),
            max_attempts: at(c"max_attempts"),
            last_failure: at(c"last_failure"),
            claim_order: at(c"claim_order"),
            claimable_since: at(c"claimable_since"),
            linked: at(c"linked"),
            answer,
            no_dependencies,
        }
    }
}

/// The values of a card, by the numbers of the columns.
struct Card {
    values: Vec<Parameter>,
}

impl Card {
    fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        let value = self.values[column - 1];
        unsafe { T::from_datum(value.unwrap_or(pg_sys::Datum::null()), value.is_none()) }
    }

    fn all(&self, column: usize) -> Vec<String> {
        self.get(column).unwrap_or_default()
    }
}

/// Claims those of the candidates that are claimable and that nobody else touches. Gives also the
/// candidates of which a statement must tell; `None` where statements have to do it all.
pub fn take(keys: &[Key], request: &Request, now: Micros) -> Option<(Answer, Vec<Key>)> {
    let table = Table::open(&CLAIMS)?;
    let ready = Places::of(&table).zip(Search::open(&table, c"backlog_claimable"));
    let Some((places, search)) = ready else {
        table.close();
        return None;
    };
    let mut taken = Vec::new();
    let mut left = Vec::new();
    for &key in keys {
        match search.find(key) {
            Found::None => {}
            Found::One if search.is_own() => left.push(key),
            Found::One => {
                let mut card = Card {
                    values: search.values(),
                };
                if places.is_for(&card, request, now) {
                    let changed = places.claim(&mut card, request, now);
                    if table.update(&search, &card.values, &changed) {
                        taken.push(places.row(&card));
                    } else {
                        left.push(key);
                    }
                }
            }
            Found::Several => left.push(key),
        }
    }
    search.close();
    table.close();
    Some((Answer::of(&taken, places.answer), left))
}

impl Places {
    /// Whether the claim may have the card, which is ready and open.
    fn is_for(&self, card: &Card, request: &Request, now: Micros) -> bool {
        let max = card.get(self.max_attempts);
        let phase: Option<&str> = card.get(self.phase);
        card.get::<i32>(self.attempts) < max.or_else(|| Some(settings::MAX_ATTEMPTS.get()))
            && card.get(self.not_before).is_none_or(|at: Micros| at <= now)
            && (request.phase.is_none() || request.phase.as_deref() == phase)
            && card
                .all(self.requires)
                .iter()
                .all(|needed| request.offers.contains(needed))
            && (request.labels.is_empty() || {
                let labels = card.all(self.labels);
                request.labels.iter().all(|label| labels.contains(label))
            })
    }

    /// Makes the card claimed; gives the columns that this changes.
    fn claim(&self, card: &mut Card, request: &Request, now: Micros) -> [usize; 10] {
        let claimed = param(self.statuses.oid(Status::Claimed));
        let attempts = card.get::<i32>(self.attempts).unwrap_or_default() + 1;
        let changes = [
            (self.status, claimed),
            (self.claim_owner, param(request.worker.as_str())),
            // Drawn after the card was read: whoever claimed it before has drawn a smaller one.
            (
                self.claim_token,
                param(sequence::next(c"backlog_claim_token_seq")),
            ),
            (self.claim_ttl_seconds, param(request.ttl)),
            (self.claimed_at, param(now)),
            (
                self.claim_expires_at,
                param(now + i64::from(request.ttl) * SECOND),
            ),
            (self.attempts, param(attempts)),
            (self.settled_token, None),
            (self.updated_at, param(now)),
            (self.opened, param(false)),
        ];
        for (column, value) in changes {
            card.values[column - 1] = value;
        }
        changes.map(|(column, _)| column)
    }

    /// A row of the answer, with the columns of `taken_columns`.
    fn row(&self, card: &Card) -> pg_sys::HeapTuple {
        let [depends_on, dependencies] = self.no_dependencies.map(Some);
        let since = card
            .get::<Micros>(self.claimable_since)
            .max(card.get(self.not_before));
        let more = [
            depends_on,
            dependencies,
            card.values[self.last_failure - 1],
            card.values[self.claim_order - 1],
            param(since),
            card.values[self.linked - 1],
        ];
        let own = self.own.iter().map(|column| card.values[column - 1]);
        let (mut values, mut nulls): (Vec<pg_sys::Datum>, Vec<bool>) = own
            .chain(more)
            .map(|value| (value.unwrap_or(pg_sys::Datum::null()), value.is_none()))
            .unzip();
        debug_assert_eq!(values.len(), TAKEN_COLUMNS as usize);
        unsafe { pg_sys::heap_form_tuple(self.answer, values.as_mut_ptr(), nulls.as_mut_ptr()) }
    }
}
