//! A list with room for so many: what is done while others wait for the heads allocates nothing.
//!
//! A commit runs through it, where nothing may panic: see `transaction::end`.

#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::todo,
    clippy::unimplemented,
    clippy::unreachable,
    clippy::unwrap_used
)]

#[derive(Clone, Copy)]
pub struct Few<T, const ROOM: usize> {
    items: [T; ROOM],
    len: usize,
}

impl<T: Copy, const ROOM: usize> Few<T, ROOM> {
    pub const fn new(filler: T) -> Self {
        Self {
            items: [filler; ROOM],
            len: 0,
        }
    }

    /// Appends an item; false if there is no room for it.
    pub fn push(&mut self, item: T) -> bool {
        match self.items.get_mut(self.len) {
            Some(slot) => {
                *slot = item;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    pub const fn is_full(&self) -> bool {
        self.len == ROOM
    }

    pub fn items(&self) -> &[T] {
        self.items.get(..self.len).unwrap_or(&self.items)
    }

    pub fn items_mut(&mut self) -> &mut [T] {
        let len = self.len.min(ROOM);
        self.items.get_mut(..len).unwrap_or_default()
    }

    /// Of neighbours that are `same`, keeps the first, which takes over what it needs.
    pub fn merge(&mut self, mut same: impl FnMut(&mut T, &T) -> bool) {
        let mut kept = 0;
        for at in 0..self.len {
            let Some(item) = self.items.get(at).copied() else {
                break;
            };
            let before = self.items.get_mut(..kept).and_then(|kept| kept.last_mut());
            if before.is_some_and(|before| same(before, &item)) {
                continue;
            }
            if let Some(slot) = self.items.get_mut(kept) {
                *slot = item;
            }
            kept += 1;
        }
        self.len = kept;
    }
}
