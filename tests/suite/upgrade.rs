//! A new version arrives while workers work.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::installation::Installation;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use crate::dump;

const NEWER: &str = "999.0.0";
const CREATE: &str = "create extension mosaic_backlog_ext";
/// As 0.1.0 made it; its script never changes.
const CREATE_OLD: &str = "create extension mosaic_backlog_ext version '0.1.0'";
const UPDATE: &str = "alter extension mosaic_backlog_ext update";

fn start(installation: &Installation) -> Cluster {
    let cluster = Cluster::start_from(installation.bin(), &[]);
    cluster.session("postgres").run(CREATE);
    cluster
}

/// A database that 0.1.0 made, and whose library is the present one.
fn old_database() -> Database {
    let db = Database::bare();
    db.session().run(CREATE_OLD);
    db
}

/// The library as a newer version would be that keeps other things in shared memory.
fn with_a_newer_layout(mut library: Vec<u8>) -> Vec<u8> {
    let (own, newer) = (b"layout 2", b"layout 3");
    let places: Vec<usize> = (0..library.len() - own.len())
        .filter(|at| library[*at..].starts_with(own))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        library[at..at + own.len()].copy_from_slice(newer);
    }
    library
}

/// Creates a card, claims one and completes it.
fn round(s: &mut Session, worker: &str, number: usize) -> String {
    s.create(&format!("{worker}-{number}"));
    let row = s.row(&format!(
        "select id, claim_token from mosaic.backlog_claim('{worker}')"
    ));
    let (id, token) = (row["id"].as_str().expect("an id"), &row["claim_token"]);
    s.run(&format!(
        "select from mosaic.backlog_complete('{id}', {token})"
    ));
    id.to_owned()
}

/// Runs workers, of which half connect anew for each round, while `arrive` does its work and for
/// a while after. No call may fail, and each card is completed once.
fn under_traffic(cluster: &Cluster, arrive: impl FnOnce()) {
    let (over, done) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let more = |count: usize| {
        let before = done.lock().expect("a list").len();
        wait::until("the workers go on", || {
            let now = done.lock().expect("a list").len();
            (now >= before + count).then_some(())
        });
    };
    thread::scope(|scope| {
        for worker in 0..6 {
            let (over, done) = (&over, &done);
            scope.spawn(move || {
                let mut session = cluster.session("postgres");
                for number in 0.. {
                    if over.load(Ordering::SeqCst) {
                        break;
                    }
                    if worker % 2 == 0 {
                        session = cluster.session("postgres");
                    }
                    let id = round(&mut session, &format!("w{worker}"), number);
                    done.lock().expect("a list").push(id);
                }
            });
        }
        let stop = Stop(&over);
        more(50);
        arrive();
        more(100);
        drop(stop);
    });
    let mut done = done.into_inner().expect("a list");
    let count = done.len();
    done.sort();
    done.dedup();
    assert_eq!(done.len(), count, "a card was completed twice");
    let stats = cluster
        .session("postgres")
        .row("select ready, claimed, done from mosaic.backlog_stats()");
    assert_eq!(stats, json!({"ready": 0, "claimed": 0, "done": count}));
}

/// Lets the workers come to their end, also where the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn workers_do_not_notice_that_the_library_is_replaced_and_the_extension_updated() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    under_traffic(&cluster, || {
        installation.replace_library(|library| library);
        installation.add_version(
            NEWER,
            "alter table mosaic.backlog add column of_the_newer_version text;
             create or replace function mosaic.backlog_stats_of_the_newer_version() returns bigint
               language sql as 'select count(*) from mosaic.backlog';",
        );
        let mut admin = cluster.session("postgres");
        admin.run(UPDATE);
        assert!(admin.number("select mosaic.backlog_stats_of_the_newer_version()") > 0);
        installation.replace_library(|library| library);
    });
}

