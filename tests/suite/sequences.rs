//! Sequences that are behind the tables: no token, event number or creation number comes again, whoever
//! set them back, and what a restore to an earlier moment needs.

use std::process::Command;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::mosaic;
use mosaic_backlog_tests::programs::{postgresql, run};
use mosaic_backlog_tests::replica::base_backup;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::{account, folder, wait};

use crate::doctor::{assert_found, assert_well};

const TOKENS: &str = "mosaic.backlog_claim_token_seq";
const EVENTS: &str = "mosaic.backlog_event_id_seq";
const CREATIONS: &str = "mosaic.backlog_creation_seq";

fn set_back(s: &mut Session, sequence: &str) {
    s.run(&format!("select setval('{sequence}', 1, false)"));
}

/// The largest token that the tables know.
fn largest_token(s: &mut Session) -> i64 {
    s.number(
        "select greatest((select max(claim_token) from mosaic.backlog_event),
           (select max(greatest(claim_token, settled_token)) from mosaic.backlog),
           (select max(t) from mosaic.backlog_claim_request, unnest(tokens) t))",
    )
}

/// Cards that were claimed, completed, given back and claimed under a request, by 20 tokens.
fn some_history(db: &Database) -> Session {
    let mut s = db.session();
    s.create_numbered("c", 20);
    for n in 1..=15 {
        s.claim(&format!("c{n}"), "w");
    }
    s.rows("select * from mosaic.backlog_claim('w', max_cards => 5, request_id => '6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c')");
    s.run("select from mosaic.backlog b, mosaic.backlog_complete(b.id, b.claim_token) where b.id in ('c1', 'c2', 'c20')");
    s.run("select from mosaic.backlog b, mosaic.backlog_release(b.id, b.claim_token) where b.id in ('c3', 'c4')");
    s.create_numbered("d", 10);
    s
}

#[test]
fn a_sequence_of_tokens_that_is_set_back_hands_out_none_again() {
    let db = Database::fresh();
    let mut used = some_history(&db);
    let mut idle = db.session();
    let mut hand = db.session();
    let claim_of_next: fn(&mut Session) -> i64 =
        |s| s.number("select claim_token from mosaic.backlog_claim('w')");
    let claim_by_id: fn(&mut Session) -> i64 = |s| {
        let id = s.text("select id from mosaic.backlog where status = 'ready' limit 1");
        s.claim(&id, "w")
    };
    // With a trigger of somebody's, statements do it all.
    for by_statement in [false, true] {
        if by_statement {
            hand.run(
                "create function mine() returns trigger language plpgsql as 'begin return new; end';
                 create trigger mine before update on mosaic.backlog for each row execute function mine()",
            );
        }
        for claim in [claim_of_next, claim_by_id] {
            // In a session that has claimed, in one that has not, and in a new one.
            for s in [&mut used, &mut idle, &mut db.session()] {
                let largest = largest_token(&mut hand);
                set_back(&mut hand, TOKENS);
                let token = claim(s);
                assert!(token > largest, "{token} after {largest}");
            }
        }
    }
}

#[test]
fn event_numbers_that_are_set_back_fail_no_call_and_come_after_those_before() {
    let db = Database::fresh();
    let mut used = some_history(&db);
    let mut hand = db.session();
    for s in [&mut used, &mut db.session()] {
        let last = hand.number("select max(event_id) from mosaic.backlog_event");
        set_back(&mut hand, EVENTS);
        s.claim_next("w").expect("a card");
        let new = "select count(*) from mosaic.backlog_event where event_id > ";
        assert_eq!(hand.number(&format!("{new}{last}")), 1);
    }
    // A follower misses none.
    let last = hand.text("select max(event_id)::text from mosaic.backlog_event");
    set_back(&mut hand, EVENTS);
    used.create("new");
    wait::until("the follower sees it", || {
        let seen = hand.column(&format!(
            "select card_id from mosaic.backlog_events(after => '{last}')"
        ));
        assert!(seen.is_empty() || seen == ["new"], "{seen:?}");
        (!seen.is_empty()).then_some(())
    });
}

#[test]
fn creation_numbers_that_are_set_back_give_no_card_the_place_of_another() {
    let db = Database::fresh();
    let mut used = some_history(&db);
    let mut hand = db.session();
    set_back(&mut hand, CREATIONS);
    used.create("one");
    set_back(&mut hand, CREATIONS);
    db.session()
        .run("select from mosaic.backlog_create_many('[{\"title\": \"t\"}, {\"title\": \"t\"}]')");
    set_back(&mut hand, CREATIONS);
    let lines = "(select jsonb_agg(replace(line, '\"id\": \"', '\"id\": \"copy of ')::jsonb) from mosaic.backlog_export(false, false) line)";
    db.session()
        .run(&format!("select from mosaic.backlog_import({lines})"));
    assert_eq!(
        hand.number("select count(*) - count(distinct creation_seq) from mosaic.backlog"),
        0
    );
    assert!(hand.truth("select count(*) > 60 from mosaic.backlog"));
}

