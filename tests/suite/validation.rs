//! Arguments that are missing, too long or malformed, argument by argument.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

/// Asserts that each call is refused as an invalid argument and changes nothing.
#[track_caller]
pub fn assert_invalid(s: &mut Session, calls: &[String]) {
    for call in calls {
        let before = s.events();
        let short: String = call.chars().take(200).collect();
        match s.attempt(&format!("select * from mosaic.backlog_{call}")) {
            Ok(rows) => panic!("{short} succeeded: {rows:?}"),
            Err(refused) => assert_eq!(refused.code, "invalid_argument", "{short}: {refused:?}"),
        }
        assert_eq!(s.events(), before, "{short}");
    }
}

/// Calls with `$` replaced by each value.
pub fn with_each(calls: &[&str], values: &[&str]) -> Vec<String> {
    calls
        .iter()
        .flat_map(|call| values.iter().map(|value| call.replace('$', value)))
        .collect()
}

/// Every call that names a card; `$` stands for the name.
const BY_ID: [&str; 18] = [
    "get($)",
    "renew($, 1)",
    "release($, 1)",
    "fail($, 1, 'why')",
    "complete($)",
    "block($, 'why')",
    "unblock($)",
    "note($, 'so')",
    "cancel($, 'why')",
    "reopen($, 'why')",
    "update($)",
    "link($, '{A}')",
    "unlink($, '{A}')",
    "link('A', array[$])",
    "why($)",
    "assert_held($, 1)",
    "create('t', depends_on => array[$])",
    "unlink('A', array[$])",
];

const BAD_IDS: [&str; 11] = [
    "''",
    "' '",
    "' A'",
    "'A '",
    "E'A\\n'",
    "E'A\\tB'",
    "E'\\x7f'",
    "U&'\\2003A'",
    "E'\\u0085A'",
    "E'A\\u00a0'",
    "repeat('x', 201)",
];

#[test]
fn ids_are_1_to_200_printable_characters_without_surrounding_space() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_invalid(&mut s, &with_each(&BY_ID, &BAD_IDS));
    assert_invalid(&mut s, &with_each(&BY_ID, &["null"]));
    let optional = [
        "create('t', id => $)",
        "claim('w', id => $)",
        "reclaim($)",
        "events($)",
    ];
    assert_invalid(&mut s, &with_each(&optional, &BAD_IDS));
}

#[test]
fn the_longest_and_oddest_ids_that_are_allowed_work_everywhere() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in [
        "x".repeat(200),
        "世".repeat(200),
        "a b".into(),
        "'; --".into(),
        "{a,b}".into(),
        "\"q\"\\".into(),
        "NULL".into(),
    ] {
        s.create(&id);
        let token = s.claim(&id, "w");
        s.create_after(
            &format!("{}+", &id.chars().take(199).collect::<String>()),
            &[&id],
        );
        let quoted = id.replace('\'', "''");
        s.run(&format!(
            "select from mosaic.backlog_complete('{quoted}', {token})"
        ));
        assert_eq!(s.status(&id), "done");
    }
    s.assert_counters_are_right();
    assert_eq!(
        s.number("select count(*) from mosaic.backlog where open_dependencies > 0"),
        0
    );
}

#[test]
fn titles_are_1_to_1000_characters_and_not_blank() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let bad = ["''", "' '", "E'\\n\\t'", "repeat('x', 1001)"];
    assert_invalid(
        &mut s,
        &with_each(&["create($)", "update('A', title => $)"], &bad),
    );
    assert_invalid(&mut s, &["create(null)".into()]);
    s.run("select from mosaic.backlog_create(repeat('世', 1000))");
}

#[test]
fn names_are_1_to_200_characters_and_not_blank() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let bad = ["''", "' '", "repeat('x', 201)", "E'a\\nb'", "E'a\\x07'"];
    let calls = [
        "create('t', phase => $)",
        "create('t', idempotency_key => $)",
        "create('t', actor => $)",
        "create_many('[]', $)",
        "update('A', phase => $)",
        "claim($)",
        "claim('w', phase => $)",
        "list(phase => $)",
        "list(owner => $)",
        "stats($)",
        "complete('A', actor => $)",
        "block('A', 'why', actor => $)",
        "unblock('A', actor => $)",
        "note('A', 'so', actor => $)",
        "cancel('A', 'why', actor => $)",
        "reopen('A', 'why', $)",
        "update('A', actor => $)",
        "link('A', '{B}', $)",
        "unlink('A', '{B}', $)",
        "reclaim(actor => $)",
    ];
    assert_invalid(&mut s, &with_each(&calls, &bad));
    assert_invalid(&mut s, &["claim(null)".into()]);
    s.run("select from mosaic.backlog_claim(repeat('世', 200))");
}

