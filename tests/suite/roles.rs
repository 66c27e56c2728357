//! Who may do what: readers, workers, operators, and nobody else.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

const READER: [&str; 8] = [
    "failing_workers()",
    "frontier()",
    "get('A')",
    "list()",
    "stats()",
    "why('A')",
    "doctor()",
    "events()",
];

const WORKER: [&str; 14] = [
    "create('t')",
    "create_many('[]')",
    "claim('w', id => 'A')",
    "renew('held', $t)",
    "release('held', $t)",
    "fail('held', $t, 'why')",
    "complete('held', $t)",
    "block('A', 'why')",
    "unblock('A')",
    "note('A', 'so')",
    "link('A', '{B}')",
    "unlink('A', '{B}')",
    "reclaim()",
    "assert_held('held', $t)",
];

/// The last three are allowed to nobody but operators because of their `force`.
const OPERATOR: [&str; 10] = [
    "resume_after_restore()",
    "import('[]')",
    "export()",
    "token('held')",
    "cancel('A', 'why')",
    "reopen('A', 'why')",
    "update('A', title => 'new')",
    "complete('held', force => true)",
    "reclaim('held', force => true)",
    "cancel('held', 'why', force => true)",
];

fn prepared() -> (Database, i64) {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["A", "B", "held"] {
        s.create(id);
    }
    let token = s.claim("held", "w");
    (db, token)
}

/// Calls in a transaction that is rolled back; whether the role may.
fn may(s: &mut Session, call: &str, token: i64) -> bool {
    s.run("begin");
    let call = format!(
        "select * from mosaic.backlog_{}",
        call.replace("$t", &token.to_string())
    );
    let answer = s.attempt(&call);
    s.run("rollback");
    match answer {
        Ok(_) => true,
        Err(refused) => {
            assert_eq!(refused.sqlstate, "42501", "{call}: {refused:?}");
            false
        }
    }
}

#[test]
fn each_role_may_do_what_it_is_for_and_no_more() {
    let (db, token) = prepared();
    for (role, level) in [
        ("stranger", 0),
        ("reader", 1),
        ("worker", 2),
        ("operator", 3),
    ] {
        let mut s = db.session_as(role);
        for (needed, calls) in [(1, &READER[..]), (2, &WORKER[..]), (3, &OPERATOR[..])] {
            for call in calls {
                assert_eq!(may(&mut s, call, token), level >= needed, "{role}: {call}");
            }
        }
    }
}

#[test]
fn every_function_is_in_one_of_the_lists() {
    let (db, _) = prepared();
    let functions = db.session().column(
        "select substr(proname, 9) from pg_proc where pronamespace = 'mosaic'::regnamespace
           and proname like 'backlog\\_%' and prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)",
    );
    for function in functions {
        let call = format!("{}(", function.as_str().expect("a name"));
        assert!(
            READER
                .iter()
                .chain(&WORKER)
                .chain(&OPERATOR)
                .any(|known| known.starts_with(&call)),
            "{call}"
        );
    }
}

#[test]
fn force_is_judged_by_the_current_role_also_after_set_role() {
    let (db, token) = prepared();
    let force = "complete('held', force => true)";
    // An operator that acts as a worker.
    let mut admin = db.session();
    admin.run("grant worker to operator");
    let mut s = db.session_as("operator");
    assert!(may(&mut s, force, token));
    s.run("set role worker");
    assert!(!may(&mut s, force, token));
    s.run("reset role");
    assert!(may(&mut s, force, token));
    // A superuser that acts as a worker.
    admin.run("set role worker");
    assert!(!may(&mut admin, force, token));
    admin.run("reset role; set session authorization worker");
    assert!(!may(&mut admin, force, token));
    // A member that has to take the role on explicitly.
    admin.run("reset session authorization; create role careful login noinherit; grant mosaic_operator, mosaic_worker to careful");
    let mut s = db.session_as("careful");
    s.run("set role mosaic_worker");
    assert!(!may(&mut s, force, token));
    s.run("set role mosaic_operator");
    assert!(may(&mut s, force, token));
    drop(s);
    admin.run("drop role careful; revoke worker from operator");
}

