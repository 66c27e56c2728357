//! Following the history.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;

/// All numbers of events, shown or not.
fn committed(s: &mut Session) -> Vec<i64> {
    let all = s.column("select event_id from mosaic.backlog_event order by event_id");
    all.iter().filter_map(|id| id.as_i64()).collect()
}

/// Reads on from a cursor; the numbers of the events.
fn follow(s: &mut Session, after: &mut Option<String>, max: usize) -> Vec<i64> {
    let from = after
        .as_ref()
        .map_or("null".to_owned(), |cursor| format!("'{cursor}'"));
    let rows = s.rows(&format!(
        "select event_id, cursor from mosaic.backlog_events(after => {from}, max_events => {max})"
    ));
    assert!(rows.len() <= max);
    if let Some(last) = rows.last() {
        *after = Some(last["cursor"].as_str().expect("a cursor").to_owned());
    }
    rows.iter()
        .map(|row| row["event_id"].as_i64().expect("a number"))
        .collect()
}

/// Follows to the newest event. Transactions of other databases hold a reader up as well.
fn follow_to_the_end(s: &mut Session, after: &mut Option<String>, max: usize) -> Vec<i64> {
    let newest = committed(s).last().map(i64::to_string);
    let mut seen = Vec::new();
    wait::until("the newest event is shown", || {
        seen.extend(follow(s, after, max));
        (*after == newest).then_some(())
    });
    seen
}

#[test]
fn pages_of_the_history_follow_each_other_without_gap_or_repeat() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 23);
    for size in [1, 5, 23, 100] {
        let mut after = None;
        assert_eq!(
            follow_to_the_end(&mut s, &mut after, size),
            committed(&mut s)
        );
        assert!(follow(&mut s, &mut after, size).is_empty());
    }
}

#[test]
fn the_history_of_one_card_is_its_own() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.complete("A");
    assert_eq!(
        s.column("select kind from mosaic.backlog_events('A')"),
        ["created", "completed"]
    );
    assert!(
        s.rows("select * from mosaic.backlog_events('nope')")
            .is_empty()
    );
}

#[test]
fn a_reader_does_not_pass_an_event_that_is_not_committed_yet() {
    let db = Database::fresh();
    let mut reader = db.session();
    let mut early = db.session();
    early.run("begin");
    early.create("early");
    // A larger number, committed first.
    db.session().create("late");
    let mut after = None;
    assert_eq!(follow(&mut reader, &mut after, 100), Vec::<i64>::new());
    early.run("commit");
    assert_eq!(follow_to_the_end(&mut reader, &mut after, 100).len(), 2);
}

#[test]
fn a_reader_does_not_pass_an_event_of_a_transaction_that_began_later() {
    let db = Database::fresh();
    let mut reader = db.session();
    reader.run("create table own_work (n int)");
    // This transaction has the older id, and draws the larger number.
    let mut older = db.session();
    older.run("begin; insert into own_work values (1)");
    let mut younger = db.session();
    younger.run("begin");
    younger.create("first");
    older.create("second");
    older.run("commit");
    let mut after = None;
    let shown = follow(&mut reader, &mut after, 100);
    younger.run("commit");
    let second = committed(&mut reader)[1];
    assert!(
        !shown.contains(&second),
        "{shown:?} passed an event that was not committed"
    );
    assert_eq!(follow_to_the_end(&mut reader, &mut after, 100).len(), 2);
}

#[test]
fn a_reader_goes_on_when_the_transaction_that_held_it_up_rolls_back() {
    let db = Database::fresh();
    let mut reader = db.session();
    let mut early = db.session();
    early.run("begin");
    early.create("early");
    db.session().create("late");
    early.run("rollback");
    assert_eq!(follow_to_the_end(&mut reader, &mut None, 100).len(), 1);
}

#[test]
fn a_reader_that_follows_beside_many_writers_misses_nothing() {
    let db = Database::fresh();
    let writers = 8;
    let finished = std::sync::atomic::AtomicUsize::new(0);
    let seen = mosaic_backlog_tests::calls::together(&db, writers + 1, |number, s| {
        use std::sync::atomic::Ordering::SeqCst;
        if number < writers {
            for n in 0..60 {
                // Some transactions stay open a while, some roll back.
                s.run("begin");
                s.create(&format!("c{number}-{n}"));
                s.create(&format!("d{number}-{n}"));
                s.run(if n % 5 == 0 { "rollback" } else { "commit" });
            }
            finished.fetch_add(1, SeqCst);
            return Vec::new();
        }
        let mut after = None;
        let mut seen = Vec::new();
        loop {
            let over = finished.load(SeqCst) == writers;
            seen.extend(follow(s, &mut after, 50));
            if over {
                seen.extend(follow_to_the_end(s, &mut after, 50));
                return seen;
            }
        }
    });
    let all = committed(&mut db.session());
    assert_eq!(all.len(), writers * 48 * 2);
    let missed: Vec<_> = all
        .iter()
        .filter(|id| !seen[writers].contains(id))
        .collect();
    assert!(missed.is_empty(), "missed {missed:?}");
    assert_eq!(seen[writers].len(), all.len());
}

#[test]
fn a_cursor_that_is_none_is_refused() {
    let db = Database::fresh();
    let mut s = db.session();
    for cursor in ["", "x", "1.5", "99999999999999999999"] {
        assert_eq!(
            s.code(&format!(
                "select * from mosaic.backlog_events(after => '{cursor}')"
            )),
            "invalid_argument",
            "{cursor:?}"
        );
    }
}

#[test]
fn a_refused_call_leaves_no_event() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.claim("A", "w");
    let events = s.events();
    s.code("select * from mosaic.backlog_complete('A', 987654)");
    s.code("select * from mosaic.backlog_link('A', '{A}')");
    assert_eq!(s.events(), events);
}

#[test]
fn the_events_of_a_card_are_paged_by_cursor() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    for n in 0..5 {
        s.run(&format!(
            "select from mosaic.backlog_update('A', title => 't{n}'); select from mosaic.backlog_update('B', title => 't{n}')"
        ));
    }
    let mut after = "0".to_owned();
    for expected in [4, 2, 0] {
        let page = s.rows(&format!(
            "select card_id, cursor from mosaic.backlog_events('A', after => '{after}', max_events => 4)"
        ));
        assert_eq!(page.len(), expected);
        for event in page {
            assert_eq!(event["card_id"], "A");
            after = event["cursor"].as_str().expect("a cursor").to_owned();
        }
    }
}

#[test]
fn events_of_a_running_transaction_are_not_passed_yet() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("begin");
    s.create("A");
    assert_eq!(follow(&mut s, &mut None, 100), Vec::<i64>::new());
}

#[test]
fn the_history_outlives_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("delete from mosaic.backlog");
    let kinds = s.column("select kind from mosaic.backlog_events('A')");
    assert_eq!(kinds, ["created"]);
}
