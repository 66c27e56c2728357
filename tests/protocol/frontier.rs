//! Claims that ask the frontier where to look, beside transactions that make cards claimable or
//! take that back, that are rolled back, and sessions that end at any moment.
//!
//! The row decides who gets a card; what is to be shown here is that none is overlooked.

mod checked;

use crate::head::{END, Head, Key, Room, Scan};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A commit adds its cards before they are visible.
    AddedBeforeCommit,
    /// A scan cuts its range also where a commit added a card meanwhile.
    RaisedPastAdded,
    /// A commit below what was examined does not add its card.
    NotAdded,
    /// A rollback keeps the candidates that it took.
    CandidateKept,
    /// A rollback keeps what its transaction looked through.
    ExaminedKept,
    /// A card that somebody has locked is dropped.
    LockedDropped,
    /// A claim does not wait for who is trying or looking.
    NotWaited,
    /// A scan of the table begins where the head does.
    ScannedFromFloor,
    /// What was put aside is not tried before an empty answer.
    AsideLeft,
    /// A session that ends while it scans leaves the scan open.
    ScanLeftOpen,
    /// A scan that found nothing and examined nothing new is not undone by a rollback: the head
    /// stays settled.
    SettledKept,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Which cards are claimable by what is committed.
    claimable: Vec<bool>,
    head: Head,
    workers: Vec<Worker>,
    /// A claim came back empty although this card was there all along.
    overlooked: Option<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
