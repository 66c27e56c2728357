//! What a call answers, and the memory that it needs, is bounded whatever the cards hold; a card
//! whose answer cannot be made stops nobody but itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use postgres::SimpleQueryMessage;
use serde_json::{Value, json};

/// Bytes of text and entries that a claim brings of a card's dependencies.
const DEPENDENCIES_BYTES: usize = 256 * 1024;
const DEPENDENCIES_MAX: usize = 100;
/// What one call needs at most, in MB, as the documentation says.
const CALL_MB: u64 = 128;

/// `count` done cards `d1`, `d2`, … whose results are this SQL expression of `n`.
fn done(s: &mut Session, count: usize, result: &str) {
    s.create_numbered("d", count);
    s.run(&format!(
        "do $$ begin for n in 1 .. {count} loop
           perform mosaic.backlog_complete('d' || n, result => {result});
         end loop; end $$"
    ));
}

/// A card that waited for all of them.
fn join(s: &mut Session, id: &str, count: usize, more: &str) {
    s.run(&format!(
        "select from mosaic.backlog_create('t', id => '{id}', depends_on =>
           array(select 'd' || n from generate_series(1, {count}) n){more})"
    ));
}

/// Stores what no call would take.
fn store(s: &mut Session, id: &str, column: &str, value: &str) {
    s.run(&format!(
        "update mosaic.backlog set {column} = {value} where id = '{id}'"
    ));
}

/// JSON that takes a few bytes a number on disk, and 131 kB each as text.
fn numbers(count: usize) -> String {
    format!("(select jsonb_agg(1e131071) from generate_series(1, {count}))")
}

#[test]
fn a_card_on_many_large_results_is_handed_out_with_what_fits() {
    let db = Database::fresh();
    let mut s = db.session();
    done(
        &mut s,
        270,
        "jsonb_build_object('r', repeat('x', case when n % 2 = 0 then 1040000 else 5 end))",
    );
    join(&mut s, "join", 270, ", priority => 10");
    s.create("innocent");
    let card = s.row(
        "select id, dependencies, dependencies_total, octet_length(dependencies::text) as bytes,
           cardinality(depends_on) as links from mosaic.backlog_claim('w')",
    );
    assert_eq!(card["id"], "join");
    assert_eq!(
        (&card["dependencies_total"], &card["links"]),
        (&json!(270), &json!(270))
    );
    assert!(card["bytes"].as_u64().expect("bytes") <= DEPENDENCIES_BYTES as u64);
    let entries = card["dependencies"].as_array().expect("an array");
    assert_eq!(entries.len(), DEPENDENCIES_MAX);
    for entry in entries {
        let large = entry["id"].as_str().expect("an id")[1..]
            .parse::<u32>()
            .expect("a number")
            % 2
            == 0;
        if large {
            assert_eq!(entry["result_omitted"], 1_040_009, "{entry}");
            assert!(entry.get("result").is_none(), "{entry}");
        } else {
            assert_eq!(entry["result"], json!({"r": "xxxxx"}));
            assert!(entry.get("result_omitted").is_none(), "{entry}");
        }
    }
    assert_eq!(s.claim_next("w").as_deref(), Some("innocent"));
}

#[test]
fn small_values_that_are_long_as_text_count_as_they_are_sent() {
    let db = Database::fresh();
    let mut s = db.session();
    done(&mut s, 3, "to_jsonb(n)");
    // What earlier versions took, because it is small as it is stored.
    store(&mut s, "d1", "result", &numbers(40));
    store(&mut s, "d2", "result", &numbers(1));
    join(&mut s, "join", 3, "");
    // The driver's JSON does not take such numbers.
    let entries = s.row(
        "select dependencies -> 0 as first, octet_length((dependencies -> 1 ->> 'result')::text) as second,
           dependencies -> 2 as third from mosaic.backlog_claim('w')",
    );
    assert_eq!(
        entries["first"],
        json!({"id": "d1", "title": "t", "result_omitted": 40 * (131_072 + 2)})
    );
    assert_eq!(entries["second"], 131_072 + 2);
    assert_eq!(entries["third"]["result"], 3);
}

