//! What the columns of a card say of each other, whoever writes them.

use pgrx::prelude::*;

use crate::card::status::{Status, Statuses};

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
        (status, is_set, attempts, Statuses::of_type(kind))
    };
    let [lease @ .., completed_at, block_kind] = is_set;
    lease == [status == Some(statuses.oid(Status::Claimed)); 5]
        && completed_at == (status == Some(statuses.oid(Status::Done)))
        && block_kind == (status == Some(statuses.oid(Status::Blocked)))
        && attempts.is_some_and(|attempts| attempts >= 0)
}