#[test]
fn sessions_with_an_older_layout_end_before_they_change_what_others_would_not_hear_of() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    let mut idle = cluster.session("postgres");
    idle.create("A");
    let mut late = cluster.session("postgres");
    late.run("begin");
    late.create("late");
    let mut fresh = cluster.session("postgres");
    fresh.run("set mosaic.notify = on");
    let _ = fresh.row("select * from mosaic.backlog_stats()");
    installation.replace_library(with_a_newer_layout);

    let mut new = cluster.session("postgres");
    assert_eq!(new.claim_next("w").as_deref(), Some("A"));
    // Also one that had not used its memory before must not take it back.
    for (mut older, what) in [
        (late, "commit"),
        (idle, "select from mosaic.backlog_create('t', id => 'B')"),
        (fresh, "select from mosaic.backlog_claim('w')"),
    ] {
        let refused = older.attempt_run(what).expect_err(what);
        // The client library reports the one or the other: both came at once.
        let ended = ["57P01", "08006"].contains(&refused.sqlstate.as_str());
        assert!(ended, "{what}: {refused:?}");
        wait::until("the session has ended", || {
            older.attempt_run("select 1").is_err().then_some(())
        });
    }
    assert_eq!(new.claim_next("w"), None);
    let mut again = cluster.session("postgres");
    again.create("B");
    assert_eq!(new.claim_next("w").as_deref(), Some("B"));
    assert_eq!(
        new.column("select id from mosaic.backlog order by id"),
        ["A", "B"]
    );
}

#[test]
fn what_an_older_session_was_committing_is_found_when_it_is_there() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    let mut admin = cluster.session("postgres");
    // Its commit waits for a standby that there is not, past the point of no return.
    admin.run("alter system set synchronous_standby_names = 'nobody'");
    admin.run("select pg_reload_conf()");
    wait::until("the setting is known", || {
        let mut s = cluster.session("postgres");
        (s.text("select current_setting('synchronous_standby_names')") == "nobody").then_some(())
    });
    let committing = cluster
        .session("postgres")
        .begin_call("select id from mosaic.backlog_create('t', id => 'A')");
    wait::until("the commit waits", || {
        admin
            .truth("select exists (select from pg_stat_activity where wait_event = 'SyncRep')")
            .then_some(())
    });
    installation.replace_library(with_a_newer_layout);
    let mut new = cluster.session("postgres");
    new.run("set mosaic.durability = 'inherit'; set synchronous_commit = local");
    assert_eq!(new.claim_next("w"), None);
    assert!(!committing.is_finished());
    admin.run("alter system reset synchronous_standby_names");
    admin.run("select pg_reload_conf()");
    assert_eq!(committing.rows(), [json!({"id": "A"})]);
    assert_eq!(new.claim_next("w").as_deref(), Some("A"));
    // From then on all is told as ever.
    new.create("B");
    assert_eq!(new.claim_next("w").as_deref(), Some("B"));
}

#[test]
fn an_older_program_works_with_a_newer_extension() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    installation.add_version(
        NEWER,
        "alter table mosaic.backlog add column of_the_newer_version text;",
    );
    let url = cluster.url("postgres", "postgres");
    let migrated = mosaic(&["db", "migrate", "--json"])
        .env("DATABASE_URL", &url)
        .json();
    assert_eq!(migrated["to"], NEWER);
    let call = |arguments: &[&str]| backlog(arguments).env("DATABASE_URL", &url).json();
    call(&["create", "t", "--id", "A"]);
    let claimed = call(&["claim", "--worker", "w"]);
    let token = claimed["cards"][0]["claim_token"].to_string();
    assert_eq!(
        call(&["complete", "A", "--token", &token])["card"]["status"],
        "done"
    );
}

