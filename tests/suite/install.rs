//! Creating and dropping the extension.

use std::sync::Barrier;
use std::thread;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

const CREATE: &str = "create extension mosaic_backlog_ext";

#[test]
fn twelve_databases_of_a_new_cluster_install_it_at_the_same_moment() {
    let cluster = Cluster::start(&[]);
    let mut admin = cluster.session("postgres");
    for n in 0..12 {
        admin.run(&format!("create database d{n}"));
    }
    let barrier = Barrier::new(12);
    thread::scope(|scope| {
        for n in 0..12 {
            let (cluster, barrier) = (&cluster, &barrier);
            scope.spawn(move || {
                let mut s = cluster.session(&format!("d{n}"));
                barrier.wait();
                s.run(CREATE);
                s.create("A");
            });
        }
    });
    assert!(admin.truth(
        "select pg_has_role('mosaic_operator', 'mosaic_worker', 'USAGE')
           and pg_has_role('mosaic_worker', 'mosaic_reader', 'USAGE')"
    ));
    admin.run("create role o login; grant mosaic_operator to o");
    for n in 0..12 {
        let mut s = Session::open(&cluster.config(&format!("d{n}"), "o"));
        s.run("set mosaic.durability = 'inherit'; select from mosaic.backlog_cancel('A', 'why')");
    }
}

#[test]
fn of_several_sessions_that_install_it_in_one_database_all_find_it_there() {
    let db = Database::bare();
    mosaic_backlog_tests::calls::together(&db, 6, |_, s| {
        // One creates it; who comes at the same moment hears that it is there, as for any extension.
        if let Err(refused) = s.attempt_run("create extension if not exists mosaic_backlog_ext") {
            assert!(
                ["23505", "42710", "42P06"].contains(&refused.sqlstate.as_str()),
                "{refused:?}"
            );
        }
    });
    db.session().create("A");
}

#[test]
fn a_database_that_is_not_utf8_is_refused() {
    let db = Database::fresh();
    let mut admin = db.session();
    let name = format!("latin_{}", db.name());
    admin.run(&format!(
        "create database {name} template template0 encoding 'LATIN1' locale 'C'"
    ));
    let refused = db
        .cluster()
        .session(&name)
        .attempt_run(CREATE)
        .expect_err("refused");
    assert_eq!(refused.sqlstate, "0A000");
    assert!(refused.message.contains("UTF8"), "{refused:?}");
    admin.run(&format!("drop database {name} with (force)"));
}

#[test]
fn who_is_no_superuser_cannot_install_it() {
    let db = Database::bare();
    let mut admin = db.session();
    admin.run(&format!("grant create on database {} to worker", db.name()));
    let refused = db
        .session_as("worker")
        .attempt_run(CREATE)
        .expect_err("refused");
    assert_eq!(refused.sqlstate, "42501");
    admin.run(&format!(
        "revoke create on database {} from worker",
        db.name()
    ));
}

#[test]
fn objects_that_a_stranger_planted_before_do_not_become_part_of_it() {
    let db = Database::bare();
    let mut admin = db.session();
    admin.run("create schema mosaic authorization stranger");
    assert!(admin.attempt_run(CREATE).is_err());
    admin.run("drop schema mosaic cascade");
    // What lies on the path of the installing session does not shadow anything either.
    admin.run(
        "create schema planted; grant all on schema planted to public;
         create function planted.format(text, text) returns text language sql as $$ select 'select 1/0' $$;
         create function planted.nextval(regclass) returns bigint language sql as 'select 1/0::bigint';
         create table planted.pg_roles (rolname name);
         set search_path = planted, pg_catalog, public",
    );
    admin.run(CREATE);
    db.session().create("A");
}

#[test]
fn it_cannot_be_dropped_while_cards_exist() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for drop in [
        "drop extension mosaic_backlog_ext",
        "drop extension if exists mosaic_backlog_ext cascade",
    ] {
        let refused = s.attempt_run(drop).expect_err(drop);
        assert_eq!(refused.code, "bad_transition", "{refused:?}");
    }
    assert_eq!(s.status("A"), "ready");
    let mut operator = db.session_as("operator");
    let _ = operator.attempt_run("set mosaic.allow_drop = on");
    assert!(
        operator
            .attempt_run("drop extension mosaic_backlog_ext")
            .is_err()
    );
    assert_eq!(s.status("A"), "ready");
    s.run("set mosaic.allow_drop = on; drop extension mosaic_backlog_ext");
    assert_eq!(
        s.number("select count(*) from pg_namespace where nspname = 'mosaic'"),
        0
    );
}

#[test]
fn what_a_role_owns_cannot_be_dropped_with_the_cards() {
    let db = Database::bare();
    let mut admin = db.session();
    let _ = admin.attempt_run("create role installer superuser login");
    db.session_as("installer").run(CREATE);
    let mut s = db.session();
    s.create("A");
    for drop in [
        "drop owned by installer",
        "drop owned by stranger, installer cascade",
        "drop owned by mosaic_owner",
        "drop owned by mosaic_owner cascade",
        // Nothing of theirs would go but the right to call.
        "drop owned by mosaic_reader",
        "drop owned by mosaic_worker",
        "drop owned by mosaic_operator",
    ] {
        let refused = s.attempt_run(drop).expect_err(drop);
        assert_eq!(refused.code, "bad_transition", "{drop}: {refused:?}");
    }
    let refused = db
        .session_as("installer")
        .attempt_run("drop owned by current_user");
    assert_eq!(refused.expect_err("he installed it").code, "bad_transition");
    // Whatever else would take our tables along is refused by PostgreSQL.
    for drop in [
        "drop schema mosaic cascade",
        "drop table mosaic.backlog cascade",
        "drop type mosaic.backlog_status cascade",
        "drop function mosaic.card_fits cascade",
        "drop sequence mosaic.backlog_claim_token_seq cascade",
        "drop role mosaic_owner",
    ] {
        let refused = s.attempt_run(drop).expect_err(drop);
        assert_eq!(refused.sqlstate, "2BP01", "{drop}: {refused:?}");
    }
    s.run("drop owned by stranger");
    assert_eq!(s.status("A"), "ready");
    assert!(db.session_as("worker").claim("A", "w") > 0);
    s.run("set mosaic.allow_drop = on; drop owned by installer");
    assert_eq!(
        s.number("select count(*) from pg_namespace where nspname = 'mosaic'"),
        0
    );
    s.run(CREATE);
    s.create("B");
    assert_eq!(s.claim_next("w").as_deref(), Some("B"));
}

#[test]
fn without_cards_it_can_be_dropped_and_installed_again() {
    let db = Database::fresh();
    let mut s = db.session();
    for _ in 0..2 {
        s.run("drop extension mosaic_backlog_ext");
        s.run(CREATE);
        s.run("select from mosaic.backlog_stats()");
    }
    s.create("A");
    assert_eq!(s.claim_next("w").as_deref(), Some("A"));
}

#[test]
fn other_extensions_can_be_dropped_as_ever() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.run("drop extension plpgsql cascade");
}

#[test]
fn its_parts_cannot_be_dropped_one_by_one() {
    let db = Database::fresh();
    let mut s = db.session();
    for object in [
        "table mosaic.backlog",
        "table mosaic.backlog_event",
        "sequence mosaic.backlog_claim_token_seq",
        "function mosaic.backlog_stats",
        "type mosaic.backlog_status",
    ] {
        let refused = s
            .attempt_run(&format!("drop {object} cascade"))
            .expect_err(object);
        assert_eq!(refused.sqlstate, "2BP01", "{object}: {refused:?}");
    }
}
