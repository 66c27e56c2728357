//! Finding the segment of this database, or making it.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::super::heads::Heads;
use super::super::transaction;
use super::{Header, Memory, Segment, ask, lay_out, name_locks, prepared_max, private};
use crate::postgres::statement::{session, statements};

/// What the table and its sequence are called now: they change when the extension is dropped
/// and created again.
#[derive(Clone, Copy, Default)]
struct Place {
    table: pg_sys::Oid,
    sequence: pg_sys::Oid,
}

thread_local! {
    static MAPPED: Cell<Option<(Memory, Place)>> = const { Cell::new(None) };
    /// The last that was found; it stays mapped while another look at the catalogue is due.
    static LAST: Cell<Option<Memory>> = const { Cell::new(None) };
    /// To be unmapped at the end of the transaction, which may still have to tell it something.
    static OUTDATED: RefCell<Vec<Memory>> = const { RefCell::new(Vec::new()) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
    /// When the server last had no memory to give.
    static REFUSED_AT: Cell<i64> = const { Cell::new(i64::MIN) };
}

/// How long the server is not asked again, in microseconds.
const ASK_AGAIN: i64 = 1_000_000;

statements! {
    /// Other transactions of this database that have changed something, the prepared ones among
    /// them. Each holds a lock on its number to the end.
    RUNNING() =
        "select l.transactionid from pg_catalog.pg_lock_status() l
         left join pg_catalog.pg_stat_get_activity(null) a on a.pid operator(pg_catalog.=) l.pid
         left join pg_catalog.pg_prepared_xact() p on p.transaction operator(pg_catalog.=) l.transactionid
         where l.locktype operator(pg_catalog.=) 'transactionid' and l.granted
           and l.mode operator(pg_catalog.=) 'ExclusiveLock'
           and (l.pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()) is not true
           and (coalesce(a.datid, p.dbid) operator(pg_catalog.=)
             (select d.oid from pg_catalog.pg_database d
              where d.datname operator(pg_catalog.=) pg_catalog.current_database())) is not false";
}

/// What the handle leads to.
enum Found {
    Ours(Memory),
    /// Laid out by an older library.
    Older,
    Nothing,
}

/// The heads of this database.
pub fn attach() -> Memory {
    let memory = MAPPED.get().map_or_else(find, |(memory, _)| memory);
    if memory.is_retired() {
        end_session();
    }
    memory
}

fn find() -> Memory {
    transaction::watch();
    let place = find_place();
    let memory = match map(place, true) {
        Found::Ours(memory) => memory,
        _ => create(place).unwrap_or_else(private),
    };
    watch_catalogue();
    use_from_now(memory);
    MAPPED.set(Some((memory, place)));
    memory
}

/// The memory that this session has mapped last, if any.
pub fn mapped() -> Option<Memory> {
    LAST.get()
}

/// The memory of the other sessions, if there is any by now.
pub fn shared_now() -> Option<Memory> {
    match map(find_place(), true) {
        Found::Ours(memory) => {
            use_from_now(memory);
            Some(memory)
        }
        _ => None,
    }
}

fn use_from_now(memory: Memory) {
    if memory.is_private() {
        return;
    }
    OUTDATED.with_borrow_mut(|outdated| {
        outdated.retain(|other| *other != memory);
        if let Some(last) = LAST.replace(Some(memory))
            && last != memory
        {
            last.abandon();
            outdated.push(last);
        }
    });
}

/// The memory is of a table that is no more.
pub fn let_go(memory: Memory) {
    memory.abandon();
    if LAST.get() == Some(memory) {
        LAST.set(None);
        OUTDATED.with_borrow_mut(|outdated| outdated.push(memory));
    }
    if MAPPED.get().is_some_and(|(mapped, _)| mapped == memory) {
        MAPPED.set(None);
    }
}

/// The transaction is over, and has told what it had to.
pub fn end_transaction() {
    // For want of a shared one; the next transaction may find one.
    if MAPPED.get().is_some_and(|(memory, _)| memory.is_private()) {
        MAPPED.set(None);
    }
    for memory in OUTDATED.take() {
        unsafe {
            let segment = pg_sys::dsm_find_mapping((*memory.0).header.handle);
            if !segment.is_null() {
                pg_sys::dsm_detach(segment);
            }
        }
    }
}

/// A newer library has taken over, and would not hear of what this session changes. A client
/// connects again, and has that library too.
pub fn end_session() -> ! {
    ErrorReport::new(
        PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN,
        "terminating connection because a newer version of the backlog's library is in use",
        "mosaic_backlog_ext",
    )
    .set_detail("This session had the older one. Its transaction has no effect.")
    .set_hint("Connect again. If the older version was put back, restart the server.")
    .report(PgLogLevel::FATAL);
    unreachable!("the session has ended")
}

/// Whether the sessions of this database share what they know.
pub enum Sharing {
    Shared,
    /// Whoever needs the memory first makes it.
    NotYet,
    /// The server has none to give, and this is why.
    Refused(String),
    /// This session has another than the one that new sessions find.
    Apart,
}

/// Looks, and makes nothing that stays.
pub fn sharing() -> Sharing {
    let own = MAPPED.get().map(|(memory, _)| memory);
    let own = own.filter(|memory| !memory.is_private());
    match (own, map(find_place(), false)) {
        (Some(own), Found::Ours(memory)) if own == memory => Sharing::Shared,
        (Some(_), found) => {
            found.unmap();
            Sharing::Apart
        }
        (None, found @ Found::Ours(_)) => {
            found.unmap();
            Sharing::Shared
        }
        _ => match ask::create(size_of::<Segment>()) {
            Ok(segment) => {
                // Nobody else has it, so that this ends it.
                unsafe { pg_sys::dsm_detach(segment) };
                Sharing::NotYet
            }
            Err(why) => Sharing::Refused(why),
        },
    }
}

/// Reads what the sessions share, if they do, and makes nothing that stays.
pub fn peek<R>(read: impl FnOnce(&Heads) -> R) -> Option<R> {
    let own = MAPPED.get().map(|(memory, _)| memory);
    if let Some(own) = own.filter(|memory| !memory.is_private()) {
        return Some(read(&own.lock()));
    }
    match map(find_place(), false) {
        Found::Ours(memory) => {
            let answer = read(&memory.lock());
            Found::Ours(memory).unmap();
            Some(answer)
        }
        _ => None,
    }
}

impl Found {
    /// Undoes what looking alone has mapped.
    fn unmap(self) {
        if let Self::Ours(memory) = self
            && LAST.get() != Some(memory)
            && !OUTDATED.with_borrow(|outdated| outdated.contains(&memory))
        {
            unsafe {
                let segment = pg_sys::dsm_find_mapping((*memory.0).header.handle);
                if !segment.is_null() {
                    pg_sys::dsm_detach(segment);
                }
            }
        }
    }
}

fn find_place() -> Place {
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"mosaic".as_ptr(), true);
        Place {
            table: pg_sys::get_relname_relid(c"backlog".as_ptr(), schema),
            sequence: pg_sys::get_relname_relid(c"backlog_frontier_seq".as_ptr(), schema),
        }
    }
}