#[test]
fn a_newer_program_says_what_to_do_about_an_older_extension() {
    let installation = Installation::copy();
    let cluster = start(&installation);
    let mut admin = cluster.session("postgres");
    // What a version before it came would lack.
    let definition = admin
        .text("select pg_get_functiondef('mosaic.backlog_why'::regproc)")
        .replace(
            "$libdir/mosaic_backlog_ext",
            &installation.library().to_string_lossy(),
        );
    admin.run(
        "alter extension mosaic_backlog_ext drop function mosaic.backlog_why;
         drop function mosaic.backlog_why;
         update pg_extension set extversion = '0.0.1' where extname = 'mosaic_backlog_ext'",
    );
    let url = cluster.url("postgres", "postgres");
    let call = |arguments: &[&str]| backlog(arguments).env("DATABASE_URL", &url);
    call(&["create", "t", "--id", "A"]).json();
    let error = &call(&["why", "A"]).run().json(4)["error"];
    assert_eq!(error["code"], "not_installed");
    assert_eq!(error["retryable"], false);
    let hint = error["hint"].as_str().expect("a hint");
    assert!(hint.contains("mosaic db migrate"), "{hint}");

    installation.add_script(
        "0.0.1",
        env!("CARGO_PKG_VERSION"),
        &format!("{definition};"),
    );
    // Nobody migrates a shared server in passing, unless told to.
    call(&["why", "A"]).code(4);
    assert_eq!(
        call(&["why", "A"]).env("MOSAIC_AUTO_MIGRATE", "1").json()["id"],
        "A"
    );
    call(&["why", "A"]).json();
}

/// What the catalogue of a new cluster says when the extension came there so.
fn catalogue(creation: &[&str]) -> BTreeSet<String> {
    let cluster = Cluster::start(&[]);
    let mut admin = cluster.session("postgres");
    for step in creation {
        admin.run(step);
    }
    let facts = admin.column(include_str!("upgrade/catalogue.sql"));
    let facts: BTreeSet<String> = facts
        .iter()
        .map(|fact| fact.as_str().expect("text").to_owned())
        .collect();
    assert!(facts.len() > 300, "{facts:?}");
    facts
}

#[test]
fn an_updated_database_is_in_all_like_a_new_one() {
    let (updated, new) = (catalogue(&[CREATE_OLD, UPDATE]), catalogue(&[CREATE]));
    let lines = |of: &BTreeSet<String>, other| {
        let only: Vec<&str> = of.difference(other).map(String::as_str).collect();
        only.join("\n  ")
    };
    assert!(
        updated == new,
        "only where 0.1.0 was updated:\n  {}\nonly where it is new:\n  {}",
        lines(&updated, &new),
        lines(&new, &updated)
    );
}

/// What an operator may have said before our objects were made.
const DEFAULTS: &str = "create role app;
    alter default privileges grant all on tables to app, public, mosaic_reader;
    alter default privileges grant all on sequences to app with grant option;
    alter default privileges grant all on functions to app;
    alter default privileges grant all on types to app;
    alter default privileges grant all on schemas to app";
/// So that the roles are there, and as in the other databases of the cluster.
const CREATE_AND_DROP: &str =
    "create extension mosaic_backlog_ext; drop extension mosaic_backlog_ext";

#[test]
fn default_privileges_give_nobody_rights_on_what_is_ours() {
    let plain = catalogue(&[CREATE]);
    for creation in [&[CREATE][..], &[CREATE_OLD, UPDATE]] {
        let steps = [&[CREATE_AND_DROP, DEFAULTS], creation].concat();
        let theirs = catalogue(&steps);
        let more: Vec<&String> = theirs.difference(&plain).collect();
        let less: Vec<&String> = plain.difference(&theirs).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "{creation:?}: more {more:#?}, less {less:#?}"
        );
    }
}

