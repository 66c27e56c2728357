//! A list with room for so many: what is done while others wait for the heads allocates nothing.

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
        for at in 0..self.len.min(ROOM) {
            let item = self.items[at];
            if kept > 0 && same(&mut self.items[kept - 1], &item) {
                continue;
            }
            self.items[kept] = item;
            kept += 1;
        }
        self.len = kept;
    }
}
