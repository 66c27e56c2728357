//! The exit code and the error code of every way in which a call can fail.

use std::process::Child;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::program::{Outcome, backlog, mosaic};
use mosaic_backlog_tests::wait;

fn populated() -> (Database, String) {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["ready", "held", "dep"] {
        s.create(id);
    }
    s.create_after("gated", &["dep"]);
    s.run("select from mosaic.backlog_create('done', id => 'done', idempotency_key => 'k')");
    s.complete("done");
    let token = s.claim("held", "w").to_string();
    (db, token)
}

#[test]
fn each_refusal_of_the_backlog_has_its_exit_code() {
    let (db, token) = populated();
    let stale = "987654321";
    let request = "6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c";
    backlog(&["claim", "ready", "--worker", "w", "--request-id", request])
        .on(&db)
        .json();
    for (exit, code, call) in [
        (5, "not_found", &["show", "nope"][..]),
        (5, "not_found", &["claim", "nope"]),
        (5, "not_found", &["why", "nope"]),
        (5, "not_found", &["create", "t", "--needs", "nope"]),
        (5, "not_found", &["link", "gated", "--needs", "nope"]),
        (6, "claim_lost", &["renew", "held", "--token", stale]),
        (6, "claim_lost", &["release", "held", "--token", stale]),
        (
            6,
            "claim_lost",
            &["fail", "held", "--token", stale, "--reason", "r"],
        ),
        (6, "claim_lost", &["complete", "held", "--token", stale]),
        (
            6,
            "claim_lost",
            &["block", "held", "--token", stale, "--reason", "r"],
        ),
        (
            6,
            "key_conflict",
            &["create", "other", "--idempotency-key", "k"],
        ),
        (
            6,
            "key_conflict",
            &["claim", "--worker", "another", "--request-id", request],
        ),
        (6, "id_conflict", &["create", "t", "--id", "held"]),
        (7, "cycle", &["link", "dep", "--needs", "gated"]),
        (7, "cycle", &["link", "dep", "--needs", "dep"]),
        (7, "open_dependencies", &["claim", "gated"]),
        (7, "open_dependencies", &["complete", "gated"]),
        (7, "bad_transition", &["block", "done", "--reason", "r"]),
        (7, "bad_transition", &["cancel", "done", "--reason", "r"]),
        (7, "bad_transition", &["claim", "done"]),
        (7, "already_claimed", &["claim", "held"]),
        (7, "already_claimed", &["complete", "held"]),
        (7, "already_claimed", &["reclaim", "held"]),
        (7, "already_claimed", &["cancel", "held", "--reason", "r"]),
        (
            2,
            "invalid_argument",
            &["create", "t", "--priority", "99999999"],
        ),
        (2, "invalid_argument", &["list", "--limit", "0"]),
        (2, "invalid_argument", &["list", "--after", "nonsense"]),
        (2, "invalid_argument", &["claim", "--max", "0"]),
        (2, "invalid_argument", &["reclaim", "--force"]),
    ] {
        assert_eq!(backlog(call).on(&db).code(exit), code, "{call:?}");
    }
    // Nothing of that took the card from its holder.
    backlog(&["complete", "held", "--token", &token])
        .on(&db)
        .json();
}

#[test]
fn without_json_the_error_goes_to_stderr_and_the_exit_code_is_the_same() {
    let (db, _) = populated();
    for (exit, call) in [
        (2, &["backlog", "list", "--limit", "0"][..]),
        (2, &["backlog", "nonsense"]),
        (5, &["backlog", "show", "nope"]),
        (6, &["backlog", "renew", "held", "--token", "1000"]),
        (7, &["backlog", "claim", "held"]),
    ] {
        let outcome = mosaic(call).on(&db).run();
        assert_eq!(outcome.exit, exit, "{call:?}: {outcome:?}");
        assert_eq!(outcome.stdout, "", "{call:?}");
        assert!(outcome.stderr.starts_with("error: "), "{outcome:?}");
    }
    let outcome = mosaic(&["backlog", "claim", "--phase", "none"])
        .on(&db)
        .run();
    assert_eq!(outcome.exit, 3, "{outcome:?}");
    assert_eq!(outcome.stderr, "");
}

#[test]
fn what_the_role_may_not_do_is_unauthorized() {
    let (db, _) = populated();
    for (role, call) in [
        ("stranger", &["list"][..]),
        ("reader", &["claim"]),
        ("reader", &["create", "t"]),
        ("worker", &["cancel", "ready", "--reason", "r"]),
        ("worker", &["update", "ready", "--title", "t"]),
        ("worker", &["complete", "held", "--force"]),
        ("worker", &["reclaim", "held", "--force"]),
    ] {
        assert_eq!(
            backlog(call).on_as(&db, role).code(4),
            "unauthorized",
            "{role}: {call:?}"
        );
    }
    backlog(&["list"]).on_as(&db, "reader").json();
    backlog(&["claim"]).on_as(&db, "worker").json();
    backlog(&["cancel", "dep", "--reason", "r"])
        .on_as(&db, "operator")
        .json();
}