#[test]
fn rights_that_0_1_0_let_default_privileges_give_are_found_and_taken_away() {
    let cluster = Cluster::start(&[]);
    let mut s = cluster.session("postgres");
    for step in [CREATE_AND_DROP, DEFAULTS, CREATE_OLD] {
        s.run(step);
    }
    s.create("A");
    let doctor = "select detail from mosaic.backlog_doctor() where name = 'ownership'";
    assert!(s.text(doctor).contains("open to app"), "{}", s.text(doctor));
    s.run("set role app; select setval('mosaic.backlog_claim_token_seq', 1); reset role");
    s.run(UPDATE);
    for denied in [
        "delete from mosaic.backlog_event",
        "select nextval('mosaic.backlog_claim_token_seq')",
        "select mosaic.backlog_cancel('A', 'why')",
        "select id from mosaic.backlog",
    ] {
        s.run("set role app");
        let refused = s.attempt_run(denied).expect_err(denied);
        assert_eq!(refused.sqlstate, "42501", "{denied}");
        s.run("reset role");
    }
    assert_eq!(s.number("select count(*) from mosaic.backlog_list()"), 1);
}

/// Calls each function of 0.1.0 in turn, and asks of each for what it is called for.
fn use_all_of_0_1_0(s: &mut Session) {
    let mut called = BTreeSet::new();
    let mut call = |s: &mut Session, what: &str, call: &str, expected: Value| {
        called.insert(call.split('(').next().expect("a name").to_owned());
        assert_eq!(
            s.rows(&format!("select {what} from mosaic.backlog_{call}")),
            expected.as_array().expect("rows").as_slice(),
            "{call}"
        );
    };
    let held = "(select claim_token from mosaic.backlog where id = 'A')";
    for (what, verb, expected) in [
        (
            "id, created",
            "create('t', id => 'A', priority => 5)",
            json!([{"id": "A", "created": true}]),
        ),
        (
            "id, created",
            "create('t', id => 'B', depends_on => '{A}', idempotency_key => 'k')",
            json!([{"id": "B", "created": true}]),
        ),
        (
            "id, created",
            "create_many('[{\"title\": \"t\", \"id\": \"C\"}, {\"title\": \"t\", \"id\": \"D\", \"depends_on\": [\"C\"]}]')",
            json!([{"id": "C", "created": true}, {"id": "D", "created": true}]),
        ),
        (
            "id, status, open_dependencies",
            "get('B')",
            json!([{"id": "B", "status": "ready", "open_dependencies": 1}]),
        ),
        (
            "id, total",
            "list(with_total => true, ready_only => true)",
            json!([{"id": "A", "total": 2}, {"id": "C", "total": 2}]),
        ),
        ("kind", "why('B')", json!([{"kind": "open_dependency"}])),
        (
            "id, claim_token is not null as token, dependencies, last_failure",
            "claim('w', request_id => '6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c')",
            json!([{"id": "A", "token": true, "dependencies": [], "last_failure": null}]),
        ),
        (
            "id",
            "claim('w', request_id => '6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c')",
            json!([{"id": "A"}]),
        ),
        (
            "1 as ok",
            &format!("assert_held('A', {held})"),
            json!([{"ok": 1}]),
        ),
        (
            "backlog_renew is not null as ok",
            &format!("renew('A', {held}, '1 hour')"),
            json!([{"ok": true}]),
        ),
        (
            "status, attempts",
            &format!("fail('A', {held}, 'broke', '0')"),
            json!([{"status": "ready", "attempts": 1}]),
        ),
        (
            "id, last_failure",
            "claim('w')",
            json!([{"id": "A", "last_failure": "broke"}]),
        ),
        (
            "status, attempts",
            &format!("release('A', {held})"),
            json!([{"status": "ready", "attempts": 1}]),
        ),
        (
            "id",
            "claim('w', id => 'A', ttl => '1 second')",
            json!([{"id": "A"}]),
        ),
        (
            "id, action",
            "reclaim('A', force => true)",
            json!([{"id": "A", "action": "requeued"}]),
        ),
        (
            "id",
            "claim('w', labels => '{}', offers => '{gpu}')",
            json!([{"id": "A"}]),
        ),
        (
            "status, unblocked",
            &format!("complete('A', {held}, '[1]')"),
            json!([{"status": "done", "unblocked": ["B"]}]),
        ),
        (
            "id, dependencies",
            "claim('w', id => 'B')",
            json!([{"id": "B", "dependencies": [{"id": "A", "title": "t", "result": [1]}]}]),
        ),
        (
            "id, status",
            "complete('B', force => true)",
            json!([{"id": "B", "status": "done"}]),
        ),
        (
            "id, status",
            "reopen('B', 'again')",
            json!([{"id": "B", "status": "ready"}]),
        ),
        (
            "status, block_kind",
            "block('B', 'which?', 'input')",
            json!([{"status": "blocked", "block_kind": "input"}]),
        ),
        ("status", "unblock('B')", json!([{"status": "ready"}])),
        (
            "open_dependencies",
            "link('B', '{C}')",
            json!([{"open_dependencies": 1}]),
        ),
        (
            "open_dependencies",
            "unlink('B', '{C}')",
            json!([{"open_dependencies": 0}]),
        ),
        (
            "title, labels",
            "update('B', title => 'new', labels => '{x}')",
            json!([{"title": "new", "labels": ["x"]}]),
        ),
        (
            "id, status",
            "cancel('C', 'why', cascade => true)",
            json!([{"id": "C", "status": "cancelled"}, {"id": "D", "status": "cancelled"}]),
        ),
        (
            "ready, done, cancelled, claimable",
            "stats()",
            json!([{"ready": 1, "done": 1, "cancelled": 2, "claimable": 1}]),
        ),
        (
            "kind",
            "events('A', max_events => 3)",
            json!([{"kind": "created"}, {"kind": "claimed"}, {"kind": "renewed"}]),
        ),
        ("count(*) > 10 as ok", "export()", json!([{"ok": true}])),
        (
            // The event trigger of 0.1.0 can be passed by; the update to 0.2.0 sees to that.
            "count(*) > 5 as ok, array_agg(name) filter (where state = 'error') as errors",
            "doctor()",
            json!([{"ok": true, "errors": ["triggers"]}]),
        ),
    ] {
        call(s, what, verb, expected);
    }
    // What an export wrote comes back, in the place of what there was.
    s.run(
        "create temporary table lines as select jsonb_agg(line::jsonb) as all_of_them from mosaic.backlog_export() line;
         truncate mosaic.backlog, mosaic.backlog_dependency, mosaic.backlog_event, mosaic.backlog_claim_request",
    );
    call(
        s,
        "cards",
        "import((select all_of_them from lines))",
        json!([{"cards": 4}]),
    );
    assert_eq!(s.claim_next("w").as_deref(), Some("B"));
    let functions = s.column(
        "select distinct substring(proname from 9) from pg_proc
         where proname ^@ 'backlog_' and prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)",
    );
    let functions: BTreeSet<String> = functions
        .iter()
        .map(|name| name.as_str().expect("text").to_owned())
        .collect();
    assert_eq!(called, functions);
}

