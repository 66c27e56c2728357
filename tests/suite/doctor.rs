//! What `backlog_doctor` finds: each thing is broken for real, found, mended as the hint says,
//! and found well again.

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

const NAMES: [&str; 17] = [
    "settings",
    "direct_writes",
    "frontier",
    "triggers",
    "indexes",
    "tables",
    "functions",
    "ownership",
    "vacuum",
    "sequences",
    "unseen_cards",
    "expired_leases",
    "orphans",
    "cycles",
    "counters",
    "cancelled_dependencies",
    "failing_workers",
];

/// State and detail of a finding.
#[track_caller]
pub fn found(s: &mut Session, name: &str) -> (String, String) {
    let row = s.row(&format!(
        "select state, detail from mosaic.backlog_doctor() where name = '{name}'"
    ));
    let text = |key: &str| row[key].as_str().expect("text").to_owned();
    (text("state"), text("detail"))
}

/// The finding is in this state, and its detail says all of `parts`.
#[track_caller]
pub fn assert_found(s: &mut Session, name: &str, state: &str, parts: &[&str]) {
    let (real, detail) = found(s, name);
    assert_eq!(real, state, "{name}: {detail}");
    for part in parts {
        assert!(detail.contains(part), "{name}: no {part:?} in {detail:?}");
    }
}

/// Nothing but `but` is wrong.
#[track_caller]
pub fn assert_well(s: &mut Session, but: &[&str]) {
    let rows = s.rows("select * from mosaic.backlog_doctor()");
    let names: Vec<&Value> = rows.iter().map(|row| &row["name"]).collect();
    assert_eq!(names, NAMES);
    for row in rows {
        let well = row["state"] == "ok";
        assert_eq!(well, row["hint"].is_null(), "{row}");
        let expected = !but.iter().any(|name| row["name"] == *name);
        assert_eq!(well, expected, "{row}");
    }
}

#[test]
fn a_sound_backlog_is_well_in_every_point() {
    let db = Database::fresh();
    let mut s = db.session();
    assert_well(&mut s, &[]);
    s.create_numbered("c", 5);
    s.create_after("d", &["c1", "c2"]);
    s.create_after("e", &["c1", "d"]);
    s.complete("c1");
    s.claim("c2", "w");
    s.run("select from mosaic.backlog_block('c3', 'why')");
    s.run("select from mosaic.backlog_cancel('c4', 'why')");
    assert_well(&mut s, &[]);
}

#[test]
fn it_takes_no_longer_than_to_read_all_cards_and_links() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "insert into mosaic.backlog (id, title, created_at, updated_at, claimable_since, open_dependencies, linked)
         select 'c' || n, 't', now(), now(), now(), (n <= 6000 and n > 1)::int, n <= 6000 and n > 1
         from generate_series(1, 60000) n;
         insert into mosaic.backlog_dependency (card_id, depends_on, created_at)
         select 'c' || n, 'c' || n - 1, now() from generate_series(2, 6000) n;
         select nextval('mosaic.backlog_creation_seq')",
    );
    for analyzed in [false, true] {
        if analyzed {
            s.run("analyze mosaic.backlog, mosaic.backlog_dependency");
        }
        // A hundred times what it takes.
        let mut s = db.session();
        s.run("set statement_timeout = '10s'");
        assert_well(&mut s, &[]);
    }
}

#[test]
fn it_changes_nothing_and_needs_no_right_to() {
    let db = Database::fresh();
    let mut s = db.session_as("reader");
    s.run("begin transaction isolation level serializable read only");
    assert_well(&mut s, &[]);
    assert_eq!(
        s.value("select pg_current_xact_id_if_assigned()"),
        Value::Null
    );
    s.run("rollback");
    // The frontier's memory is not made either.
    assert!(
        !db.session()
            .truth("select is_called from mosaic.backlog_frontier_seq")
    );
    let detail = found(&mut s, "frontier").1;
    assert!(detail.contains("the next one makes"), "{detail}");
}

#[test]
fn settings_that_weaken_a_guarantee_are_found() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2030-01-01 10:00+00'");
    assert_found(&mut s, "settings", "error", &["2030-01-01 10:00+00"]);
    s.run("reset mosaic.clock; set synchronous_commit = off");
    assert_well(&mut s, &[]);
    s.run("set mosaic.durability = 'inherit'");
    assert_found(&mut s, "settings", "error", &["mosaic.durability"]);
    s.run("set synchronous_commit = on");
    assert_well(&mut s, &[]);
}

