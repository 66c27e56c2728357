//! Cancelling and reopening cards with what waits for them.

use mosaic_backlog_tests::database::Database;

#[test]
fn a_cancellation_in_cascade_takes_all_open_cards_that_wait_directly_or_through_others() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.create_after("C", &["B"]);
    s.create_after("D", &["A", "C"]);
    s.create("apart");
    s.create_after("done", &["A"]);
    s.run("select from mosaic.backlog_complete('done', force => true)");
    s.create_after("behind", &["done"]);
    s.run("select from mosaic.backlog_block('C', 'why')");
    let touched = s.column("select id from mosaic.backlog_cancel('A', 'dropped', cascade => true)");
    assert_eq!(touched[0], "A");
    let mut sorted: Vec<&str> = touched.iter().filter_map(|id| id.as_str()).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, ["A", "B", "C", "D"]);
    assert_eq!(s.status("apart"), "ready");
    assert_eq!(s.status("done"), "done");
    assert_eq!(s.status("behind"), "ready");
    assert_eq!(s.status("C"), "cancelled");
    let event = s.row("select * from mosaic.backlog_events('D') where kind = 'cancelled'");
    assert_eq!(event["detail"]["reason"], "dropped");
    s.assert_counters_are_right();
}

#[test]
fn without_cascade_only_the_card_itself_is_cancelled() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    assert_eq!(
        s.column("select id from mosaic.backlog_cancel('A', 'why')"),
        ["A"]
    );
    assert_eq!(s.status("B"), "ready");
}

#[test]
fn a_claimed_card_in_the_cascade_stops_all_of_it_unless_forced() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.claim("B", "w");
    s.link("B", &["A"]);
    let events = s.events();
    assert_eq!(
        s.code("select * from mosaic.backlog_cancel('A', 'why', cascade => true)"),
        "already_claimed"
    );
    assert_eq!(s.status("A"), "ready");
    assert_eq!(s.events(), events);
    s.run("select from mosaic.backlog_cancel('A', 'why', cascade => true, force => true)");
    assert_eq!(s.status("A"), "cancelled");
    assert_eq!(s.status("B"), "cancelled");
}

#[test]
fn a_cascade_of_ten_thousand_cards_works() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'c' || n,
             'depends_on', case when n = 1 then '[]' else jsonb_build_array('c' || n / 2) end))
           from generate_series(1, 10000) n))",
    );
    assert_eq!(
        s.number("select count(*) from mosaic.backlog_cancel('c1', 'why', cascade => true)"),
        10_000
    );
}

#[test]
fn a_card_that_is_created_during_the_cascade_is_cancelled_with_it_or_refers_to_a_cancelled_one() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let mut creator = db.session();
    creator.run("begin");
    creator.create_after("B", &["A"]);
    let cascade = db
        .session()
        .begin_call("select id from mosaic.backlog_cancel('A', 'why', cascade => true)")
        .until_it_waits(&db);
    creator.run("commit");
    assert_eq!(cascade.rows().len(), 2);
    assert_eq!(s.status("B"), "cancelled");
}

#[test]
fn a_reason_is_needed_and_kept() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for reason in ["null", "''", "' '"] {
        for call in ["cancel", "reopen", "block"] {
            assert_eq!(
                s.code(&format!(
                    "select * from mosaic.backlog_{call}('A', {reason})"
                )),
                "invalid_argument",
                "{call} {reason}"
            );
        }
    }
    s.run("select from mosaic.backlog_cancel('A', 'not needed', actor => 'boss')");
    s.run("select from mosaic.backlog_reopen('A', 'needed after all', actor => 'boss')");
    let reasons =
        s.column("select detail ->> 'reason' from mosaic.backlog_events('A') where actor = 'boss'");
    assert_eq!(reasons, ["not needed", "needed after all"]);
}

#[test]
fn a_reopened_card_can_be_claimed_and_completed_again() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let first = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_complete('A', {first}, '1')"
    ));
    s.run("select from mosaic.backlog_reopen('A', 'again')");
    // The first completion's token is worth nothing now.
    assert_eq!(
        s.code(&format!(
            "select * from mosaic.backlog_complete('A', {first}, '1')"
        )),
        "claim_lost"
    );
    let second = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_complete('A', {second}, '2')"
    ));
    assert_eq!(s.card("A")["result"], 2);
}

#[test]
fn a_cascade_of_a_cancelled_card_reaches_the_rest() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.run(
        "select from mosaic.backlog_cancel('A', 'why');
         select from mosaic.backlog_cancel('A', 'why', cascade => true)",
    );
    assert_eq!(s.status("B"), "cancelled");
}

#[test]
fn a_cascade_visits_each_card_once_however_many_ways_lead_there() {
    let db = Database::fresh();
    let mut s = db.session();
    // 40 layers of 2 cards, each card waiting for both of the layer below: 2^39 ways.
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', format('%s-%s', n, side), 'depends_on',
             case when n = 1 then '[]' else jsonb_build_array(format('%s-a', n - 1), format('%s-b', n - 1)) end))
           from generate_series(1, 40) n, unnest('{a,b}'::text[]) side));
         set statement_timeout = '30s'",
    );
    let events = s.events();
    let cancelled = "select count(*) from mosaic.backlog_cancel('1-a', 'why', cascade => true)";
    assert_eq!(s.number(cancelled), 79);
    assert_eq!(s.events(), events + 79);
}