#[test]
fn the_new_library_serves_a_database_that_0_1_0_made() {
    let db = old_database();
    use_all_of_0_1_0(&mut db.session());
    let refused = db.session().refusal("select mosaic.backlog_get('none')");
    assert_eq!(refused.code, "not_found");
    let dropped = db
        .session()
        .attempt_run("drop extension mosaic_backlog_ext");
    assert_eq!(dropped.expect_err("cards exist").code, "bad_transition");
}

#[test]
fn the_new_program_works_with_a_database_that_0_1_0_made() {
    let db = old_database();
    let url = db.url("postgres");
    let call = |arguments: &[&str]| backlog(arguments).env("DATABASE_URL", &url).json();
    call(&["create", "t", "--id", "A"]);
    call(&["create", "t", "--id", "B"]);
    call(&["link", "B", "--needs", "A"]);
    assert_eq!(call(&["list"])["cards"].as_array().map(Vec::len), Some(2));
    assert_eq!(call(&["why", "B"])["reasons"][0]["kind"], "open_dependency");
    let claimed = call(&["claim", "--worker", "w"]);
    let token = claimed["cards"][0]["claim_token"].to_string();
    call(&["renew", "A", "--token", &token]);
    let completed = call(&["complete", "A", "--token", &token]);
    assert_eq!(completed["unblocked"], json!(["B"]));
    assert_eq!(call(&["stats"])["claimable"], 1);
    call(&["show", "A"]);
    call(&["events", "A"]);
    // It says what is to be done, and that the server of tests does not reach its disk.
    let doctor = backlog(&["doctor"]).env("DATABASE_URL", &url).run();
    let doctor: Value = serde_json::from_str(&doctor.stdout).expect("JSON");
    let not_ok: Vec<&Value> = doctor["findings"]
        .as_array()
        .expect("findings")
        .iter()
        .filter(|finding| finding["state"] != "ok")
        .map(|finding| &finding["name"])
        .collect();
    assert_eq!(
        not_ok,
        [
            "extension",
            "extension_files",
            "durability",
            "triggers",
            "indexes",
            "tables",
            "functions"
        ]
    );
}