#[test]
fn titles_alone_do_not_exceed_the_bound_either() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "do $$ begin for n in 1 .. 100 loop
           perform mosaic.backlog_create(repeat(chr(1), 1000), id => 'd' || n);
           perform mosaic.backlog_complete('d' || n);
         end loop; end $$",
    );
    join(&mut s, "join", 100, "");
    let card = s.row(
        "select jsonb_array_length(dependencies) as entries, dependencies_total as total,
           octet_length(dependencies::text) as bytes from mosaic.backlog_claim('w')",
    );
    let number = |field: &str| card[field].as_u64().expect("a number") as usize;
    assert!((30..100).contains(&number("entries")), "{card}");
    assert!(number("bytes") <= DEPENDENCIES_BYTES, "{card}");
    assert_eq!(number("total"), 100);
}

#[test]
fn acceptance_and_result_are_measured_as_the_text_that_is_sent() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let long = numbers(9);
    for call in [
        format!("complete('A', result => {long})"),
        format!("create('t', acceptance => {long})"),
        format!("update('A', acceptance => {long})"),
        format!(
            "create_many(jsonb_build_array(jsonb_build_object('title', 't', 'acceptance', {long})))"
        ),
    ] {
        let refused = s.refusal(&format!("select * from mosaic.backlog_{call}"));
        assert_eq!(refused.code, "invalid_argument", "{call}");
        assert!(refused.message.contains("bytes"), "{refused:?}");
    }
    // An array that nobody could write out as text is refused, and not tried.
    let batch = format!(
        "jsonb_build_array(jsonb_build_object('title', 't', 'acceptance', {}))",
        numbers(10_000)
    );
    let refused = s.refusal(&format!(
        "select * from mosaic.backlog_create_many({batch})"
    ));
    assert_eq!(refused.code, "invalid_argument");
    // What has exactly 1 MiB as text is taken, whatever it is made of.
    let exact = |more: usize| {
        format!(
            "(select j || jsonb_build_object('fill', repeat('x', 1048576 - octet_length((j || '{{\"fill\": \"\"}}')::text) + {more}))
              from (select jsonb_build_object('a', 1e5000, 'b', -1.50, 'c', array[null, 'q\"\\', E'\\t\\x01'], 'd', '{{}}'::jsonb,
                'e', true, 'f', '[[], [0, 0.000, 1e-20, 123456789012345678.5]]'::jsonb) as j) x)"
        )
    };
    let taken = s.row(&format!("select octet_length(acceptance::text) as n from mosaic.backlog_create('t', acceptance => {})", exact(0)));
    assert_eq!(taken["n"], 1_048_576);
    let refused = s.refusal(&format!(
        "select * from mosaic.backlog_create('t', acceptance => {})",
        exact(1)
    ));
    assert!(refused.message.contains("1048577 bytes"), "{refused:?}");
}

/// Makes the answer to a claim of the card impossible: no client could be sent its acceptance.
fn poison(s: &mut Session, id: &str) {
    store(s, id, "acceptance", &numbers(10_000));
}

