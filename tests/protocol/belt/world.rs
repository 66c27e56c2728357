//! The table, the heads, and what the open transactions have in hand.

use std::collections::BTreeMap;

use super::bug::Bug;
use crate::real_head::frontier::addition::Addition;
use crate::real_head::frontier::heads::{Filter, Heads, Set};
use crate::real_head::frontier::key::{Key, Range};
use crate::real_head::{empty_heads, set_clock};

/// Which cards a claim may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    All,
    Even,
}

impl Kind {
    pub fn filter(self) -> Filter {
        match self {
            Kind::All => Filter::default(),
            Kind::Even => [1; 16],
        }
    }

    pub fn other(self) -> Self {
        match self {
            Kind::All => Kind::Even,
            Kind::Even => Kind::All,
        }
    }

    pub fn passes(self, key: Key) -> bool {
        self == Kind::All || key % 2 == 0
    }
}

pub struct Card {
    /// It can be claimed from then on.
    pub at: Option<Key>,
    /// What is committed: it waits to be claimed.
    is_open: bool,
    /// What an open transaction has made of it.
    change: Option<Change>,
    /// Transactions that are ending have changed it, and have not told of it. (A row keeps the
    /// number of the last alone; that another comes in between two steps of an end is left out.)
    untold: Vec<usize>,
}

struct Change {
    by: usize,
    depth: usize,
    to_open: bool,
    /// What it was in the transaction around.
    before: Option<bool>,
    /// It has made the card.
    is_new: bool,
}

#[derive(Clone, Copy)]
pub enum Undone {
    Taken(Set, Key),
    Examined(Set, Range),
}

pub struct OpenFlight {
    pub id: u64,
    pub depth: usize,
    pub set: Set,
    pub epoch: u64,
    pub keys: Vec<Key>,
    pub prunes: bool,
}

/// What a session has to see to at the end of its transaction.
#[derive(Default)]
pub struct Pending {
    pub depth: usize,
    /// The transaction, or a part of it, is ending: nothing can stop it.
    pub is_ending: bool,
    /// How far the session's clock is from the others', as while a clock is set.
    pub skew: i64,
    pub undo: Vec<(usize, Undone)>,
    pub flights: Vec<OpenFlight>,
    pub scans: Vec<(usize, Set, u64)>,
    pub audits: Vec<(usize, Set, u64)>,
    claimable: Vec<(usize, Key)>,
    due: Vec<(usize, Key)>,
    come: Vec<(usize, Key)>,
}

pub struct World {
    pub heads: Box<Heads>,
    pub cards: BTreeMap<Key, Card>,
    pub random: fastrand::Rng,
    pub bug: Option<Bug>,
    pub interval: Option<i64>,
    pub pending: Vec<Pending>,
    /// How often a claim gave up waiting for others.
    pub waits: usize,
    pub clock: i64,
    opened: u64,
}

impl World {
    pub fn new(seed: u64, interval: Option<i64>, bug: Option<Bug>) -> Self {
        set_clock(0);
        let mut random = fastrand::Rng::with_seed(seed);
        // What is there before anybody looks.
        let cards = (0..150 * (seed % 2)).map(|_| {
            let card = Card {
                at: None,
                is_open: true,
                change: None,
                untold: Vec::new(),
            };
            (random.i64(0..2_000_000), card)
        });
        let cards = cards.collect();
        Self {
            heads: empty_heads(),
            cards,
            random,
            bug,
            interval,
            pending: (0..=super::SESSIONS).map(|_| Pending::default()).collect(),
            waits: 0,
            clock: 0,
            opened: 0,
        }
    }

    /// Whose turn it is, and whether it is killed before.
    pub fn tick(&mut self, sessions: usize) -> (usize, bool) {
        self.pass(1);
        if self.bug == Some(Bug::Wiped) && self.random.u8(..) == 0 {
            let set = self.heads.claims(Filter::default(), 1, self.clock);
            if let Some(head) = self.heads.head(set) {
                head.take(Key::MAX, usize::MAX, &mut Vec::new());
            }
        }
        let number = self.random.usize(..sessions);
        let is_killed = self.random.usize(..100) == 0 && !self.pending[number].is_ending;
        (number, is_killed)
    }

    pub fn pass(&mut self, ticks: i64) {
        self.clock += ticks;
        set_clock(self.clock);
    }

    pub fn next_number(&mut self) -> u64 {
        self.opened += 1;
        self.opened
    }

    // --- rows ---

    fn sees(&self, me: usize, card: &Card) -> bool {
        match &card.change {
            Some(change) if change.by == me => change.to_open,
            _ => card.is_open,
        }
    }

