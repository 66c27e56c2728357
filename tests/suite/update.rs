//! Changing what a card says.

use mosaic_backlog_tests::database::Database;
use serde_json::{Value, json};

#[test]
fn given_fields_change_and_others_stay() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'A', body => 'b', phase => 'p', priority => 3,
           labels => '{x}', requires => '{r}', acceptance => '{}', not_before => '2030-01-01', max_attempts => 9)",
    );
    let before = s.row("select * from mosaic.backlog_update('A')");
    for (argument, column, value) in [
        ("title => 'new'", "title", json!("new")),
        ("body => ''", "body", json!("")),
        ("phase => 'q'", "phase", json!("q")),
        ("priority => 0", "priority", json!(0)),
        ("labels => '{}'", "labels", json!([])),
        ("requires => '{b,a,b}'", "requires", json!(["a", "b"])),
        ("acceptance => '[1]'", "acceptance", json!([1])),
        (
            "not_before => '2031-01-01'",
            "not_before",
            json!("2031-01-01T00:00:00+00:00"),
        ),
        ("max_attempts => 1", "max_attempts", json!(1)),
    ] {
        s.run("begin");
        let mut after = s.row(&format!(
            "select * from mosaic.backlog_update('A', {argument})"
        ));
        assert_eq!(after[column], value, "{argument}");
        after[column] = before[column].clone();
        after["updated_at"] = before["updated_at"].clone();
        assert_eq!(after, before, "{argument}");
        s.run("rollback");
    }
}

#[test]
fn clear_sets_the_named_fields_to_null() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'A', body => 'b', phase => 'p', acceptance => '{}',
           not_before => '2030-01-01', max_attempts => 9)",
    );
    let card = s.row("select * from mosaic.backlog_update('A', clear => '{body,phase,acceptance,not_before,max_attempts}')");
    for column in ["body", "phase", "acceptance", "not_before", "max_attempts"] {
        assert_eq!(card[column], Value::Null, "{column}");
    }
    for clear in ["title", "id", "status", "nope", "priority", "claim_token"] {
        assert_eq!(
            s.code(&format!(
                "select * from mosaic.backlog_update('A', clear => '{{{clear}}}')"
            )),
            "invalid_argument",
            "{clear}"
        );
    }
    assert_eq!(
        s.value("select detail -> 'body' from mosaic.backlog_events('A') where kind = 'updated'"),
        json!({"old": "b", "new": null})
    );
    assert_eq!(
        s.code("select * from mosaic.backlog_update('A', body => 'b', clear => '{body}')"),
        "invalid_argument"
    );
}

#[test]
fn the_history_keeps_the_old_and_the_new_value() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("select from mosaic.backlog_update('A', title => 'new', priority => 4, labels => '{y}', phase => null, actor => 'boss')");
    let event = s.row("select * from mosaic.backlog_events('A') where kind = 'updated'");
    assert_eq!(event["actor"], "boss");
    assert_eq!(
        event["detail"],
        json!({"title": {"old": "A", "new": "new"}, "priority": {"old": 0, "new": 4},
               "labels": {"old": [], "new": ["y"]}})
    );
    assert_eq!(event["old_status"], "ready");
    assert_eq!(event["new_status"], "ready");
}

#[test]
fn a_claimed_card_keeps_its_lease_when_it_is_updated() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    s.run("select from mosaic.backlog_update('A', title => 'new', requires => '{gpu}', not_before => '2100-01-01')");
    assert_eq!(s.token("A"), Some(token));
    s.run(&format!(
        "select from mosaic.backlog_complete('A', {token})"
    ));
}

#[test]
fn a_maximum_below_what_is_used_up_quarantines_the_card() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for _ in 0..2 {
        let token = s.claim("A", "w");
        s.run(&format!(
            "select from mosaic.backlog_fail('A', {token}, 'why', '0')"
        ));
    }
    let card = s.row("select * from mosaic.backlog_update('A', max_attempts => 2)");
    assert_eq!(card["status"], "blocked");
    assert_eq!(card["block_kind"], "attempts");
}

#[test]
fn an_update_of_nothing_is_no_event() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let events = s.events();
    s.run("select from mosaic.backlog_update('A'); select from mosaic.backlog_update('A', title => 'A')");
    assert_eq!(s.events(), events);
}

#[test]
fn not_before_defers_and_undefers() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("select from mosaic.backlog_update('A', not_before => '2100-01-01')");
    assert_eq!(s.claim_next("w"), None);
    s.run("select from mosaic.backlog_update('A', clear => '{not_before}')");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
}
