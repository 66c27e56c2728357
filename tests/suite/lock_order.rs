//! Single calls at the same moment do not deadlock, in whatever order their cards sort.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::refused::Refused;

/// What a call may answer here; a deadlock (40P01) is not among it.
fn assert_no_deadlock(answer: &Result<Vec<serde_json::Value>, Refused>) {
    if let Err(refused) = answer {
        assert!(
            [
                "cycle",
                "bad_transition",
                "open_dependencies",
                "already_claimed",
                "id_conflict"
            ]
            .contains(&refused.code.as_str()),
            "{refused:?}"
        );
    }
}

#[test]
fn completions_with_shared_dependents_in_opposite_orders_do_not_deadlock() {
    let db = Database::fresh();
    let mut s = db.session();
    for round in 0..20 {
        s.run("truncate mosaic.backlog, mosaic.backlog_dependency");
        // The completed cards sort before, between and behind their dependents.
        for id in ["a", "m", "z"] {
            s.create(id);
        }
        for id in ["b", "c", "n", "o", "x", "y"] {
            s.create_after(id, &["a", "m", "z"]);
        }
        let answers = together(&db, 3, |number, s| {
            s.attempt(&format!(
                "select * from mosaic.backlog_complete('{}')",
                ["a", "m", "z"][(number + round) % 3]
            ))
        });
        answers.iter().for_each(assert_no_deadlock);
        assert!(answers.iter().all(Result::is_ok));
        s.assert_counters_are_right();
    }
}

#[test]
fn completions_along_a_chain_do_not_deadlock() {
    let db = Database::fresh();
    let mut s = db.session();
    for chain in [
        ["a", "b", "c"],
        ["c", "b", "a"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ] {
        for _ in 0..5 {
            s.run("truncate mosaic.backlog, mosaic.backlog_dependency");
            s.create(chain[0]);
            s.create_after(chain[1], &[chain[0]]);
            s.create_after(chain[2], &[chain[0], chain[1]]);
            let answers = together(&db, 3, |number, s| {
                s.attempt(&format!(
                    "select * from mosaic.backlog_complete('{}', force => true)",
                    chain[number]
                ))
            });
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            s.assert_counters_are_right();
        }
    }
}

#[test]
fn a_completion_and_links_to_it_from_smaller_and_larger_ids_do_not_deadlock() {
    let db = Database::fresh();
    let mut s = db.session();
    for _ in 0..20 {
        s.run("truncate mosaic.backlog, mosaic.backlog_dependency");
        for id in ["a", "m", "z"] {
            s.create(id);
        }
        let calls = [
            "complete('m')",
            "link('a', '{m}')",
            "link('z', '{m}')",
            "link('a', '{z}')",
            "create('t', id => 'b', depends_on => '{a,m,z}')",
        ];
        let answers = together(&db, calls.len(), |number, s| {
            s.attempt(&format!("select * from mosaic.backlog_{}", calls[number]))
        });
        answers.iter().for_each(assert_no_deadlock);
        s.assert_counters_are_right();
    }
}

#[test]
fn a_completion_that_finds_a_new_dependent_with_a_smaller_id_does_not_deadlock() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["a", "m", "q", "z"] {
        s.create(id);
    }
    let token = s.claim("z", "w");
    s.link("z", &["m", "q"]);
    s.link("a", &["q"]);
    // The holder of z guards a transaction of its own with its lease.
    let mut guard = db.session();
    guard.run(&format!(
        "begin; select mosaic.backlog_assert_held('z', {token})"
    ));
    // A link of a to m is under way.
    let mut linker = db.session();
    linker.run("begin");
    linker.link("a", &["m"]);
    // The completion of m knows of z only, and waits for m.
    let completion = db
        .session()
        .begin_call("select * from mosaic.backlog_complete('m')")
        .until_it_waits(&db);
    linker.run("commit");
    // Now it waits for z, and has yet to find a.
    let mut watcher = db.session();
    mosaic_backlog_tests::wait::until("the completion holds m and waits for z", || {
        let free = "select id from mosaic.backlog where id = 'm' for no key update skip locked";
        (watcher.rows(free).is_empty() && completion.is_waiting(&mut watcher)).then_some(())
    });
    // This takes a first, as the order of ids demands, and waits for z as well.
    let other = db
        .session()
        .begin_call("select * from mosaic.backlog_complete('q')")
        .until_it_waits(&db);
    guard.run("commit");
    assert_no_deadlock(&completion.answer());
    assert_no_deadlock(&other.answer());
    s.assert_counters_are_right();
}

