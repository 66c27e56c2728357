//! The gate while several write: the counter is right under every interleaving.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::wait;

/// Calls that change the counter of B through A.
const CALLS: [&str; 5] = [
    "select * from mosaic.backlog_link('B', '{A}')",
    "select * from mosaic.backlog_unlink('B', '{A}')",
    "select * from mosaic.backlog_complete('A')",
    "select * from mosaic.backlog_create('t', id => 'C', depends_on => '{A}')",
    "select * from mosaic.backlog_reopen('A', 'why')",
];

/// Runs `first` in an open transaction and `second` beside it, which has to wait; then the
/// first ends. What must hold afterwards is that every counter says what the edges say.
fn interleave(db: &Database, prepare: &[&str], first: &str, second: &str, end: &str) {
    let mut s = db.session();
    s.run("truncate mosaic.backlog, mosaic.backlog_dependency");
    s.create("A");
    s.create("B");
    for step in prepare {
        s.run(step);
    }
    let mut holder = db.session();
    holder.run("begin");
    if holder.attempt(first).is_err() {
        // The call makes no sense in this state.
        return;
    }
    let call = db.session().begin_call(second);
    // Some pairs need not wait, a create beside a create for one; they just end.
    wait::until("the second call waits or ends", || {
        (call.is_finished() || call.is_waiting(&mut s)).then_some(())
    });
    holder.run(end);
    if let Err(refused) = call.answer() {
        assert!(
            ["bad_transition", "id_conflict"].contains(&refused.code.as_str()),
            "{first} beside {second}: {refused:?}"
        );
    }
    s.assert_counters_are_right();
}

#[test]
fn every_pair_of_calls_at_the_same_moment_leaves_the_counter_right() {
    let db = Database::fresh();
    for prepare in [
        &[][..],
        &["select from mosaic.backlog_link('B', '{A}')"],
        &["select from mosaic.backlog_complete('A')"],
        &[
            "select from mosaic.backlog_link('B', '{A}')",
            "select from mosaic.backlog_complete('A')",
        ],
    ] {
        for first in CALLS {
            for second in CALLS {
                for end in ["commit", "rollback"] {
                    interleave(&db, prepare, first, second, end);
                }
            }
        }
    }
}

#[test]
fn a_link_waits_for_a_completion_and_counts_what_it_became() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let mut completer = db.session();
    completer.run("begin");
    completer.complete("A");
    let link = db
        .session()
        .begin_call("select * from mosaic.backlog_link('B', '{A}')")
        .until_it_waits(&db);
    completer.run("commit");
    assert_eq!(link.rows()[0]["open_dependencies"], 0);
    assert_eq!(s.claim_next("w").as_deref(), Some("B"));
}

#[test]
fn a_completion_waits_for_a_link_and_opens_the_new_gate() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let mut linker = db.session();
    linker.run("begin");
    linker.link("B", &["A"]);
    let completion = db
        .session()
        .begin_call("select * from mosaic.backlog_complete('A')")
        .until_it_waits(&db);
    linker.run("commit");
    assert_eq!(completion.rows()[0]["unblocked"], serde_json::json!(["B"]));
    assert_eq!(s.open_dependencies("B"), 0);
    assert_eq!(s.claim_next("w").as_deref(), Some("B"));
}

#[test]
fn a_create_waits_for_the_completion_of_its_dependency() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let mut completer = db.session();
    completer.run("begin");
    completer.complete("A");
    let create = db
        .session()
        .begin_call("select * from mosaic.backlog_create('t', id => 'B', depends_on => '{A}')")
        .until_it_waits(&db);
    completer.run("commit");
    assert_eq!(create.rows()[0]["open_dependencies"], 0);
    s.assert_counters_are_right();
}

#[test]
fn a_completion_waits_for_the_creation_of_a_dependent_and_opens_it() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let mut creator = db.session();
    creator.run("begin");
    creator.create_after("B", &["A"]);
    let completion = db
        .session()
        .begin_call("select * from mosaic.backlog_complete('A')")
        .until_it_waits(&db);
    creator.run("commit");
    assert_eq!(completion.rows()[0]["unblocked"], serde_json::json!(["B"]));
    assert_eq!(s.open_dependencies("B"), 0);
}

