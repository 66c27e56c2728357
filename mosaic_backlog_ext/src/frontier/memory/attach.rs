//! Finding the segment of this database, or making it.

use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::super::heads::Heads;
use super::super::transaction;
use super::{Header, Memory, Segment, ask, lay_out, name_locks, private};
use crate::postgres;
use crate::postgres::clock;
use crate::postgres::configuration;
use crate::postgres::lock;
use crate::postgres::roles;
use crate::postgres::sequence;
use crate::postgres::statement::{session, statements};
use crate::postgres::table;

/// What the table and its sequence are called now: they change when the extension is dropped
/// and created again.
#[derive(Clone, Copy, Default)]
struct Place {
    table: pg_sys::Oid,
    sequence: pg_sys::Oid,
}

thread_local! {
    static MAPPED: Cell<Option<(Memory, Place)>> = const { Cell::new(None) };
    /// The last that was found; it stays mapped while another scan at the catalogue is due.
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
        // For this one, in case that a commit lets it go.
        outdated.reserve(1);
    });
}

/// The memory is of a table that is no more.
pub fn let_go(memory: Memory) {
    memory.abandon();
    if LAST.get() == Some(memory) {
        LAST.set(None);
        // At a commit there is no asking for more room: without, it stays mapped.
        OUTDATED.with_borrow_mut(|outdated| {
            if outdated.len() < outdated.capacity() {
                outdated.push(memory);
            }
        });
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
    // What room there is for them stays for the next time.
    while let Some(memory) = OUTDATED.with_borrow_mut(Vec::pop) {
        unmap(memory);
    }
}

/// The session has no use for the memory any more, and no `Memory` of it is used again.
fn unmap(memory: Memory) {
    let handle = memory.header().handle;
    // SAFETY: what is found is a mapping of this session. Those who have a `Memory` of it have let go of
    // it: it is not the last that was found, or looking alone has mapped it.
    unsafe {
        let segment = pg_sys::dsm_find_mapping(handle);
        if !segment.is_null() {
            pg_sys::dsm_detach(segment);
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
                drop(Mapping(segment));
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
            unmap(memory);
        }
    }
}

fn find_place() -> Place {
    Place {
        table: table::relation_id(c"backlog"),
        sequence: table::relation_id(c"backlog_frontier_seq"),
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
        // SAFETY: the function stays where it is as long as the session lives, and needs no argument.
        unsafe { pg_sys::CacheRegisterRelcacheCallback(Some(changed), pg_sys::Datum::null()) };
    }
}

/// `retires`: a segment of an older library, if there is one, is not to be used any more.
fn map(place: Place, retires: bool) -> Found {
    if place.sequence == pg_sys::InvalidOid {
        return Found::Nothing;
    }
    // What changes cards by hand may have no right to the sequence.
    let handle = roles::as_superuser(|| sequence::last_value_of(place.sequence));
    let Some(handle) = handle.and_then(|handle| u32::try_from(handle).ok()) else {
        return Found::Nothing;
    };
    // SAFETY: looks a number up among what the session has mapped.
    let mapped = unsafe { pg_sys::dsm_find_mapping(handle) };
    let (segment, fresh) = if !mapped.is_null() {
        (mapped, None)
    } else if let Some(segment) = ask::attach(handle) {
        (segment, Some(Mapping(segment)))
    } else {
        return Found::Nothing;
    };
    let Some(header) = header_of(segment, place) else {
        return Found::Nothing;
    };
    match header.compare() {
        std::cmp::Ordering::Equal if !header.is_retired() => {
            std::mem::forget(fresh);
            name_locks();
            // SAFETY: the segment is mapped, and of this layout by its header.
            Found::Ours(Memory(
                unsafe { pg_sys::dsm_segment_address(segment) }.cast(),
            ))
        }
        std::cmp::Ordering::Less => {
            if retires {
                header.retired.store(1, Ordering::SeqCst);
                header.unpin();
            }
            Found::Older
        }
        _ => end_session(),
    }
}

/// What the segment begins with, if it is one of ours and of this place.
fn header_of<'a>(segment: *mut pg_sys::dsm_segment, place: Place) -> Option<&'a Header> {
    // SAFETY: the segment is mapped, and stays so for as long as its header is used: until `map` has
    // looked, and for longer only where that keeps it. A header is read where there is room for one, of
    // numbers, which any bytes are.
    let header = unsafe {
        if pg_sys::dsm_segment_map_length(segment) < size_of::<Header>() {
            return None;
        }
        &*pg_sys::dsm_segment_address(segment).cast::<Header>()
    };
    header.is_of(place.table).then_some(header)
}

/// Makes the segment, unless somebody else has just done it; `None` if the server has no shared
/// memory to give, or if this transaction may not keep its handle.
fn create(place: Place) -> Option<Memory> {
    let now = clock::server();
    let was_refused = now.abs_diff(REFUSED_AT.get()) < ASK_AGAIN as u64;
    if was_refused || place.sequence == pg_sys::InvalidOid || postgres::transaction::is_read_only()
    {
        return None;
    }
    let alone = lock::making_memory(place.sequence);
    let memory = match map(place, true) {
        Found::Ours(memory) => Some(memory),
        _ => make(place),
    };
    if memory.is_none() {
        REFUSED_AT.set(now);
    }
    drop(alone);
    memory
}

/// A mapping that ends if an error comes.
struct Mapping(*mut pg_sys::dsm_segment);

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is made of what `ask` has just mapped, and of nothing else; whoever keeps that
        // forgets this.
        unsafe { pg_sys::dsm_detach(self.0) };
    }
}

fn make(place: Place) -> Option<Memory> {
    let room = configuration::prepared_max();
    let size = size_of::<Segment>() + room * size_of::<pg_sys::TransactionId>();
    let mapping = Mapping(ask::create(size).ok()?);
    // SAFETY: a segment is aligned for anything, as large as was asked for, and nobody can find this one
    // before its handle is told.
    let memory = unsafe {
        let memory = lay_out(
            pg_sys::dsm_segment_address(mapping.0).cast(),
            place.table,
            room,
        );
        (*memory.0).header.handle = pg_sys::dsm_segment_handle(mapping.0);
        memory
    };
    memory.set_unsettled(next_transaction());
    let handle = i64::from(memory.header().handle);
    roles::as_superuser(|| sequence::set_value_of(place.sequence, handle));
    std::mem::forget(mapping);
    if let Some(by) = table::created_by(place.sequence) {
        transaction::add_made(by, memory);
    }
    heed_running(memory);
    Some(memory)
}

fn next_transaction() -> pg_sys::TransactionId {
    (postgres::transaction::next_id() as u32).into()
}

/// Whatever changes a card looks for the segment before, and once more before its commit. Whoever
/// has found none, or that of an older library, has its number by now, and tells nobody here: what
/// it changes is found because all is forgotten when it has ended.
fn heed_running(memory: Memory) {
    // As long as they are not known one by one, whatever goes wrong.
    memory.set_unsettled(next_transaction());
    let Ok(running): Result<Vec<pg_sys::TransactionId>, std::convert::Infallible> =
        session(|session| Ok(session.run(&RUNNING, &[]).column(1)));
    let mut heads = memory.lock();
    if heads.has_room_for(running.len()) {
        for transaction in running {
            heads.add_prepared(transaction);
        }
        memory.set_unsettled(postgres::transaction::NONE);
    }
    // Others may have looked since it could be found.
    heads.reset();
}
