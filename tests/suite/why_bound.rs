//! `why` looks at each card below the one asked about once, however many ways lead there. What
//! it looks at is counted, not timed.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

/// The rows of a why, and how many index entries and rows the server read for it in the tables
/// of the backlog.
fn why(s: &mut Session, id: &str) -> (i64, i64) {
    // A walk along every path would not end; this one may not even come near.
    s.run("set statement_timeout = '30s'; begin");
    let rows = s.number(&format!("select count(*) from mosaic.backlog_why('{id}')"));
    let read = s.number(
        "select sum(pg_stat_get_xact_tuples_returned(c.oid))::bigint
         from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'mosaic' and c.relkind in ('r', 'i')",
    );
    s.run("rollback");
    (rows, read)
}

/// Each card and each edge may be read a few times: in an index and in its table.
#[track_caller]
fn assert_read_once(s: &mut Session, read: i64) {
    let cards = s.number("select count(*) from mosaic.backlog");
    let edges = s.number("select count(*) from mosaic.backlog_dependency");
    assert!(
        read >= edges,
        "the count is wrong: {read} for {edges} edges"
    );
    assert!(
        read <= 4 * (cards + edges),
        "{read} for {cards} cards, {edges} edges"
    );
}

#[test]
fn ways_without_number_through_few_cards_are_walked_once() {
    const WIDTH: i64 = 10;
    let db = Database::fresh();
    let mut s = db.session();
    // 12 layers, each card waiting for all of the layer below: 10^11 ways to the bottom.
    s.run(&format!(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'L' || layer || '-' || n,
             'depends_on', (select coalesce(jsonb_agg('L' || layer - 1 || '-' || below), '[]')
                            from generate_series(1, {WIDTH}) below where layer > 1)))
           from generate_series(1, 12) layer, generate_series(1, {WIDTH}) n));
         select from mosaic.backlog_create('t', id => 'top', depends_on =>
           array(select 'L12-' || n from generate_series(1, {WIDTH}) n))"
    ));
    let (rows, read) = why(&mut s, "top");
    assert_eq!(rows, WIDTH);
    assert_read_once(&mut s, read);
    assert_eq!(
        s.column("select distinct depth from mosaic.backlog_why('top')"),
        [12]
    );
}

#[test]
fn behind_a_chain_of_ten_thousand_the_one_root_is_named() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('title', 't', 'id', 'c' || n,
             'depends_on', case when n = 1 then '[]' else jsonb_build_array('c' || n - 1) end))
           from generate_series(1, 10001) n))",
    );
    s.claim("c1", "w1");
    let row = s.row("select kind, id, status, owner, depth from mosaic.backlog_why('c10001')");
    assert_eq!(
        row,
        serde_json::json!({
            "kind": "open_dependency", "id": "c1", "status": "claimed", "owner": "w1", "depth": 10_000,
        })
    );
    let (_, read) = why(&mut s, "c10001");
    assert_read_once(&mut s, read);
}

#[test]
fn behind_ten_thousand_at_once_each_is_looked_at_once() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 10_000);
    s.run(
        "select from mosaic.backlog_create('t', id => 'top', depends_on =>
           array(select 'c' || n from generate_series(1, 10000) n))",
    );
    let (rows, read) = why(&mut s, "top");
    assert_eq!(rows, 10_000);
    assert_read_once(&mut s, read);
}
