//! The arithmetic of the figures.

use mosaic_backlog_tests::database::Database;
use serde_json::{Value, json};

/// Five ready cards, of which two are claimable; and the other states.
const CARDS: &str = "
    set mosaic.clock = '2030-01-01 10:00+00';
    select from mosaic.backlog_create('t', id => 'free', phase => 'p');
    set mosaic.clock = '2030-01-01 11:00+00';
    select from mosaic.backlog_create('t', id => 'free2');
    select from mosaic.backlog_create('t', id => 'gated', depends_on => '{free}');
    select from mosaic.backlog_create('t', id => 'gated-and-deferred', depends_on => '{free}', not_before => '2100-01-01');
    select from mosaic.backlog_create('t', id => 'deferred', not_before => '2100-01-01', phase => 'p');
    select from mosaic.backlog_create('t', id => 'live1');
    select from mosaic.backlog_create('t', id => 'live2', phase => 'p');
    select from mosaic.backlog_create('t', id => 'expired');
    select from mosaic.backlog_create('t', id => 'blocked');
    select from mosaic.backlog_create('t', id => 'done1', phase => 'p');
    select from mosaic.backlog_create('t', id => 'done2');
    select from mosaic.backlog_create('t', id => 'cancelled');
    set mosaic.clock = '2030-01-01 11:30+00';
    select from mosaic.backlog_claim('w1', '1 hour', id => 'live1');
    select from mosaic.backlog_claim('w1', '1 hour', id => 'live2');
    select from mosaic.backlog_claim('w2', '1 min', id => 'expired');
    select from mosaic.backlog_block('blocked', 'why');
    select from mosaic.backlog_complete('done1');
    select from mosaic.backlog_complete('done2');
    select from mosaic.backlog_cancel('cancelled', 'why');
    set mosaic.clock = '2030-01-01 11:40+00'";

#[test]
fn every_count_is_right() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(CARDS);
    let stats = s.row("select * from mosaic.backlog_stats()");
    for (column, value) in [
        ("ready", json!(5)),
        ("claimed", json!(3)),
        ("blocked", json!(1)),
        ("done", json!(2)),
        ("cancelled", json!(1)),
        ("claimable", json!(2)),
        ("gated", json!(2)),
        ("deferred", json!(1)),
        ("expired_leases", json!(1)),
        ("oldest_claimable_seconds", json!(6000)),
        ("by_owner", json!({"w1": 2, "w2": 1})),
        ("created_last_hour", json!(11)),
        ("completed_last_hour", json!(2)),
        ("failed_last_hour", json!(0)),
        ("lapsed_last_hour", json!(0)),
        ("wait_p50_seconds", json!(1800.0)),
        ("wait_p95_seconds", json!(1800.0)),
        ("cycle_p50_seconds", json!(1800.0)),
        ("cycle_p95_seconds", json!(1800.0)),
    ] {
        assert_eq!(as_number(&stats[column]), as_number(&value), "{column}");
    }
    // Nothing is counted twice or left out.
    let sum: i64 = ["ready", "claimed", "blocked", "done", "cancelled"]
        .iter()
        .map(|status| stats[*status].as_i64().expect("a count"))
        .sum();
    assert_eq!(sum, s.number("select count(*) from mosaic.backlog"));
    assert_eq!(
        stats["ready"].as_i64(),
        ["claimable", "gated", "deferred"]
            .iter()
            .map(|part| stats[*part].as_i64())
            .sum()
    );
}

/// A whole number and the same with a fraction of nothing are equal.
fn as_number(value: &Value) -> Value {
    value.as_f64().map_or_else(|| value.clone(), Value::from)
}

#[test]
fn a_phase_counts_its_own_cards_alone() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(CARDS);
    let stats = s.row("select * from mosaic.backlog_stats('p')");
    for (column, value) in [
        ("ready", json!(2)),
        ("claimed", json!(1)),
        ("blocked", json!(0)),
        ("done", json!(1)),
        ("cancelled", json!(0)),
        ("claimable", json!(1)),
        ("gated", json!(0)),
        ("deferred", json!(1)),
        ("expired_leases", json!(0)),
        ("by_owner", json!({"w1": 1})),
        ("created_last_hour", json!(3)),
        ("completed_last_hour", json!(1)),
    ] {
        assert_eq!(stats[column], value, "{column}");
    }
}

#[test]
fn what_is_claimable_by_the_figures_is_what_claims_hand_out() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(CARDS);
    let claimable = s.number("select claimable + expired_leases from mosaic.backlog_stats()");
    assert_eq!(
        s.number("select count(*) from mosaic.backlog_claim('w', max_cards => 1000)"),
        claimable
    );
}

#[test]
fn an_empty_backlog_has_zero_of_everything_and_no_ages() {
    let db = Database::fresh();
    let stats = db.session().row("select * from mosaic.backlog_stats()");
    for (column, value) in stats.as_object().expect("an object") {
        let expected = match column.as_str() {
            "by_owner" => json!({}),
            name if name.ends_with("seconds") => Value::Null,
            _ => json!(0),
        };
        assert_eq!(*value, expected, "{column}");
    }
}