    /// Whether `me` can have the card's row.
    pub fn is_free(&self, me: usize, key: Key) -> bool {
        let by = self.cards[&key].change.as_ref().map(|change| change.by);
        by.is_none_or(|by| by == me)
    }

    /// No transaction that is open, or is ending, has changed it.
    pub fn is_told(&self, key: Key) -> bool {
        let card = &self.cards[&key];
        card.untold.is_empty() && card.change.is_none()
    }

    /// The card waits to be claimed, whatever time it waits for.
    pub fn is_open(&self, me: usize, key: Key) -> bool {
        self.cards.get(&key).is_some_and(|card| self.sees(me, card))
    }

    pub fn is_claimable(&self, me: usize, kind: Kind, key: Key, now: Key) -> bool {
        kind.passes(key) && self.is_open(me, key) && self.cards[&key].at.is_none_or(|at| at <= now)
    }

    /// The claimable cards of a part of the order, each with its time.
    pub fn claimable(
        &self,
        me: usize,
        kind: Kind,
        range: Range,
        now: Key,
    ) -> Vec<(Key, Option<Key>)> {
        let rows = self.cards.range(range.from..=range.last());
        rows.filter(|(key, card)| {
            kind.passes(**key) && self.sees(me, card) && card.at.is_none_or(|at| at <= now)
        })
        .map(|(key, card)| (*key, card.at))
        .collect()
    }

    /// The last card of all in claim order.
    pub fn last(&self, me: usize) -> Option<Key> {
        let is_there =
            |card: &Card| !matches!(&card.change, Some(change) if change.by != me && change.is_new);
        let mut rows = self.cards.iter().rev();
        rows.find(|(_, card)| is_there(card)).map(|(key, _)| *key)
    }

    /// The times of a range for which cards wait.
    pub fn times(&self, me: usize, range: Range) -> Vec<Key> {
        let open = self.cards.values().filter(|card| self.sees(me, card));
        let mut times: Vec<Key> = open
            .filter_map(|card| card.at)
            .filter(|at| range.from <= *at && *at <= range.last())
            .collect();
        times.sort_unstable();
        times.dedup();
        times
    }

    /// The cards that wait for these times.
    pub fn waiting_for(&self, me: usize, times: &[Key]) -> Vec<Key> {
        let open = self.cards.iter().filter(|(_, card)| self.sees(me, card));
        open.filter(|(_, card)| card.at.is_some_and(|at| times.contains(&at)))
            .map(|(key, _)| *key)
            .collect()
    }

    pub fn left(&self) -> usize {
        self.cards.values().filter(|card| card.is_open).count()
    }

    pub fn create(&mut self, me: usize, key: Key, at: Option<Key>) {
        let card = Card {
            at,
            is_open: false,
            change: None,
            untold: Vec::new(),
        };
        self.cards.insert(key, card);
        self.change(me, key, true);
        if let Some(change) = &mut self.cards.get_mut(&key).expect("a card").change {
            change.is_new = true;
        }
        self.note(me, key);
    }

    /// A card of this transaction can be claimed, now or from a time on.
    pub fn note(&mut self, me: usize, key: Key) {
        let clock = self.clock + self.pending[me].skew;
        let at = self.cards[&key].at;
        let pending = &mut self.pending[me];
        match at.filter(|at| *at > clock) {
            Some(at) => pending.due.push((pending.depth, at)),
            None => {
                pending.claimable.push((pending.depth, key));
                pending.come.extend(at.map(|at| (pending.depth, at)));
            }
        }
    }

    pub fn change(&mut self, me: usize, key: Key, to_open: bool) {
        let depth = self.pending[me].depth;
        let card = self.cards.get_mut(&key).expect("a card");
        let before = card.change.as_ref().map(|change| change.to_open);
        let is_new = card.change.as_ref().is_some_and(|change| change.is_new);
        card.change = Some(Change {
            by: me,
            depth,
            to_open,
            before,
            is_new,
        });
    }

    // --- ends of transactions ---

    /// What the transaction did can be seen.
    pub fn commit_rows(&mut self, me: usize) {
        for card in self.cards.values_mut() {
            if let Some(change) = card.change.take_if(|change| change.by == me) {
                card.is_open = change.to_open;
                card.untold.push(me);
            }
        }
    }

