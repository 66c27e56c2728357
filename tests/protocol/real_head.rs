//! The frontier's own code, which is plain data: what comes in at once, and which head gives way.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

#[path = "../../mosaic_backlog_ext/src/frontier"]
pub mod frontier {
    #![allow(dead_code)]

    pub mod addition;
    pub mod few;
    pub mod head;
    pub mod heads;
    pub mod key;

    /// The server's clock.
    pub fn now() -> i64 {
        super::CLOCK.get()
    }
}

use frontier::addition::Addition;
use frontier::head::{Head, SCAN};
use frontier::heads::{Changing, FILTERS, Filter, Heads, SHARE, Set};
use frontier::key::{Key, Range};

thread_local! {
    static CLOCK: Cell<i64> = const { Cell::new(0) };
}

pub fn set_clock(now: i64) {
    CLOCK.set(now);
}

/// The keys that claims one after the other would be given, by candidates and by scans of `table`.
fn drained(head: &mut Head, table: &BTreeSet<Key>) -> Vec<Key> {
    let mut found = BTreeSet::new();
    loop {
        let mut keys = Vec::new();
        head.take(Key::MAX, 10, &mut keys);
        found.extend(keys.iter().filter(|key| table.contains(key)));
        if !keys.is_empty() {
            continue;
        }
        let Some(scan) = head.begin_scan(Key::MAX, 0) else {
            return found.into_iter().collect();
        };
        let Range { from, .. } = scan.range;
        let inside = table.range(from..=scan.range.last());
        let seen: Vec<Key> = inside.take(SCAN).copied().collect();
        let rest = (seen.len() == SCAN).then(|| seen[SCAN - 1] + 1);
        head.end_scan(&scan, &seen, rest);
    }
}

/// A head that has seen `table` to its end and has handed it out.
fn settled(table: &BTreeSet<Key>) -> Head {
    let mut head = Head::unexamined(Key::MIN, 0);
    assert_eq!(drained(&mut head, table).len(), table.len());
    head
}

fn random_keys(random: &mut fastrand::Rng, count: usize, spread: i64) -> Vec<Key> {
    (0..count).map(|_| random.i64(-spread..spread)).collect()
}

#[test]
fn however_many_keys_come_in_each_is_found() {
    let mut random = fastrand::Rng::with_seed(5);
    for count in [1, 2, 63, 64, 65, 128, 129, 130, 500, 5_000] {
        for spread in [count as i64, 10_000, 1 << 60] {
            let before: BTreeSet<Key> = random_keys(&mut random, 200, spread).into_iter().collect();
            let mut head = settled(&before);
            let mut table = BTreeSet::new();
            // Several commits, whose cards are handed out in between as far as anybody asks.
            for _ in 0..5 {
                let mut keys = random_keys(&mut random, count, spread);
                table.extend(&keys);
                head.add(&Addition::new(&mut keys));
                let mut taken = Vec::new();
                head.take(Key::MAX, random.usize(0..100), &mut taken);
                table.retain(|key| !taken.contains(key));
            }
            let expected: Vec<Key> = table.iter().copied().collect();
            assert_eq!(drained(&mut head, &table), expected, "{count} in {spread}");
        }
    }
}

#[test]
fn what_comes_in_during_a_scan_is_found() {
    let mut random = fastrand::Rng::with_seed(6);
    for round in 0..300 {
        let mut table: BTreeSet<Key> = random_keys(&mut random, 300, 10_000).into_iter().collect();
        let mut head = Head::unexamined(Key::MIN, 0);
        let mut found = Vec::new();
        for _ in 0..random.usize(0..4) {
            let Some(scan) = head.begin_scan(Key::MAX, 0) else {
                break;
            };
            let inside = table.range(scan.range.from..=scan.range.last());
            let seen: Vec<Key> = inside.take(SCAN).copied().collect();
            let rest = (seen.len() == SCAN).then(|| seen[SCAN - 1] + 1);
            // Read before the commit, and ended after it.
            let mut keys = random_keys(&mut random, 400, 10_000);
            table.extend(&keys);
            head.add(&Addition::new(&mut keys));
            head.end_scan(&scan, &seen, rest);
        }
        found.extend(drained(&mut head, &table));
        assert!(table.iter().eq(found.iter()), "round {round}");
    }
}

