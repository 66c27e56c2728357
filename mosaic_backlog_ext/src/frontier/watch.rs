//! Sees every change of a card, whoever makes it: a verb, a restore, a superuser by hand.

use std::cell::Cell;

use pgrx::prelude::*;

use super::transaction;
use crate::clock;

extension_sql_file!(
    "../../../sql/25_frontier.sql",
    name = "frontier",
    requires = ["card", backlog_watch]
);

/// Where the columns are in a row.
#[derive(Clone, Copy)]
struct Columns {
    table: pg_sys::Oid,
    claim_expires_at: i32,
    not_before: i32,
    claim_order: i32,
}

thread_local! {
    static COLUMNS: Cell<Option<Columns>> = const { Cell::new(None) };
}

unsafe fn columns(table: pg_sys::Oid) -> Columns {
    match COLUMNS.get() {
        Some(columns) if columns.table == table => columns,
        _ => {
            let number = |name: &std::ffi::CStr| unsafe {
                i32::from(pg_sys::get_attnum(table, name.as_ptr()))
            };
            let columns = Columns {
                table,
                claim_expires_at: number(c"claim_expires_at"),
                not_before: number(c"not_before"),
                claim_order: number(c"claim_order"),
            };
            COLUMNS.set(Some(columns));
            columns
        }
    }
}

/// Tells the frontier of a card that is, or will be, claimable, or whose lease will end.
#[pg_extern(sql = "
create function mosaic.backlog_watch() returns trigger
volatile parallel unsafe
language c as 'MODULE_PATHNAME', 'backlog_watch_wrapper';
")]
fn backlog_watch(fcinfo: pg_sys::FunctionCallInfo) {
    unsafe {
        let context = (*fcinfo).context;
        if context.is_null() || !pgrx::is_a(context, pg_sys::NodeTag::T_TriggerData) {
            return;
        }
        let data = context.cast::<pg_sys::TriggerData>();
        let updated =
            (*data).tg_event & pg_sys::TRIGGER_EVENT_OPMASK == pg_sys::TRIGGER_EVENT_UPDATE;
        let row = if updated {
            (*data).tg_newtuple
        } else {
            (*data).tg_trigtuple
        };
        let table = (*(*data).tg_relation).rd_id;
        let descriptor = (*(*data).tg_relation).rd_att;
        let columns = columns(table);
        let value = |column: i32| -> Option<i64> {
            let mut is_null = false;
            let datum = pg_sys::heap_getattr(row, column, descriptor, &mut is_null);
            i64::from_datum(datum, is_null)
        };
        match (value(columns.claim_expires_at), value(columns.not_before)) {
            (Some(end), _) => transaction::add_lease(end),
            (None, Some(at)) if at > clock::now() => transaction::add_due(at),
            (None, _) => transaction::add_claimable(value(columns.claim_order).unwrap_or_default()),
        }
    }
}
