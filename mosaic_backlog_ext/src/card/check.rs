//! What the columns of a card say of each other, whoever writes them.

use pgrx::prelude::*;

use crate::card::status::{Status, Statuses};
use crate::postgres::call::Call;
use crate::postgres::value;

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
fn card_fits(call: Call<'_>) -> bool {
    let [status, lease @ .., completed_at, block_kind, attempts] = call.arguments::<9>();
    let (status, attempts): (Option<pg_sys::Oid>, Option<i32>) =
        (value::read(status), value::read(attempts));
    let statuses = Statuses::of_type(call.kind_of(0));
    let lease = lease.map(|column| column.is_some());
    let (completed_at, block_kind) = (completed_at.is_some(), block_kind.is_some());
    lease == [status == Some(statuses.oid(Status::Claimed)); 5]
        && completed_at == (status == Some(statuses.oid(Status::Done)))
        && block_kind == (status == Some(statuses.oid(Status::Blocked)))
        && attempts.is_some_and(|attempts| attempts >= 0)
}