#[test]
fn what_a_commit_costs_a_head_does_not_grow_with_its_cards() {
    let mut random = fastrand::Rng::with_seed(7);
    let before: BTreeSet<Key> = random_keys(&mut random, 1_000, 1 << 60)
        .into_iter()
        .collect();
    let mut reads = Vec::new();
    for count in [1_000, 100_000] {
        let mut head = settled(&before);
        // Ranges in many places.
        for key in &before {
            head.forget(Range {
                from: *key,
                to: *key + 1,
            });
        }
        let mut keys = random_keys(&mut random, count, 1 << 60);
        let added = Addition::new(&mut keys);
        added.reads.set(0);
        head.add(&added);
        reads.push(added.reads.get());
    }
    assert!(reads[1] < 1_000, "{reads:?}");
}

fn filter(number: usize) -> Filter {
    let mut filter = Filter::default();
    filter[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    filter
}

pub fn empty_heads() -> Box<Heads> {
    // As in shared memory.
    // SAFETY: zeros are a value of each part: numbers, and `None` of an option.
    let mut heads: Box<Heads> = unsafe { Box::<Heads>::new_zeroed().assume_init() };
    heads.reset();
    heads.forget_audits();
    heads
}

fn is_there(heads: &mut Heads, set: Set) -> bool {
    heads.head(set).is_some()
}

#[test]
fn heads_that_a_panic_left_half_changed_forget_all() {
    let mut heads = empty_heads();
    let set = heads.claims(Filter::default(), 1, 0);
    let resets = heads.resets();
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let mut heads = Changing::begin(&mut heads);
        heads.end_scheduled(&[7]);
        resume_unwind(Box::new("half way"));
    }));
    assert!(broken.is_err());
    assert_eq!(heads.resets(), resets + 1);
    assert!(!is_there(&mut heads, set));
}

#[test]
fn what_a_panic_drops_changes_heads_as_ever() {
    struct GivesBack<'a>(&'a mut Heads, Set);
    impl Drop for GivesBack<'_> {
        fn drop(&mut self) {
            let mut heads = Changing::begin(self.0);
            heads.head(self.1).expect("a head").give_back(&[7]);
        }
    }
    let mut heads = empty_heads();
    let set = heads.claims(Filter::default(), 1, 0);
    let resets = heads.resets();
    let broken = catch_unwind(AssertUnwindSafe(|| {
        let _gives_back = GivesBack(&mut heads, set);
        resume_unwind(Box::new("elsewhere"));
    }));
    assert!(broken.is_err());
    assert_eq!(heads.resets(), resets);
    assert!(heads.head(set).expect("a head").covers(7));
}

#[test]
fn the_head_of_claims_that_name_nothing_never_gives_way() {
    let mut heads = empty_heads();
    let plain = heads.claims(Filter::default(), 1, 0);
    for n in 0..10 * FILTERS {
        heads.claims(filter(n), n as i32 + 2, 1_000_000 * n as i64);
    }
    assert!(is_there(&mut heads, plain));
}

#[test]
fn one_session_with_many_filters_pushes_out_its_own() {
    let mut heads = empty_heads();
    let theirs: Vec<Set> = (0..FILTERS - 2 * SHARE)
        .map(|n| heads.claims(filter(n), 7, 0))
        .collect();
    for n in 0..10 * FILTERS {
        heads.claims(filter(1_000 + n), 8, 1_000_000 * n as i64);
    }
    for set in theirs {
        assert!(is_there(&mut heads, set));
    }
}

#[test]
fn filters_of_sessions_that_come_and_go_do_not_push_out_what_several_use() {
    let mut heads = empty_heads();
    let shared = heads.claims(filter(0), 1, 0);
    let mut now = 0;
    for n in 0..10 * FILTERS {
        now += 1_000;
        heads.claims(filter(1_000 + n), 1_000 + n as i32, now);
        if n % FILTERS == 0 {
            heads.claims(filter(0), 2 + n as i32 / 7, now);
        }
    }
    assert!(is_there(&mut heads, shared));
    // Once nobody asks for it any more, it gives way like others.
    for n in 0..2 * FILTERS {
        now += 1_000_000;
        heads.claims(filter(9_000 + n), 9_000 + n as i32, now);
    }
    assert!(!is_there(&mut heads, shared));
}
