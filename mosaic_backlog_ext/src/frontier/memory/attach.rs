//! Finding the segment of this database, or making it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::{Header, Memory, PRIVATE, Segment, lay_out, prepared_max, private, register_tranche};
use crate::statement::{session, statements};

/// What the table and its sequence are called now: they change when the extension is dropped
/// and created again.
#[derive(Clone, Copy, Default)]
struct Place {
    table: pg_sys::Oid,
    sequence: pg_sys::Oid,
}

thread_local! {
    static MAPPED: Cell<Option<(Memory, Place)>> = const { Cell::new(None) };
    static WATCHING: Cell<bool> = const { Cell::new(false) };
}

statements! {
    PREPARED_BEFORE() =
        "select p.transaction from pg_catalog.pg_prepared_xact() p
         where p.dbid operator(pg_catalog.=)
           (select d.oid from pg_catalog.pg_database d
            where d.datname operator(pg_catalog.=) pg_catalog.current_database())";
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
    let memory = MAPPED
        .get()
        .unwrap_or_else(|| {
            let place = find_place();
            let memory = match map(place, true) {
                Found::Ours(memory) => memory,
                _ => create(place).unwrap_or_else(private),
            };
            watch_catalogue();
            MAPPED.set(Some((memory, place)));
            (memory, place)
        })
        .0;
    if memory.is_retired() {
        end_session();
    }
    memory
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
    /// The server has no more segments to give.
    Refused,
}

/// Looks, and makes nothing that stays.
pub fn sharing() -> Sharing {
    let is_mapped = MAPPED
        .get()
        .is_some_and(|(memory, _)| PRIVATE.get() != Some(memory));
    if is_mapped || matches!(map(find_place(), false), Found::Ours(_)) {
        return Sharing::Shared;
    }
    unsafe {
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
        let segment = pg_sys::dsm_create(size_of::<Segment>(), flags);
        if segment.is_null() {
            return Sharing::Refused;
        }
        // Nobody else has it, so that this ends it.
        pg_sys::dsm_detach(segment);
        Sharing::NotYet
    }
}

fn find_place() -> Place {
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"mosaic".as_ptr(), false);
        Place {
            table: pg_sys::get_relname_relid(c"backlog".as_ptr(), schema),
            sequence: pg_sys::get_relname_relid(c"backlog_frontier_seq".as_ptr(), schema),
        }
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
    unsafe {
        let handle: Option<i64> = pgrx::direct_function_call(
            pg_sys::pg_sequence_last_value,
            &[place.sequence.into_datum()],
        );
        let Some(handle) = handle.and_then(|handle| u32::try_from(handle).ok()) else {
            return Found::Nothing;
        };
        let mut segment = pg_sys::dsm_find_mapping(handle);
        let known = !segment.is_null();
        if !known {
            segment = pg_sys::dsm_attach(handle);
        }
        if segment.is_null() {
            return Found::Nothing;
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
            Found::Ours(memory) => {
                if !known {
                    pg_sys::dsm_pin_mapping(segment);
                }
                register_tranche((*memory.0).lock.tranche.into());
            }
            _ if !known => pg_sys::dsm_detach(segment),
            _ => {}
        }
        found
    }
}

/// Makes the segment, unless somebody else has just done it; `None` if the server has no more
/// shared memory to give.
fn create(place: Place) -> Option<Memory> {
    let mode = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
    unsafe { pg_sys::LockRelationOid(place.sequence, mode) };
    let memory = match map(place, true) {
        Found::Ours(memory) => Some(memory),
        Found::Older => {
            // Each transaction that the older library has let pass has its number already.
            let next = unsafe { pg_sys::ReadNextFullTransactionId() }.value as u32;
            make(place, next.into())
        }
        Found::Nothing => make(place, pg_sys::InvalidTransactionId),
    };
    unsafe { pg_sys::UnlockRelationOid(place.sequence, mode) };
    memory
}

fn make(place: Place, unsettled: pg_sys::TransactionId) -> Option<Memory> {
    // Whatever transaction changes a card attaches to the segment before: those that do
    // not know of it yet have changed none. Prepared ones may be from before a restart.
    let Ok(prepared): Result<Vec<pg_sys::TransactionId>, std::convert::Infallible> =
        session(|session| Ok(session.run(&PREPARED_BEFORE, &[]).column(1)));
    let room = prepared_max();
    let size = size_of::<Segment>() + room * size_of::<pg_sys::TransactionId>();
    unsafe {
        let flags = pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32;
        let segment = pg_sys::dsm_create(size, flags);
        if segment.is_null() {
            return None;
        }
        let memory = lay_out(
            pg_sys::dsm_segment_address(segment).cast(),
            place.table,
            room,
        );
        (*memory.0).unsettled = unsettled;
        for transaction in prepared {
            memory.lock().add_prepared(transaction);
        }
        pg_sys::dsm_pin_segment(segment);
        pg_sys::dsm_pin_mapping(segment);
        (*memory.0).header.handle = pg_sys::dsm_segment_handle(segment);
        (*memory.0).header.pinned = AtomicU32::new(1);
        let handle = i64::from((*memory.0).header.handle);
        pgrx::direct_function_call::<i64>(
            pg_sys::setval_oid,
            &[place.sequence.into_datum(), handle.into_datum()],
        );
        Some(memory)
    }
}
