//! A session that works as the extension does, and may be cut off at each `step`.

use std::cell::{RefCell, RefMut};
use std::collections::HashSet;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::bug::Bug;
use super::world::{Kind, OpenTrial, Pending, Undone, World};
use crate::real_head::frontier::addition::Addition;
use crate::real_head::frontier::head::{Key, LOOK, Look, Range};
use crate::real_head::frontier::heads::Set;

/// How many members an audit looks at.
const AUDITED: usize = 128;
/// How many steps a claim waits for others.
const PATIENCE: usize = 60;
const AGAIN_AFTER: i64 = 20;
/// How far ahead a look at times reads.
const WINDOW: i64 = 100;
const ALL: Range = Range {
    from: Key::MIN,
    to: Key::MAX,
};

pub struct Session {
    world: Rc<RefCell<World>>,
    me: usize,
}

enum Next {
    Candidates(Vec<Key>, Key),
    Look(Look),
    Unknown,
    Nothing,
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

    // --- its life ---

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

    // --- what a transaction does beside claims ---

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
        self.world().end_trials(self.me, |_| true);
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
        if self.has(Bug::TrialLeftOpen) {
            self.pending(|pending| pending.trials.clear());
        }
        if self.has(Bug::LookLeftOpen) {
            self.pending(|pending| pending.looks.clear());
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
            .end_trials(self.me, |trial| trial.depth >= depth);
        step().await;
        self.world().give_up_looks(self.me, depth);
        self.world().give_up_audit(self.me, depth);
        if depth > 0 && self.has(Bug::OuterUndoForgotten) {
            self.pending(|pending| pending.undo.clear());
        }
        step().await;
        self.world().all_told(self.me);
        self.pending(|pending| pending.is_ending = false);
    }

    // --- trials and looks ---

    async fn next(&self, trial: &mut Option<u64>, set: Set, last: Key, max: usize) -> Next {
        for _ in 0..PATIENCE {
            {
                let mut world = self.world();
                let now = world.clock;
                let Some(head) = world.heads.head(set) else {
                    return Next::Unknown;
                };
                head.try_again(now);
                let mut keys = Vec::new();
                head.take(last, max, &mut keys);
                if !keys.is_empty() {
                    let known = head.known();
                    self.try_keys(&mut world, trial, set, &keys);
                    return Next::Candidates(keys, known);
                }
                if let Some(look) = head.begin_look(last, now) {
                    let pending = &mut world.pending[self.me];
                    pending.looks.push((pending.depth, set, look.number));
                    return Next::Look(look);
                }
                if !head.is_in_motion() || trial.is_some() {
                    return Next::Nothing;
                }
                if !world.pending[self.me].trials.is_empty() {
                    return Next::Unknown;
                }
            }
            step().await;
        }
        self.world().waits += 1;
        Next::Unknown
    }

    fn try_keys(&self, world: &mut World, trial: &mut Option<u64>, set: Set, keys: &[Key]) {
        let overwrites = world.bug == Some(Bug::TrialOverwritten);
        let number = world.next_number();
        let Some(head) = world.heads.head(set) else {
            return;
        };
        let epoch = if trial.is_some() {
            head.extend_trial(keys);
            0
        } else {
            head.begin_trial(keys)
        };
        let pending = &mut world.pending[self.me];
        let taken = keys
            .iter()
            .map(|key| (pending.depth, Undone::Taken(set, *key)));
        pending.undo.extend(taken.collect::<Vec<_>>());
        match trial {
            Some(id) => {
                if let Some(open) = pending.trials.iter_mut().find(|open| open.id == *id) {
                    open.keys.extend(keys);
                }
            }
            None => {
                if overwrites {
                    pending.trials.clear();
                }
                pending.trials.push(OpenTrial {
                    id: number,
                    depth: pending.depth,
                    set,
                    epoch,
                    keys: keys.to_vec(),
                    sifts: false,
                });
                *trial = Some(number);
            }
        }
    }

    fn end_trial(&self, trial: Option<u64>) {
        if let Some(id) = trial {
            self.world().end_trials(self.me, |open| open.id == id);
        }
    }

    fn no_undo(&self, set: Set, keys: &[Key]) {
        self.pending(|pending| {
            pending.undo.retain(|(_, undone)| {
                !matches!(undone, Undone::Taken(of, key) if *of == set && keys.contains(key))
            });
        });
    }

