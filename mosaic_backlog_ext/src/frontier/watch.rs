//! Sees every change of a card, whoever makes it: a verb, a restore, a superuser by hand. Tells
//! the frontier, and refuses what no verb would write.

use std::cell::Cell;

use pgrx::prelude::*;

use super::Key;
use super::transaction;
use crate::argument::PRIORITY_MAX;
use crate::card::BLOCK_KINDS;
use crate::card::row::CREATION_SEQ_END;
use crate::card::status::{Status, Statuses};
use crate::postgres::call::Call;
use crate::postgres::clock::{self, Micros};
use crate::postgres::statement;
use crate::postgres::trigger::{Change, Row, Trigger};

extension_sql_file!(
    "../../../sql/25_frontier.sql",
    name = "frontier",
    requires = ["card", backlog_watch, backlog_watch_hand]
);

const WATCH: Trigger = Trigger {
    function: "backlog_watch",
    when: pg_sys::TRIGGER_EVENT_ROW | pg_sys::TRIGGER_EVENT_AFTER,
    operations: &[pg_sys::TRIGGER_EVENT_INSERT, pg_sys::TRIGGER_EVENT_UPDATE],
};

const WATCH_HAND: Trigger = Trigger {
    function: "backlog_watch_hand",
    when: pg_sys::TRIGGER_EVENT_BEFORE,
    operations: &[pg_sys::TRIGGER_EVENT_UPDATE],
};

/// Where the columns are in a row.
#[derive(Clone, Copy)]
struct Columns {
    table: pg_sys::Oid,
    id: i32,
    status: i32,
    claim_expires_at: i32,
    not_before: i32,
    claim_order: i32,
    opened: i32,
    priority: i32,
    creation_seq: i32,
    attempts: i32,
    max_attempts: i32,
    open_dependencies: i32,
    block_kind: i32,
    block_reason: i32,
    /// The value of `blocked` in the enum.
    blocked: pg_sys::Oid,
}

thread_local! {
    static COLUMNS: Cell<Option<Columns>> = const { Cell::new(None) };
}

fn columns(change: &Change) -> Columns {
    let table = change.table();
    if let Some(columns) = COLUMNS.get().filter(|columns| columns.table == table) {
        return columns;
    }
    change.must_be_on_cards();
    let number = |name| change.column(name);
    let status = number(c"status");
    let columns = Columns {
        table,
        id: number(c"id"),
        status,
        claim_expires_at: number(c"claim_expires_at"),
        not_before: number(c"not_before"),
        claim_order: number(c"claim_order"),
        opened: number(c"opened"),
        priority: number(c"priority"),
        creation_seq: number(c"creation_seq"),
        attempts: number(c"attempts"),
        max_attempts: number(c"max_attempts"),
        open_dependencies: number(c"open_dependencies"),
        block_kind: number(c"block_kind"),
        block_reason: number(c"block_reason"),
        blocked: Statuses::of_type(change.kind_of(status)).oid(Status::Blocked),
    };
    COLUMNS.set(Some(columns));
    columns
}

/// A card as it was written.
struct Card<'a>(Row<'a>);

impl Card<'_> {
    fn get<T: FromDatum>(&self, column: i32) -> Option<T> {
        self.0.get(column)
    }

    fn is_within(&self, column: i32, least: i32, most: i32) -> bool {
        self.get::<i32>(column)
            .is_none_or(|value| (least..=most).contains(&value))
    }

    /// What is wrong with the card, as the name of a constraint.
    fn fault(&self, columns: &Columns) -> Option<&'static str> {
        let kind: Option<&str> = self.get(columns.block_kind);
        let is_blocked = self.get(columns.status) == Some(columns.blocked);
        let has_reason = self.get::<&str>(columns.block_reason).is_some();
        if kind.is_some() != is_blocked || has_reason != is_blocked {
            Some("backlog_block_iff_blocked")
        } else if kind.is_some_and(|kind| !BLOCK_KINDS.contains(&kind)) {
            Some("backlog_block_kind_known")
        } else if !self.is_within(columns.priority, -PRIORITY_MAX, PRIORITY_MAX) {
            Some("backlog_priority_range")
        } else if !self.is_within(columns.attempts, 0, i32::MAX) {
            Some("backlog_attempts_not_negative")
        } else if !self.is_within(columns.max_attempts, 1, i32::MAX) {
            Some("backlog_max_attempts_positive")
        } else if !self.is_within(columns.open_dependencies, 0, i32::MAX) {
            Some("backlog_open_dependencies_not_negative")
        } else if !(1..CREATION_SEQ_END)
            .contains(&self.get::<i64>(columns.creation_seq).unwrap_or(1))
        {
            Some("backlog_creation_seq_range")
        } else {
            None
        }
    }
}

/// For each row that was inserted or updated.
#[pg_extern(sql = "
create function mosaic.backlog_watch() returns trigger
volatile parallel unsafe
language c as 'MODULE_PATHNAME', 'backlog_watch_wrapper';
")]
fn backlog_watch(call: Call<'_>) {
    let change = WATCH.change(&call);
    let columns = columns(&change);
    let card = Card(change.row());
    if let Some(constraint) = card.fault(&columns) {
        let id: Option<String> = card.get(columns.id);
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
            format!(
                "card \"{}\" violates constraint \"{constraint}\"",
                id.unwrap_or_default()
            )
        );
    }
    if let Some(end) = card.get(columns.claim_expires_at) {
        transaction::add_lease(end);
    } else if card.get(columns.opened) == Some(true) {
        let claim_order = card.get(columns.claim_order).unwrap_or_default();
        opened(card.get(columns.not_before), claim_order);
    }
}

/// A card was written that is ready and not gated.
pub fn opened(not_before: Option<Micros>, claim_order: Key) {
    match not_before {
        Some(at) if at > clock::now() => transaction::add_scheduled(at),
        Some(at) => {
            transaction::add_claimable(claim_order);
            transaction::add_come(at);
        }
        None => transaction::add_claimable(claim_order),
    }
}

/// Before each statement that updates cards, whichever of their columns.
#[pg_extern(sql = "
create function mosaic.backlog_watch_hand() returns trigger
volatile parallel unsafe
language c as 'MODULE_PATHNAME', 'backlog_watch_hand_wrapper';
")]
fn backlog_watch_hand(call: Call<'_>) {
    WATCH_HAND.change(&call).must_be_on_cards();
    if !statement::is_own_update() {
        transaction::forget();
    }
}
