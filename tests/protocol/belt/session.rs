//! A session that works as the extension does, and may be cut off at each `step`.

mod claim;
mod flight;
mod promote;

use std::cell::{RefCell, RefMut};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::bug::Bug;
use super::world::{Kind, Pending, Undone, World};
use crate::real_head::frontier::key::{Key, Range};

/// How far ahead a scan at times reads.
const WINDOW: i64 = 100;
const ALL: Range = Range {
    from: Key::MIN,
    to: Key::MAX,
};

pub struct Session {
    world: Rc<RefCell<World>>,
    me: usize,
}

/// Others may do something here, and the session may be killed.
async fn step() {
    let mut has_waited = false;
    poll_fn(|_| {
        if std::mem::replace(&mut has_waited, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

impl Session {
    pub fn new(world: &Rc<RefCell<World>>, me: usize) -> Self {
        Self {
            world: Rc::clone(world),
            me,
        }
    }

    fn world(&self) -> RefMut<'_, World> {
        self.world.borrow_mut()
    }

    fn has(&self, bug: Bug) -> bool {
        self.world().bug == Some(bug)
    }

    fn random(&self, below: usize) -> usize {
        self.world().random.usize(..below)
    }

    fn pending<R>(&self, work: impl FnOnce(&mut Pending) -> R) -> R {
        work(&mut self.world().pending[self.me])
    }

    pub async fn live(self) {
        loop {
            let skew = [-300, 300, 0, 0, 0, 0, 0, 0, 0, 0][self.random(10)];
            self.pending(|pending| pending.skew = skew);
            for _ in 0..=self.random(2) {
                step().await;
                match self.random(12) {
                    0..4 => self.create(),
                    4 => self.return_card(),
                    5 => self.change_cards(true),
                    6 => self.change_cards(false),
                    _ => {
                        let wanted = [1, 1, 3, 10][self.random(4)];
                        self.claim(self.kind(), wanted).await;
                    }
                }
            }
            step().await;
            if self.random(4) > 0 {
                self.commit().await;
            } else {
                self.abort().await;
            }
        }
    }

    /// The session is killed; another takes its place.
    pub async fn die_and_live(self) {
        self.die_open().await;
        self.live().await;
    }

    pub async fn die(self) {
        self.die_open().await;
    }

    /// Claims until there is nothing, of everything.
    pub async fn drain(self) {
        for kind in [Kind::Even, Kind::All] {
            loop {
                let before = self.world().left();
                self.claim(kind, 50).await;
                self.commit().await;
                if self.world().left() == before {
                    break;
                }
            }
        }
    }

    fn kind(&self) -> Kind {
        if self.random(3) == 0 {
            Kind::Even
        } else {
            Kind::All
        }
    }

    fn create(&self) {
        let mut world = self.world();
        let count = match world.random.usize(..40) {
            0 => 300,
            1..4 => 20,
            _ => 1 + world.random.usize(..3),
        };
        let clock = world.clock;
        // All at once, all at one time that others use as well, or each at its own.
        let manner = world.random.usize(..5);
        let one_time = (clock / 50 + 1 + world.random.i64(0..2)) * 50;
        for n in 0..count {
            let key = 2 * world.random.i64(0..1_000_000) + world.random.i64(0..2);
            if world.cards.contains_key(&key) {
                continue;
            }
            let at = match manner {
                0 => Some(one_time),
                1 => Some(clock + 1 + (n as i64 % WINDOW)),
                _ => None,
            };
            world.create(self.me, key, at);
        }
    }

    /// A card that was claimed is claimable again.
    fn return_card(&self) {
        let mut world = self.world();
        let closed: Vec<Key> = world.cards.keys().copied().collect();
        let closed: Vec<Key> = closed
            .into_iter()
            .filter(|key| !world.is_open(self.me, *key) && world.is_free(self.me, *key))
            .collect();
        if closed.is_empty() {
            return;
        }
        let at = world.random.usize(..closed.len());
        world.change(self.me, closed[at], true);
        if world.bug != Some(Bug::ReturnedNotAdded) {
            world.note(self.me, closed[at]);
        }
    }

    /// Cards are locked and stay as they are, or are blocked.
    fn change_cards(&self, to_open: bool) {
        let mut world = self.world();
        let now = world.clock;
        let open: Vec<Key> = world
            .claimable(self.me, Kind::All, ALL, now)
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| world.is_free(self.me, *key))
            .collect();
        for key in open.into_iter().take(3) {
            world.change(self.me, key, to_open);
        }
    }

    async fn commit(&self) {
        self.pending(|pending| pending.is_ending = true);
        if self.has(Bug::AddedBeforeCommit) {
            self.world().tell(self.me);
            step().await;
        }
        self.world().commit_rows(self.me);
        step().await;
        self.world().end_flights(self.me, |_| true);
        step().await;
        self.world().tell(self.me);
        step().await;
        self.end();
    }

    async fn abort(&self) {
        self.undo(0).await;
        self.end();
    }

    async fn die_open(&self) {
        if self.has(Bug::FlightLeftOpen) {
            self.pending(|pending| pending.flights.clear());
        }
        if self.has(Bug::ScanLeftOpen) {
            self.pending(|pending| pending.scans.clear());
        }
        self.abort().await;
    }

    fn end(&self) {
        let mut world = self.world();
        world.all_told(self.me);
        world.pending[self.me] = Pending::default();
    }

    /// Undoes what was done from a savepoint on; 0: all.
    async fn undo(&self, depth: usize) {
        self.pending(|pending| pending.is_ending = true);
        self.world().abort_rows(self.me, depth);
        step().await;
        let undone: Vec<(usize, Undone)> = self.pending(|pending| {
            let undone = pending.undo.extract_if(.., |(of, _)| *of >= depth);
            undone.collect()
        });
        for (_, undone) in undone {
            self.world().undo(undone);
            step().await;
        }
        self.world()
            .end_flights(self.me, |flight| flight.depth >= depth);
        step().await;
        self.world().give_up_scans(self.me, depth);
        self.world().give_up_audit(self.me, depth);
        if depth > 0 && self.has(Bug::OuterUndoForgotten) {
            self.pending(|pending| pending.undo.clear());
        }
        step().await;
        self.world().all_told(self.me);
        self.pending(|pending| pending.is_ending = false);
    }
}