#[test]
fn a_card_whose_answer_cannot_be_made_counts_an_attempt_is_set_aside_and_the_claim_goes_on() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set mosaic.clock = '2030-01-01'");
    s.run(
        "select from mosaic.backlog_create('t', id => 'poison', priority => 9, max_attempts => 2)",
    );
    s.create_numbered("c", 3);
    poison(&mut s, "poison");
    let claim = "select * from mosaic.backlog_claim('w', max_cards => 2)";
    let ids = |rows: Vec<Value>| rows.iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(s.rows(claim)), ["c1", "c2"]);
    let card =
        "select status, attempts, block_kind, not_before > mosaic_now as waits from mosaic.backlog,
                lateral (select '2030-01-01'::timestamptz as mosaic_now) x where id = 'poison'";
    let card_of = |s: &mut Session| s.row(card);
    assert_eq!(
        card_of(&mut s),
        json!({"status": "ready", "attempts": 1, "block_kind": null, "waits": true})
    );
    s.run("set mosaic.clock = '2030-01-02'");
    s.run("update mosaic.backlog set claim_expires_at = '2030-02-01' where status = 'claimed'");
    assert_eq!(ids(s.rows(claim)), ["c3"]);
    let set_aside = s.row(
        "select status, attempts, block_kind, block_reason from mosaic.backlog where id = 'poison'",
    );
    assert_eq!(
        (&set_aside["status"], &set_aside["block_kind"]),
        (&json!("blocked"), &json!("attempts"))
    );
    let reason = set_aside["block_reason"].as_str().expect("a reason");
    assert!(reason.contains("cannot be answered"), "{reason}");
    assert_eq!(
        s.column("select kind from mosaic.backlog_events('poison')"),
        ["created", "claimed", "failed", "claimed", "failed"]
    );
    assert_eq!(
        s.rows("select * from mosaic.backlog_claim('w')"),
        Vec::<Value>::new()
    );
}

#[test]
fn a_claim_by_id_of_such_a_card_says_so_and_a_repeat_leaves_it_out() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 2);
    let request = "select id, claim_token from mosaic.backlog_claim('w', max_cards => 2,
                     request_id => '6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c')";
    let first = s.rows(request);
    assert_eq!(first.len(), 2);
    poison(&mut s, "c1");
    assert_eq!(s.rows(request), first[1..]);
    assert_eq!(s.status_in_table("c1"), "ready");
    let refused = s.refusal("select * from mosaic.backlog_claim('w', id => 'c1')");
    assert_eq!(refused.code, "bad_transition");
    assert!(refused.message.contains("\"c1\""), "{refused:?}");
    assert_eq!(s.status_in_table("c1"), "ready");
}

#[test]
fn a_value_that_nobody_could_be_sent_is_left_out_of_what_is_read_with_a_mark() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 3);
    store(&mut s, "c2", "body", "repeat('x', 600000000)");
    store(&mut s, "c3", "result", "to_jsonb(repeat('x', 80000000))");
    let page = s.rows("select * from mosaic.backlog_list()");
    assert_eq!(page.len(), 3);
    assert!(page[0]["cursor"].is_string());
    assert_eq!(page[1]["body"], "(600000004 bytes left out)");
    assert!(page[2]["result"]["omitted_bytes"].as_u64() > Some(80_000_000));
    assert_eq!(s.card("c2")["body"], page[1]["body"]);
    // Nor is such a card handed out.
    assert_eq!(s.claim_next("w").as_deref(), Some("c1"));
    assert_eq!(s.claim_next("w"), None);
}

/// The most memory of its own that a session's process used during a query, in MB, beside what it
/// used before.
fn growth(db: &Database, prepare: &str, query: &str) -> u64 {
    let mut s = db.session();
    s.run("set work_mem = '4MB'; set temp_buffers = '1MB'");
    s.run(prepare);
    let pid = s.pid();
    // Not what it shares with others: the buffer cache fills for everybody.
    let own = move || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or(0)
    };
    let before = own();
    let (peak, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                peak.fetch_max(own(), Ordering::SeqCst);
                thread::sleep(Duration::from_millis(2));
            }
        });
        // Whatever happens, the watcher ends.
        let outcome = s.client().simple_query(query);
        over.store(true, Ordering::SeqCst);
        let rows = outcome.unwrap_or_else(|error| panic!("{query}: {error:?}"));
        assert!(
            rows.iter().any(|m| matches!(m, SimpleQueryMessage::Row(_))),
            "{query}: no row"
        );
    });
    (peak.into_inner().saturating_sub(before)) / 1024
}

