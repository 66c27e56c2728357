//! Audits of the frontier, against everything that may be wrong in it.
//!
//! Sessions create, claim, let times come, look, roll back and are killed between any two steps,
//! by the extension's own heads and by its rules. Each planted bug breaks one of the rules. Without
//! audits each loses cards or holds claims up; with them every card is handed out all the same. And
//! where nothing is broken, no audit takes a card for lost.

mod bug;
mod session;
mod world;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use bug::{Bug, EACH};
use session::Session;
use world::World;

/// Sessions at work at the same time.
const SESSIONS: usize = 4;
/// Steps of all of them together.
const STEPS: usize = 1_500;
/// How old a proof may be, in steps.
const INTERVAL: i64 = 200;
/// Intervals after which all is handed out, at the latest.
const BOUND: i64 = 30;

/// What a run has come to.
#[derive(Debug, Default)]
struct Outcome {
    /// Cards that nobody was handed although all was quiet.
    left: usize,
    /// A claim was held up although nobody else was there.
    held_up: bool,
    /// What audits took for lost, and for stuck.
    lost: u64,
    stuck: u64,
    audits: u64,
}

impl Outcome {
    fn is_harmed(&self) -> bool {
        self.left > 0 || self.held_up
    }
}

type Life = Pin<Box<dyn Future<Output = ()>>>;

fn goes_on(life: &mut Life) -> bool {
    life.as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_pending()
}

fn to_its_end(mut life: Life) {
    while goes_on(&mut life) {}
}

/// `interval`: of audits; `None`: there are none.
fn run(seed: u64, interval: Option<i64>, bug: Option<Bug>) -> Outcome {
    let world = Rc::new(RefCell::new(World::new(seed, interval, bug)));
    let session = |number| Session::new(&world, number);
    let mut lives: Vec<Life> = (0..SESSIONS)
        .map(|number| Box::pin(session(number).live()) as Life)
        .collect();
    for _ in 0..STEPS {
        let (number, is_killed) = world.borrow_mut().tick(SESSIONS);
        if is_killed {
            lives[number] = Box::pin(session(number).die_and_live());
        }
        goes_on(&mut lives[number]);
    }
    for (number, mut life) in lives.into_iter().enumerate() {
        while world.borrow().pending[number].is_ending {
            goes_on(&mut life);
        }
        drop(life);
        to_its_end(Box::pin(session(number).die()));
    }
    // All is quiet. One session is left.
    let mut outcome = Outcome::default();
    for round in 0..=BOUND {
        world.borrow_mut().pass(INTERVAL + 1);
        world.borrow_mut().waits = 0;
        to_its_end(Box::pin(session(SESSIONS).drain()));
        // With the belt on, the last rounds count.
        outcome.held_up = world.borrow().waits > 0;
        if interval.is_none() && round > 1 {
            break;
        }
    }
    let world = world.borrow();
    let audits = world.heads.audits();
    outcome.left = world.left();
    (outcome.lost, outcome.stuck, outcome.audits) = (audits.lost, audits.stuck, audits.count);
    outcome
}

#[test]
fn without_a_bug_all_is_handed_out_and_no_audit_takes_anything_for_lost() {
    let mut audits = 0;
    for seed in 0..400 {
        let alone = run(seed, None, None);
        assert!(!alone.is_harmed(), "seed {seed}: {alone:?}");
        // Audits as often as can be, and now and then.
        for interval in [1, INTERVAL] {
            let outcome = run(seed, Some(interval), None);
            assert!(!outcome.is_harmed(), "seed {seed}: {outcome:?}");
            assert_eq!((outcome.lost, outcome.stuck), (0, 0), "seed {seed}");
            audits += outcome.audits;
        }
    }
    assert!(audits > 10_000, "{audits}");
}

#[test]
fn each_bug_does_harm_without_audits_and_none_with_them() {
    assert!(EACH.len() >= 25);
    for bug in EACH {
        let harmful = (0..3_000).find(|seed| run(*seed, None, Some(bug)).is_harmed());
        let Some(seed) = harmful else {
            panic!("{bug:?} is never seen");
        };
        for seed in [seed].into_iter().chain(0..20) {
            let outcome = run(seed, Some(INTERVAL), Some(bug));
            assert!(!outcome.is_harmed(), "{bug:?}, seed {seed}: {outcome:?}");
        }
    }
}
