//! What a session has found out about a table, for as long as the table stays as it is.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread::LocalKey;

use pgrx::prelude::*;

use super::Table;

pub struct Known<T> {
    /// The description of the table. It is held, so that no other comes to lie in its place.
    table: pg_sys::TupleDesc,
    memory: pg_sys::MemoryContext,
    found: Option<Rc<T>>,
}

/// Where it is kept.
pub type Store<T> = RefCell<Option<Known<T>>>;

/// What `find` finds out about the table, now or before. What it allocates lives as long as that
/// is true, and to the end of the transaction; `None` is remembered, too.
pub fn known<T>(
    store: &'static LocalKey<Store<T>>,
    table: &Table,
    find: impl FnOnce(&Table) -> Option<T>,
) -> Option<Rc<T>> {
    let now = table.descriptor();
    let same = |known: &Known<T>| (known.table == now).then(|| known.found.clone());
    if let Some(found) = store.with_borrow(|known| known.as_ref().and_then(same)) {
        return found;
    }
    if let Some(old) = store.take() {
        old.forget();
    }
    // SAFETY: the context is made here, below the current one until all is in it, so that an error frees
    // it. The table is open, so that its description is there to be held.
    let (memory, found) = unsafe {
        let memory = pg_sys::AllocSetContextCreateInternal(
            pg_sys::CurrentMemoryContext,
            c"mosaic table".as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
            pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
            pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
        );
        let outer = pg_sys::MemoryContextSwitchTo(memory);
        let found = find(table).map(Rc::new);
        pg_sys::MemoryContextSwitchTo(outer);
        pg_sys::MemoryContextSetParent(memory, pg_sys::TopMemoryContext);
        (*now).tdrefcount += 1;
        (memory, found)
    };
    store.set(Some(Known {
        table: now,
        memory,
        found: found.clone(),
    }));
    found
}

impl<T> Known<T> {
    fn forget(self) {
        // SAFETY: the context is nobody else's, and lives on to the end of the transaction, as its answers
        // may still refer to it. The description was held by this, and is not used any more.
        unsafe {
            pg_sys::MemoryContextSetParent(self.memory, pg_sys::TopTransactionContext);
            (*self.table).tdrefcount -= 1;
            if (*self.table).tdrefcount == 0 {
                pg_sys::FreeTupleDesc(self.table);
            }
        }
    }
}