    fn give_back(&self, set: Set, keys: &[Key]) {
        if let Some(head) = self.world().heads.head(set) {
            head.give_back(keys);
        }
        self.no_undo(set, keys);
    }

    fn put_aside(&self, set: Set, keys: &[Key]) -> bool {
        let mut world = self.world();
        let again_at = world.clock + AGAIN_AFTER;
        let head = world.heads.head(set);
        let has_room = head.is_none_or(|head| head.put_aside(keys, again_at));
        drop(world);
        self.no_undo(set, keys);
        has_room
    }

    fn end_look(&self, set: Set, look: &Look, found: &[Key], rest: Option<Key>) {
        let mut world = self.world();
        let head = world.heads.head(set);
        let examined = head.map(|head| head.end_look(look, found, rest));
        let pending = &mut world.pending[self.me];
        pending
            .looks
            .retain(|(_, of, number)| (*of, *number) != (set, look.number));
        if let Some(examined) = examined {
            let depth = pending.depth;
            pending.undo.push((depth, Undone::Examined(set, examined)));
        }
    }

    // --- times ---

    /// Lets claims find the cards whose time has come. False where others take long to do that.
    async fn promote(&self, now: Key) -> bool {
        let set = Set::Due;
        loop {
            let may_come = {
                let mut world = self.world();
                let head = world.heads.head(set).expect("the head of times");
                head.concerns(now) || head.tries(now)
            };
            if !may_come {
                return true;
            }
            let mut trial = None;
            match self.next(&mut trial, set, now, LOOK).await {
                Next::Candidates(times, _) => {
                    if self.has(Bug::TimePeeked) {
                        self.give_back(set, &times);
                        self.end_trial(trial.take());
                    }
                    step().await;
                    let mut orders = self.world().waiting_for(self.me, &times);
                    step().await;
                    if self.has(Bug::ComeNotAdded) {
                        orders.clear();
                    }
                    if self.has(Bug::TimesCut) {
                        orders.truncate(1);
                    }
                    self.world()
                        .heads
                        .add_claimable(&Addition::new(&mut orders));
                    self.world().heads.end_due(&times);
                    if self.has(Bug::TimePeeked) {
                        let last = times.last().copied().unwrap_or(Key::MIN);
                        let mut world = self.world();
                        let head = world.heads.head(set).expect("the head of times");
                        head.take(last, times.len(), &mut Vec::new());
                    }
                    self.end_trial(trial);
                }
                Next::Look(look) => {
                    step().await;
                    let to = now.saturating_add(WINDOW).max(look.range.from);
                    let window = Range {
                        from: look.range.from,
                        to: to.min(look.range.to),
                    };
                    let times = self.world().times(self.me, window);
                    step().await;
                    let found = times.len().min(LOOK);
                    let cut = times.get(LOOK).copied();
                    let rest = cut.or_else(|| (window.to != look.range.to).then_some(window.to));
                    let rest = if self.has(Bug::TimesRestSkipped) && cut.is_some() {
                        (window.to != look.range.to).then_some(window.to)
                    } else {
                        rest
                    };
                    self.end_look(set, &look, &times[..found], rest);
                }
                Next::Unknown => return false,
                Next::Nothing => return true,
            }
        }
    }

    // --- claims ---

