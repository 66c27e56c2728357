//! Many workers at the same moment, and all that they were told holds.

use mosaic_backlog_tests::checker::assert_kept;
use mosaic_backlog_tests::damage;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::faults::Strain;
use mosaic_backlog_tests::load::{self, Load, Plan, Target};
use mosaic_backlog_tests::pooler::Pooler;
use mosaic_backlog_tests::record::{self, Record};
use mosaic_backlog_tests::{folder, wait};

/// Runs load until so many calls were made.
pub fn run(db: &Database, target: &Target, plan: Plan, calls: usize) -> Record {
    load::prepare(&mut db.session(), false);
    go(db, target, plan, calls)
}

/// The same in a database that was prepared.
pub fn go(db: &Database, target: &Target, plan: Plan, calls: usize) -> Record {
    println!("seed {}", plan.seed);
    let load = Load::start(target, plan);
    wait::until("calls", || {
        (load.recorder().look(<[_]>::len) >= calls).then_some(())
    });
    load.finish(target, &mut db.session())
}

pub fn target(db: &Database) -> Target {
    Target {
        config: db.config("operator"),
        url: db.url("operator"),
    }
}

#[test]
fn under_load_nothing_is_lost_doubled_or_passed_over() {
    let db = Database::fresh();
    let plan = Plan {
        programs: 1,
        ..Plan::new(fastrand::u64(..))
    };
    let record = run(&db, &target(&db), plan, 6_000);
    assert_kept(&record);
    damage::assert_none(&mut db.session());
}

#[test]
fn under_load_whose_claims_claim_more_nothing_is_lost_doubled_or_passed_over() {
    let db = Database::fresh();
    load::prepare(&mut db.session(), true);
    let record = go(&db, &target(&db), Plan::new(fastrand::u64(..)), 4_000);
    assert_kept(&record);
    assert!(Strain::of(&record).in_claims > 0);
    damage::assert_none(&mut db.session());
}

#[test]
fn a_record_is_checked_again_from_its_file() {
    let db = Database::fresh();
    let record = run(&db, &target(&db), Plan::new(fastrand::u64(..)), 500);
    let folder = folder::create();
    let file = folder.join("record");
    record::write(&record, &file).expect("write");
    let again = record::read(&file).expect("read");
    assert_eq!(again.entries.len(), record.entries.len());
    assert_eq!(again.backlog.events.len(), record.backlog.events.len());
    assert_kept(&again);
    let text = std::fs::read_to_string(&file).expect("read");
    let (cut, _) = text.trim_end().rsplit_once('\n').expect("lines");
    std::fs::write(&file, cut).expect("write");
    assert!(record::read(&file).is_err(), "a file that was cut off");
}

#[test]
fn under_load_through_a_transaction_pooler_nothing_is_lost_doubled_or_passed_over() {
    let db = Database::fresh();
    let pooler = Pooler::start(&db, 4);
    let target = Target {
        config: pooler.config("operator"),
        url: pooler.url("operator"),
    };
    let record = run(&db, &target, Plan::new(fastrand::u64(..)), 2_000);
    assert_kept(&record);
}