struct Worker {
    at: At,
    /// How many transactions it has begun.
    begun: u8,
    /// The card that the transaction changed, and whether it makes it claimable.
    changed: Option<(Key, bool)>,
    /// The card that it claimed.
    took: Option<Key>,
    /// Candidates that come back if it is rolled back.
    taken: Vec<Key>,
    /// What is unexamined again then.
    examined: Vec<(Key, Key)>,
    /// Cards that were free at every moment since its claim began.
    free: Vec<Key>,
    /// Tried by its claim and found locked.
    tried: Vec<Key>,
    in_flight: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
enum At {
    #[default]
    Outside,
    /// Between two statements of a transaction.
    Inside,
    /// A claim is about to ask the head.
    Asking,
    /// It has a candidate, and locks the row; `left`: of the last attempt at what was put aside.
    Trying { key: Key, left: Option<Vec<Key>> },
    /// It could not, and finds out why.
    Settling { key: Key, left: Option<Vec<Key>> },
    /// Nothing came of that: it finds out whether other candidates are none any more.
    Pruning { keys: Vec<Key> },
    /// It reads a range of the table.
    Scanning(Scan),
    /// It has, and is about to tell.
    Seen {
        scan: Scan,
        found: Vec<Key>,
        rest: Option<Key>,
    },
    /// The head cannot tell: it scans the table.
    ScanningTable,
    /// The end of the transaction is visible to others, and the head is not told yet.
    Ended { committed: bool },
    /// Bug: the head was told of a card that is not visible yet.
    Added,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A transaction changes whether a card is claimable.
    Change {
        worker: usize,
        key: Key,
    },
    Claim {
        worker: usize,
    },
    /// The next step of a claim, or of the end of a transaction.
    Step {
        worker: usize,
    },
    Commit {
        worker: usize,
    },
    Rollback {
        worker: usize,
    },
    /// A card that was put aside becomes a candidate again in time.
    Again {
        key: Key,
    },
    /// A claim has waited long enough for others.
    Patience {
        worker: usize,
    },
}

pub struct Frontier {
    pub workers: usize,
    pub cards: Key,
    pub room: Room,
    /// How many transactions each worker begins.
    pub transactions: u8,
    pub bug: Option<Bug>,
}

impl Frontier {
    /// The workers are interchangeable.
    fn sorted(state: &State) -> State {
        let mut state = state.clone();
        state.workers.sort();
        state
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn keys(&self) -> impl Iterator<Item = Key> {
        0..self.cards
    }

    fn step(&self, state: &State, worker: usize) -> Option<State> {
        let mut next = state.clone();
        let me = state.workers[worker].clone();
        match me.at {
            At::Outside | At::Inside => return None,
            At::Asking => return next.ask(self, worker).then_some(next),
            At::Trying { key, left } => {
                if next.sees(worker, key) && next.is_free(worker, key) {
                    next.take(worker, key);
                    let rest = left.unwrap_or_default();
                    for key in &rest {
                        next.put_aside(worker, *key);
                    }
                    next.end_flight(worker);
                } else {
                    next.workers[worker].at = At::Settling { key, left };
                }
            }
            At::Settling { key, left } => next.settle(self, worker, key, left),
            At::Pruning { keys } => {
                let left: Vec<Key> = keys.into_iter().filter(|k| next.sees(worker, *k)).collect();
                next.head.give_back(&left);
                next.workers[worker].taken.retain(|key| !left.contains(key));
                next.end_flight(worker);
                next.workers[worker].at = At::Asking;
            }
            At::Scanning(mut scan) => {
                let (from, to) = scan.range;
                let mut found: Vec<Key> = self
                    .keys()
                    .filter(|key| from <= *key && *key < to && next.sees(worker, *key))
                    .collect();
                found.truncate(self.room.scan);
                if found.is_empty() && scan.highest.is_none() {
                    scan.highest = self.keys().last();
                }
                let is_full = found.len() == self.room.scan;
                let rest = found.last().filter(|_| is_full).map(|key| key + 1);
                next.workers[worker].at = At::Seen { scan, found, rest };
            }
            At::Seen { scan, found, rest } => {
                if self.has(Bug::RaisedPastAdded) {
                    next.head.forget_meanwhile();
                }
                let (from, mut to) = next.head.end_scan(&scan, &found, rest);
                if next.head.is_settled() && !self.has(Bug::SettledKept) {
                    to = END;
                }
                let me = &mut next.workers[worker];
                if from < to && !me.examined.contains(&(from, to)) {
                    me.examined.push((from, to));
                    me.examined.sort_unstable();
                }
                me.at = At::Asking;
            }
            At::ScanningTable => {
                // The head does not know of candidates that others are trying.
                let floor = if self.has(Bug::ScannedFromFloor) {
                    next.head.floor()
                } else {
                    0
                };
                let mut keys = self.keys().filter(|key| *key >= floor);
                match keys.find(|key| next.sees(worker, *key) && next.is_free(worker, *key)) {
                    Some(key) => next.take(worker, key),
                    None => next.answer_nothing(worker),
                }
            }
            At::Added => {
                let made = me.changed.map(|(key, _)| key);
                made.into_iter().for_each(|key| next.set(key, true));
                next.forget_transaction(worker);
            }
            At::Ended { committed } => {
                next.forget_transaction(worker);
                if committed {
                    let made = me.changed.filter(|(key, to)| *to && me.took != Some(*key));
                    if let (Some((key, _)), false) = (made, self.has(Bug::NotAdded)) {
                        next.head.add(key);
                    }
                } else {
                    if !self.has(Bug::CandidateKept) {
                        next.head.give_back(&me.taken);
                    }
                    if !self.has(Bug::ExaminedKept) {
                        me.examined
                            .into_iter()
                            .for_each(|range| next.head.forget(range));
                    }
                }
            }
        }
        Some(next)
    }

    fn end(&self, state: &State, worker: usize, committed: bool) -> Option<State> {
        let mut next = state.clone();
        let me = state.workers[worker].clone();
        if matches!(me.at, At::Outside | At::Ended { .. } | At::Added)
            || committed && me.at != At::Inside
        {
            return None;
        }
        next.end_flight(worker);
        let scans = matches!(me.at, At::Scanning(_) | At::Seen { .. });
        if scans && !self.has(Bug::ScanLeftOpen) {
            next.head.give_up_scan();
        }
        if committed {
            if let Some((key, to)) = me.changed {
                if to && self.has(Bug::AddedBeforeCommit) {
                    next.head.add(key);
                    next.workers[worker].at = At::Added;
                    return Some(next);
                }
                next.set(key, to);
            }
            if let Some(key) = me.took {
                next.set(key, false);
            }
        } else {
            // What it had can be found once the rollback has answered, and not before.
            for key in self.keys() {
                let mut examined = me.examined.iter();
                if me.taken.contains(&key) || examined.any(|(f, t)| *f <= key && key < *t) {
                    next.is_gone(key);
                }
            }
        }
        next.workers[worker].at = At::Ended { committed };
        Some(next)
    }
}

impl State {
    /// Whether a statement of `worker` finds the card claimable: what is committed, and its own.
    fn sees(&self, worker: usize, key: Key) -> bool {
        let me = &self.workers[worker];
        match me.changed {
            Some((own, to)) if own == key => to && me.took != Some(key),
            _ => self.claimable[key as usize] && me.took != Some(key),
        }
    }

    fn has_locked(&self, worker: usize, key: Key) -> bool {
        let me = &self.workers[worker];
        let is_open = !matches!(me.at, At::Outside | At::Ended { .. });
        is_open && (me.took == Some(key) || me.changed.is_some_and(|(own, _)| own == key))
    }

    fn is_free(&self, worker: usize, key: Key) -> bool {
        let mut others = (0..self.workers.len()).filter(|other| *other != worker);
        others.all(|other| !self.has_locked(other, key))
    }

