//! Errors that PostgreSQL raises inside of a call carry a stable code, as those of the verbs do, and
//! no error carries a backtrace: the servers of the tests run with RUST_BACKTRACE=full.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::refused::Refused;
use mosaic_backlog_tests::replica::Pair;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;

const WRITING: [&str; 19] = [
    "create('t')",
    "create_many('[]')",
    "claim('w')",
    "claim('w', id => 'A')",
    "claim('w', request_id => '6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c')",
    "renew('A', 1)",
    "release('A', 1)",
    "fail('A', 1, 'why')",
    "complete('A')",
    "block('A', 'why')",
    "unblock('A')",
    "note('A', 'so')",
    "cancel('A', 'why')",
    "reopen('A', 'why')",
    "update('A', title => 'new')",
    "link('A', '{B}')",
    "reclaim()",
    "import('[]')",
    "assert_held('A', 1)",
];

const READING: [&str; 8] = [
    "get('A')",
    "failing_workers()",
    "list()",
    "stats()",
    "why('A')",
    "doctor()",
    "events()",
    "export()",
];

/// Verbs with an argument that they refuse.
const WRONG: [&str; 24] = [
    "create('t', priority => 2000000)",
    "create_many('{}')",
    "claim('')",
    "claim('w', '-1 second')",
    "renew('A', 0)",
    "release('A', 7)",
    "fail('A', 7, '')",
    "complete('none')",
    "block('A', '')",
    "unblock('none')",
    "cancel('A', '')",
    "reopen('none', 'why')",
    "update('none', title => 'new')",
    "link('A', '{A}')",
    "unlink('none', '{A}')",
    "reclaim('none')",
    "import('{')",
    "assert_held('A', 7)",
    "token('none')",
    "get('none')",
    "list(max_cards => 0)",
    "stats(phase => '')",
    "why('none')",
    "events(after => 'x')",
];

fn call(verb: &str) -> String {
    format!("select 1 as n from mosaic.backlog_{verb}")
}

#[track_caller]
fn assert_is(refused: &Refused, sqlstate: &str, code: &str) {
    let found = (refused.sqlstate.as_str(), refused.code.as_str());
    assert_eq!(found, (sqlstate, code), "{refused:?}");
}

#[test]
fn a_read_only_transaction_is_told_so_by_every_verb_that_writes() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    for verb in WRITING {
        s.run("begin read only");
        assert_is(&s.refusal(&call(verb)), "25006", "read_only");
        s.run("rollback");
    }
    s.run("begin read only");
    for verb in READING {
        s.rows(&call(verb));
    }
}

#[test]
fn a_standby_is_told_from_no_work() {
    let pair = Pair::start(&[]);
    let mut primary = pair.primary.session("postgres");
    primary.run("create extension mosaic_backlog_ext");
    primary.create("A");
    let mut standby = pair.standby.session("postgres");
    wait::until("the standby has the card", || {
        standby
            .attempt("select 1 as n from mosaic.backlog where id = 'A'")
            .is_ok_and(|rows| !rows.is_empty())
            .then_some(())
    });
    for verb in WRITING {
        let refused = standby.refusal(&call(verb));
        assert_is(&refused, "25006", "read_only");
        assert!(refused.message.contains("standby"), "{refused:?}");
    }
    for verb in READING {
        standby.rows(&call(verb));
    }
    let url = pair.standby.url("postgres", "postgres");
    for line in [
        "claim --worker w",
        "claim --wait 1s",
        "claim A",
        "reclaim",
        "reclaim A",
        "create t",
        "renew A --token 1",
        "release A --token 1",
        "fail A --token 1 --reason why",
        "complete A",
        "block A --reason why",
        "unblock A",
        "cancel A --reason why",
        "reopen A --reason why",
        "update A --title new",
        "link A --needs B",
        "unlink A --needs B",
    ] {
        let verb: Vec<&str> = line.split(' ').collect();
        let failed = backlog(&verb).env("DATABASE_URL", &url).run().json(4);
        assert_eq!(failed["error"]["code"], "read_only", "{line}");
        assert_eq!(failed["error"]["retryable"], false, "{line}");
    }
    let failed = mosaic(&["backlog", "run", "--json", "--", "true"])
        .env("DATABASE_URL", &url)
        .run();
    assert_eq!(failed.json(4)["error"]["code"], "read_only");
    for line in [
        "show A",
        "list",
        "list --count",
        "stats",
        "why A",
        "events",
        "events A",
        "graph",
    ] {
        let verb: Vec<&str> = line.split(' ').collect();
        backlog(&verb).env("DATABASE_URL", &url).json();
    }
    let export = mosaic(&["backlog", "export"])
        .env("DATABASE_URL", &url)
        .run();
    assert_eq!(export.exit, 0, "{export:?}");
}

