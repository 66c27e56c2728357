//! Members that come in together, at a commit for the most part. What each head needs of them is
//! found out once, before the heads are locked: then the work for a head is the same whether there
//! are a hundred or a hundred thousand.
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

use super::few::Few;
use super::key::{Key, Range};

/// With how many ranges the keys are covered. More than a head has room for, as it may have
/// use for those behind some key alone.
pub const SPANS: usize = 64;

pub struct Addition<'a> {
    /// Ascending, each once.
    keys: &'a [Key],
    /// Cover the keys with as little else as possible.
    spans: Few<Range, SPANS>,
    /// How often a key was read.
    #[cfg(test)]
    pub reads: std::cell::Cell<usize>,
}

impl<'a> Addition<'a> {
    /// Sorts the keys. Allocates nothing, as it is done where nothing may fail any more.
    pub fn new(keys: &'a mut [Key]) -> Self {
        keys.sort_unstable();
        let keys: &[Key] = keys;
        Self {
            keys,
            spans: spans(keys),
            #[cfg(test)]
            reads: std::cell::Cell::new(0),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub fn last(&self) -> Option<Key> {
        self.keys.last().copied()
    }

    pub fn spans(&self) -> &[Range] {
        self.spans.items()
    }

    /// The keys from one on.
    fn from(&self, from: Key) -> impl Iterator<Item = Key> {
        let read = |key: &Key| {
            #[cfg(test)]
            self.reads.set(self.reads.get() + 1);
            *key
        };
        let at = self.keys.partition_point(|key| read(key) < from);
        self.keys.get(at..).unwrap_or_default().iter().map(read)
    }

    /// The first key from one on.
    pub fn first_from(&self, from: Key) -> Option<Key> {
        self.from(from).next()
    }

    /// Appends the keys from one up to, but not including, another, up to the last for `None`,
    /// as far as there is room.
    pub fn collect<const ROOM: usize>(
        &self,
        from: Key,
        to: Option<Key>,
        into: &mut Few<Key, ROOM>,
    ) {
        for key in self.from(from) {
            if into.is_full() || to.is_some_and(|to| key >= to) {
                break;
            }
            // A key that is there several times counts once.
            if into.items().last() != Some(&key) {
                into.push(key);
            }
        }
    }
}

/// Ranges that cover the keys, ascending: the widest gaps stay out of them.
fn spans(keys: &[Key]) -> Few<Range, SPANS> {
    // A gap by its width and the key before which it ends; the narrowest makes room.
    let mut gaps: Few<(u64, Key), { SPANS - 1 }> = Few::new((0, 0));
    let mut narrowest = 0;
    for (before, after) in keys.iter().zip(keys.iter().skip(1)) {
        let gap = (after.abs_diff(*before), *after);
        if gap.0 <= 1 {
            continue;
        }
        if !gaps.push(gap) {
            if gap.0 <= narrowest {
                continue;
            }
            if let Some(least) = gaps.items_mut().iter_mut().min() {
                *least = gap;
            }
        }
        if gaps.is_full() {
            narrowest = gaps.items().iter().min().map_or(0, |gap| gap.0);
        }
    }
    gaps.items_mut().sort_unstable_by_key(|gap| gap.1);
    let mut spans = Few::new(Range::default());
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return spans;
    };
    let mut from = *first;
    for (width, after) in gaps.items() {
        spans.push(Range {
            from,
            // The key before the gap, and not that after it.
            to: after.wrapping_sub_unsigned(*width).saturating_add(1),
        });
        from = *after;
    }
    spans.push(Range {
        from,
        to: last.saturating_add(1),
    });
    spans
}
