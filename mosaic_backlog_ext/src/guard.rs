//! What must hold before a verb writes, and when what it wrote is committed.

use std::cell::Cell;

use crate::postgres::configuration;
use crate::postgres::roles;
use crate::postgres::settings::{self, Durability};
use crate::postgres::transaction::{self, End, Watch};
use crate::refusal::Refusal;

thread_local! {
    /// A verb has written in this transaction.
    static WRITTEN: Cell<bool> = const { Cell::new(false) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Refuses callers that cannot write here, or that are above READ COMMITTED, and makes the
/// transaction's commit durable. Every writing verb calls this first.
pub fn writing() -> Result<(), Refusal> {
    if transaction::is_read_only() {
        return Err(Refusal::read_only(transaction::is_in_recovery()));
    }
    if transaction::is_above_read_committed() {
        return Err(Refusal::isolation());
    }
    if !WATCHING.replace(true) {
        transaction::watch::<Raising>();
    }
    WRITTEN.set(true);
    raise_durability();
    Ok(())
}

/// Raises `synchronous_commit` for this transaction. The operator alone may leave it.
fn raise_durability() {
    if settings::DURABILITY.get() == Durability::On {
        configuration::raise_synchronous_commit();
    }
}

/// Raises it once more where the caller has lowered it behind the call: the last moment before the
/// commit is written, and after the last statement of anybody.
struct Raising;

impl Watch for Raising {
    fn ends(end: End) {
        match end {
            End::BeforeCommit | End::BeforePrepare if WRITTEN.take() => raise_durability(),
            End::Abort => WRITTEN.set(false),
            _ => {}
        }
    }
}

/// Refuses a caller that is no operator. Judged is the role that calls, also after SET ROLE,
/// and never the functions' owner.
pub fn operator(what: &str) -> Result<(), Refusal> {
    if roles::caller_is(c"mosaic_operator") {
        Ok(())
    } else {
        Err(Refusal::operator_only(what))
    }
}