#[test]
fn sequences_of_an_emptied_backlog_may_begin_anew() {
    let db = Database::fresh();
    let mut s = some_history(&db);
    s.run(
        "truncate mosaic.backlog, mosaic.backlog_dependency, mosaic.backlog_event, mosaic.backlog_claim_request",
    );
    for sequence in [TOKENS, EVENTS, CREATIONS] {
        set_back(&mut s, sequence);
    }
    s.create("A");
    assert_eq!(s.claim("A", "w"), 1);
}

#[test]
fn the_doctor_compares_each_sequence_with_the_tables() {
    let db = Database::fresh();
    let mut s = some_history(&db);
    assert_well(&mut s, &[]);
    for (sequence, part) in [
        (TOKENS, "backlog_claim_token_seq is 20 behind"),
        (EVENTS, "backlog_event_id_seq is "),
        (CREATIONS, "backlog_creation_seq is 30 behind"),
    ] {
        s.run("begin");
        s.run(&format!("alter sequence {sequence} restart"));
        assert_found(&mut s, "sequences", "error", &[part]);
        s.run("rollback");
    }
    assert_well(&mut s, &[]);
    // Each place that knows a token.
    for damage in [
        "update mosaic.backlog set claim_token = 50 where id = 'c5'",
        "update mosaic.backlog set settled_token = 50 where id = 'c1'",
        "update mosaic.backlog_event set claim_token = 50 where event_id = 1",
        "update mosaic.backlog_claim_request set tokens = '{50}'",
    ] {
        s.run("begin");
        s.run(damage);
        assert_found(
            &mut s,
            "sequences",
            "error",
            &["claim_token_seq is 30 behind"],
        );
        s.run("rollback");
    }
    s.run("update mosaic.backlog set settled_token = 50 where id = 'c1'");
    let hint = s.text("select hint from mosaic.backlog_doctor() where name = 'sequences'");
    let call = "mosaic.backlog_resume_after_restore()";
    assert!(hint.contains(call), "{hint}");
    s.run(&format!("select from {call}"));
    assert_well(&mut s, &[]);
    assert!(s.claim("c3", "w") > 50);
}

#[test]
fn whoever_resumes_after_a_restore_jumps_all_numbers_and_is_in_the_history() {
    let db = Database::fresh();
    let mut s = some_history(&db);
    let mut other = db.session();
    other.claim("d1", "w");
    let token = largest_token(&mut s);
    let rows = s.rows("select * from mosaic.backlog_resume_after_restore(actor => 'me')");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["claim_token", "event_id", "creation_seq"]);
    assert_eq!(rows[0]["before"], token);
    assert!(rows[0]["after"].as_i64() >= Some(token + 1_000_000_000));
    assert!(other.claim("d2", "w") > rows[0]["after"].as_i64().expect("a number"));
    let event = wait::until("it is shown", || {
        s.rows("select * from mosaic.backlog_events(max_events => 1000) where kind = 'resumed'")
            .pop()
    });
    assert_eq!(event["actor"], "me");
    assert_eq!(event["card_id"], serde_json::Value::Null);
    assert_eq!(event["detail"]["claim_token"], rows[0]["after"]);
    // What is known elsewhere counts as well.
    s.run("select from mosaic.backlog_resume_after_restore(last_token => 5000000000)");
    assert!(s.claim("d3", "w") > 6_000_000_000);
    for wrong in ["-1", "9223372036854775807"] {
        let call = format!("select mosaic.backlog_resume_after_restore(last_token => {wrong})");
        assert_eq!(s.code(&call), "invalid_argument", "{wrong}");
    }
    // An export tells of cards, and can be imported.
    let target = Database::fresh();
    let lines = s.value("select jsonb_agg(line::jsonb) from mosaic.backlog_export() line");
    let cards = target.session().number(&format!(
        "select cards from mosaic.backlog_import({})",
        mosaic_backlog_tests::cards::quote(&lines.to_string())
    ));
    assert_eq!(cards, 30);
    assert_well(&mut s, &[]);
}