#[test]
fn a_disabled_trigger_is_found_and_mended_as_the_hint_says() {
    let db = Database::fresh();
    let mut s = db.session();
    // Claims know from here on that there is nothing.
    assert_eq!(s.claim_next("w"), None);
    s.run("alter table mosaic.backlog disable trigger backlog_watch");
    assert_found(&mut s, "triggers", "error", &["backlog_watch"]);
    // In a batch, as what is created without a statement does not need the trigger.
    s.run("select from mosaic.backlog_create_many('[{\"title\": \"t\", \"id\": \"A\"}]')");
    assert_eq!(s.claim_next("w"), None, "the damage does what it says");
    s.run("alter table mosaic.backlog enable trigger backlog_watch");
    assert_found(&mut s, "triggers", "error", &["session_replication_role"]);
    s.run("alter event trigger mosaic_backlog_refuse_drop disable");
    assert_found(&mut s, "triggers", "error", &["mosaic_backlog_refuse_drop"]);
    let hint = s.text("select hint from mosaic.backlog_doctor() where name = 'triggers'");
    let statements: Vec<&str> = hint.split('`').skip(1).step_by(2).collect();
    assert_eq!(statements.len(), 2, "{hint}");
    for statement in statements {
        s.run(statement);
    }
    assert_well(&mut s, &[]);
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
}

#[test]
fn missing_and_invalid_indexes_are_found() {
    let db = Database::fresh();
    let mut s = db.session();
    let there = s.number(
        "select count(*) from pg_index x join pg_class t on t.oid = x.indrelid
         where t.relnamespace = 'mosaic'::regnamespace",
    );
    assert_found(&mut s, "indexes", "ok", &[&format!("All {there} ")]);
    s.run(
        "update pg_index set indisvalid = false where indexrelid = 'mosaic.backlog_due'::regclass",
    );
    assert_found(&mut s, "indexes", "warning", &["Invalid: backlog_due"]);
    s.run("reindex index concurrently mosaic.backlog_due");
    assert_well(&mut s, &[]);

    let indexes = s.column(
        "select i.relname::text from pg_index x join pg_class i on i.oid = x.indexrelid
           join pg_class t on t.oid = x.indrelid
         where t.relnamespace = 'mosaic'::regnamespace and not x.indisprimary",
    );
    assert!(indexes.len() > 8, "{indexes:?}");
    for index in indexes {
        let index = index.as_str().expect("a name");
        let is_key = index == "backlog_idempotency_key";
        s.run(&format!("begin; drop index mosaic.{index}"));
        let state = if is_key { "error" } else { "warning" };
        assert_found(&mut s, "indexes", state, &[&format!("Missing: {index}.")]);
        s.run("rollback");
    }
    for table in ["", "_dependency", "_event", "_claim_request"] {
        s.run(&format!(
            "begin; alter table mosaic.backlog{table} drop constraint backlog{table}_pkey"
        ));
        assert_found(
            &mut s,
            "indexes",
            "error",
            &[&format!("backlog{table}_pkey")],
        );
        s.run("rollback");
    }
}

#[test]
fn autovacuum_that_is_off_is_found() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("alter table mosaic.backlog_event set (autovacuum_enabled = off)");
    assert_found(
        &mut s,
        "vacuum",
        "warning",
        &["off for mosaic.backlog_event."],
    );
    s.run("alter table mosaic.backlog_event reset (autovacuum_enabled)");
    assert_well(&mut s, &[]);
}

#[test]
fn dead_rows_that_are_kept_alive_are_found_until_they_are_removed() {
    let db = Database::fresh();
    let mut holder = db.session();
    holder.run("begin isolation level repeatable read; select");
    let mut s = db.session();
    s.create_numbered("c", 11_000);
    s.run("update mosaic.backlog set body = 'new'; select pg_stat_force_next_flush()");
    wait::until("the dead rows are found", || {
        let (state, detail) = found(&mut s, "vacuum");
        (state == "warning" && detail.contains("mosaic.backlog has 11000 dead rows")).then_some(())
    });
    // Vacuum alone does not help: the snapshot keeps them.
    s.run("vacuum mosaic.backlog");
    assert_eq!(found(&mut s, "vacuum").0, "warning");
    holder.run("rollback");
    s.run("vacuum mosaic.backlog");
    assert_eq!(found(&mut s, "vacuum").0, "ok");
}