/// A card that is locked, and what a caller runs into who wants it.
fn locked() -> (Database, Session) {
    let db = Database::fresh();
    let mut holder = db.session();
    holder.create("A");
    holder.create("B");
    holder.run("begin; select from mosaic.backlog where id = 'A' for update");
    (db, holder)
}

const WAITS: &str = "select id from mosaic.backlog_claim('w', id => 'A')";

#[test]
fn a_wait_that_is_cut_off_is_a_timeout_or_busy() {
    let (db, _holder) = locked();
    let mut s = db.session();
    s.run("set statement_timeout = '50ms'");
    let refused = s.refusal(WAITS);
    assert_is(&refused, "57014", "timeout");
    assert_eq!(refused.detail, "timeout: Nothing was changed.");
    s.run("set statement_timeout = 0; set lock_timeout = '50ms'");
    assert_is(&s.refusal(WAITS), "55P03", "busy");
    let waiting = db.session().begin_call(WAITS).until_it_waits(&db);
    db.session().run(
        "select pg_cancel_backend(pid) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    let refused = waiting.answer().expect_err("it was cancelled");
    assert_is(&refused, "57014", "timeout");
}

#[test]
fn a_deadlock_is_busy_and_keeps_its_detail() {
    let (db, mut holder) = locked();
    let mut other = db.session();
    other.run("begin; select from mosaic.backlog where id = 'B' for update");
    let waiting = other.begin_call(WAITS).until_it_waits(&db);
    let first = holder.attempt("select id from mosaic.backlog_claim('w', id => 'B')");
    let second = waiting.answer();
    let refused = first.err().or(second.err()).expect("one is ended");
    assert_is(&refused, "40P01", "busy");
    assert!(refused.detail.starts_with("busy: Process "), "{refused:?}");
}

#[test]
fn a_full_disk_and_a_right_that_is_gone_have_their_codes() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('t', id => 'A',
           body => (select string_agg(md5(n::text), '') from generate_series(1, 20000) n))",
    );
    s.create_numbered("c", 1000);
    s.run("set temp_file_limit = 0; set work_mem = '64kB'");
    for verb in ["list(max_cards => 1000)", "export()"] {
        assert_is(&s.refusal(&call(verb)), "53400", "resource");
    }
    s.run("revoke select, update on mosaic.backlog from mosaic_owner");
    for verb in ["get('A')", "claim('w')", "stats()"] {
        assert_is(&s.refusal(&call(verb)), "42501", "unauthorized");
    }
}

#[test]
fn what_somebodys_trigger_says_stays_as_it_is() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "create function no() returns trigger language plpgsql as $$ begin
           raise 'not on a Sunday' using detail = 'Come back tomorrow.', hint = 'Rest.'; end $$;
         create trigger no before insert on mosaic.backlog for each row execute function no()",
    );
    let refused = s.refusal(&call("create('t')"));
    assert_is(&refused, "P0001", "");
    assert_eq!(refused.message, "not on a Sunday");
    assert_eq!(refused.detail, "Come back tomorrow.");
    assert_eq!(refused.hint, "Rest.");
}

#[test]
fn what_somebodys_constraint_refuses_does_not_show_the_token() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    s.run("alter table mosaic.backlog add constraint lonely check (id <> 'A' or open_dependencies = 0)");
    let token = s.claim("A", "w");
    let refused = s.refusal("select * from mosaic.backlog_link('A', '{B}')");
    assert_is(&refused, "23514", "");
    assert!(refused.message.contains("lonely"), "{refused:?}");
    assert!(
        !refused.detail.contains(&format!(" {token},")),
        "{refused:?}"
    );
    assert!(!refused.detail.contains("claimed"), "{refused:?}");
}

#[test]
fn an_error_inside_of_an_error_has_one_code() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run(
        "create function nested() returns trigger language plpgsql as $$ begin
           perform mosaic.backlog_get('none'); return new; end $$;
         create trigger nested before insert on mosaic.backlog for each row execute function nested()",
    );
    let refused = s.refusal(&call("create('t')"));
    assert_is(&refused, "P0002", "not_found");
    assert_eq!(refused.detail, "not_found: No card has this id.");
}

#[test]
fn no_error_carries_a_backtrace() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for failing in [
        "select mosaic.backlog_get('none')",
        "select mosaic.backlog_create('')",
        "update mosaic.backlog set attempts = -1",
        "update mosaic.backlog set priority = 9000000",
        "select mosaic.backlog_watch()",
        "begin read only; select mosaic.backlog_claim('w')",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain(WRONG.map(call))
    {
        let failing = failing.as_str();
        let refused = s.attempt_run(failing).expect_err(failing);
        let _ = s.attempt_run("rollback");
        for text in [&refused.message, &refused.detail, &refused.hint] {
            assert!(
                !text.contains('\n') && !text.contains(".rs:"),
                "{refused:?}"
            );
        }
    }
}
