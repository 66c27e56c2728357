//! Every function works through a pooler that hands out connections by the transaction.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::pooler::Pooler;

#[test]
fn the_life_of_a_card_works_through_a_transaction_pooler() {
    let db = Database::fresh();
    let pooler = Pooler::start(&db, 2);
    // Two clients on two connections that change between them with every statement.
    let mut a = pooler.session("operator");
    let mut b = pooler.session("operator");
    a.create("A");
    b.create_after("B", &["A"]);
    let token = a.claim("A", "w");
    b.run(&format!("select mosaic.backlog_renew('A', {token})"));
    a.run(&format!(
        "select from mosaic.backlog_complete('A', {token})"
    ));
    assert_eq!(b.open_dependencies("B"), 0);
    a.link("B", &["A"]);
    b.run("select from mosaic.backlog_block('B', 'why'); select from mosaic.backlog_unblock('B')");
    a.run("begin");
    let token = a.claim("B", "w");
    a.run(&format!("select mosaic.backlog_assert_held('B', {token})"));
    a.run("commit");
    b.run(&format!(
        "select from mosaic.backlog_fail('B', {token}, 'why')"
    ));
    a.run("select from mosaic.backlog_cancel('B', 'why'); select from mosaic.backlog_reopen('B', 'why')");
    for call in ["list()", "stats()", "events()", "why('B')", "reclaim()"] {
        b.rows(&format!("select * from mosaic.backlog_{call}"));
    }
}

#[test]
fn twenty_clients_on_four_connections_never_share_a_card() {
    let db = Database::fresh();
    db.session().create_numbered("c", 200);
    let pooler = Pooler::start(&db, 4);
    let barrier = Barrier::new(20);
    let claimed: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|number| {
                let (pooler, barrier) = (&pooler, &barrier);
                scope.spawn(move || {
                    let mut s = pooler.session("worker");
                    barrier.wait();
                    std::iter::from_fn(|| s.claim_next(&format!("w{number}"))).collect::<Vec<_>>()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a claimer"))
            .collect()
    });
    assert_eq!(claimed.len(), 200);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 200);
}

#[test]
fn a_call_leaves_nothing_behind_for_the_connections_next_client() {
    let db = Database::fresh();
    let pooler = Pooler::start(&db, 1);
    let mut s = pooler.session("worker");
    s.create("A");
    let token = s.claim("A", "w");
    s.run(&format!(
        "select from mosaic.backlog_complete('A', {token})"
    ));
    s.create("B");
    s.create("C");
    s.link("C", &["B"]);
    s.rows("select id from mosaic.backlog_claim('w', request_id => gen_random_uuid())");
    let left = s.row(
        "select (select count(*) from pg_locks where pid = pg_backend_pid() and locktype in ('advisory', 'object')) as locks,
           (select count(*) from pg_listening_channels()) as channels,
           (select count(*) from pg_prepared_statements) as statements,
           (select count(*) from pg_class where relnamespace = pg_my_temp_schema()) as tables,
           current_setting('synchronous_commit') as commit",
    );
    assert_eq!(
        left,
        serde_json::json!({"locks": 0, "channels": 0, "statements": 0, "tables": 0, "commit": "on"})
    );
}