    fn forget_transaction(&mut self, worker: usize) {
        self.workers[worker] = Worker {
            begun: self.workers[worker].begun,
            ..Worker::default()
        };
    }

    /// A row was locked, or is not claimable any more.
    fn is_gone(&mut self, key: Key) {
        for worker in &mut self.workers {
            worker.free.retain(|other| *other != key);
        }
    }

    fn set(&mut self, key: Key, claimable: bool) {
        self.claimable[key as usize] = claimable;
        self.is_gone(key);
    }

    /// The claim has got a card.
    fn take(&mut self, worker: usize, key: Key) {
        self.is_gone(key);
        let me = &mut self.workers[worker];
        me.took = Some(key);
        me.at = At::Inside;
        me.free.clear();
        me.tried.clear();
    }

    fn answer_nothing(&mut self, worker: usize) {
        let me = &mut self.workers[worker];
        if let Some(key) = me.free.first() {
            self.overlooked = Some(*key);
        }
        me.free.clear();
        me.tried.clear();
        me.at = At::Inside;
    }

    fn begin_flight(&mut self, worker: usize, keys: &[Key]) {
        self.head.trying += keys.len();
        let me = &mut self.workers[worker];
        me.in_flight += keys.len();
        me.taken.extend(keys);
        me.taken.sort_unstable();
        me.taken.dedup();
    }

    fn end_flight(&mut self, worker: usize) {
        self.head.trying -= std::mem::take(&mut self.workers[worker].in_flight);
    }

    fn put_aside(&mut self, worker: usize, key: Key) -> bool {
        self.workers[worker].taken.retain(|other| *other != key);
        self.head.put_aside(key)
    }

    /// Asks the head for a candidate. False if the claim has to wait.
    fn ask(&mut self, model: &Frontier, worker: usize) -> bool {
        let me = &self.workers[worker];
        if let Some(key) = self.head.take() {
            let again = me.tried.contains(&key);
            self.begin_flight(worker, &[key]);
            if again {
                self.put_aside(worker, key);
                self.end_flight(worker);
            } else {
                self.workers[worker].at = At::Trying { key, left: None };
            }
        } else if let Some(scan) = self.head.begin_scan() {
            self.workers[worker].at = At::Scanning(scan);
        } else if self.head.is_in_motion() && !model.has(Bug::NotWaited) {
            return false;
        } else {
            let mut left = if model.has(Bug::AsideLeft) {
                Vec::new()
            } else {
                self.head.take_locked()
            };
            self.begin_flight(worker, &left);
            if left.is_empty() {
                self.answer_nothing(worker);
            } else {
                let key = left.remove(0);
                let left = Some(left);
                self.workers[worker].at = At::Trying { key, left };
            }
        }
        true
    }

    /// What a second look at a card tells, that could not be taken.
    fn settle(&mut self, model: &Frontier, worker: usize, key: Key, left: Option<Vec<Key>>) {
        let is_locked = self.sees(worker, key) && !model.has(Bug::LockedDropped);
        let has_room = !is_locked || self.put_aside(worker, key);
        if let Some(mut left) = left {
            if left.is_empty() {
                self.end_flight(worker);
                self.answer_nothing(worker);
            } else {
                let key = left.remove(0);
                let left = Some(left);
                self.workers[worker].at = At::Trying { key, left };
            }
            return;
        }
        self.end_flight(worker);
        if is_locked {
            let me = &mut self.workers[worker];
            me.tried.push(key);
            me.tried.sort_unstable();
            me.at = if has_room {
                At::Asking
            } else {
                At::ScanningTable
            };
            return;
        }
        let more: Vec<Key> = std::iter::from_fn(|| self.head.take())
            .take(model.room.scan)
            .collect();
        self.begin_flight(worker, &more);
        self.workers[worker].at = if more.is_empty() {
            At::Asking
        } else {
            At::Pruning { keys: more }
        };
    }

    /// Whether the next claim can find a claimable card, or somebody else is about to see to it.
    fn is_covered(&self, key: Key) -> bool {
        self.head.covers(key)
            || self.workers.iter().enumerate().any(|(number, worker)| {
                let in_hand = match worker.at {
                    At::Outside => false,
                    At::Ended { committed: true } => worker.changed == Some((key, true)),
                    _ => worker.taken.contains(&key),
                };
                // What it looked through with its own change before its eyes.
                let own = self.has_locked(number, key)
                    || worker.at == At::Ended { committed: false }
                        && worker.changed.is_some_and(|(own, _)| own == key);
                let mut examined = worker.examined.iter();
                in_hand || own && examined.any(|(from, to)| *from <= key && key < *to)
            })
    }
}
