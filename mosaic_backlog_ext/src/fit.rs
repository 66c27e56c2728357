//! What the columns of a card say of each other, whoever writes them.

use std::cell::Cell;
use std::ffi::CStr;

use pgrx::prelude::*;

/// The values of the enum `backlog_status` that other columns go with.
#[derive(Clone, Copy)]
struct Statuses {
    kind: pg_sys::Oid,
    claimed: pg_sys::Oid,
    blocked: pg_sys::Oid,
    done: pg_sys::Oid,
}

thread_local! {
    static STATUSES: Cell<Option<Statuses>> = const { Cell::new(None) };
}

impl Statuses {
    /// They are others once the extension was dropped and created again.
    fn of(kind: pg_sys::Oid) -> Self {
        if let Some(known) = STATUSES.get().filter(|known| known.kind == kind) {
            return known;
        }
        let value = |label: &CStr| unsafe {
            pgrx::direct_function_call(pg_sys::enum_in, &[label.into_datum(), kind.into_datum()])
                .unwrap_or(pg_sys::InvalidOid)
        };
        let known = Self {
            kind,
            claimed: value(c"claimed"),
            blocked: value(c"blocked"),
            done: value(c"done"),
        };
        STATUSES.set(Some(known));
        known
    }
}

/// The CHECK of `sql/20_card.sql`, with the columns in the order that it names them. A function,
/// because PostgreSQL reads the text of a CHECK anew in each statement that writes cards: written
/// out, this one took a quarter of the time of an update.
#[pg_extern(
    requires = ["schema"],
    sql = "
create function mosaic.card_fits(
  status             mosaic.backlog_status,
  claim_owner        text,
  claim_token        bigint,
  claim_ttl_seconds  integer,
  claimed_at         timestamptz,
  claim_expires_at   timestamptz,
  completed_at       timestamptz,
  block_kind         text,
  attempts           integer
) returns boolean immutable parallel safe
language c as 'MODULE_PATHNAME', 'card_fits_wrapper';
"
)]
fn card_fits(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    let (status, is_set, attempts, statuses) = unsafe {
        let columns = (*fcinfo).args.as_slice(9);
        let status = pg_sys::Oid::from_datum(columns[0].value, columns[0].isnull);
        let attempts = i32::from_datum(columns[8].value, columns[8].isnull);
        let is_set: [bool; 7] = std::array::from_fn(|column| !columns[column + 1].isnull);
        let kind = pg_sys::get_fn_expr_argtype((*fcinfo).flinfo, 0);
        (status, is_set, attempts, Statuses::of(kind))
    };
    let [lease @ .., completed_at, block_kind] = is_set;
    lease == [status == Some(statuses.claimed); 5]
        && completed_at == (status == Some(statuses.done))
        && block_kind == (status == Some(statuses.blocked))
        && attempts.is_some_and(|attempts| attempts >= 0)
}