    async fn claim(&self, kind: Kind, mut wanted: usize) {
        let (clock, now) = {
            let world = self.world();
            (world.clock, world.clock + world.pending[self.me].skew)
        };
        let early = self.has(Bug::LookReadEarly);
        let early = early.then(|| self.read(kind, ALL, now));
        let all_came = self.promote(now).await;
        let set = self
            .world()
            .heads
            .claims(kind.filter(), self.me as i32 + 1, clock);
        self.prove(set, kind, now).await;
        if !all_came {
            self.scan(kind, Key::MIN, wanted, now);
            return;
        }
        let mut tried = HashSet::new();
        while wanted > 0 {
            let mut trial = None;
            let gathered = self
                .gather(&mut trial, set, kind, wanted, now, &early)
                .await;
            let Some((shared, known)) = gathered else {
                self.end_trial(trial);
                self.scan_from_floor(set, kind, wanted, now);
                break;
            };
            let (again, mut keys): (Vec<Key>, Vec<Key>) =
                shared.into_iter().partition(|key| tried.contains(key));
            let surplus: Vec<Key> = keys.extract_if(.., |key| *key >= known).collect();
            self.give_back(set, &surplus);
            let mut has_room = self.put_aside(set, &again);
            if keys.is_empty() {
                self.end_trial(trial);
                if again.is_empty() {
                    self.take_locked(set, kind, wanted, now).await;
                    break;
                }
                if !has_room {
                    self.scan_from_floor(set, kind, wanted, now);
                    break;
                }
                continue;
            }
            step().await;
            let taken: Vec<Key> = keys
                .extract_if(.., |key| self.take(kind, *key, now))
                .collect();
            wanted -= taken.len();
            if self.random(8) == 0 {
                self.claim_within().await;
            }
            step().await;
            let locked = self.settle(kind, &keys, now);
            if !self.has(Bug::LockedDropped) {
                has_room &= self.put_aside(set, &locked);
            }
            self.end_trial(trial);
            if !has_room && wanted > 0 {
                self.scan_from_floor(set, kind, wanted, now);
                break;
            }
            if taken.is_empty() && locked.is_empty() {
                self.sift(set).await;
            }
            tried.extend(locked);
        }
    }

    /// As a trigger of a user's may, in a subtransaction.
    async fn claim_within(&self) {
        let depth = self.pending(|pending| {
            pending.depth += 1;
            pending.depth
        });
        if depth < 3 {
            Box::pin(self.claim(self.kind(), 1)).await;
        }
        if self.random(2) == 0 {
            self.undo(depth).await;
        }
        self.world().leave(self.me);
    }

    /// Takes the card if it is there and free.
    fn take(&self, kind: Kind, key: Key, now: Key) -> bool {
        let mut world = self.world();
        let taken = world.is_claimable(self.me, kind, key, now) && world.is_free(self.me, key);
        if taken {
            world.change(self.me, key, false);
        }
        taken
    }

    /// Which of those that could not be taken somebody has locked.
    fn settle(&self, kind: Kind, keys: &[Key], now: Key) -> Vec<Key> {
        let mut world = self.world();
        let mut locked = Vec::new();
        for key in keys {
            if !world.is_open(self.me, *key) || !kind.passes(*key) {
                continue;
            }
            match world.cards[key].at.filter(|at| *at > now) {
                Some(at) => {
                    if let Some(head) = world.heads.head(Set::Due) {
                        head.add(&Addition::new(&mut [at]));
                    }
                }
                None => locked.push(*key),
            }
        }
        locked
    }

    async fn gather(
        &self,
        trial: &mut Option<u64>,
        set: Set,
        kind: Kind,
        wanted: usize,
        now: Key,
        early: &Option<Vec<Key>>,
    ) -> Option<(Vec<Key>, Key)> {
        let mut keys = Vec::new();
        loop {
            match self.next(trial, set, Key::MAX, wanted - keys.len()).await {
                Next::Candidates(more, known) => {
                    keys.extend(more);
                    if keys.len() == wanted {
                        return Some((keys, known));
                    }
                }
                Next::Look(look) => self.look(set, kind, look, early.clone(), now).await,
                Next::Nothing => return Some((keys, Key::MAX)),
                Next::Unknown => {
                    self.give_back(set, &keys);
                    return None;
                }
            }
        }
    }

    fn read(&self, kind: Kind, range: Range, now: Key) -> Vec<Key> {
        let rows = self.world().claimable(self.me, kind, range, now);
        rows.into_iter().map(|(key, _)| key).collect()
    }

