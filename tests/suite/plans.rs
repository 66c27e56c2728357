//! What a call reads does not grow with the backlog.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::Value;

/// 50,000 cards: claimable, gated, done, cancelled, blocked and claimed ones.
fn fill(s: &mut Session) {
    s.run(
        "set synchronous_commit = off;
         insert into mosaic.backlog (id, title, status, priority, labels, open_dependencies, block_kind, block_reason,
           claim_owner, claim_token, claim_ttl_seconds, claimed_at, claim_expires_at, created_at, updated_at,
           completed_at, claimable_since)
         select 'c' || n, 't', s, n % 7, array['l' || n % 50],
           case when s = 'ready' and n % 2 = 0 then 1 else 0 end,
           case when s = 'blocked' then 'other' end, case when s = 'blocked' then 'why' end,
           case when s = 'claimed' then 'w' || n % 100 end,
           case when s = 'claimed' then nextval('mosaic.backlog_claim_token_seq') end,
           case when s = 'claimed' then 900 end, case when s = 'claimed' then now() end,
           case when s = 'claimed' then now() + interval '1 day' end,
           now(), now(), case when s = 'done' then now() end, now()
         from (select n, (array['ready', 'done', 'done', 'cancelled', 'blocked', 'claimed'])[n % 6 + 1]
             ::mosaic.backlog_status as s from generate_series(1, 50000) n) x;
         insert into mosaic.backlog_dependency
         select 'c' || n, 'c' || n + 1, now() from generate_series(1, 49999) n where n % 12 = 6;
         update mosaic.backlog set open_dependencies = 0 where status = 'ready';
         update mosaic.backlog c set linked = true from mosaic.backlog_dependency d where d.card_id = c.id;
         update mosaic.backlog c set open_dependencies = 1
         from mosaic.backlog_dependency d join mosaic.backlog x on x.id = d.depends_on and x.status <> 'done'
         where d.card_id = c.id;
         insert into mosaic.backlog_event (event_id, card_id, at, kind, actor, login_role, new_status, horizon)
         select nextval('mosaic.backlog_event_id_seq'), 'c' || n, now() - interval '1 day', 'created', 'a', 'a', 'ready', '1'
         from generate_series(1, 50000) n",
    );
    for table in ["backlog", "backlog_dependency", "backlog_event"] {
        s.run(&format!("vacuum analyze mosaic.{table}"));
    }
}

/// Rows of the extension's tables that the session has read and not reported yet, by scans of
/// whole tables and by indexes.
fn counters(s: &mut Session) -> (i64, i64) {
    let row = s.row(
        "select coalesce(sum(seq_tup_read), 0)::bigint as scanned, coalesce(sum(idx_tup_fetch), 0)::bigint as fetched
         from pg_stat_xact_user_tables where schemaname = 'mosaic'",
    );
    let number = |value: &Value| value.as_i64().expect("a number");
    (number(&row["scanned"]), number(&row["fetched"]))
}

/// Rows that a call read.
fn read(s: &mut Session, call: &str) -> (i64, i64) {
    s.run("begin");
    let before = counters(s);
    s.rows(&format!("select 1 as n from mosaic.backlog_{call}"));
    let after = counters(s);
    s.run("rollback");
    (after.0 - before.0, after.1 - before.1)
}

/// Calls that touch a handful of cards, and the most rows that they may read.
const CALLS: [(&str, i64); 20] = [
    // It looks through 64 cards for those that come after it, here each time anew because the
    // one before was rolled back.
    ("claim('w')", 100),
    ("claim('w', max_cards => 20)", 300),
    ("claim('w', id => 'c18')", 50),
    ("create('t')", 50),
    ("create('t', depends_on => '{c1,c2}')", 50),
    ("create('t', idempotency_key => 'k')", 50),
    ("get('c18')", 50),
    ("list()", 600),
    ("list(statuses => '{blocked}', max_cards => 10)", 50),
    ("list(ready_only => true, max_cards => 10)", 100),
    ("list(after => '4503599627370496')", 600),
    ("complete('c7', force => true)", 50),
    ("block('c18', 'why')", 50),
    ("link('c18', '{c30}')", 100),
    ("unlink('c18', '{c19}')", 50),
    ("why('c18')", 50),
    ("reclaim()", 10),
    ("reclaim('c18')", 10),
    ("events(max_events => 10)", 50),
    ("events('c18')", 50),
];

fn assert_calls_read_little(s: &mut Session) {
    for (call, most) in CALLS {
        let (scanned, fetched) = read(s, call);
        assert_eq!(scanned, 0, "{call} scanned a whole table");
        assert!(
            fetched <= most,
            "{call} read {fetched} rows, more than {most}"
        );
    }
}

#[test]
fn no_call_scans_a_table_of_50_000_cards() {
    let db = Database::fresh();
    fill(&mut db.session());
    assert_calls_read_little(&mut db.session());
}

#[test]
fn plans_that_were_made_while_the_backlog_was_empty_are_as_good() {
    let db = Database::fresh();
    let mut s = db.session();
    for (call, _) in CALLS {
        let _ = s.attempt(&format!("select 1 as n from mosaic.backlog_{call}"));
    }
    s.run("truncate mosaic.backlog, mosaic.backlog_dependency, mosaic.backlog_event");
    fill(&mut db.session());
    assert_calls_read_little(&mut s);
}

#[test]
fn live_leases_are_not_read_by_the_sweep() {
    let db = Database::fresh();
    let mut s = db.session();
    fill(&mut s);
    s.run(
        "update mosaic.backlog set claim_expires_at = now() - interval '1 minute'
         where id in (select id from mosaic.backlog where status = 'claimed' limit 3)",
    );
    let (scanned, fetched) = read(&mut s, "reclaim()");
    assert_eq!(scanned, 0);
    assert!(
        fetched <= 100,
        "{fetched} rows for three ended leases of 8,000"
    );
}

#[test]
fn claims_walk_over_cards_that_cannot_be_claimed_at_no_cost() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("free", 3);
    for (state, change) in [
        (
            "blocked",
            "status = 'blocked', block_kind = 'other', block_reason = 'why'",
        ),
        ("done", "status = 'done', completed_at = now()"),
        ("cancelled", "status = 'cancelled'"),
        ("gated", "open_dependencies = 1"),
    ] {
        // They would all come before the free cards.
        s.run(&format!(
            "insert into mosaic.backlog (id, title, priority, created_at, updated_at, claimable_since)
             select '{state}' || n, 't', 5, now(), now(), now() from generate_series(1, 5000) n;
             update mosaic.backlog set {change} where id like '{state}%'; "
        ));
        s.run("vacuum mosaic.backlog");
        // They were ready when they were written: the first claim finds out that they are not.
        s.run("begin; select from mosaic.backlog_claim('w'); rollback");
        let (scanned, fetched) = read(&mut s, "claim('w', max_cards => 3)");
        assert_eq!(scanned, 0);
        assert!(
            fetched <= 60,
            "{fetched} rows with 5,000 {state} cards in front"
        );
    }
}
