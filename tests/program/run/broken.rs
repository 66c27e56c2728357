//! A worker that is broken ends before it has used up the cards of the fleet.

use std::time::{Duration, Instant};

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

use super::{run, run_json};

/// Attempts that were charged, card by card, of those that were touched.
fn attempts(s: &mut Session) -> Vec<i64> {
    let charged = "select attempts from mosaic.backlog where attempts > 0 order by claim_order";
    s.column(charged)
        .iter()
        .map(|count| count.as_i64().expect("a number"))
        .collect()
}

/// Cards that do not come back once they failed.
fn create_last_tries(db: &Database, count: i32) {
    db.session().run(&format!(
        "select from generate_series(1, {count}) n
         cross join lateral mosaic.backlog_create('t', id => 'c' || n, max_attempts => 1)"
    ));
}

fn outcomes(cards: &[Value]) -> Vec<&str> {
    let outcome = |card: &'_ Value| -> &str {
        match card["outcome"].as_str() {
            Some("failed") => "failed",
            Some("released") => "released",
            Some("completed") => "completed",
            other => panic!("{other:?}"),
        }
    };
    cards.iter().map(outcome).collect()
}

#[test]
fn a_command_that_always_fails_ends_the_loop_and_does_not_burn_the_cards() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 30);
    let script = "echo 'the key was revoked' >&2; exit 1";
    let outcome = run(&["--loop", "--wait", "--json"], script).on(&db).run();
    assert_eq!(outcome.exit, 9, "{outcome:?}");
    let document: Value = serde_json::from_str(&outcome.stdout).expect("one document");
    let cards = document["cards"].as_array().expect("cards");
    assert_eq!(outcomes(cards), ["failed", "failed", "released"]);
    let error = &document["error"];
    assert_eq!(error["code"], "worker_broken");
    assert_eq!(error["message"], "the command failed on 3 cards in a row");
    assert_eq!(error["retryable"], false);
    let detail = error["detail"].as_str().expect("a detail");
    assert!(
        detail.contains("c1, c2, c3") && detail.contains("the key was revoked"),
        "{detail}"
    );
    // The last card paid nothing, and can be had at once.
    assert_eq!(attempts(&mut s), [1, 1]);
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where status = 'ready'"),
        30
    );
    assert_eq!(
        s.number("select count(*) from mosaic.backlog_list(ready_only => true)"),
        28
    );
    let why = s.text("select detail->>'reason' from mosaic.backlog_event where kind = 'released'");
    assert!(
        why.starts_with("the worker is broken, not the card: exit code 1\nthe key"),
        "{why}"
    );
    // People are told as well.
    let outcome = run(&["--loop"], script).on(&db).run();
    assert_eq!(outcome.exit, 9, "{outcome:?}");
    assert!(
        outcome
            .stderr
            .contains("error: the command failed on 3 cards in a row\n"),
        "{outcome:?}"
    );
}

#[test]
fn between_failures_is_a_pause_that_grows() {
    let db = Database::fresh();
    create_last_tries(&db, 9);
    let start = Instant::now();
    let (exit, cards) = run_json(&db, &["--loop", "--max-failures", "4"], "exit 1");
    assert_eq!((exit, cards.len()), (9, 4));
    // 1, 2 and 4 seconds.
    assert!(
        start.elapsed() >= Duration::from_secs(7),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_card_that_goes_well_or_needs_somebody_else_begins_the_row_again() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 5);
    let mosaic = mosaic_backlog_tests::programs::mosaic().display();
    let script = format!(
        "case $MOSAIC_CARD_ID in
           c2) exit 0 ;;
           c4) {mosaic} backlog block c4 --token $MOSAIC_CLAIM_TOKEN --reason why >&2; exit 0 ;;
           *) exit 1 ;;
         esac"
    );
    let (exit, cards) = run_json(&db, &["--loop", "--max-failures", "2"], &script);
    assert_eq!((exit, cards.len()), (10, 5), "{cards:?}");
    assert_eq!(s.status("c4"), "blocked");
    // Those that were finished and blocked as well.
    assert_eq!(attempts(&mut s), [1, 1, 1, 1, 1]);
}

#[test]
fn one_card_that_fails_again_and_again_is_the_card_s_fault() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', max_attempts => 4)");
    let mosaic = mosaic_backlog_tests::programs::mosaic().display();
    // It comes back at once.
    let script = format!(
        "{mosaic} backlog fail A --token $MOSAIC_CLAIM_TOKEN --reason why --retry-in 0s >&2; exit 1"
    );
    let (exit, cards) = run_json(&db, &["--loop"], &script);
    assert_eq!((exit, cards.len()), (10, 4), "{cards:?}");
    let card = s.card("A");
    assert_eq!(
        (&card["status"], &card["block_kind"]),
        (&json!("blocked"), &json!("attempts"))
    );
}

#[test]
fn with_jobs_the_row_is_shared_and_what_is_at_work_may_end() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 12);
    let folder = folder::create();
    // The first one works on until the worker is known to be broken.
    let script = "test $MOSAIC_CARD_ID = c1 || exit 1
        until test -e broken; do sleep 0.02; done";
    let mut call = run(&["--loop", "--jobs", "4", "--json"], script)
        .on(&db)
        .within(&folder)
        .spawn();
    let released = "select count(*) from mosaic.backlog_event where kind = 'released'";
    mosaic_backlog_tests::wait::until("a card is given back", || {
        (s.number(released) > 0).then_some(())
    });
    assert!(call.try_wait().expect("the call").is_none());
    std::fs::write(folder.join("broken"), "").expect("write");
    let (exit, cards) = super::the_end_of(call);
    assert_eq!(exit, 9, "{cards:?}");
    // In whatever order their ends were told.
    let ends = outcomes(&cards);
    let count = |end: &str| ends.iter().filter(|known| **known == end).count();
    assert_eq!(count("failed"), 2, "{cards:?}");
    assert_eq!(count("completed"), 1, "{cards:?}");
    assert_eq!(s.status("c1"), "done");
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where status = 'claimed'"),
        0
    );
    assert_eq!(
        s.number("select coalesce(sum(attempts), 0) from mosaic.backlog where status = 'ready'"),
        2
    );
}

#[test]
fn with_0_a_worker_goes_on_whatever_fails() {
    let db = Database::fresh();
    create_last_tries(&db, 3);
    let mut s = db.session();
    let (exit, cards) = run_json(&db, &["--loop", "--max-failures", "0"], "exit 1");
    assert_eq!((exit, outcomes(&cards)), (10, vec!["failed"; 3]));
    assert_eq!(attempts(&mut s), [1, 1, 1]);
}

#[test]
fn where_one_failure_is_enough_it_is_told_of_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    let (exit, cards) = run_json(&db, &["--loop", "--max-failures", "1"], "exit 1");
    assert_eq!((exit, outcomes(&cards)), (9, vec!["failed"]));
    assert_eq!(attempts(&mut s), [1]);
}

#[test]
fn not_now_is_no_failure() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 4);
    let (exit, cards) = run_json(&db, &["--loop"], "exit 75");
    assert_eq!((exit, outcomes(&cards)), (10, vec!["released"; 4]));
    assert_eq!(attempts(&mut s), [0_i64; 0]);
}
