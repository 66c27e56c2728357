//! A retried create makes no second card.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;

const CREATE: &str =
    "select id, created from mosaic.backlog_create('t', body => 'b', priority => 2,
   labels => '{x,y}', acceptance => '{\"a\": 1}', idempotency_key => 'k', actor => 'someone')";

#[test]
fn the_same_request_finds_the_card_that_the_first_made() {
    let db = Database::fresh();
    let mut s = db.session();
    let first = s.row(CREATE);
    assert_eq!(first["created"], true);
    let second = s.row(CREATE);
    assert_eq!(second["created"], false);
    assert_eq!(second["id"], first["id"]);
    assert_eq!(s.events(), 1);
}

#[test]
fn the_same_request_finds_the_card_whatever_became_of_it() {
    let db = Database::fresh();
    let mut s = db.session();
    let id = s.text(
        "select id from mosaic.backlog_create('t', id => 'A', priority => 1, idempotency_key => 'k')",
    );
    s.run("select from mosaic.backlog_update('A', title => 'renamed', priority => 9)");
    s.complete(&id);
    let again = s.row(
        "select * from mosaic.backlog_create('t', id => 'A', priority => 1, idempotency_key => 'k')",
    );
    assert_eq!(again["created"], false);
    assert_eq!(again["status"], "done");
    assert_eq!(again["title"], "renamed");
}

#[test]
fn order_and_repeats_of_labels_and_the_actor_do_not_make_another_request() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(CREATE);
    assert!(!s.truth(
        "select created from mosaic.backlog_create('t', body => 'b', priority => 2,
           labels => '{y,x,x}', acceptance => '{\"a\":1}', idempotency_key => 'k', actor => 'another')"
    ));
}

#[test]
fn another_request_under_the_key_is_refused_and_the_differing_fields_are_named() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("dep");
    s.run("select from mosaic.backlog_create('t', idempotency_key => 'k')");
    for (field, argument) in [
        ("title", "title => 'u'"),
        ("id", "title => 't', id => 'X'"),
        ("body", "title => 't', body => ''"),
        ("phase", "title => 't', phase => 'p'"),
        ("priority", "title => 't', priority => 1"),
        ("depends_on", "title => 't', depends_on => '{dep}'"),
        ("labels", "title => 't', labels => '{x}'"),
        ("requires", "title => 't', requires => '{x}'"),
        ("acceptance", "title => 't', acceptance => '{}'"),
        ("not_before", "title => 't', not_before => '2030-01-01'"),
        ("max_attempts", "title => 't', max_attempts => 1"),
    ] {
        let refused = s.refusal(&format!(
            "select * from mosaic.backlog_create({argument}, idempotency_key => 'k')"
        ));
        assert_eq!(refused.code, "key_conflict", "{field}");
        assert!(refused.message.contains(field), "{field}: {refused:?}");
    }
    let refused = s
        .refusal("select * from mosaic.backlog_create('u', priority => 1, idempotency_key => 'k')");
    assert!(
        refused.message.contains("title") && refused.message.contains("priority"),
        "{refused:?}"
    );
    assert!(!refused.message.contains("body"), "{refused:?}");
    assert_eq!(s.number("select count(*) from mosaic.backlog"), 2);
}

#[test]
fn of_16_creates_with_one_key_at_the_same_moment_one_creates_and_all_answer() {
    let db = Database::fresh();
    let answers = together(&db, 16, |_, s| s.row(CREATE));
    let created = answers.iter().filter(|a| a["created"] == true).count();
    assert_eq!(created, 1, "{answers:?}");
    assert!(
        answers.iter().all(|a| a["id"] == answers[0]["id"]),
        "{answers:?}"
    );
    let mut s = db.session();
    assert_eq!(s.number("select count(*) from mosaic.backlog"), 1);
    assert_eq!(s.events(), 1);
}

#[test]
fn of_different_creates_with_one_key_at_the_same_moment_one_wins_and_the_rest_conflict() {
    let db = Database::fresh();
    let answers = together(&db, 12, |number, s| {
        s.attempt(&format!(
            "select id, created from mosaic.backlog_create('title {number}', idempotency_key => 'k')"
        ))
    });
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1, "{answers:?}");
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code, "key_conflict", "{refused:?}");
    }
}

#[test]
fn a_create_waits_for_a_rival_with_its_key_and_finds_the_rivals_card() {
    let db = Database::fresh();
    let mut first = db.session();
    first.run("begin");
    let card = first.row(CREATE);
    let second = db.session().begin_call(CREATE).until_it_waits(&db);
    first.run("commit");
    let found = second.rows();
    assert_eq!(found[0]["id"], card["id"]);
    assert_eq!(found[0]["created"], false);
}

#[test]
fn a_create_makes_the_card_itself_when_the_rival_rolls_back() {
    let db = Database::fresh();
    let mut first = db.session();
    first.run("begin");
    first.run(CREATE);
    let second = db.session().begin_call(CREATE).until_it_waits(&db);
    first.run("rollback");
    assert_eq!(second.rows()[0]["created"], true);
}

#[test]
fn of_two_creates_of_one_id_without_a_key_one_conflicts() {
    let db = Database::fresh();
    let answers = together(&db, 8, |_, s| {
        s.attempt("select id from mosaic.backlog_create('t', id => 'A')")
    });
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 1);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code, "id_conflict", "{refused:?}");
    }
}

#[test]
fn an_id_taken_by_a_card_with_another_key_is_an_id_conflict() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("select from mosaic.backlog_create('t', id => 'A', idempotency_key => 'k1')");
    assert_eq!(
        s.code("select * from mosaic.backlog_create('t', id => 'A', idempotency_key => 'k2')"),
        "id_conflict"
    );
    // The key was not used up by the failure.
    assert!(s.truth(
        "select created from mosaic.backlog_create('t', id => 'B', idempotency_key => 'k2')"
    ));
}

#[test]
fn equal_batches_at_the_same_moment_create_each_card_once() {
    let db = Database::fresh();
    let answers = together(&db, 8, |number, s| {
        // Half of them name the cards in the opposite order.
        let order = if number % 2 == 0 { "" } else { "desc" };
        s.rows(&format!(
            "select * from mosaic.backlog_create_many((
               select jsonb_agg(jsonb_build_object('title', 't', 'id', 'c' || n, 'idempotency_key', 'k' || n,
                 'depends_on', case when n > 1 then jsonb_build_array('c' || n - 1) else '[]' end) order by n {order})
               from generate_series(1, 50) n))"
        ))
    });
    let created: usize = answers
        .iter()
        .map(|rows| rows.iter().filter(|row| row["created"] == true).count())
        .sum();
    assert_eq!(created, 50);
    let mut s = db.session();
    assert_eq!(s.number("select count(*) from mosaic.backlog"), 50);
    s.assert_counters_are_right();
}

#[test]
fn a_batch_and_a_single_create_are_the_same_request_however_values_are_written() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        r#"select from mosaic.backlog_create('T', 'A', acceptance => '{"b": 2.50, "a": [true, null]}', idempotency_key => 'k',
             not_before => '2030-01-02 00:00:00.5+00', max_attempts => 2)"#,
    );
    let again = s.row(
        r#"select * from mosaic.backlog_create_many('[{"title": "T", "id": "A", "acceptance": {"a":[true,null], "b": 2.50},
             "idempotency_key": "k", "not_before": "2030-01-02T01:00:00.5+01:00", "max_attempts": 2}]')"#,
    );
    assert_eq!(again["created"], false);
}
