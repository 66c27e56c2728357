//! Random sequences of all functions, by several sessions while the clock moves: after each
//! call the database and the model of it agree.
//!
//! The sequences are the same in every run. `PROPTEST_CASES=20000 PROPTEST_RNG_SEED=7` tries
//! others; what fails is shrunk, and its seed is kept in `proptest-regressions` as a test. A
//! seed says nothing any more once the strategies change, so what a failure shrank to is also
//! written out in `model_found`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::model::Backlog;
use mosaic_backlog_tests::model::replay::{Compare, Replay, answer};
use mosaic_backlog_tests::model::strategy::{Space, steps};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

const CASES: u32 = 200;
const LONGEST: usize = 50;

fn config() -> Config {
    let given = |name: &str| std::env::var_os(name).is_some();
    let mut config = Config {
        source_file: Some(file!()),
        max_shrink_iters: 5_000,
        ..Config::default()
    };
    if !given("PROPTEST_CASES") {
        config.cases = CASES;
    }
    if !given("PROPTEST_RNG_SEED") {
        config.rng_seed = RngSeed::Fixed(1);
    }
    config
}

#[test]
fn the_database_does_what_the_model_says() {
    let db = Database::fresh();
    let replay = RefCell::new(Replay::new(&db));
    let outcome = TestRunner::new(config()).run(&steps(Space::SMALL, LONGEST), |steps| {
        let mut replay = replay.borrow_mut();
        replay.restart();
        for step in &steps {
            replay
                .step(step, Compare::Everything)
                .map_err(TestCaseError::fail)?;
        }
        replay.stats().map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(why, steps)) => {
            let steps: String = steps.iter().map(|step| format!("\n  {step:?}")).collect();
            panic!("{why}\nafter the steps{steps}");
        }
        Err(error) => panic!("{error}"),
    }
}

/// Which outcomes the sequences reach, by function, without a database.
#[test]
fn the_random_sequences_reach_what_they_are_to_compare() {
    let reached = RefCell::new(BTreeMap::new());
    let config = Config {
        cases: 3 * CASES,
        failure_persistence: None,
        ..config()
    };
    let outcome = TestRunner::new(config).run(&steps(Space::SMALL, LONGEST), |steps| {
        let mut model = Backlog::new();
        for step in &steps {
            let events = model.events.len();
            let outcome = match answer(&mut model, step) {
                Ok(_) if model.events.len() > events => "changed",
                Ok(_) => "repeated",
                Err(code) => code,
            };
            let call = format!("{:?}", step.call);
            let name: String = call.chars().take_while(|c| c.is_alphabetic()).collect();
            *reached
                .borrow_mut()
                .entry(format!("{name} {outcome}"))
                .or_insert(0) += 1;
        }
        Ok(())
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    let reached = reached.into_inner();
    for (call, outcomes) in OUTCOMES {
        for outcome in outcomes.split(' ') {
            let times = reached.get(&format!("{call} {outcome}"));
            assert!(
                times >= Some(&1),
                "{call} {outcome} is not reached: {reached:?}"
            );
        }
    }
}

/// What each function can answer.
const OUTCOMES: [(&str, &str); 20] = [
    (
        "Create",
        "changed repeated invalid_argument not_found id_conflict key_conflict cycle",
    ),
    (
        "CreateMany",
        "changed repeated invalid_argument not_found id_conflict key_conflict cycle",
    ),
    ("Get", "repeated not_found"),
    ("List", "repeated invalid_argument"),
    (
        "Claim",
        "changed repeated invalid_argument not_found already_claimed open_dependencies bad_transition \
         key_conflict claim_lost",
    ),
    ("Renew", "changed invalid_argument not_found claim_lost"),
    ("Release", "changed invalid_argument not_found claim_lost"),
    ("Fail", "changed invalid_argument not_found claim_lost"),
    (
        "Complete",
        "changed repeated not_found claim_lost already_claimed open_dependencies bad_transition unauthorized",
    ),
    (
        "Block",
        "changed repeated invalid_argument not_found claim_lost already_claimed bad_transition",
    ),
    ("Unblock", "changed repeated not_found bad_transition"),
    (
        "Cancel",
        "changed repeated invalid_argument not_found already_claimed bad_transition unauthorized",
    ),
    (
        "Reopen",
        "changed repeated invalid_argument not_found bad_transition unauthorized",
    ),
    (
        "Update",
        "changed repeated invalid_argument not_found unauthorized",
    ),
    (
        "Link",
        "changed repeated invalid_argument not_found cycle bad_transition",
    ),
    (
        "Unlink",
        "changed repeated invalid_argument not_found bad_transition",
    ),
    (
        "Reclaim",
        "changed repeated invalid_argument not_found already_claimed unauthorized",
    ),
    ("Stats", "repeated"),
    ("Why", "repeated not_found"),
    (
        "AssertHeld",
        "repeated invalid_argument not_found claim_lost",
    ),
];
