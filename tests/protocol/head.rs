//! What the frontier knows of one ordered set: the rules of `mosaic_backlog_ext/src/frontier/head.rs`
//! in the plainest terms, with so little room that it is soon used up.

pub type Key = u8;

/// Behind all keys.
pub const END: Key = Key::MAX;

/// How much of each kind there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Room {
    pub candidates: usize,
    pub ranges: usize,
    pub locked: usize,
    /// Keys that a scan collects.
    pub scan: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Head {
    pub room: Room,
    /// Ascending, as everything here.
    pub candidates: Vec<Key>,
    /// Not examined: from, and up to but not including; the last goes up to `END`.
    pub ranges: Vec<(Key, Key)>,
    /// Somebody else had them locked.
    pub locked: Vec<Key>,
    highest: Option<Key>,
    settled: bool,
    /// Candidates that are being tried.
    pub trying: usize,
    looking: Option<Meanwhile>,
}

/// What came in while somebody scans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Meanwhile {
    from: Key,
    added: bool,
    smallest: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scan {
    pub range: (Key, Key),
    pub highest: Option<Key>,
}

impl Head {
    pub fn unexamined(room: Room) -> Self {
        Self {
            room,
            candidates: Vec::new(),
            ranges: vec![(0, END)],
            locked: Vec::new(),
            highest: None,
            settled: false,
            trying: 0,
            looking: None,
        }
    }

    pub fn covers(&self, key: Key) -> bool {
        // Where the head is settled, nobody scans.
        let is_scanned_for = self.is_unexamined(key) && !self.settled;
        self.candidates.contains(&key) || self.locked.contains(&key) || is_scanned_for
    }

    pub fn is_settled(&self) -> bool {
        self.settled
    }

    fn is_unexamined(&self, key: Key) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|(from, to)| *from <= key && key < *to)
    }

    /// Nothing known or unknown sorts below.
    pub fn floor(&self) -> Key {
        let range = self.ranges.first().map(|range| range.0);
        let known = self.candidates.iter().chain(&self.locked).copied();
        known.chain(range).min().unwrap_or(END)
    }

    /// Cards were made claimable by a transaction that has committed.
    pub fn add(&mut self, key: Key) {
        self.highest = self.highest.max(Some(key));
        self.tell_scan(key);
        self.settled = false;
        if !self.is_unexamined(key) {
            self.remember(vec![key]);
        }
    }

    fn tell_scan(&mut self, key: Key) {
        if let Some(looking) = &mut self.looking {
            looking.added = true;
            if key >= looking.from {
                looking.smallest = looking.smallest.min(key);
            }
        }
    }

    /// Nothing is known any more from one key up to another.
    pub fn forget(&mut self, (from, to): (Key, Key)) {
        if from < to {
            let told = self.looking.map_or(from, |looking| from.max(looking.from));
            self.tell_scan(told);
            self.unexamine(vec![(from, to)]);
        }
    }

    fn remember(&mut self, mut keys: Vec<Key>) {
        keys.extend(&self.candidates);
        keys.sort_unstable();
        keys.dedup();
        let kept = if keys.len() > self.room.candidates {
            self.room.candidates - self.room.scan
        } else {
            keys.len()
        };
        let rest = keys.split_off(kept);
        self.candidates = keys;
        if !rest.is_empty() {
            rest.iter().for_each(|key| self.tell_scan(*key));
            self.unexamine(rest.iter().map(|key| (*key, key + 1)).collect());
        }
    }

    fn unexamine(&mut self, more: Vec<(Key, Key)>) {
        self.settled = false;
        let mut all = std::mem::take(&mut self.ranges);
        all.extend(more);
        all.sort_unstable();
        for (from, to) in all {
            match self.ranges.last_mut() {
                Some(before) if from <= before.1 => before.1 = before.1.max(to),
                _ => self.ranges.push((from, to)),
            }
        }
        // Of the gaps between ranges, the narrowest are given up.
        while self.ranges.len() > self.room.ranges {
            let gap = |at: &usize| self.ranges[at + 1].0 - self.ranges[*at].1;
            let narrowest = (0..self.ranges.len() - 1).min_by_key(gap).expect("a gap");
            self.ranges[narrowest].1 = self.ranges.remove(narrowest + 1).1;
        }
    }

    /// The smallest candidate before all that is unexamined.
    pub fn take(&mut self) -> Option<Key> {
        let known = match self.ranges.first() {
            Some(range) if !self.settled => range.0,
            _ => END,
        };
        let key = *self.candidates.first()?;
        (key < known).then(|| self.candidates.remove(0))
    }

    pub fn begin_scan(&mut self) -> Option<Scan> {
        if self.settled || self.looking.is_some() {
            return None;
        }
        let range = *self.ranges.first()?;
        self.looking = Some(Meanwhile {
            from: range.0,
            added: false,
            smallest: END,
        });
        Some(Scan {
            range,
            highest: self.highest,
        })
    }

    pub fn give_up_scan(&mut self) {
        self.looking = None;
    }

    /// What came in since the scan began is not known to it. For a bug of the model alone.
    pub fn forget_meanwhile(&mut self) {
        if let Some(looking) = &mut self.looking {
            looking.added = false;
            looking.smallest = END;
        }
    }

    /// Somebody may bring more in a moment.
    pub fn is_in_motion(&self) -> bool {
        self.looking.is_some() || self.trying > 0
    }

    /// `found` are the members of the range before `rest`; `None`: all of it. Gives what is
    /// known now.
    pub fn end_scan(&mut self, scan: &Scan, found: &[Key], rest: Option<Key>) -> (Key, Key) {
        let (from, to) = scan.range;
        let meanwhile = self.looking.take();
        let smallest = meanwhile.map_or(END, |looking| looking.smallest);
        let last = found.last().copied();
        let end = match rest {
            Some(rest) => rest,
            None if to == END => match scan.highest.max(last) {
                Some(key) => (key + 1).max(from),
                None => from,
            },
            None => to,
        };
        let end = end.min(smallest);
        self.examine((from, end));
        self.highest = self.highest.max(last);
        let is_quiet = meanwhile.is_none_or(|looking| !looking.added);
        if rest.is_none() && to == END && is_quiet {
            self.settled = self.ranges.len() == 1;
        }
        let known = found.iter().copied().filter(|key| *key < end).collect();
        self.remember(known);
        (from, end)
    }

    fn examine(&mut self, (from, to): (Key, Key)) {
        let mut left = Vec::new();
        for range in self.ranges.drain(..) {
            if range.0 <= from && from < range.1 {
                left.extend([(range.0, from), (to, range.1)]);
            } else {
                left.push(range);
            }
        }
        left.retain(|range| range.0 < range.1);
        while left.len() > self.room.ranges {
            let (_, end) = left.pop().expect("a range");
            left.last_mut().expect("a range").1 = end;
        }
        self.ranges = left;
    }

    /// False if there is no room: then it is a candidate again.
    pub fn put_aside(&mut self, key: Key) -> bool {
        let has_room = self.locked.len() < self.room.locked;
        if has_room {
            self.locked.push(key);
            self.locked.sort_unstable();
        } else {
            self.give_back(&[key]);
        }
        has_room
    }

    pub fn try_again(&mut self, key: Key) {
        self.locked.retain(|other| *other != key);
        self.give_back(&[key]);
    }

    pub fn take_locked(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.locked)
    }

    pub fn give_back(&mut self, keys: &[Key]) {
        if !keys.is_empty() {
            self.remember(keys.to_vec());
        }
    }
}
