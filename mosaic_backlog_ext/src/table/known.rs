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
/// is true; `None` is remembered, too.
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
    let known = Known::begin(now);
    let outer = unsafe { pg_sys::MemoryContextSwitchTo(known.memory) };
    let found = find(table).map(Rc::new);
    unsafe { pg_sys::MemoryContextSwitchTo(outer) };
    store.set(Some(Known {
        found: found.clone(),
        ..known
    }));
    found
}

impl<T> Known<T> {
    fn begin(table: pg_sys::TupleDesc) -> Self {
        unsafe {
            (*table).tdrefcount += 1;
            let memory = pg_sys::AllocSetContextCreateInternal(
                pg_sys::TopMemoryContext,
                c"mosaic table".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as usize,
                pg_sys::ALLOCSET_SMALL_INITSIZE as usize,
                pg_sys::ALLOCSET_SMALL_MAXSIZE as usize,
            );
            Self {
                table,
                memory,
                found: None,
            }
        }
    }

    fn forget(self) {
        unsafe {
            pg_sys::MemoryContextDelete(self.memory);
            (*self.table).tdrefcount -= 1;
            if (*self.table).tdrefcount == 0 {
                pg_sys::FreeTupleDesc(self.table);
            }
        }
    }
}