    async fn look(
        &self,
        set: Set,
        mut kind: Kind,
        mut look: Look,
        early: Option<Vec<Key>>,
        now: Key,
    ) {
        step().await;
        if self.has(Bug::OtherFilter) {
            kind = kind.other();
        }
        let range = look.range;
        let mut found = early.unwrap_or_else(|| self.read(kind, range, now));
        found.retain(|key| range.from <= *key && *key <= range.last());
        found.truncate(LOOK);
        if self.has(Bug::LockedNotSeen) {
            let world = self.world();
            found.retain(|key| world.is_free(self.me, *key));
        }
        if found.is_empty() && look.highest.is_none() {
            look.highest = self.world().last(self.me);
        }
        step().await;
        if !self.has(Bug::TimesNotWatched) {
            self.world().heads.watch_due_from(now);
        }
        let mut rest = (found.len() == LOOK).then(|| found[LOOK - 1] + 1);
        if self.has(Bug::RestSkipped) {
            rest = None;
        }
        if self.has(Bug::FoundDropped) {
            found.truncate(1);
        }
        self.end_look(set, &look, &found, rest);
    }

    async fn take_locked(&self, set: Set, kind: Kind, mut wanted: usize, now: Key) {
        let mut trial = None;
        let mut left = {
            let mut world = self.world();
            let head = world.heads.head(set);
            let keys = head.map_or_else(Vec::new, |head| head.take_locked());
            if !keys.is_empty() {
                self.try_keys(&mut world, &mut trial, set, &keys);
            }
            keys
        };
        if self.has(Bug::AsideDropped) {
            left.clear();
        }
        left.reverse();
        while wanted > 0
            && let Some(key) = left.pop()
        {
            step().await;
            if self.take(kind, key, now) {
                wanted -= 1;
            } else {
                step().await;
                self.put_aside(set, &self.settle(kind, &[key], now));
            }
        }
        self.put_aside(set, &left);
        self.end_trial(trial);
    }

    async fn sift(&self, set: Set) {
        let mut trial = None;
        let keys = {
            let mut world = self.world();
            let head = world.heads.head(set);
            let keys = head.map_or_else(Vec::new, |head| head.begin_sift(LOOK));
            if !keys.is_empty() {
                self.try_keys(&mut world, &mut trial, set, &keys);
                if let Some(open) = world.pending[self.me].trials.last_mut() {
                    open.sifts = true;
                }
            }
            keys
        };
        if keys.is_empty() {
            return;
        }
        step().await;
        let left: Vec<Key> = {
            let world = self.world();
            keys.into_iter()
                .filter(|key| world.is_open(self.me, *key))
                .collect()
        };
        step().await;
        if !self.has(Bug::SiftDropped) {
            self.give_back(set, &left);
        }
        self.end_trial(trial);
    }

    fn scan_from_floor(&self, set: Set, kind: Kind, wanted: usize, now: Key) {
        let from = self.world().heads.head(set).map(|head| head.floor());
        self.scan(kind, from.unwrap_or(Key::MIN), wanted, now);
    }

    /// Takes what is there and free, past what is locked.
    fn scan(&self, kind: Kind, from: Key, wanted: usize, now: Key) {
        let range = Range { from, to: Key::MAX };
        let found = self.read(kind, range, now);
        found
            .into_iter()
            .filter(|key| self.take(kind, *key, now))
            .take(wanted)
            .for_each(drop);
    }

    /// Compares what is known of the first claimable cards with the table.
    async fn prove(&self, set: Set, kind: Kind, now: Key) {
        let (begun, number) = {
            let mut world = self.world();
            let Some(interval) = world.interval else {
                return;
            };
            let patience = (6 * interval).max(6 * super::INTERVAL);
            let begun = world.clock;
            let Some(number) = world.heads.begin_audit(set, begun, interval, patience) else {
                return;
            };
            let pending = &mut world.pending[self.me];
            pending.audits.push((pending.depth, set, number));
            (begun, number)
        };
        step().await;
        let mut found = self.world().claimable(self.me, kind, ALL, now);
        found.truncate(AUDITED);
        step().await;
        let suspects = self.world().heads.suspect(set, number, &found);
        let mut free = Vec::new();
        if !suspects.is_empty() {
            step().await;
            let mut told = suspects;
            {
                let world = self.world();
                told.retain(|key| {
                    world.is_claimable(self.me, kind, *key, now) && world.is_told(*key)
                });
            }
            step().await;
            for key in told {
                let world = self.world();
                if world.is_open(self.me, key) && world.is_free(self.me, key) {
                    free.push((key, world.cards[&key].at));
                }
            }
        }
        step().await;
        self.world().heads.end_audit(set, number, &free, begun);
        self.pending(|pending| pending.audits.retain(|(_, _, of)| *of != number));
    }
}
