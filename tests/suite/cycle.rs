//! Cycles, one caller at a time.

use mosaic_backlog_tests::database::Database;

#[test]
fn a_card_cannot_wait_for_itself() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_eq!(
        s.code("select * from mosaic.backlog_link('A', '{A}')"),
        "cycle"
    );
}

#[test]
fn a_link_that_closes_a_cycle_is_refused_however_long_the_way_round() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("c1");
    for n in 2..=30 {
        s.create_after(&format!("c{n}"), &[&format!("c{}", n - 1)]);
    }
    for n in 2..=30 {
        let refused = s.refusal(&format!(
            "select * from mosaic.backlog_link('c1', '{{c{n}}}')"
        ));
        assert_eq!(refused.code, "cycle");
        assert!(
            refused.message.contains(&format!("\"c{n}\"")),
            "{refused:?}"
        );
    }
    assert_eq!(
        s.number("select count(*) from mosaic.backlog_dependency"),
        29
    );
}

#[test]
fn of_several_dependencies_the_guilty_one_is_named_and_none_is_added() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.create("C");
    let refused = s.refusal("select * from mosaic.backlog_link('A', '{C,B}')");
    assert_eq!(refused.code, "cycle");
    assert!(refused.message.contains("\"B\""), "{refused:?}");
    assert_eq!(s.card("A")["depends_on"], serde_json::json!([]));
}

#[test]
fn cycles_through_done_and_cancelled_cards_are_refused_since_they_can_be_reopened() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.create_after("C", &["B"]);
    s.complete("A");
    s.complete("B");
    s.run("select from mosaic.backlog_reopen('A', 'why')");
    assert_eq!(
        s.code("select * from mosaic.backlog_link('A', '{C}')"),
        "cycle"
    );
    s.run("select from mosaic.backlog_reopen('B', 'why'); select from mosaic.backlog_cancel('B', 'why')");
    assert_eq!(
        s.code("select * from mosaic.backlog_link('A', '{C}')"),
        "cycle"
    );
}

#[test]
fn an_unlinked_way_no_longer_counts() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.run("select from mosaic.backlog_unlink('B', '{A}')");
    s.link("A", &["B"]);
    s.assert_counters_are_right();
}

#[test]
fn many_ways_to_the_same_card_are_no_cycle() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.create_after("C", &["A"]);
    s.create_after("D", &["B", "C"]);
    s.link("D", &["A"]);
    assert_eq!(s.open_dependencies("D"), 3);
}

#[test]
fn the_search_visits_each_card_once_however_many_ways_lead_there() {
    let db = Database::fresh();
    let mut s = db.session();
    // 40 layers of 3 cards, each card waiting for all of the layer below: 3^39 ways.
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', format('l%s-%s', layer, n), 'depends_on',
             case when layer = 1 then '[]' else jsonb_build_array(
               format('l%s-1', layer - 1), format('l%s-2', layer - 1), format('l%s-3', layer - 1)) end))
           from generate_series(1, 40) layer, generate_series(1, 3) n))",
    );
    s.create("side");
    s.run("set statement_timeout = '30s'");
    s.link("l40-1", &["side"]);
    assert_eq!(
        s.code("select * from mosaic.backlog_link('l1-1', '{l40-3}')"),
        "cycle"
    );
    assert!(
        !s.rows("select * from mosaic.backlog_why('l40-1')")
            .is_empty()
    );
}