#[test]
fn creates_of_dependents_of_one_card_do_not_wait_for_each_other() {
    let db = Database::fresh();
    db.session().create("A");
    let mut first = db.session();
    first.run("begin");
    first.create_after("B", &["A"]);
    db.session().create_after("C", &["A"]);
    first.run("commit");
    db.session().assert_counters_are_right();
}

#[test]
fn a_claim_of_a_card_under_completion_waits_and_hears_that_it_is_done() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    let mut completer = db.session();
    completer.run("begin");
    completer.complete("A");
    let claim = db
        .session()
        .begin_call("select * from mosaic.backlog_claim('w', id => 'B')")
        .until_it_waits(&db);
    completer.run("commit");
    assert_eq!(claim.rows()[0]["id"], "B");
}

/// A process that gets no time, until this is dropped.
struct Stopped(u32);

impl Stopped {
    fn process(pid: u32) -> Self {
        signal("STOP", pid);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal("CONT", self.0);
    }
}

/// A link of C to A begins in the moment in which A is changed, and gets no time until A has become something
/// else. Its snapshot, and the version of the row that it found, are of before the change.
fn linked_late(prepare: &[&str], link: &str, then: &str, open: i64) {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    for step in prepare {
        s.run(step);
    }
    let mut changer = db.session();
    changer.run("begin");
    changer.run("update mosaic.backlog set updated_at = updated_at where id = 'A'");
    changer.run("select from mosaic.backlog where id = 'A' for update");
    let mut linker = db.session();
    let pid = u32::try_from(linker.pid()).expect("a process");
    let call = linker.begin_call(link).until_it_waits(&db);
    let stopped = Stopped::process(pid);
    changer.run("commit");
    s.run(then);
    drop(stopped);
    call.rows();
    s.assert_counters_are_right();
    assert_eq!(s.open_dependencies("C"), open, "{link}, {then}");
}

const CREATE: &str = "select * from mosaic.backlog_create('t', id => 'C', depends_on => '{A}')";
const CREATE_ALONE: &str = "select from mosaic.backlog_create('t', id => 'C')";
const UNLINK: &str = "select * from mosaic.backlog_unlink('C', '{A}')";
const LINK: &str = "select * from mosaic.backlog_link('C', '{A}')";
const COMPLETE: &str = "select from mosaic.backlog_complete('A')";
const REOPEN: &str = "select from mosaic.backlog_reopen('A', 'why')";

#[test]
fn a_link_that_began_before_a_completion_and_ends_behind_it_waits_for_nothing() {
    linked_late(&[], CREATE, COMPLETE, 0);
    linked_late(&[CREATE_ALONE], LINK, COMPLETE, 0);
    linked_late(&[CREATE], UNLINK, COMPLETE, 0);
}

#[test]
fn a_link_that_began_before_a_card_was_reopened_and_ends_behind_it_waits_for_it() {
    linked_late(&[COMPLETE], CREATE, REOPEN, 1);
    linked_late(&[COMPLETE, CREATE_ALONE], LINK, REOPEN, 1);
    linked_late(&[COMPLETE, CREATE], UNLINK, REOPEN, 0);
}

#[test]
fn a_storm_of_every_verb_leaves_every_counter_right() {
    let db = Database::fresh();
    db.session().create_numbered("c", 12);
    together(&db, 12, |number, s| {
        for round in 0..30 {
            // A different walk for every session, the same on every run.
            let step = number * 7919 + round * 104_729;
            let (a, b) = (step % 12 + 1, (step / 12) % 12 + 1);
            let call = match (number + round) % 6 {
                0 | 1 => format!("link('c{a}', '{{c{b}}}')"),
                2 => format!("unlink('c{a}', '{{c{b}}}')"),
                3 => format!("complete('c{a}', force => true)"),
                4 => format!("reopen('c{a}', 'why')"),
                _ => format!("create('t', depends_on => '{{c{a},c{b}}}')"),
            };
            if let Err(refused) = s.attempt(&format!("select * from mosaic.backlog_{call}")) {
                assert!(
                    ["cycle", "bad_transition"].contains(&refused.code.as_str()),
                    "{call}: {refused:?}"
                );
            }
        }
    });
    db.session().assert_counters_are_right();
}
