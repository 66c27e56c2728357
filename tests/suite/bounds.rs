//! Arguments that are numbers, intervals and times: the bounds of each.

use mosaic_backlog_tests::database::Database;

use crate::validation::{assert_invalid, with_each};

/// Intervals that are no lease: too short, too long, and those whose sums would overflow.
const BAD_TTLS: [&str; 14] = [
    "'0'",
    "'-1 second'",
    "'0.5 seconds'",
    "'0.999999 seconds'",
    "'30 days 0.000001 seconds'",
    "'30 days 1 second'",
    "'1 year'",
    "'178000000 years'",
    "'-178000000 years'",
    "'2147483647 days'",
    "'2562047788 hours'",
    "'-2562047788 hours'",
    "'178956970 years 7 months 2147483647 days'",
    "'1 month -30 days'",
];

#[test]
fn a_lease_lasts_1_second_to_30_days() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    assert_invalid(
        &mut s,
        &with_each(&["claim('w', $)", "renew('A', 1, $)"], &BAD_TTLS),
    );
    assert_invalid(&mut s, &["claim('w', null)".into()]);
    for (ttl, seconds) in [
        ("1 second", 1),
        ("1.5 seconds", 2),
        ("30 days", 2_592_000),
        ("1 month", 2_592_000),
    ] {
        s.run("begin");
        assert_eq!(
            s.number(&format!(
                "select claim_ttl_seconds from mosaic.backlog_claim('w', '{ttl}')"
            )),
            seconds
        );
        s.run("rollback");
    }
}

#[test]
fn delays_are_0_to_30_days() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let bad: Vec<&str> = BAD_TTLS
        .into_iter()
        .filter(|ttl| !ttl.starts_with("'0") && *ttl != "'1 month -30 days'")
        .chain(["'-0.000001 seconds'"])
        .collect();
    let calls = [
        "release('A', 1, $)",
        "fail('A', 1, 'why', $)",
        "reclaim(grace => $)",
    ];
    assert_invalid(&mut s, &with_each(&calls, &bad));
    for delay in ["0", "30 days"] {
        s.run("begin");
        let (first, second) = (s.claim("A", "w"), "reclaim(grace => $)");
        for call in [format!("release('A', {first}, $)"), second.to_owned()] {
            let call = call.replace('$', &format!("'{delay}'"));
            s.run(&format!("select from mosaic.backlog_{call}"));
        }
        s.run("rollback; begin");
        let token = s.claim("A", "w");
        s.run(&format!(
            "select from mosaic.backlog_fail('A', {token}, 'why', '{delay}'); rollback"
        ));
    }
}

#[test]
fn numbers_of_cards_are_1_to_10000() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let bad = ["null", "0", "-1", "10001", "2147483647", "-2147483648"];
    let calls = [
        "claim('w', max_cards => $)",
        "list(max_cards => $)",
        "reclaim(max_cards => $)",
    ];
    assert_invalid(&mut s, &with_each(&calls, &bad));
    assert_invalid(&mut s, &with_each(&["events(max_events => $)"], &bad));
    for count in [1, 10_000] {
        s.run(&format!(
            "select from mosaic.backlog_claim('w', max_cards => {count});
             select from mosaic.backlog_list(max_cards => {count});
             select from mosaic.backlog_reclaim(max_cards => {count});
             select from mosaic.backlog_events(max_events => {count})"
        ));
    }
}

#[test]
fn other_numbers_and_times_are_bounded() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let calls = ["create('t', priority => $)", "update('A', priority => $)"];
    assert_invalid(
        &mut s,
        &with_each(
            &calls,
            &["1000001", "-1000001", "2147483647", "-2147483648"],
        ),
    );
    let calls = [
        "create('t', max_attempts => $)",
        "update('A', max_attempts => $)",
    ];
    assert_invalid(&mut s, &with_each(&calls, &["0", "-1", "-2147483648"]));
    let calls = [
        "create('t', not_before => $)",
        "update('A', not_before => $)",
    ];
    assert_invalid(
        &mut s,
        &with_each(
            &calls,
            &[
                "'infinity'",
                "'-infinity'",
                "'0001-12-31 00:00+00 BC'",
                "'10000-01-01 00:00+00'",
            ],
        ),
    );
    for extreme in ["-1000000", "1000000"] {
        s.run(&format!(
            "select from mosaic.backlog_create('t', id => 'p{extreme}', priority => {extreme})"
        ));
    }
    for extreme in ["0001-01-01 00:00+00", "9999-12-31 23:59:59.999999+00"] {
        s.run(&format!(
            "select from mosaic.backlog_create('t', not_before => '{extreme}')"
        ));
    }
    // They are listed, explained and passed over like any other.
    s.run("select from mosaic.backlog_list(); select from mosaic.backlog_stats()");
    assert_eq!(s.claim_next("w").as_deref(), Some("p1000000"));
    for id in s.column("select id from mosaic.backlog where not_before > now()") {
        let id = id.as_str().expect("an id");
        s.run(&format!("select from mosaic.backlog_why('{id}')"));
        assert_eq!(
            s.code(&format!(
                "select * from mosaic.backlog_claim('w', id => '{id}')"
            )),
            "bad_transition"
        );
    }
}
