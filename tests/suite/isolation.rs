//! Isolation levels, read-only transactions, two-phase commit, time limits.

use mosaic_backlog_tests::database::Database;

/// A call of every writing function that succeeds on a card "A" held under the token `$t`, or
/// on the cards "B" and "C" that nobody holds.
const WRITES: [&str; 21] = [
    "resume_after_restore()",
    "create('t')",
    "create_many('[{\"title\": \"t\"}]')",
    "claim('w')",
    "renew('A', $t)",
    "release('A', $t)",
    "fail('A', $t, 'why')",
    "complete('A', $t)",
    "block('B', 'why')",
    "unblock('B')",
    "link('B', '{C}')",
    "unlink('B', '{C}')",
    "reclaim()",
    "assert_held('A', $t)",
    "token('A')",
    "cancel('B', 'why')",
    "reopen('B', 'why')",
    "update('B', title => 'new')",
    "note('B', 'so')",
    "reclaim('A', force => true)",
    "import('[]')",
];

fn prepared() -> (Database, Vec<String>) {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["A", "B", "C"] {
        s.create(id);
    }
    let token = s.claim("A", "w").to_string();
    let calls = WRITES
        .iter()
        .map(|call| format!("select from mosaic.backlog_{}", call.replace("$t", &token)))
        .collect();
    (db, calls)
}

#[test]
fn every_writing_function_refuses_to_run_above_read_committed() {
    let (db, calls) = prepared();
    let mut s = db.session();
    for level in ["repeatable read", "serializable"] {
        for call in &calls {
            s.run(&format!("begin isolation level {level}"));
            assert_eq!(s.code(call), "isolation", "{call}");
            s.run("rollback");
        }
    }
    s.run("set default_transaction_isolation = 'repeatable read'");
    for call in &calls {
        assert_eq!(s.code(call), "isolation", "{call}");
    }
}

#[test]
fn every_writing_function_runs_at_read_committed_and_read_uncommitted() {
    let (db, calls) = prepared();
    let mut s = db.session();
    for level in ["read committed", "read uncommitted"] {
        for call in &calls {
            s.run(&format!("begin isolation level {level}; {call}; rollback"));
        }
    }
}

#[test]
fn the_list_of_writing_functions_is_complete() {
    let db = Database::fresh();
    let functions = db.session().column(
        "select substr(proname, 9) from pg_proc where pronamespace = 'mosaic'::regnamespace
           and proname like 'backlog\\_%' and prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)
           and proname not in ('backlog_get', 'backlog_list', 'backlog_stats', 'backlog_why', 'backlog_doctor', 'backlog_events', 'backlog_export', 'backlog_failing_workers', 'backlog_frontier')",
    );
    for function in functions {
        let name = function.as_str().expect("a name");
        assert!(
            WRITES
                .iter()
                .any(|call| call.starts_with(&format!("{name}("))),
            "{name} is not covered"
        );
    }
}

#[test]
fn a_read_only_transaction_is_refused_by_the_server_and_never_internal() {
    let (db, calls) = prepared();
    let mut s = db.session();
    for call in &calls {
        s.run("begin read only");
        let refused = s.attempt(call);
        s.run("rollback");
        match refused {
            Err(refused) => assert_eq!(refused.sqlstate, "25006", "{call}: {refused:?}"),
            // Nothing to do is no write.
            Ok(rows) => assert!(rows.len() <= 1, "{call} wrote"),
        }
    }
}

#[test]
fn every_call_can_be_part_of_a_two_phase_commit_without_wake_ups() {
    let (db, calls) = prepared();
    let mut s = db.session();
    s.run("set mosaic.notify = off");
    // An import that has not seen its end cannot commit by any way.
    for call in calls.iter().filter(|call| !call.contains("import")) {
        s.run(&format!(
            "begin; {call}; prepare transaction 'p-{}'",
            db.name()
        ));
        s.run(&format!("rollback prepared 'p-{}'", db.name()));
    }
    s.run(&format!(
        "begin; select from mosaic.backlog_complete('B'); prepare transaction 'p-{}'",
        db.name()
    ));
    assert_eq!(s.status("B"), "ready");
    s.run(&format!("commit prepared 'p-{}'", db.name()));
    assert_eq!(s.status("B"), "done");
}

#[test]
fn a_lock_timeout_is_the_servers_own_error_and_changes_nothing() {
    let (db, _) = prepared();
    let mut holder = db.session();
    holder.run("begin; select from mosaic.backlog_block('B', 'why')");
    let mut s = db.session();
    s.run("set lock_timeout = '50ms'");
    let refused = s.refusal("select * from mosaic.backlog_complete('B')");
    assert_eq!(refused.sqlstate, "55P03", "{refused:?}");
    s.run("set lock_timeout = 0; set statement_timeout = '50ms'");
    let refused = s.refusal("select * from mosaic.backlog_complete('B')");
    assert_eq!(refused.sqlstate, "57014", "{refused:?}");
    holder.run("rollback");
    s.run("reset statement_timeout");
    s.complete("B");
}

#[test]
fn an_error_inside_a_call_leaves_the_sessions_settings_alone() {
    let (db, _) = prepared();
    let mut holder = db.session();
    holder.run("begin; select from mosaic.backlog_block('B', 'why')");
    let mut s = db.session();
    let settings = "select string_agg(name || '=' || setting, ',' order by name) from pg_settings
       where name like 'enable%' or name in ('search_path', 'synchronous_commit', 'role', 'TimeZone')";
    let before = s.text(settings);
    s.run("set lock_timeout = '50ms'");
    s.refusal("select * from mosaic.backlog_complete('B')");
    s.code("select * from mosaic.backlog_complete('nope')");
    s.code("select * from mosaic.backlog_create('')");
    assert_eq!(s.text(settings), before);
}

#[test]
fn a_refused_call_in_a_savepoint_leaves_the_transaction_usable() {
    let (db, _) = prepared();
    let mut s = db.session();
    s.run("begin; select from mosaic.backlog_block('B', 'why'); savepoint here");
    s.code("select * from mosaic.backlog_complete('B')");
    s.run("rollback to here; select from mosaic.backlog_block('C', 'why'); commit");
    assert_eq!(s.status("B"), "blocked");
    assert_eq!(s.status("C"), "blocked");
}
