//! Workers that fail one card after the other.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::session::Session;
use serde_json::{Value, json};

fn fail(s: &mut Session, worker: &str, id: &str, reason: &str) {
    let token = s.claim(id, worker);
    s.run(&format!(
        "select from mosaic.backlog_fail('{id}', {token}, '{reason}', '0')"
    ));
}

fn failing(s: &mut Session) -> Vec<Value> {
    s.rows("select worker, cards, last_card, last_reason from mosaic.backlog_failing_workers()")
}

fn finding(s: &mut Session) -> Value {
    s.row("select state, detail from mosaic.backlog_doctor() where name = 'failing_workers'")
}

#[test]
fn a_worker_that_fails_one_card_after_the_other_is_named() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 6);
    assert_eq!(finding(&mut s)["state"], "ok");
    // The same card again and again is the card's fault.
    for _ in 0..4 {
        fail(&mut s, "w7", "c1", "401 Unauthorized");
    }
    fail(&mut s, "w7", "c2", "401 Unauthorized");
    assert!(failing(&mut s).is_empty());
    fail(&mut s, "w7", "c3", "the key is revoked");
    // Another worker fails too, and completes in between, as whoever.
    for id in ["c4", "c5"] {
        fail(&mut s, "w8", id, "flaky");
    }
    let token = s.claim("c4", "w8");
    s.run(&format!(
        "select from mosaic.backlog_complete('c4', {token})"
    ));
    fail(&mut s, "w8", "c6", "flaky");
    let expected = [
        json!({"worker": "w7", "cards": 3, "last_card": "c3", "last_reason": "the key is revoked"}),
    ];
    assert_eq!(failing(&mut s), expected);
    let finding = finding(&mut s);
    assert_eq!(
        finding,
        json!({"state": "warning",
            "detail": "Worker w7 failed 3 different cards in a row, last for: the key is revoked."})
    );
    let stats = backlog(&["stats"]).on_as(&db, "reader").json();
    assert_eq!(stats["failing_workers"][0]["worker"], "w7");
    let text = mosaic(&["backlog", "stats"])
        .on_as(&db, "reader")
        .run()
        .stdout;
    assert!(
        text.contains("w7 failed 3 cards in a row, last c3: the key is revoked"),
        "{text}"
    );
    // It is mended.
    let token = s.claim("c2", "w7");
    s.run(&format!(
        "select from mosaic.backlog_complete('c2', {token})"
    ));
    assert!(failing(&mut s).is_empty());
}

#[test]
fn a_streak_is_of_the_last_hour_and_of_the_newest_events() {
    let db = Database::fresh();
    db.fix_clock("2026-01-01 09:00Z");
    let mut s = db.session();
    s.create_numbered("c", 3);
    for id in ["c1", "c2", "c3"] {
        fail(&mut s, "w", id, "no");
    }
    assert_eq!(failing(&mut s).len(), 1);
    s.run("set mosaic.clock = '2026-01-01 10:01Z'");
    assert!(failing(&mut s).is_empty());
    s.run("set mosaic.clock = '2026-01-01 09:30Z'");
    s.create_numbered("more", 10_000);
    assert!(failing(&mut s).is_empty());
    for (argument, code) in [("0", "invalid_argument"), ("null", "invalid_argument")] {
        let call = format!("select * from mosaic.backlog_failing_workers({argument})");
        assert_eq!(s.code(&call), code);
    }
}