    /// What the transaction did from a savepoint on is undone.
    pub fn abort_rows(&mut self, me: usize, depth: usize) {
        for card in self.cards.values_mut() {
            let is_undone = |change: &mut Change| change.by == me && change.depth >= depth;
            if let Some(change) = card.change.take_if(is_undone) {
                card.change = change.before.filter(|_| depth > 0).map(|to_open| Change {
                    by: me,
                    depth: depth - 1,
                    to_open,
                    before: None,
                    is_new: change.is_new,
                });
                card.untold.push(me);
            }
        }
        let pending = &mut self.pending[me];
        pending.claimable.retain(|(of, _)| *of < depth);
        pending.due.retain(|(of, _)| *of < depth);
        pending.come.retain(|(of, _)| *of < depth);
    }

    pub fn all_told(&mut self, me: usize) {
        for card in self.cards.values_mut() {
            card.untold.retain(|by| *by != me);
        }
    }

    pub fn tell(&mut self, me: usize) {
        let pending = &mut self.pending[me];
        let keys = |noted: &mut Vec<(usize, Key)>| {
            std::mem::take(noted)
                .into_iter()
                .map(|(_, key)| key)
                .collect::<Vec<Key>>()
        };
        let mut claimable = keys(&mut pending.claimable);
        let mut due = keys(&mut pending.due);
        let come = keys(&mut pending.come);
        match self.bug {
            Some(Bug::NotAdded) => claimable.clear(),
            Some(Bug::TimesNotAdded) => due.clear(),
            Some(Bug::ManyCut) => claimable.truncate(8),
            Some(Bug::WrongKey) => claimable.iter_mut().for_each(|key| *key += 1),
            _ => {}
        }
        self.heads.add_claimable(&Addition::new(&mut claimable));
        self.heads.end_scheduled(&come);
        if let Some(head) = self.heads.head(Set::Scheduled) {
            head.add(&Addition::new(&mut due));
        }
    }

    pub fn end_flights(&mut self, me: usize, ends: impl Fn(&OpenFlight) -> bool) {
        let ended: Vec<OpenFlight> = self.pending[me]
            .flights
            .extract_if(.., |flight| ends(flight))
            .collect();
        for flight in ended {
            self.heads
                .end_flight(flight.set, flight.epoch, &flight.keys, flight.prunes);
        }
    }

    pub fn give_up_scans(&mut self, me: usize, depth: usize) {
        let ended: Vec<_> = self.pending[me]
            .scans
            .extract_if(.., |(of, _, _)| *of >= depth)
            .collect();
        for (_, set, number) in ended {
            if let Some(head) = self.heads.head(set) {
                head.give_up_scan(number);
            }
        }
    }

    pub fn give_up_audit(&mut self, me: usize, depth: usize) {
        let ended: Vec<_> = self.pending[me]
            .audits
            .extract_if(.., |(of, _, _)| *of >= depth)
            .collect();
        for (_, set, number) in ended {
            if let Some(head) = self.heads.head(set) {
                head.give_up_audit(number);
            }
        }
    }

    /// A savepoint is released, or nothing is left behind it: what it did is the transaction's around it.
    pub fn leave(&mut self, me: usize) {
        let pending = &mut self.pending[me];
        pending.depth -= 1;
        let depth = pending.depth;
        let all = pending.undo.iter_mut().map(|(of, _)| of);
        let all = all.chain(pending.flights.iter_mut().map(|flight| &mut flight.depth));
        let all = all.chain(pending.scans.iter_mut().map(|(of, _, _)| of));
        let all = all.chain(pending.audits.iter_mut().map(|(of, _, _)| of));
        let all = all.chain(pending.claimable.iter_mut().map(|(of, _)| of));
        let all = all.chain(pending.due.iter_mut().map(|(of, _)| of));
        let all = all.chain(pending.come.iter_mut().map(|(of, _)| of));
        all.for_each(|of| *of = depth.min(*of));
        for card in self.cards.values_mut() {
            if let Some(change) = card.change.as_mut().filter(|change| change.by == me) {
                change.depth = depth.min(change.depth);
            }
        }
    }

    pub fn undo(&mut self, undone: Undone) {
        match undone {
            Undone::Taken(Set::Scheduled, _) if self.bug == Some(Bug::TimeKept) => {}
            Undone::Taken(Set::Claims { .. }, _) if self.bug == Some(Bug::TakenKept) => {}
            Undone::Taken(mut set, key) => {
                if self.bug == Some(Bug::GivenToOther) && set != Set::Scheduled {
                    set = self.heads.claims(Kind::Even.filter(), 1, self.clock);
                }
                if let Some(head) = self.heads.head(set) {
                    head.give_back(&[key]);
                }
            }
            Undone::Examined(..) if self.bug == Some(Bug::ExaminedKept) => {}
            Undone::Examined(set, range) => {
                if let Some(head) = self.heads.head(set) {
                    head.forget(range);
                }
            }
        }
    }
}