#[test]
fn cancellations_in_cascade_beside_completions_do_not_deadlock() {
    let db = Database::fresh();
    let mut s = db.session();
    for _ in 0..15 {
        s.run("truncate mosaic.backlog, mosaic.backlog_dependency");
        for id in ["m", "a", "z"] {
            s.create(id);
        }
        s.link("a", &["m"]);
        s.link("z", &["a"]);
        s.create_after("b", &["z", "m"]);
        let calls = [
            "cancel('m', 'why', cascade => true)",
            "complete('m', force => true)",
            "complete('a', force => true)",
            "cancel('a', 'why', cascade => true)",
            "complete('z', force => true)",
            "reopen('m', 'why')",
        ];
        let answers = together(&db, calls.len(), |number, s| {
            s.attempt(&format!("select * from mosaic.backlog_{}", calls[number]))
        });
        answers.iter().for_each(assert_no_deadlock);
        s.assert_counters_are_right();
    }
}

#[test]
fn batches_that_share_keys_and_dependencies_in_opposite_orders_do_not_deadlock() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("dep", 20);
    let answers = together(&db, 8, |number, s| {
        let order = if number % 2 == 0 { "" } else { "desc" };
        s.attempt(&format!(
            "select * from mosaic.backlog_create_many((
               select jsonb_agg(jsonb_build_object('title', 't', 'idempotency_key', 'k' || n,
                 'depends_on', jsonb_build_array('dep' || n, 'dep' || 21 - n)) order by n {order})
               from generate_series(1, 20) n))"
        ))
    });
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(s.number("select count(*) from mosaic.backlog"), 40);
}

#[test]
fn batches_that_meet_in_ids_here_and_in_keys_there_do_not_deadlock() {
    let db = Database::fresh();
    // Something that both have to wait for, between the cards in which they meet.
    let mut middle = db.session();
    middle.run("begin");
    middle.create("m");
    let batch = |cards: &str| format!("select * from mosaic.backlog_create_many('{cards}')");
    // In the order of the keys: z, m, a.
    let first = db
        .session()
        .begin_call(&batch(
            r#"[{"title":"t","id":"z","idempotency_key":"k1"},{"title":"t","id":"m","idempotency_key":"k2"},{"title":"t","id":"a","idempotency_key":"k3"}]"#,
        ))
        .until_it_waits(&db);
    // In the order of the ids: a, m, z.
    let second = db
        .session()
        .begin_call(&batch(
            r#"[{"title":"t","id":"a"},{"title":"t","id":"m"},{"title":"t","id":"z"}]"#,
        ))
        .until_it_waits(&db);
    middle.run("rollback");
    let (first, second) = (first.answer(), second.answer());
    assert_no_deadlock(&first);
    assert_no_deadlock(&second);
    assert_ne!(first.is_ok(), second.is_ok(), "{first:?} {second:?}");
}

#[test]
fn claims_and_sweeps_at_the_same_moment_do_not_deadlock() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 60);
    for _ in 0..5 {
        s.run(
            "select from mosaic.backlog_claim('dead', '1 second', 60);
             update mosaic.backlog set claim_expires_at = now() - random() * interval '1 hour'",
        );
        together(&db, 12, |number, s| match number % 3 {
            0 => s.run("select from mosaic.backlog_reclaim()"),
            1 => s.run(&format!(
                "select from mosaic.backlog_claim('w{number}', max_cards => 5)"
            )),
            _ => {
                for n in (1..=60).rev() {
                    let _ = s.attempt(&format!("select * from mosaic.backlog_reclaim('c{n}')"));
                }
            }
        });
        s.run("update mosaic.backlog set attempts = 0");
        s.run(
            "update mosaic.backlog set claim_expires_at = now() where status = 'claimed';
             select from mosaic.backlog_reclaim();
             select mosaic.backlog_unblock(id) from mosaic.backlog where status = 'blocked'",
        );
    }
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where status = 'ready'"),
        60
    );
}

#[test]
fn several_calls_in_one_transaction_may_deadlock_and_are_told_so() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.create("B");
    let mut first = db.session();
    first.run("begin; select from mosaic.backlog_block('A', 'why')");
    let mut second = db.session();
    second.run("begin; select from mosaic.backlog_block('B', 'why')");
    let one = first
        .begin_call("select * from mosaic.backlog_block('B', 'why')")
        .until_it_waits(&db);
    let two = second.begin_call("select * from mosaic.backlog_block('A', 'why')");
    let (mut first, one) = one.finish();
    let loser = match one {
        Err(refused) => {
            first.run("rollback");
            assert!(two.answer().is_ok());
            refused
        }
        Ok(_) => two.answer().expect_err("one of the two is refused"),
    };
    assert_eq!(loser.sqlstate, "40P01");
}
