//! No two writing calls wait for each other, whichever two they are: each pair is brought to the
//! point where both have locked what sorts before a card that a third holds, and want the rest.

use mosaic_backlog_tests::calls::{Call, together};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::refused::Refused;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;

/// `a`, `m` and `z` wait for all of `c`, `n` and `x`; `d`, `o` and `w` are done, and the same three
/// waited for them. `h` is held under token 1, `l` under 2 with a lease that has ended.
const CARDS: &str = r#"
    select count(*) from mosaic.backlog_create_many((
      select jsonb_agg(jsonb_build_object('title', id, 'id', id)) from unnest('{c,n,x,d,o,w,h,l}'::text[]) id));
    select count(*) from mosaic.backlog_create_many((
      select jsonb_agg(jsonb_build_object('title', id, 'id', id, 'priority', 9,
        'depends_on', '["c","n","x","d","o","w"]'::jsonb)) from unnest('{a,m,z}'::text[]) id));
    select id from mosaic.backlog_claim('w1', '1 hour', id => 'h');
    select id from mosaic.backlog_claim('w1', id => 'l');
    update mosaic.backlog set claim_expires_at = claimed_at where id = 'l';
    select mosaic.backlog_complete(id) from unnest('{d,o,w}'::text[]) id;
    select mosaic.backlog_create(id, id => id) from unnest('{b,k,q,y}'::text[]) id;
    select mosaic.backlog_link('q', '{b}');
"#;

/// Every writing function, those that lock several cards in ways that lead them to different
/// cards first.
const CALLS: [&str; 32] = [
    "create('t', depends_on => '{z,m,a}')",
    "create('t', id => 'k', idempotency_key => 'key')",
    "create_many('[{\"title\":\"t\",\"id\":\"e\",\"depends_on\":[\"z\",\"m\"]},{\"title\":\"t\",\"id\":\"B\",\"depends_on\":[\"a\"]}]')",
    "create_many('[{\"title\":\"t\",\"id\":\"B\",\"depends_on\":[\"m\"]},{\"title\":\"t\",\"id\":\"e\",\"depends_on\":[\"a\",\"z\"]}]')",
    "claim('w2', max_cards => 10)",
    "claim('w2', id => 'm')",
    "claim('w2', id => 'l')",
    "claim('w2', max_cards => 3, request_id => '11111111-1111-1111-1111-111111111111')",
    "renew('h', 1)",
    "release('h', 1)",
    "fail('h', 1, 'why')",
    "complete('h', 1)",
    "complete('c')",
    "complete('n')",
    "complete('x')",
    "complete('m', force => true)",
    "block('m', 'why')",
    "unblock('m')",
    "cancel('n', 'why', cascade => true)",
    "cancel('x', 'why', cascade => true)",
    "cancel('m', 'why')",
    "reopen('d', 'why')",
    "reopen('w', 'why')",
    "update('m', title => 'other', priority => 1)",
    "link('k', '{z,m,a}')",
    "link('m', '{b,y}')",
    "unlink('a', '{x,c}')",
    "unlink('m', '{c,n,x}')",
    "reclaim()",
    "reclaim('h', force => true)",
    "assert_held('h', 1)",
    IMPORT,
];

/// A card `B` that waits for `m`.
const IMPORT: &str = r#"import('[
    {"type": "header", "format": "mosaic-backlog", "format_version": 1, "extension_version": "0.1.0",
     "exported_at": "2025-01-31T08:00:00Z", "cards": 1, "dependencies": 1, "events": null, "last_claim_token": 1},
    {"type": "card", "id": "B", "title": "t", "labels": [], "requires": [], "priority": 0, "status": "ready",
     "attempts": 0, "open_dependencies": 1, "created_at": "2025-01-31T07:00:00Z",
     "updated_at": "2025-01-31T07:00:00Z", "claimable_since": "2025-01-31T07:00:00Z"},
    {"type": "dependency", "card_id": "B", "depends_on": "m", "created_at": "2025-01-31T07:00:00Z"},
    {"type": "end", "cards": 1, "dependencies": 1, "events": null}]')"#;

fn statement(call: &str) -> String {
    // Its result is void, which has no JSON.
    let columns = if call.starts_with("assert") { "" } else { "*" };
    format!("select {columns} from mosaic.backlog_{call}")
}

/// The calls that lock more than one card.
fn locks_several(call: &str) -> bool {
    let single = [
        "renew",
        "release",
        "fail",
        "block",
        "unblock",
        "update",
        "assert",
        "claim('w2', id",
    ];
    !single.iter().any(|name| call.starts_with(name))
}

#[track_caller]
fn assert_orderly(call: &str, other: &str, answer: &Result<Vec<serde_json::Value>, Refused>) {
    if let Err(refused) = answer {
        assert!(
            !refused.code.is_empty(),
            "{call} beside {other}: {refused:?}"
        );
    }
}

/// A call in a transaction of its own that is taken back, so that the next pair finds the same.
fn begin(mut session: Session, call: &str) -> Call {
    session.run("begin");
    session.begin_call(&statement(call))
}

/// Starts a call, and waits until it has its answer or waits for a lock.
fn until_it_rests(call: Call, watcher: &mut Session) -> Call {
    wait::until("a call ends or waits", || {
        (call.is_finished() || call.is_waiting(watcher)).then_some(())
    });
    call
}

#[test]
fn no_pair_of_writing_calls_deadlocks() {
    let db = Database::fresh();
    let mut watcher = db.session();
    watcher.run(CARDS);
    let mut holder = db.session();
    let mut sessions = vec![db.session(), db.session()];
    let mut waited = 0;
    for one in CALLS {
        for other in CALLS
            .iter()
            .filter(|other| locks_several(one) || locks_several(other))
        {
            holder.run("begin; select from mosaic.backlog where id = 'm' for update");
            let first = begin(sessions.pop().expect("a session"), one);
            let first = until_it_rests(first, &mut watcher);
            let second = begin(sessions.pop().expect("a session"), other);
            let second = until_it_rests(second, &mut watcher);
            waited += usize::from(!first.is_finished() && !second.is_finished());
            holder.run("rollback");
            // Whichever has its answer first ends, which lets the other go on.
            let mut calls = vec![(one, *other, first), (*other, one, second)];
            while !calls.is_empty() {
                let done = wait::until(&format!("{one} and {other} end"), || {
                    calls.iter().position(|(.., call)| call.is_finished())
                });
                let (call, other, done) = calls.remove(done);
                let (mut session, answer) = done.finish();
                session.run("rollback");
                assert_orderly(call, other, &answer);
                sessions.push(session);
            }
        }
    }
    assert!(waited > 200, "only {waited} pairs waited for a lock");
}

/// The same with commits, in random order, so that cards change while others wait for them.
#[test]
fn a_storm_of_all_writing_calls_deadlocks_nobody() {
    let db = Database::fresh();
    db.session().run(CARDS);
    together(&db, 6, |number, s| {
        for round in 0..150 {
            let call = CALLS[(round * (2 * number + 5) + 11 * number) % CALLS.len()];
            assert_orderly(call, "a storm", &s.attempt(&statement(call)));
            if round % 7 == 0 {
                for call in [
                    "reopen('n', 'why')",
                    "reopen('m', 'why')",
                    "unblock('m')",
                    "link('m', '{n}')",
                ] {
                    assert_orderly(call, "a storm", &s.attempt(&statement(call)));
                }
            }
        }
    });
    db.session().assert_counters_are_right();
}