#[test]
fn leases_that_have_ended_are_found_until_somebody_claims() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 4);
    s.run("set mosaic.clock = '2020-01-01 10:00+00'");
    for card in ["c1", "c2", "c3", "c4"] {
        s.claim(card, "w1");
    }
    assert_found(&mut s, "expired_leases", "ok", &[]);
    s.run("reset mosaic.clock; set timezone = 'UTC'");
    let parts = [
        "4 leases have ended",
        ": c1, held by w1 until 2020-01-01 10:15:00+00; c2, ",
        "; ….",
    ];
    assert_found(&mut s, "expired_leases", "warning", &parts);
    assert_well(&mut s, &["expired_leases"]);
    assert!(s.claim_next("w2").is_some());
    assert_well(&mut s, &[]);
}

#[test]
fn an_ended_lease_is_found_from_its_end_on() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("set mosaic.clock = '2020-01-01 10:00+00'");
    s.claim("A", "w");
    s.run("set mosaic.clock = '2020-01-01 10:14:59.999999+00'");
    assert_found(&mut s, "expired_leases", "ok", &[]);
    s.run("set mosaic.clock = '2020-01-01 10:15+00'");
    let parts = ["1 lease has ended"];
    assert_found(&mut s, "expired_leases", "warning", &parts);
}

#[test]
fn links_to_cards_that_do_not_exist_are_found() {
    let db = Database::fresh();
    let mut s = db.session();
    for card in ["A", "B"] {
        s.create(card);
    }
    s.create_after("C", &["A", "B"]);
    s.create_after("D", &["C"]);
    s.run("delete from mosaic.backlog where id = 'A'");
    assert_found(
        &mut s,
        "orphans",
        "error",
        &["1 link names", "C waits for A"],
    );
    assert_well(&mut s, &["orphans"]);
    s.create("A");
    assert_well(&mut s, &[]);
    // The card that waits is gone; three links are shown of those that are found.
    s.run("delete from mosaic.backlog where id in ('A', 'C')");
    let parts = [
        "3 links name",
        "C waits for A; C waits for B; D waits for C.",
    ];
    assert_found(&mut s, "orphans", "error", &parts);
}

#[test]
fn cards_that_wait_for_each_other_are_found_and_named() {
    let db = Database::fresh();
    let mut s = db.session();
    for card in ["above", "A", "B", "C", "below"] {
        s.create(card);
    }
    let link = |s: &mut Session, card: &str, depends_on: &str| {
        s.run(&format!(
            "insert into mosaic.backlog_dependency values ('{card}', '{depends_on}', now());
             update mosaic.backlog set open_dependencies = open_dependencies + 1, linked = true
             where id = '{card}'"
        ));
    };
    for (card, depends_on) in [("above", "A"), ("A", "B"), ("B", "C"), ("C", "below")] {
        link(&mut s, card, depends_on);
    }
    assert_well(&mut s, &[]);
    link(&mut s, "C", "A");
    let (state, detail) = found(&mut s, "cycles");
    assert_eq!(state, "error");
    let way = detail.rsplit_once(": ").expect("the cards").1;
    assert!(
        [
            "A -> B -> C -> A.",
            "B -> C -> A -> B.",
            "C -> A -> B -> C."
        ]
        .contains(&way),
        "{detail}"
    );
    assert!(detail.starts_with("3 cards wait"), "{detail}");
    assert_well(&mut s, &["cycles"]);
    s.run("select from mosaic.backlog_unlink('C', '{A}')");
    assert_well(&mut s, &[]);

    // A circle of a thousand, in the middle of much that is none.
    s.create_numbered("n", 1000);
    s.run(
        "insert into mosaic.backlog_dependency
         select 'n' || n, 'n' || n % 1000 + 1, now() from generate_series(1, 1000) n;
         insert into mosaic.backlog_dependency
         select 'n' || n, 'n' || n / 2, now() from generate_series(4, 1000) n",
    );
    let (_, detail) = found(&mut s, "cycles");
    assert!(detail.len() < 200, "{detail}");
    s.run("delete from mosaic.backlog_dependency where card_id = 'n1000' and depends_on = 'n1'");
    assert_eq!(found(&mut s, "cycles").0, "error");
    s.run("delete from mosaic.backlog_dependency where card_id like 'n%'");
    assert_eq!(found(&mut s, "cycles").0, "ok");
}