#[test]
fn a_function_of_the_callers_own_does_not_lend_the_operators_rights() {
    let (db, token) = prepared();
    let mut admin = db.session();
    admin.run(&format!(
        "create schema lent authorization worker; grant usage on schema lent to operator;
         set session authorization worker;
         create function lent.forced() returns void language sql security definer
           as 'select from mosaic.backlog_complete(''held'', {token} - {token}, force => true)';
         reset session authorization"
    ));
    let mut s = db.session_as("worker");
    assert_eq!(
        s.attempt("select lent.forced()")
            .expect_err("refused")
            .sqlstate,
        "42501"
    );
    assert_eq!(admin.status("held"), "claimed");
}

#[test]
fn nobody_but_the_owner_touches_tables_and_sequences() {
    let (db, _) = prepared();
    let mut admin = db.session();
    let objects = admin.column(
        "select format('%I.%I', relnamespace::regnamespace, relname) from pg_class
         where relnamespace = 'mosaic'::regnamespace and relkind in ('r', 'S', 'v', 'm', 'p')",
    );
    assert!(objects.len() >= 6);
    for role in [
        "stranger",
        "reader",
        "worker",
        "operator",
        "mosaic_reader",
        "mosaic_worker",
        "mosaic_operator",
    ] {
        for object in &objects {
            let object = object.as_str().expect("a name");
            let rights = admin.column(&format!(
                "select p from unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p,
                   pg_class c where c.oid = '{object}'::regclass and c.relkind <> 'S'
                   and has_table_privilege('{role}', '{object}', p)
                 union all
                 select p from unnest(array['select', 'usage', 'update']) p, pg_class c
                 where c.oid = '{object}'::regclass and c.relkind = 'S' and has_sequence_privilege('{role}', c.oid, p)"
            ));
            assert!(rights.is_empty(), "{role} on {object}: {rights:?}");
        }
    }
    let mut s = db.session_as("operator");
    for statement in [
        "update mosaic.backlog set status = 'done'",
        "delete from mosaic.backlog",
        "insert into mosaic.backlog_event values (1)",
        "select nextval('mosaic.backlog_claim_token_seq')",
        "truncate mosaic.backlog",
        "alter table mosaic.backlog add column x int",
        "create table mosaic.mine (n int)",
        "create function mosaic.mine() returns int language sql as 'select 1'",
        "drop schema mosaic cascade",
        "alter extension mosaic_backlog_ext update",
    ] {
        let refused = s.attempt_run(statement).expect_err(statement);
        assert_eq!(refused.sqlstate, "42501", "{statement}: {refused:?}");
    }
}

#[test]
fn the_owner_cannot_log_in_and_is_no_superuser() {
    let (db, _) = prepared();
    let mut s = db.session();
    assert!(s.truth(
        "select not (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)
         from pg_roles where rolname = 'mosaic_owner'"
    ));
    for role in ["mosaic_reader", "mosaic_worker", "mosaic_operator"] {
        assert!(s.truth(&format!(
            "select not (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb)
               and not pg_has_role('{role}', 'mosaic_owner', 'MEMBER') from pg_roles where rolname = '{role}'"
        )));
    }
    assert!(s.truth(
        "select pg_has_role('mosaic_operator', 'mosaic_worker', 'USAGE')
           and pg_has_role('mosaic_worker', 'mosaic_reader', 'USAGE')
           and not pg_has_role('mosaic_reader', 'mosaic_worker', 'MEMBER')
           and not pg_has_role('mosaic_worker', 'mosaic_operator', 'MEMBER')"
    ));
}

#[test]
fn the_history_shows_the_login_role_whatever_the_caller_says() {
    let (db, _) = prepared();
    let mut s = db.session_as("operator");
    s.run("select from mosaic.backlog_create('t', id => 'C', actor => 'postgres')");
    s.run("set role mosaic_worker; select from mosaic.backlog_create('t', id => 'D')");
    let mut admin = db.session();
    assert_eq!(
        admin.column("select login_role from mosaic.backlog_event where card_id in ('C', 'D')"),
        ["operator", "operator"]
    );
    // Who does not say who acts is the one who logged in, whatever the role of the moment.
    assert_eq!(
        admin.text("select actor from mosaic.backlog_event where card_id = 'D'"),
        "operator"
    );
}