/// Reads and writes the sequence whoever calls: what changes cards by hand may have no right to
/// it. Nothing that somebody wrote runs meanwhile.
struct AsSuperuser {
    user: pg_sys::Oid,
    context: i32,
}

impl AsSuperuser {
    fn begin() -> Self {
        unsafe {
            let mut before = Self {
                user: pg_sys::InvalidOid,
                context: 0,
            };
            pg_sys::GetUserIdAndSecContext(&mut before.user, &mut before.context);
            let context = before.context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
            pg_sys::SetUserIdAndSecContext(pg_sys::BOOTSTRAP_SUPERUSERID.into(), context);
            before
        }
    }
}

impl Drop for AsSuperuser {
    fn drop(&mut self) {
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) };
    }
}

/// Another look at the catalogue is due when the table or the sequence changed.
fn watch_catalogue() {
    #[pg_guard]
    unsafe extern "C-unwind" fn changed(_argument: pg_sys::Datum, relation: pg_sys::Oid) {
        if let Some((_, place)) = MAPPED.get()
            && (relation == pg_sys::InvalidOid
                || relation == place.table
                || relation == place.sequence)
        {
            MAPPED.set(None);
        }
    }
    if !WATCHING.replace(true) {
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::null()) };
    }
}

/// `retires`: a segment of an older library, if there is one, is not to be used any more.
fn map(place: Place, retires: bool) -> Found {
    if place.sequence == pg_sys::InvalidOid {
        return Found::Nothing;
    }
    unsafe {
        let as_superuser = AsSuperuser::begin();
        let handle: Option<i64> = pgrx::direct_function_call(
            pg_sys::pg_sequence_last_value,
            &[place.sequence.into_datum()],
        );
        drop(as_superuser);
        let Some(handle) = handle.and_then(|handle| u32::try_from(handle).ok()) else {
            return Found::Nothing;
        };
        let mut segment = pg_sys::dsm_find_mapping(handle);
        let known = !segment.is_null();
        if !known {
            let Some(mapped) = ask::attach(handle) else {
                return Found::Nothing;
            };
            segment = mapped;
        }
        let address = pg_sys::dsm_segment_address(segment);
        let header = address.cast::<Header>();
        let ours = pg_sys::dsm_segment_map_length(segment) >= size_of::<Header>()
            && (*header).is_of(place.table);
        let found = if !ours {
            Found::Nothing
        } else {
            match (*header).compare() {
                std::cmp::Ordering::Equal if !(*header).is_retired() => {
                    Found::Ours(Memory(address.cast()))
                }
                std::cmp::Ordering::Less => {
                    if retires {
                        (*header).retired.store(1, Ordering::SeqCst);
                        (*header).unpin();
                    }
                    Found::Older
                }
                _ => end_session(),
            }
        };
        match found {
            Found::Ours(_) => name_locks(),
            _ if !known => pg_sys::dsm_detach(segment),
            _ => {}
        }
        found
    }
}