/// Whether `row` says what it said before; it may have more columns by now.
fn has_all_of(row: &Value, before: &Value) -> bool {
    match before {
        Value::Object(fields) => fields.iter().all(|(name, old)| has_all_of(&row[name], old)),
        _ => row == before,
    }
}

#[test]
fn cards_of_0_1_0_survive_the_update() {
    let db = old_database();
    let mut s = db.session();
    let token = dump::populate(&mut s);
    let before = dump::contents(&mut s);
    db.session().run(UPDATE);
    for mut session in [s, db.session()] {
        let after = dump::contents(&mut session);
        for (after, before) in after.iter().flatten().zip(before.iter().flatten()) {
            assert!(has_all_of(after, before), "{before} became {after}");
        }
        let count = |tables: &[Vec<Value>]| tables.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(count(&after), count(&before));
    }
    dump::assert_goes_on(&mut db.session(), token);
}

#[test]
fn workers_of_0_1_0_do_not_notice_the_update() {
    let cluster = Cluster::start(&[]);
    cluster.session("postgres").run(CREATE_OLD);
    under_traffic(&cluster, || cluster.session("postgres").run(UPDATE));
}

#[test]
fn transactions_that_are_open_during_the_update_end_as_they_would_have() {
    let db = old_database();
    let mut s = db.session();
    for id in ["committed", "rolled back", "prepared", "left"] {
        s.create(id);
    }
    let mut tokens = Vec::new();
    let mut open: Vec<Session> = ["committed", "rolled back", "prepared"]
        .iter()
        .map(|id| {
            let mut session = db.session();
            session.run("set mosaic.notify = off; begin");
            tokens.push(session.claim(id, "w"));
            session
        })
        .collect();
    open.pop()
        .expect("a session")
        .run("prepare transaction 'p'");
    let updating = thread::spawn({
        let mut session = db.session();
        move || session.run(UPDATE)
    });
    // An update that changes a table waits for them; one that does not is through at once.
    wait::until("the update waits or is over", || {
        let waits = s.truth(
            "select exists (select from pg_stat_activity where datname = current_database()
             and query ~ '^alter extension' and wait_event_type = 'Lock')",
        );
        (waits || updating.is_finished()).then_some(())
    });
    open.remove(0).run("commit");
    open.remove(0).run("rollback");
    s.run("commit prepared 'p'");
    updating.join().expect("the update");
    for (id, token) in [("committed", tokens[0]), ("prepared", tokens[2])] {
        s.run(&format!(
            "select from mosaic.backlog_complete('{id}', {token})"
        ));
    }
    assert_eq!(s.claim_next("w").as_deref(), Some("rolled back"));
    assert_eq!(s.claim_next("w").as_deref(), Some("left"));
    assert_eq!(s.claim_next("w"), None);
}