#[test]
fn counters_that_are_wrong_are_found_in_every_state() {
    let db = Database::fresh();
    let mut s = db.session();
    for card in ["A", "done", "ready"] {
        s.create(card);
    }
    s.create_after("B", &["A"]);
    s.complete("done");
    for (card, wrong) in [("B", 0), ("B", 2), ("done", 1), ("ready", 1)] {
        let right = s.open_dependencies(card);
        let set = |n: i64| {
            format!("update mosaic.backlog set open_dependencies = {n} where id = '{card}'")
        };
        s.run(&set(wrong));
        let says = format!(
            "1 card counts its open dependencies wrongly: {card} counts {wrong} and has {right}."
        );
        assert_found(&mut s, "counters", "error", &[&says]);
        assert_well(&mut s, &["counters"]);
        s.run(&set(right));
    }
    s.run("update mosaic.backlog set linked = false");
    let says =
        "1 card counts its open dependencies wrongly: B has dependencies and linked is false.";
    assert_found(&mut s, "counters", "error", &[says]);
    s.run("update mosaic.backlog set linked = id = 'B'");
    assert_well(&mut s, &[]);
}

#[test]
fn cards_that_wait_for_a_cancelled_one_are_found_with_all_behind_them() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create_after("B", &["A"]);
    s.create_after("C", &["B"]);
    s.create_after("D", &["A", "C"]);
    s.create_after("off", &["A"]);
    s.run("select from mosaic.backlog_cancel('off', 'why'); select from mosaic.backlog_cancel('A', 'why')");
    let parts = ["3 open cards wait", ": B waits for A; D waits for A."];
    assert_found(&mut s, "cancelled_dependencies", "warning", &parts[..1]);
    let (_, detail) = found(&mut s, "cancelled_dependencies");
    assert!(detail.contains(parts[1].trim_end_matches('.')), "{detail}");
    assert_well(&mut s, &["cancelled_dependencies"]);
    s.run("select from mosaic.backlog_reopen('A', 'why'); select from mosaic.backlog_reopen('off', 'why')");
    assert_well(&mut s, &[]);
    s.run("select from mosaic.backlog_cancel('A', 'why')");
    for card in ["B", "D", "off"] {
        assert_well(&mut s, &["cancelled_dependencies"]);
        s.run(&format!(
            "select from mosaic.backlog_unlink('{card}', '{{A}}')"
        ));
    }
    assert_well(&mut s, &[]);
}

/// A sequence that leads nowhere lets a session make another segment, and it keeps those before to
/// the end of its transaction.
#[test]
fn a_server_without_shared_memory_left_is_found() {
    let cluster = Cluster::start(&[
        "max_connections = 5",
        "max_wal_senders = 0",
        "max_worker_processes = 0",
        "autovacuum_max_workers = 1",
        "superuser_reserved_connections = 1",
    ]);
    let mut greedy = cluster.session("postgres");
    greedy.run(
        "create extension mosaic_backlog_ext; select from mosaic.backlog_create('t', id => 'A')",
    );
    greedy.run("begin");
    assert_found(&mut greedy, "frontier", "ok", &["fast"]);
    let state = (0..300).find_map(|_| {
        greedy.run(
            "select setval('mosaic.backlog_frontier_seq', 1);
             alter table mosaic.backlog reset (parallel_workers);
             select from mosaic.backlog_reclaim()",
        );
        let state = found(&mut greedy, "frontier").0;
        (state != "ok").then_some(state)
    });
    assert_eq!(state.as_deref(), Some("warning"));
    let mut s = cluster.session("postgres");
    assert_well(&mut s, &["frontier"]);
    // The backlog works all the same, also for this session, whose own memory is not shared.
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
    assert_found(&mut s, "frontier", "warning", &["segments"]);
    let rows = s.rows("select name from mosaic.backlog_doctor() where state <> 'ok'");
    assert_eq!(rows, [json!({"name": "frontier"})]);
    greedy.run("commit");
    wait::until("there is room again", || {
        s.run("select from mosaic.backlog_reclaim()");
        (found(&mut s, "frontier").0 == "ok").then_some(())
    });
}