#[test]
fn labels_are_at_most_64_of_1_to_100_characters() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let bad = [
        "array[null]::text[]",
        "array['']",
        "array[' ']",
        "array['x', null]",
        "array[repeat('x', 101)]",
        "array[E'a\\nb']",
        "array[E'gpu\\x1b]0;titled\\x07']",
        "array[E'a\\u009b2J']",
        "array[E'a\\x7f']",
        "(select array_agg(n::text) from generate_series(1, 65) n)",
    ];
    let calls = [
        "create('t', labels => $)",
        "create('t', requires => $)",
        "update('A', labels => $)",
        "update('A', requires => $)",
        "claim('w', labels => $)",
        "claim('w', offers => $)",
        "list(labels => $)",
    ];
    assert_invalid(&mut s, &with_each(&calls, &bad));
    s.run(
        "select from mosaic.backlog_create('t', labels =>
           (select array_agg(repeat('x', 98) || lpad(n::text, 2, '0')) from generate_series(1, 64) n));
         -- A repeat does not count.
         select from mosaic.backlog_update('A', requires =>
           (select array_agg((n % 64)::text) from generate_series(1, 65) n))",
    );
}

#[test]
fn documents_are_at_most_one_mebibyte() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let token = s.claim("A", "w");
    let huge = "repeat('x', 10000000)";
    let over = "repeat('x', 1048577)";
    // In bytes.
    let accents = "repeat('é', 524289)";
    let calls = [
        "create('t', body => $)",
        "update('A', body => $)",
        "create_many(jsonb_build_array(jsonb_build_object('title', 't', 'body', $)))",
    ];
    assert_invalid(&mut s, &with_each(&calls, &[huge, over, accents]));
    // With its quotes.
    let over = "repeat('x', 1048575)";
    let complete = format!("complete('A', {token}, to_jsonb($))");
    let calls = [
        "create('t', acceptance => to_jsonb($))",
        "update('A', acceptance => to_jsonb($))",
        &complete,
        "create_many(jsonb_build_array(jsonb_build_object('title', 't', 'acceptance', $)))",
    ];
    assert_invalid(&mut s, &with_each(&calls, &[huge, over]));
    // What is allowed comes back whole.
    s.run(&format!(
        "select from mosaic.backlog_create('t', id => 'B', body => repeat('x', 1048576), acceptance => to_jsonb(repeat('y', 1048574)));
         select from mosaic.backlog_update('B', body => repeat('é', 524288));
         select from mosaic.backlog_complete('A', {token}, to_jsonb(repeat('z', 1048574)))"
    ));
    assert_eq!(
        s.number("select length(body) from mosaic.backlog_get('B')"),
        524_288
    );
    assert_eq!(
        s.number("select length(result #>> '{}') from mosaic.backlog_get('A')"),
        1_048_574
    );
}

#[test]
fn json_is_at_most_100_levels_deep() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let nested = |levels: usize| format!("(repeat('[', {levels}) || repeat(']', {levels}))::jsonb");
    let calls = [
        "create('t', acceptance => $)",
        "update('A', acceptance => $)",
        "complete('A', null, $)",
        "create_many(jsonb_build_array(jsonb_build_object('title', 't', 'acceptance', $)))",
    ];
    let (over, deep) = (nested(101), nested(5000));
    assert_invalid(&mut s, &with_each(&calls, &[&over, &deep]));
    s.run(&format!(
        "select count(*) from mosaic.backlog_create_many(jsonb_build_array(jsonb_build_object('title', 't', 'acceptance', {})))",
        nested(100)
    ));
    // Brackets in a text are none.
    let brackets = "to_jsonb(repeat('[\\\"', 1000))";
    for (id, value) in [("B", nested(100).as_str()), ("C", brackets)] {
        s.run(&format!(
            "select from mosaic.backlog_create('t', id => '{id}', acceptance => {value});
             select from mosaic.backlog_update('{id}', title => 'x');
             select from mosaic.backlog_complete('{id}', result => {value})"
        ));
    }
}

#[test]
fn reasons_are_needed_and_bounded() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let calls = [
        "fail('A', 1, $)",
        "block('A', $)",
        "cancel('A', $)",
        "reopen('A', $)",
    ];
    assert_invalid(
        &mut s,
        &with_each(&calls, &["null", "''", "' '", "repeat('x', 10001)"]),
    );
    assert_invalid(
        &mut s,
        &with_each(
            &["release('A', 1, reason => $)"],
            &["''", "repeat('x', 10001)"],
        ),
    );
}