/// Makes the segment, unless somebody else has just done it; `None` if the server has no shared
/// memory to give, or if this transaction may not keep its handle.
fn create(place: Place) -> Option<Memory> {
    let now = unsafe { pg_sys::GetCurrentTimestamp() };
    let was_refused = now.abs_diff(REFUSED_AT.get()) < ASK_AGAIN as u64;
    if was_refused || place.sequence == pg_sys::InvalidOid || unsafe { pg_sys::XactReadOnly } {
        return None;
    }
    let mode = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    unsafe { pg_sys::LockRelationOid(place.sequence, mode) };
    let memory = match map(place, true) {
        Found::Ours(memory) => Some(memory),
        _ => make(place),
    };
    if memory.is_none() {
        REFUSED_AT.set(now);
    }
    unsafe { pg_sys::UnlockRelationOid(place.sequence, mode) };
    memory
}

/// A mapping that ends if an error comes.
struct Mapping(*mut pg_sys::dsm_segment);

impl Drop for Mapping {
    fn drop(&mut self) {
        unsafe { pg_sys::dsm_detach(self.0) };
    }
}

fn make(place: Place) -> Option<Memory> {
    let room = prepared_max();
    let size = size_of::<Segment>() + room * size_of::<pg_sys::TransactionId>();
    let mapping = Mapping(ask::create(size).ok()?);
    unsafe {
        let address = pg_sys::dsm_segment_address(mapping.0);
        let memory = lay_out(address.cast(), place.table, room);
        (*memory.0).header.handle = pg_sys::dsm_segment_handle(mapping.0);
        (*memory.0).unsettled = next_transaction();
        let handle = i64::from((*memory.0).header.handle);
        let as_superuser = AsSuperuser::begin();
        pgrx::direct_function_call::<i64>(
            pg_sys::setval_oid,
            &[place.sequence.into_datum(), handle.into_datum()],
        );
        drop(as_superuser);
        std::mem::forget(mapping);
        if let Some(by) = created_by(place.sequence) {
            transaction::add_made(by, memory);
        }
        heed_running(memory);
        Some(memory)
    }
}

fn next_transaction() -> pg_sys::TransactionId {
    let next = unsafe { pg_sys::ReadNextFullTransactionId() };
    (next.value as u32).into()
}

/// Whatever changes a card looks for the segment before, and once more before its commit. Whoever
/// has found none, or that of an older library, has its number by now, and tells nobody here: what
/// it changes is found because all is forgotten when it has ended.
fn heed_running(memory: Memory) {
    // As long as they are not known one by one, whatever goes wrong.
    unsafe { (*memory.0).unsettled = next_transaction() };
    let Ok(running): Result<Vec<pg_sys::TransactionId>, std::convert::Infallible> =
        session(|session| Ok(session.run(&RUNNING, &[]).column(1)));
    let mut heads = memory.lock();
    if unsafe { running.len() <= (*memory.0).prepared_room } {
        for transaction in running {
            heads.add_prepared(transaction);
        }
        unsafe { (*memory.0).unsettled = pg_sys::InvalidTransactionId };
    }
    // Others may have looked since it could be found.
    heads.reset();
}

/// The subtransaction of this transaction that has made the relation, if any.
fn created_by(relation: pg_sys::Oid) -> Option<pg_sys::SubTransactionId> {
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(relation);
        if relation.is_null() {
            return None;
        }
        let by = (*relation).rd_createSubid;
        pg_sys::RelationClose(relation);
        (by != 0).then_some(by)
    }
}