#[test]
fn waiting_times_count_from_when_a_card_became_claimable() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "set mosaic.clock = '2030-01-01 10:00+00';
         select from mosaic.backlog_create('t', id => 'A');
         select from mosaic.backlog_create('t', id => 'gated', depends_on => '{A}');
         select from mosaic.backlog_create('t', id => 'deferred', not_before => '2030-01-01 10:50+00');
         set mosaic.clock = '2030-01-01 10:40+00';
         select from mosaic.backlog_complete('A');
         set mosaic.clock = '2030-01-01 11:00+00'",
    );
    assert_eq!(
        s.number("select oldest_claimable_seconds from mosaic.backlog_stats()"),
        1200
    );
    s.claim("gated", "w");
    s.claim("deferred", "w");
    let stats = s.row("select wait_p50_seconds, wait_p95_seconds from mosaic.backlog_stats()");
    // 20 and 10 minutes.
    assert_eq!(stats["wait_p50_seconds"].as_f64(), Some(900.0));
    assert_eq!(stats["wait_p95_seconds"].as_f64(), Some(1170.0));
}

#[test]
fn the_last_hour_counts_failures_and_lapses_and_forgets_what_is_older() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2030-01-01 10:00+00'");
    s.create_numbered("c", 3);
    s.complete("c3");
    let token = s.claim("c1", "w");
    s.run(&format!(
        "select from mosaic.backlog_fail('c1', {token}, 'why')"
    ));
    s.claim("c2", "w");
    s.run("set mosaic.clock = '2030-01-01 10:30+00'; select from mosaic.backlog_reclaim()");
    let figures = "select created_last_hour, completed_last_hour, failed_last_hour, lapsed_last_hour from mosaic.backlog_stats()";
    for (time, figure, lapsed) in [
        ("10:30", json!([3, 1, 1]), 1),
        ("10:59:59.999999", json!([3, 1, 1]), 1),
        ("11:00", json!([0, 0, 0]), 1),
        ("11:30", json!([0, 0, 0]), 0),
    ] {
        s.run(&format!("set mosaic.clock = '2030-01-01 {time}+00'"));
        assert_eq!(
            s.row(figures),
            json!({"created_last_hour": figure[0], "completed_last_hour": figure[1],
                   "failed_last_hour": figure[2], "lapsed_last_hour": lapsed}),
            "{time}"
        );
    }
}

#[test]
fn the_age_of_the_oldest_counts_from_when_it_became_claimable() {
    const AGE: &str = "select oldest_claimable_seconds from mosaic.backlog_stats()";
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2030-01-01 10:00+00'");
    s.create("A");
    s.create_after("B", &["A"]);
    s.create_after("C", &["A"]);
    s.run("set mosaic.clock = '2030-01-01 10:10+00'");
    assert_eq!(s.number(AGE), 600);
    // By an unlink, by the end of a delay, and by a completion.
    s.run("select from mosaic.backlog_unlink('C', '{A}')");
    let holds_a = s.claim("A", "w");
    assert_eq!(s.number(AGE), 0);
    s.run("set mosaic.clock = '2030-01-01 10:11+00'");
    assert_eq!(s.number(AGE), 60);
    let token = s.claim("C", "w");
    assert_eq!(s.value(AGE), Value::Null);
    s.run(&format!(
        "select from mosaic.backlog_release('C', {token}, '5 min')"
    ));
    s.run("set mosaic.clock = '2030-01-01 10:18+00'");
    assert_eq!(s.number(AGE), 120);
    s.claim("C", "w");
    s.run(&format!(
        "select from mosaic.backlog_complete('A', {holds_a})"
    ));
    s.run("set mosaic.clock = '2030-01-01 10:19+00'");
    assert_eq!(s.number(AGE), 60);
}

#[test]
fn cycles_count_from_creation_to_done() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2030-01-01 10:00+00'");
    s.create_numbered("c", 3);
    for (id, time) in [("c1", "10:00:10"), ("c2", "10:00:20"), ("c3", "10:01:00")] {
        s.run(&format!("set mosaic.clock = '2030-01-01 {time}+00'"));
        s.complete(id);
    }
    let stats = s.row("select cycle_p50_seconds, cycle_p95_seconds from mosaic.backlog_stats()");
    assert_eq!(stats["cycle_p50_seconds"].as_f64(), Some(20.0));
    assert_eq!(stats["cycle_p95_seconds"].as_f64(), Some(56.0));
}

#[test]
fn a_quarantined_card_counts_by_how_its_last_attempt_ended() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.max_attempts = 1; set mosaic.clock = '2030-01-01 10:00+00'");
    s.create("A");
    s.create("B");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_fail('A', {token}, 'why')"
    ));
    s.claim("B", "w");
    s.run("set mosaic.clock = '2030-01-01 10:15+00'; select from mosaic.backlog_reclaim()");
    assert_eq!(
        s.row("select blocked, failed_last_hour, lapsed_last_hour from mosaic.backlog_stats()"),
        json!({"blocked": 2, "failed_last_hour": 1, "lapsed_last_hour": 1})
    );
}