#[test]
fn a_lock_that_does_not_come_free_in_time_is_busy_and_may_be_retried() {
    let (db, _) = populated();
    let mut holder = db.session();
    holder.run("begin; select from mosaic.backlog_block('ready', 'why')");
    let call = |options: &str| {
        let url = format!("{}&options={options}", db.url("postgres"));
        backlog(&["unblock", "ready"]).env("DATABASE_URL", url)
    };
    assert_eq!(call("-c%20lock_timeout%3D50").code(8), "busy");
    assert_eq!(call("-c%20statement_timeout%3D50").code(8), "timeout");
    holder.run("rollback");
}

#[test]
fn a_read_only_server_is_told_apart() {
    let (db, _) = populated();
    let url = format!(
        "{}&options=-c%20default_transaction_read_only%3Don",
        db.url("postgres")
    );
    assert_eq!(
        backlog(&["create", "t"]).env("DATABASE_URL", &url).code(4),
        "read_only"
    );
    backlog(&["list"]).env("DATABASE_URL", &url).json();
}

#[test]
fn a_database_with_another_default_isolation_works() {
    let (db, _) = populated();
    for level in ["serializable", "repeatable%5C%20read"] {
        let url = format!(
            "{}&options=-c%20default_transaction_isolation%3D{level}",
            db.url("postgres")
        );
        backlog(&["create", "t"]).env("DATABASE_URL", &url).json();
    }
}

#[test]
fn what_cannot_be_reached_is_never_taken_for_no_work() {
    let (db, _) = populated();
    let nowhere = "postgresql://postgres@127.0.0.1:1/postgres";
    for call in [&["claim"][..], &["list"], &["create", "t"], &["stats"]] {
        assert_eq!(
            backlog(call).env("DATABASE_URL", nowhere).code(4),
            "unreachable",
            "{call:?}"
        );
    }
    let missing = db.cluster().url("no_such_database", "postgres");
    assert_eq!(
        backlog(&["claim"]).env("DATABASE_URL", missing).code(4),
        "unreachable"
    );
    let stranger = db.cluster().url(db.name(), "no_such_role");
    assert_eq!(
        backlog(&["claim"]).env("DATABASE_URL", stranger).code(4),
        "unauthorized"
    );
}

#[test]
fn a_backend_that_is_ended_under_the_call_is_unreachable() {
    let (db, _) = populated();
    let mut holder = db.session();
    holder.run("begin; select from mosaic.backlog_block('ready', 'why')");
    let call = backlog(&["unblock", "ready"]).on(&db).spawn();
    let waiting = "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let mut watcher = db.session();
    let pid = wait::until("the call waits", || {
        watcher.rows(waiting).first().map(|row| row["pid"].clone())
    });
    watcher.run(&format!("select pg_terminate_backend({pid})"));
    let document = Outcome::of(call).json(4);
    assert_eq!(document["error"]["code"], "unreachable");
    holder.run("rollback");
}

#[test]
fn an_interrupt_gives_130_and_one_document() {
    let (db, _) = populated();
    let mut holder = db.session();
    holder.run("begin; select from mosaic.backlog_block('ready', 'why')");
    let call: Child = backlog(&["unblock", "ready"]).on(&db).spawn();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let mut watcher = db.session();
    wait::until("the call waits", || {
        (watcher.number(waiting) == 1).then_some(())
    });
    signal("INT", call.id());
    let document = Outcome::of(call).json(130);
    assert_eq!(document["error"]["code"], "interrupted");
    holder.run("rollback");
}

#[test]
fn of_16_processes_that_claim_one_card_one_gets_it_and_the_rest_hear_of_no_work() {
    let db = Database::fresh();
    db.session().create("A");
    let calls: Vec<Child> = (0..16)
        .map(|number| {
            backlog(&["claim", "--worker", &format!("w{number}")])
                .on(&db)
                .spawn()
        })
        .collect();
    let exits: Vec<i32> = calls
        .into_iter()
        .map(|call| Outcome::of(call).exit)
        .collect();
    assert_eq!(
        exits.iter().filter(|exit| **exit == 0).count(),
        1,
        "{exits:?}"
    );
    assert_eq!(
        exits.iter().filter(|exit| **exit == 3).count(),
        15,
        "{exits:?}"
    );
}