#[test]
fn the_memory_of_a_call_is_bounded_whatever_the_cards_hold() {
    let db = Database::fresh();
    let mut s = db.session();
    // Random text, which does not compress: each card has 2 MiB, each joining card 100 results.
    s.run("set synchronous_commit = off; set mosaic.durability = 'inherit'");
    s.run(
        "create function long() returns text language sql volatile as
             'select string_agg(md5(random()::text), '''') from generate_series(1, 32000)'",
    );
    s.create_numbered("d", 100);
    s.run(
        "do $$ declare filling text := long(); begin for n in 1 .. 100 loop
           perform mosaic.backlog_complete('d' || n, result => jsonb_build_object('r', filling));
         end loop;
         commit;
         for n in 1 .. 80 loop
           perform mosaic.backlog_create('t', id => 'j' || n, body => filling, phase => 'joins',
             acceptance => to_jsonb(filling), depends_on => array(select 'd' || m from generate_series(1, 100) m));
           perform mosaic.backlog_update('j' || n, body => left(filling, 1000000));
           commit;
         end loop; end $$",
    );
    for (what, prepare, query) in [
        (
            "list",
            "",
            "select count(*), sum(length(body)) from mosaic.backlog_list(max_cards => 10000)",
        ),
        (
            "events",
            "",
            "select count(*), sum(length(detail::text)) from mosaic.backlog_events(max_events => 10000)",
        ),
        (
            "export",
            "",
            "select count(*), sum(length(line)) from mosaic.backlog_export()",
        ),
        ("why", "", "select count(*) from mosaic.backlog_why('d1')"),
        (
            "claim",
            "",
            "select count(*), sum(length(body)) + sum(length(dependencies::text)) from mosaic.backlog_claim('w', phase => 'joins', max_cards => 10000)",
        ),
        (
            "get",
            "",
            "select sum(length(body)) from mosaic.backlog_get('j1')",
        ),
    ] {
        let grown = growth(&db, prepare, query);
        assert!(grown <= CALL_MB, "{what}: {grown} MB");
    }
}

#[test]
fn a_page_ends_early_rather_than_grow_without_bound_and_its_cursor_goes_on() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run("set synchronous_commit = off; set mosaic.durability = 'inherit'");
    s.run(
        "do $$ declare n int; begin for n in 1 .. 150 loop
           perform mosaic.backlog_create('t', id => 'c' || n, body => repeat('x', 1000000));
           perform mosaic.backlog_update('c' || n, body => repeat('y', 1000000));
           commit;
         end loop; end $$",
    );
    let (mut seen, mut pages, mut after) = (Vec::new(), 0, "null".to_owned());
    loop {
        let page = s.rows(&format!(
            "select id, length(body) as n, cursor from mosaic.backlog_list(max_cards => 10000, after => {after})"
        ));
        assert!(
            (1..100).contains(&page.len()),
            "{} cards on a page",
            page.len()
        );
        pages += 1;
        seen.extend(page.iter().map(|row| row["id"].clone()));
        match page.last().expect("a card")["cursor"].as_str() {
            Some(cursor) => after = format!("'{cursor}'"),
            None => break,
        }
    }
    assert_eq!((seen.len(), pages > 1), (150, true));
    let (mut events, mut after) = (0, "0".to_owned());
    while events < 300 {
        // Empty while another test's transaction holds the history back.
        let page = s.rows(&format!(
            "select cursor from mosaic.backlog_events(max_events => 10000, after => '{after}')"
        ));
        let Some(last) = page.last() else { continue };
        assert!(page.len() < 250, "{} events on a page", page.len());
        events += page.len();
        after = last["cursor"].as_str().expect("a cursor").to_owned();
    }
    assert_eq!(events, 300);
}
