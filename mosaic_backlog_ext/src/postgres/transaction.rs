//! The transaction that a call is part of: what it may do, its numbers, and its end.

use std::ffi::c_void;

use pgrx::pg_sys::panic::pgrx_extern_c_guard;
use pgrx::prelude::*;

pub type Id = pg_sys::TransactionId;
pub type SubId = pg_sys::SubTransactionId;

/// No transaction.
pub const NONE: Id = pg_sys::InvalidTransactionId;

/// Whether it must not write, as on a standby.
pub fn is_read_only() -> bool {
    // SAFETY: a variable of the backend, which this thread alone reads and writes.
    unsafe { pg_sys::XactReadOnly }
}

/// Whether its statements do not see what is committed meanwhile.
pub fn is_above_read_committed() -> bool {
    // SAFETY: as above.
    unsafe { pg_sys::XactIsoLevel > pg_sys::XACT_READ_COMMITTED as i32 }
}

/// Whether the server is a standby, or starts.
pub fn is_in_recovery() -> bool {
    // SAFETY: takes no argument, and reads shared memory that every backend has.
    unsafe { pg_sys::RecoveryInProgress() }
}

/// Its number, that of the subtransaction where one is open. It has one from now on.
pub fn id() -> Id {
    // SAFETY: calls of functions run within a transaction, which is all that this needs; that
    // it cannot be given a number is an error.
    unsafe { pg_sys::GetCurrentTransactionId() }
}

/// Its number as a whole, if it has one.
pub fn top_id() -> Option<Id> {
    // SAFETY: reads what the backend keeps of its transaction, which may be none.
    let id = unsafe { pg_sys::GetTopTransactionIdIfAny() };
    (id != NONE).then_some(id)
}

/// The number that the next transaction gets which needs one.
pub fn next_id() -> u64 {
    // SAFETY: takes no argument, and reads shared memory under its own lock.
    unsafe { pg_sys::ReadNextFullTransactionId().value }
}

/// Whether a number is of this transaction, and not undone to a savepoint.
pub fn is_own(id: Id) -> bool {
    // SAFETY: looks the number up in what the backend keeps of its transaction; any number will do.
    unsafe { pg_sys::TransactionIdIsCurrentTransactionId(id) }
}

/// Whether the transaction with this number has not ended.
pub fn is_running(id: Id) -> bool {
    // SAFETY: looks the number up in shared memory under its own lock; any number will do.
    unsafe { pg_sys::TransactionIdIsInProgress(id) }
}

/// Whether all transactions before the one with this number have ended.
pub fn are_over_before(id: Id) -> bool {
    // SAFETY: the first reads shared memory under its own locks, the second compares two numbers.
    unsafe { !pg_sys::TransactionIdPrecedes(pg_sys::GetOldestActiveTransactionId(), id) }
}

/// The subtransaction that is open, or the transaction itself.
pub fn subtransaction() -> SubId {
    // SAFETY: reads what the backend keeps of its transaction.
    unsafe { pg_sys::GetCurrentSubTransactionId() }
}

/// What comes now sees what was written before it.
pub fn next_command() {
    // SAFETY: takes no argument; that there can be no more commands is an error.
    unsafe { pg_sys::CommandCounterIncrement() };
}

/// Tells those who listen, once the transaction is committed.
pub fn notify(channel: &str) {
    // SAFETY: the arguments are those of `pg_notify`, two texts.
    unsafe {
        pgrx::direct_function_call::<()>(
            pg_sys::pg_notify,
            &[channel.into_datum(), "".into_datum()],
        );
    }
}

/// What becomes of a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It may still be refused.
    BeforeCommit,
    /// It is committed: an error now would take the server down.
    Commit,
    Abort,
    /// It may still be refused.
    BeforePrepare,
    Prepare,
}

/// Somebody who is told of the ends of this session's transactions.
pub trait Watch: 'static {
    fn ends(end: End);

    /// A subtransaction has become part of its parent.
    fn joins(_own: SubId, _parent: SubId) {}

    /// A subtransaction was undone.
    fn is_undone(_own: SubId) {}
}

/// Has `W` told from now on. To be called once; who is registered last is told first.
pub fn watch<W: Watch>() {
    // SAFETY: both are functions of the type that PostgreSQL calls, and stay where they are as long as
    // the library is loaded, which is as long as the session lives. They need no argument.
    unsafe {
        pg_sys::RegisterXactCallback(Some(transaction_ends::<W>), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(subtransaction_ends::<W>), std::ptr::null_mut());
    }
}

unsafe extern "C-unwind" fn transaction_ends<W: Watch>(
    event: pg_sys::XactEvent::Type,
    _argument: *mut c_void,
) {
    let end = match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => End::BeforeCommit,
        pg_sys::XactEvent::XACT_EVENT_COMMIT => End::Commit,
        pg_sys::XactEvent::XACT_EVENT_ABORT => End::Abort,
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => End::BeforePrepare,
        pg_sys::XactEvent::XACT_EVENT_PREPARE => End::Prepare,
        // Those of parallel workers, which run none of our functions.
        _ => return,
    };
    // SAFETY: PostgreSQL is the caller, and nothing in this frame has to be dropped.
    unsafe { pgrx_extern_c_guard(|| W::ends(end)) };
}

unsafe extern "C-unwind" fn subtransaction_ends<W: Watch>(
    event: pg_sys::SubXactEvent::Type,
    own: SubId,
    parent: SubId,
    _argument: *mut c_void,
) {
    // SAFETY: as above.
    unsafe {
        pgrx_extern_c_guard(|| match event {
            pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => W::joins(own, parent),
            pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => W::is_undone(own),
            _ => {}
        });
    }
}
