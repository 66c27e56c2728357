//! A retried claim gets what the first call got.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;

const ID: &str = "6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c";
const OTHER: &str = "00000000-0000-4000-8000-000000000001";

fn claim(request_id: &str, arguments: &str) -> String {
    format!(
        "select id, claim_token, claim_expires_at, dependencies from mosaic.backlog_claim({arguments}, request_id => '{request_id}')"
    )
}

#[test]
fn the_same_request_gets_the_same_cards_under_the_same_tokens() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 5);
    let request = claim(ID, "'w', '5 min', 3");
    let first = s.rows(&request);
    assert_eq!(first.len(), 3);
    let events = s.events();
    assert_eq!(s.rows(&request), first);
    assert_eq!(s.events(), events);
    assert_eq!(s.rows(&claim(OTHER, "'w', '5 min', 3")).len(), 2);
}

#[test]
fn the_same_request_gets_only_what_is_still_held() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    let request = claim(ID, "'w', max_cards => 2");
    let first = s.rows(&request);
    let token = first[0]["claim_token"].as_i64().expect("a token");
    s.run(&format!(
        "select from mosaic.backlog_complete('c1', {token})"
    ));
    assert_eq!(s.rows(&request), first[1..]);
}

#[test]
fn when_nothing_is_held_any_more_the_request_is_lost_and_gets_no_fresh_work() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    let request = claim(ID, "'w'");
    let token = s.rows(&request)[0]["claim_token"]
        .as_i64()
        .expect("a token");
    s.run(&format!(
        "select from mosaic.backlog_release('c1', {token})"
    ));
    assert_eq!(s.code(&request), "claim_lost");
    // Not even when the worker holds the card again, under another token.
    s.claim("c1", "w");
    assert_eq!(s.code(&request), "claim_lost");
}

#[test]
fn an_ended_lease_still_answers_its_request_until_it_is_swept() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2030-01-01'");
    let request = claim(ID, "'w'");
    let first = s.rows(&request);
    s.run("set mosaic.clock = '2030-01-02'");
    assert_eq!(s.rows(&request), first);
    s.run("select from mosaic.backlog_reclaim()");
    assert_eq!(s.code(&request), "claim_lost");
}

#[test]
fn other_arguments_under_the_request_id_are_refused_and_named() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    s.rows(&claim(ID, "'w'"));
    for (field, arguments) in [
        ("worker", "'w2'"),
        ("ttl", "'w', '1 min'"),
        ("max_cards", "'w', max_cards => 2"),
        ("phase", "'w', phase => 'p'"),
        ("labels", "'w', labels => '{x}'"),
        ("offers", "'w', offers => '{x}'"),
        ("id", "'w', id => 'c1'"),
    ] {
        let refused = s.refusal(&claim(ID, arguments));
        assert_eq!(refused.code, "key_conflict", "{field}");
        assert!(refused.message.contains(field), "{field}: {refused:?}");
    }
    // The same said otherwise is the same.
    assert_eq!(
        s.rows(&claim(
            ID,
            "'w', '900 seconds', 1, labels => '{}', offers => '{}'"
        ))
        .len(),
        1
    );
}

#[test]
fn an_empty_answer_is_not_remembered() {
    let db = Database::fresh();
    let mut s = db.session();
    assert!(s.rows(&claim(ID, "'w'")).is_empty());
    s.create("A");
    assert_eq!(s.rows(&claim(ID, "'w'"))[0]["id"], "A");
}

#[test]
fn an_error_is_not_remembered() {
    let db = Database::fresh();
    let mut s = db.session();
    assert_eq!(s.code(&claim(ID, "'w', id => 'A'")), "not_found");
    s.create("A");
    assert_eq!(s.rows(&claim(ID, "'w', id => 'A'"))[0]["id"], "A");
}

#[test]
fn equal_requests_at_the_same_moment_all_get_the_one_answer() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 40);
    let request = claim(ID, "'w', max_cards => 4");
    let answers = together(&db, 16, |_, s| s.rows(&request));
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert_eq!(answers[0].len(), 4);
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where status = 'claimed'"),
        4
    );
}

#[test]
fn the_second_of_two_equal_requests_waits_for_the_first() {
    let db = Database::fresh();
    db.session().create_numbered("c", 4);
    let request = claim(ID, "'w'");
    let mut first = db.session();
    first.run("begin");
    let got = first.rows(&request);
    let second = db.session().begin_call(&request).until_it_waits(&db);
    first.run("commit");
    assert_eq!(second.rows(), got);
}

#[test]
fn a_request_that_rolled_back_is_made_anew() {
    let db = Database::fresh();
    db.session().create("A");
    let request = claim(ID, "'w'");
    let mut first = db.session();
    first.run("begin");
    first.rows(&request);
    let second = db.session().begin_call(&request).until_it_waits(&db);
    first.run("rollback");
    assert_eq!(second.rows()[0]["id"], "A");
}

#[test]
fn a_repeat_gives_all_that_the_worker_needs_also_under_a_renewed_lease() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.run("select from mosaic.backlog_complete('A', result => '{\"n\": 1}')");
    let token = s.claim("B", "w");
    s.run(&format!(
        "select from mosaic.backlog_fail('B', {token}, 'no luck', '0'); set mosaic.clock = '2100-01-01 10:00+00'"
    ));
    let claim = format!(
        "select id, claim_owner, claim_token, attempts, dependencies, last_failure, depends_on
         from mosaic.backlog_claim('w', '10 min', request_id => '{ID}')"
    );
    let first = s.row(&claim);
    assert_eq!(first["dependencies"][0]["result"]["n"], 1);
    assert_eq!(first["last_failure"], "no luck");
    assert_eq!(s.row(&claim), first);
    s.run(
        "set mosaic.clock = '2100-01-01 10:09+00';
         select mosaic.backlog_renew(id, claim_token, '1 hour') from mosaic.backlog where id = 'B';
         set mosaic.clock = '2100-01-01 11:00+00'",
    );
    assert_eq!(s.row(&claim), first);
}

#[test]
fn the_same_arguments_written_differently_are_the_same_request() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 2);
    let first = s.rows(&claim(
        ID,
        "'w', '10 min', 1, labels => '{}', offers => '{b,a,b}'",
    ));
    let second = s.rows(&claim(ID, "'w', '600 seconds', offers => '{a,b}'"));
    assert_eq!(second, first);
}
