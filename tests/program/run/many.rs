//! One card after the other, and several at a time.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use super::{cards, run, run_json, the_end_of};

fn ids(cards: &[Value]) -> Vec<&str> {
    cards
        .iter()
        .map(|card| card["id"].as_str().expect("an id"))
        .collect()
}

#[test]
fn a_loop_goes_on_until_nothing_can_be_claimed() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.create_after("C", &["B"]);
    s.create("D");
    s.run("select from mosaic.backlog_block('D', 'why')");
    s.create_after("never", &["D"]);
    let (exit, cards) = run_json(&db, &["--loop"], "true");
    assert_eq!(exit, 0);
    assert_eq!(ids(&cards), ["A", "B", "C"]);
    assert_eq!(s.status("never"), "ready");
}

#[test]
fn a_loop_goes_on_after_a_card_that_failed_and_says_so_in_the_end() {
    let db = Database::fresh();
    db.session().create_numbered("c", 3);
    let (exit, cards) = run_json(&db, &["--loop"], "test $MOSAIC_CARD_ID != c2");
    assert_eq!(exit, 10);
    let outcomes: Vec<&Value> = cards.iter().map(|card| &card["outcome"]).collect();
    assert_eq!(outcomes, ["completed", "failed", "completed"]);
}

#[test]
fn without_a_loop_one_round_is_run() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 5);
    let (_, cards) = run_json(&db, &[], "true");
    assert_eq!(ids(&cards), ["c1"]);
    let (_, cards) = run_json(&db, &["--jobs", "3"], "true");
    assert_eq!(cards.len(), 3);
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where status = 'ready'"),
        1
    );
}

#[test]
fn jobs_run_at_the_same_time_under_one_name() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 6);
    let folder = folder::create();
    // Each waits for two others.
    let script = "echo > $MOSAIC_CARD_ID.here
        until test $(ls *.here | wc -l) -ge 3; do sleep 0.02; done";
    let call = run(&["--loop", "--jobs", "3", "--json"], script)
        .on(&db)
        .within(&folder)
        .run();
    let (exit, cards) = cards(call);
    assert_eq!((exit, cards.len()), (0, 6));
    let owners = "select distinct actor from mosaic.backlog_event where kind = 'claimed'";
    assert_eq!(s.column(owners), [json!("w")]);
}

#[test]
fn a_place_that_found_nothing_is_filled_when_a_sibling_opens_cards() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for id in ["B", "C"] {
        s.create_after(id, &["A"]);
    }
    let folder = folder::create();
    let script = "test $MOSAIC_CARD_ID = A && exit
        echo > $MOSAIC_CARD_ID.here
        until test $(ls *.here | wc -l) -ge 2; do sleep 0.02; done";
    let (exit, cards) = cards(
        run(&["--loop", "--jobs", "2", "--json"], script)
            .on(&db)
            .within(&folder)
            .run(),
    );
    assert_eq!((exit, cards.len()), (0, 3));
}

#[test]
fn a_run_that_waits_gets_what_comes_and_ends_when_nothing_does() {
    let db = Database::fresh();
    let mut s = db.session();
    let call = run(&["--loop", "--wait", "3s", "--json"], "true")
        .on(&db)
        .spawn();
    for id in ["A", "B"] {
        s.create(id);
        wait::until("the card is done", || {
            (s.status(id) == "done").then_some(())
        });
    }
    let (exit, cards) = the_end_of(call);
    assert_eq!(exit, 0);
    assert_eq!(ids(&cards), ["A", "B"]);
}