#[test]
fn block_kinds_are_a_closed_list() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_invalid(
        &mut s,
        &with_each(
            &["block('A', 'why', $)"],
            &["''", "'Input'", "'nope'", "'input '"],
        ),
    );
    for kind in ["input", "dependency", "capability", "attempts", "other"] {
        s.run(&format!(
            "select from mosaic.backlog_block('A', 'why', '{kind}')"
        ));
        assert_eq!(s.card("A")["block_kind"], kind);
    }
}

#[test]
fn text_with_nul_and_malformed_json_are_refused_by_the_types() {
    let db = Database::fresh();
    let mut s = db.session();
    for call in [
        "create(E'a\\u0000b')",
        "create('t', acceptance => '{\"a\": \"\\u0000\"}')",
        "create('t', acceptance => '{broken')",
        "create_many('[{]')",
        "claim('w', request_id => 'no-uuid')",
        "claim('w', 'soon')",
        "claim('w', 'infinity')",
        "create('t', not_before => 'soon')",
        "create('t', priority => 99999999999)",
        "list(statuses => '{nope}')",
        "list(statuses => 'nope')",
        "create('t', labels => '{')",
    ] {
        let refused = s.refusal(&format!("select * from mosaic.backlog_{call}"));
        assert!(
            ["22", "42"].contains(&&refused.sqlstate[..2]),
            "{call}: {refused:?}"
        );
        assert_ne!(refused.sqlstate, "42501", "{call}: {refused:?}");
    }
}

#[test]
fn any_json_value_is_an_acceptance_and_a_result() {
    let db = Database::fresh();
    let mut s = db.session();
    for (number, json) in [
        "null",
        "true",
        "-1.5e300",
        "\"text\"",
        "[]",
        "{}",
        "[[[{\"a\":[null]}]]]",
    ]
    .iter()
    .enumerate()
    {
        let id = format!("c{number}");
        s.run(&format!(
            "select from mosaic.backlog_create('t', id => '{id}', acceptance => '{json}')"
        ));
        s.run(&format!(
            "select from mosaic.backlog_complete('{id}', result => '{json}')"
        ));
        assert!(s.truth(&format!(
            "select acceptance = '{json}'::jsonb and result = '{json}'::jsonb from mosaic.backlog_get('{id}')"
        )));
    }
}

#[test]
fn force_needs_an_answer_and_null_is_no() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    s.claim("A", "w");
    assert_eq!(
        s.code("select * from mosaic.backlog_complete('A', force => null)"),
        "already_claimed"
    );
    assert_eq!(
        s.code("select * from mosaic.backlog_cancel('A', 'why', null, null)"),
        "already_claimed"
    );
    assert_eq!(
        s.code("select * from mosaic.backlog_reclaim('A', null)"),
        "already_claimed"
    );
}

#[test]
fn labels_of_new_cards_hold_nothing_that_turns_or_breaks_a_line() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for c in "\u{61c}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202e}\u{2066}\u{2069}".chars() {
        for call in [
            format!("create('t', labels => '{{a{c}b}}')"),
            format!("create('t', requires => '{{a{c}b}}')"),
            format!("create_many('[{{\"title\": \"t\", \"labels\": [\"a{c}\"]}}]')"),
            format!("update('A', labels => '{{{c}a}}')"),
            format!("update('A', requires => '{{{c}a}}')"),
        ] {
            let code = s.code(&format!("select 1 as n from mosaic.backlog_{call}"));
            assert_eq!(code, "invalid_argument", "{c:?}: {call}");
        }
        // Those that are there can be found.
        s.run(&format!(
            "select from mosaic.backlog_list(labels => '{{a{c}b}}')"
        ));
    }
    // Joiners, which scripts and emoji need.
    s.run("select from mosaic.backlog_create('t', labels => array[E'a\\u200db', E'c\\u200cd'])");
}

#[test]
fn null_is_the_default_of_what_is_optional() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    for call in [
        "list(null, null, null, null, null, 9, null, null)",
        "complete('A', null, null, null, null)",
        "claim('w', '1 min', 1, null, null, null, null, null)",
        "reclaim(null, null, null, 9, null)",
        "stats(null)",
        "events(null, null, 9)",
    ] {
        s.run(&format!("select from mosaic.backlog_{call}"));
    }
    assert_eq!(s.status("A"), "done");
}