#[test]
fn a_restore_into_a_store_with_cards_leaves_no_token_to_come_again() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    account::give(&folder);
    let file = folder.join("dump");
    let program = |name: &str| {
        let mut command = Command::new(postgresql(name));
        account::serve(&mut command)
            .arg("--dbname")
            .arg(db.url("postgres"))
            .current_dir("/");
        command
    };
    run(program("pg_dump")
        .arg("--format=custom")
        .arg("--file")
        .arg(&file));
    s.run("set mosaic.clock = '2030-01-01'");
    let late = s.claim("A", "late");
    // The extension cannot be dropped, nor the rows loaded over those that are there; sequences are set.
    let output = program("pg_restore")
        .args(["--clean", "--if-exists"])
        .arg(&file)
        .output()
        .expect("pg_restore");
    assert!(!output.status.success());
    assert_eq!(
        s.number("select last_value from mosaic.backlog_claim_token_seq"),
        1
    );
    assert!(!s.truth("select is_called from mosaic.backlog_claim_token_seq"));
    for mut s in [db.session(), s] {
        s.run("set mosaic.clock = '2030-01-02'");
        s.run("select from mosaic.backlog_reclaim()");
        let token = s.claim("A", "w2");
        assert!(token > late, "{token} {late}");
        let late = format!("select mosaic.backlog_complete('A', {late})");
        assert_eq!(s.code(&late), "claim_lost");
        s.run(&format!("select from mosaic.backlog_release('A', {token})"));
    }
}

#[test]
fn after_a_restore_to_a_point_in_time_late_tokens_are_refused() {
    let archive = folder::create();
    account::give(&archive);
    let archive = archive.display();
    let primary = Cluster::start(&[
        "archive_mode = on",
        &format!("archive_command = 'cp %p {archive}/%f'"),
    ]);
    let mut s = primary.session("postgres");
    s.run("create extension mosaic_backlog_ext");
    s.create("A");
    let restored = base_backup(&primary, &[]);
    s.run("select pg_create_restore_point('earlier')");
    let late = s.claim("A", "late");
    s.run("select pg_switch_wal()");
    wait::until("the log is archived", || {
        s.truth("select count(*) > 0 and count(*) filter (where archived_count > 0) > 0
                 and max(last_archived_wal) >= max(pg_walfile_name(pg_current_wal_lsn() - 16777216)) from pg_stat_archiver")
            .then_some(())
    });
    restored.configure(&[
        &format!("restore_command = 'cp {archive}/%f %p'"),
        "recovery_target_name = 'earlier'",
        "recovery_target_action = 'promote'",
        "archive_mode = off",
    ]);
    std::fs::write(restored.data().join("recovery.signal"), "").expect("the file");
    restored.resume();
    let mut s = restored.session("postgres");
    wait::until("the server is open", || {
        (!s.truth("select pg_is_in_recovery()")).then_some(())
    });
    assert_eq!(s.status("A"), "ready");
    let url = restored.url("postgres", "postgres");
    let answer = mosaic(&["db", "resume-after-restore", "--actor", "me", "--json"])
        .env("DATABASE_URL", &url)
        .json();
    assert_eq!(answer["sequences"][0]["name"], "claim_token");
    let mut worker = restored.session("postgres");
    assert!(worker.claim("A", "w2") > 1_000_000_000);
    let late = format!("select mosaic.backlog_complete('A', {late})");
    assert_eq!(worker.code(&late), "claim_lost");
}

#[test]
fn a_logical_replica_takes_over_as_the_docs_say() {
    let settings = ["wal_level = logical"];
    let (from, to) = (Cluster::start(&settings), Cluster::start(&settings));
    let mut primary = from.session("postgres");
    let mut replica = to.session("postgres");
    for s in [&mut primary, &mut replica] {
        s.run("create extension mosaic_backlog_ext");
    }
    primary.create_numbered("c", 10);
    let held = primary.claim("c1", "w");
    primary.run("create publication backlog for tables in schema mosaic");
    replica.run(&format!(
        "create subscription backlog connection '{}' publication backlog",
        from.url("postgres", "postgres")
    ));
    let count = "select count(*) from mosaic.backlog_event";
    wait::until("the copy is there", || {
        (replica.number(count) == primary.number(count)).then_some(())
    });
    // What is changed while it follows.
    for n in 2..=9 {
        primary.claim(&format!("c{n}"), "w");
    }
    primary.run(&format!("select from mosaic.backlog_renew('c1', {held})"));
    wait::until("the replica has all", || {
        (replica.number(count) == primary.number(count)).then_some(())
    });
    let last = largest_token(&mut primary);
    assert_found(
        &mut replica,
        "sequences",
        "error",
        &["backlog_claim_token_seq"],
    );
    replica.run("alter subscription backlog disable; alter subscription backlog set (slot_name = none); drop subscription backlog");
    // Even without the operator's step.
    let mut worker = to.session("postgres");
    let token = worker.claim("c10", "w");
    assert!(token > last, "{token} after {last}");
    replica.run("select from mosaic.backlog_resume_after_restore()");
    worker.create("new");
    assert!(worker.claim("new", "w") > 1_000_000_000);
    worker.run(&format!(
        "select from mosaic.backlog_complete('c1', {held})"
    ));
    assert_found(&mut replica, "sequences", "ok", &[]);
}
