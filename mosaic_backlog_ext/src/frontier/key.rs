//! Where a card stands in the order of a head, and stretches of that order.

pub type Key = i64;

/// Keys from `from` up to, but not including, `to`; up to the last if `to` is `Key::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub from: Key,
    pub to: Key,
}

impl Range {
    /// The last key that can be in it.
    pub fn last(&self) -> Key {
        if self.to == Key::MAX {
            Key::MAX
        } else {
            self.to - 1
        }
    }
}
