//! Links at the same moment that together close a cycle: one of them fails.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;

/// `first` is held open, `second` must wait for it and then find the cycle.
fn assert_second_fails(db: &Database, first: &str, second: &str) {
    let mut holder = db.session();
    holder.run(&format!("begin; {first}"));
    let call = db.session().begin_call(second).until_it_waits(db);
    holder.run("commit");
    assert_eq!(call.code(), "cycle", "{first} beside {second}");
}

#[test]
fn of_two_links_in_opposite_directions_the_second_fails() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    assert_second_fails(
        &db,
        "select from mosaic.backlog_link('A', '{B}')",
        "select * from mosaic.backlog_link('B', '{A}')",
    );
}

#[test]
fn of_two_links_that_close_a_cycle_through_other_cards_the_second_fails() {
    let db = Database::fresh();
    let mut s = db.session();
    // A waits for B and C for D; the links B on C and D on A share no card.
    for id in ["A", "B", "C", "D"] {
        s.create(id);
    }
    s.link("A", &["B"]);
    s.link("C", &["D"]);
    assert_second_fails(
        &db,
        "select from mosaic.backlog_link('B', '{C}')",
        "select * from mosaic.backlog_link('D', '{A}')",
    );
}

#[test]
fn a_link_succeeds_when_its_rival_rolls_back() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let mut rival = db.session();
    rival.run("begin");
    rival.link("A", &["B"]);
    let call = db
        .session()
        .begin_call("select * from mosaic.backlog_link('B', '{A}')")
        .until_it_waits(&db);
    rival.run("rollback");
    assert_eq!(call.rows()[0]["open_dependencies"], 1);
}

#[test]
fn of_the_links_of_a_ring_made_at_the_same_moment_exactly_one_fails() {
    let db = Database::fresh();
    for size in [2, 3, 4, 7] {
        let mut s = db.session();
        s.run("truncate mosaic.backlog, mosaic.backlog_dependency");
        s.create_numbered("c", size);
        let answers = together(&db, size, |number, s| {
            let (from, to) = (number + 1, (number + 1) % size + 1);
            s.attempt(&format!(
                "select id from mosaic.backlog_link('c{from}', '{{c{to}}}')"
            ))
        });
        let refused: Vec<_> = answers.iter().filter_map(|a| a.as_ref().err()).collect();
        assert_eq!(refused.len(), 1, "ring of {size}: {refused:?}");
        assert_eq!(refused[0].code, "cycle");
        s.assert_counters_are_right();
    }
}

#[test]
fn a_batch_cannot_close_a_cycle_with_cards_that_are_made_at_the_same_moment() {
    let db = Database::fresh();
    let mut first = db.session();
    first.run("begin");
    first.create("B");
    // "B" is not there yet for anybody else.
    assert_eq!(
        db.session()
            .code("select * from mosaic.backlog_create('t', id => 'A', depends_on => '{B}')"),
        "not_found"
    );
    first.run("commit");
    db.session().create_after("A", &["B"]);
    assert_eq!(
        db.session()
            .code("select * from mosaic.backlog_link('B', '{A}')"),
        "cycle"
    );
}
