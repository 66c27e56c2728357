use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    /// A call of each verb that takes the id of a card.
    const BY_ID: [&str; 19] = [
        "backlog_get({})",
        "backlog_claim('w', id => {})",
        "backlog_renew({}, 1)",
        "backlog_release({}, 1)",
        "backlog_fail({}, 1, 'why')",
        "backlog_assert_held({}, 1)",
        "backlog_complete({})",
        "backlog_block({}, 'why')",
        "backlog_unblock({})",
        "backlog_note({}, 'so')",
        "backlog_cancel({}, 'why')",
        "backlog_reopen({}, 'why')",
        "backlog_update({}, title => 't')",
        "backlog_link({}, '{A}')",
        "backlog_unlink({}, '{A}')",
        "backlog_link('A', array[{}]::text[])",
        "backlog_unlink('A', array[{}]::text[])",
        "backlog_reclaim({})",
        "backlog_why({})",
    ];

    #[pg_test]
    fn every_verb_refuses_an_id_that_can_be_none() {
        begin();
        cards("A");
        for verb in BY_ID {
            for id in [
                "''",
                "' '",
                "' A'",
                "'A '",
                "E'A\\n'",
                "E'A\\tB'",
                "E'\\u0085A'",
                "E'A\\u00a0'",
                "repeat('x', 201)",
            ] {
                refused(
                    "invalid_argument",
                    &format!("select {}", verb.replace("{}", id)),
                );
            }
            refused(
                "not_found",
                &format!("select {}", verb.replace("{}", "'a'")),
            );
        }
    }

    #[pg_test]
    fn every_verb_refuses_null_where_it_needs_a_value() {
        begin();
        cards("A");
        for verb in [
            "backlog_get(null)",
            "backlog_create(null)",
            "backlog_create_many(null)",
            "backlog_claim(null)",
            "backlog_claim('w', null)",
            "backlog_claim('w', max_cards => null)",
            "backlog_list(max_cards => null)",
            "backlog_events(max_events => null)",
            "backlog_renew(null, 1)",
            "backlog_renew('A', null)",
            "backlog_release('A', null)",
            "backlog_fail('A', null, 'why')",
            "backlog_fail('A', 1, null)",
            "backlog_assert_held('A', null)",
            "backlog_complete(null)",
            "backlog_block(null, 'why')",
            "backlog_block('A', null)",
            "backlog_unblock(null)",
            "backlog_note('A', null)",
            "backlog_cancel(null, 'why')",
            "backlog_cancel('A', null)",
            "backlog_reopen('A', null)",
            "backlog_update(null)",
            "backlog_link('A', null)",
            "backlog_link('A', '{}')",
            "backlog_link('A', '{null}')",
            "backlog_unlink('A', '{}')",
            "backlog_create('t', depends_on => '{null}')",
            "backlog_create('t', labels => '{a,null}')",
            "backlog_create('t', requires => '{a,null}')",
            "backlog_claim('w', labels => '{null}')",
            "backlog_claim('w', offers => '{null}')",
            "backlog_list(labels => '{null}')",
            "backlog_why(null)",
        ] {
            refused("invalid_argument", &format!("select {verb}"));
        }
    }

    #[pg_test]
    fn null_is_the_default_of_what_is_optional() {
        begin();
        run(
            "select backlog_create('t', null, null, null, null, null, null, null, null, null, null, null, null)",
        );
        assert_eq!(
            rows("select priority, labels, requires from backlog"),
            "0|[]|[]"
        );
        for verb in [
            "backlog_list(null, null, null, null, null, 9, null, null)",
            "backlog_complete((select id from backlog), null, null, null, null)",
            "backlog_claim('w', '1 min', 1, null, null, null, null, null)",
            "backlog_reclaim(null, null, null, 9, null)",
            "backlog_stats(null)",
            "backlog_events(null, null, 9)",
        ] {
            let refused = attempt(&format!("select {verb}"));
            assert!(refused.is_none(), "{verb}: {refused:?}");
        }
    }

    #[pg_test]
    fn blank_and_control_characters_are_refused_in_names() {
        begin();
        cards("A");
        for verb in [
            "backlog_claim({})",
            "backlog_claim('w', phase => {})",
            "backlog_create('t', phase => {})",
            "backlog_create('t', idempotency_key => {})",
            "backlog_create('t', actor => {})",
            "backlog_stats({})",
        ] {
            for name in ["''", "'  '", "E'a\\nb'", "E'\\u0001'", "E'\\u007f'"] {
                refused(
                    "invalid_argument",
                    &format!("select {}", verb.replace("{}", name)),
                );
            }
        }
        refused("invalid_argument", "select backlog_create(E' \\n ')");
        refused("invalid_argument", "select backlog_block('A', ' ')");
        refused(
            "invalid_argument",
            "select backlog_create('t', labels => '{\" \"}')",
        );
    }

    #[pg_test]
    fn a_batch_that_is_no_array_of_objects_is_refused() {
        begin();
        for batch in [
            "null",
            "1",
            "\"x\"",
            "{}",
            "{\"title\": \"t\"}",
            "[null]",
            "[1]",
            "[\"t\"]",
            "[[]]",
            "[[\"t\"]]",
            "[{}]",
            "[{\"title\": null}]",
            "[{\"title\": 1}]",
            "[{\"title\": [\"t\"]}]",
            "[{\"title\": \"t\", \"id\": 7}]",
            "[{\"title\": \"t\", \"id\": \"\"}]",
            "[{\"title\": \"t\", \"colour\": \"red\"}]",
            "[{\"title\": \"t\", \"actor\": \"a\"}]",
            "[{\"title\": \"t\", \"status\": \"done\"}]",
            "[{\"title\": \"t\", \"priority\": \"high\"}]",
            "[{\"title\": \"t\", \"priority\": 1.5}]",
            "[{\"title\": \"t\", \"priority\": 3000000000}]",
            "[{\"title\": \"t\", \"priority\": 1e400}]",
            "[{\"title\": \"t\", \"labels\": \"x\"}]",
            "[{\"title\": \"t\", \"labels\": [1]}]",
            "[{\"title\": \"t\", \"labels\": [null]}]",
            "[{\"title\": \"t\", \"depends_on\": {}}]",
            "[{\"title\": \"t\", \"not_before\": \"tomorrow\"}]",
            "[{\"title\": \"t\", \"not_before\": \"infinity\"}]",
            "[{\"title\": \"t\", \"not_before\": 5}]",
            "[{\"title\": \"t\", \"max_attempts\": 0}]",
            "[{\"title\": \"t\", \"id\": \"A\"}, {\"title\": \"t\", \"id\": \"A\"}]",
            "[{\"title\": \"t\", \"idempotency_key\": \"k\"}, {\"title\": \"t\", \"idempotency_key\": \"k\"}]",
        ] {
            refused(
                "invalid_argument",
                &format!("select backlog_create_many('{batch}')"),
            );
        }
        assert_eq!(number("select count(*) from backlog"), 0);
    }

    #[pg_test]
    fn infinite_times_are_refused() {
        begin();
        cards("A");
        for time in ["infinity", "-infinity"] {
            refused(
                "invalid_argument",
                &format!("select backlog_create('t', not_before => '{time}')"),
            );
            refused(
                "invalid_argument",
                &format!("select backlog_update('A', not_before => '{time}')"),
            );
        }
    }

    #[pg_test]
    fn times_lie_within_the_years_1_to_9999() {
        begin();
        run("select backlog_create('t', 'late', not_before => '9999-12-31 23:59:59.999999+00')");
        run("select backlog_create('t', 'early', not_before => '0001-01-01 00:00:00+00')");
        for time in [
            "10000-01-01 00:00:00+00",
            "294276-12-31 23:59:59.999999+00",
            "0001-12-31 23:59:59.999999+00 BC",
            "4713-01-01 00:00:00+00 BC",
        ] {
            for verb in ["backlog_create('t'", "backlog_update('early'"] {
                refused(
                    "invalid_argument",
                    &format!("select {verb}, not_before => '{time}')"),
                );
            }
        }
        refused("bad_transition", "select backlog_claim('w', id => 'late')");
        assert_eq!(rows("select kind from backlog_why('late')"), "deferred");
        assert_eq!(rows("select deferred from backlog_stats()"), "1");
        assert_eq!(rows("select id from backlog_claim('w')"), "early");
    }

    #[pg_test]
    fn an_unknown_status_is_refused() {
        begin();
        let refused = attempt("select backlog_list('{ready,nonsense}')").expect("a refusal");
        assert_eq!(refused.sqlstate, "22P02");
    }

    #[pg_test]
    fn arrays_of_any_shape_are_taken_or_refused() {
        begin();
        cards("A");
        for labels in [
            "'{}'",
            "'[5:6]={a,b}'",
            "'{{a,b},{c,d}}'",
            "'{{{a}}}'",
            "array[]::text[]",
        ] {
            for verb in [
                "backlog_create('t', labels => {})",
                "backlog_claim('w', labels => {})",
                "backlog_link('A', {})",
                "backlog_list(labels => {})",
            ] {
                if let Some(refused) = attempt(&format!("select {}", verb.replace("{}", labels))) {
                    assert_eq!(refused.sqlstate, sqlstate(&refused.code), "{verb} {labels}");
                }
            }
        }
    }

    #[pg_test]
    fn quotes_in_arguments_are_only_text() {
        begin();
        let odd = "'';drop schema mosaic cascade;--";
        run(&format!(
            "select backlog_create('{odd}', '{odd}', phase => '{odd}', labels => array['{odd}'])"
        ));
        assert_eq!(
            number(&format!(
                "select count(*) from backlog_claim('{odd}', phase => '{odd}', labels => array['{odd}'])"
            )),
            1
        );
        let refused = attempt(&format!("select backlog_get('no{odd}')")).expect("a refusal");
        assert_eq!(refused.code, "not_found");
    }

    #[pg_test]
    fn writing_verbs_refuse_callers_above_read_committed() {
        begin();
        cards("A");
        let token = claim("A", "w");
        let writing = [
            "backlog_create('t')".to_owned(),
            "backlog_create_many('[]')".to_owned(),
            "backlog_claim('w')".to_owned(),
            format!("backlog_renew('A', {token})"),
            format!("backlog_release('A', {token})"),
            format!("backlog_fail('A', {token}, 'why')"),
            format!("backlog_assert_held('A', {token})"),
            format!("backlog_complete('A', {token})"),
            "backlog_block('A', 'why')".to_owned(),
            "backlog_unblock('A')".to_owned(),
            "backlog_note('A', 'so')".to_owned(),
            "backlog_cancel('A', 'why')".to_owned(),
            "backlog_reopen('A', 'why')".to_owned(),
            "backlog_update('A')".to_owned(),
            "backlog_link('A', '{A}')".to_owned(),
            "backlog_unlink('A', '{A}')".to_owned(),
            "backlog_reclaim()".to_owned(),
        ];
        let reading = [
            "backlog_get('A')",
            "backlog_list()",
            "backlog_stats()",
            "backlog_why('A')",
            "backlog_doctor()",
            "backlog_events('A')",
        ];
        for level in [pg_sys::XACT_REPEATABLE_READ, pg_sys::XACT_SERIALIZABLE] {
            // The test's transaction is under way, so that SET TRANSACTION comes too late.
            // SAFETY: a variable of the backend, which is put back before anything else reads it.
            let with_level = |verb: &str| unsafe {
                let before = pg_sys::XactIsoLevel;
                pg_sys::XactIsoLevel = level as i32;
                let refused = attempt(&format!("select {verb}"));
                pg_sys::XactIsoLevel = before;
                refused
            };
            for verb in &writing {
                let refused = with_level(verb).expect(verb);
                assert_eq!(
                    (refused.code.as_str(), refused.sqlstate.as_str()),
                    ("isolation", "0A000"),
                    "{verb}"
                );
            }
            for verb in reading {
                assert!(with_level(verb).is_none(), "{verb}");
            }
        }
    }

    #[pg_test]
    fn writing_verbs_raise_synchronous_commit() {
        begin();
        cards("A");
        let commit_of = |setting: &str| {
            run(&format!("set local synchronous_commit = '{setting}'"));
            run("select backlog_update('A')");
            rows("select current_setting('synchronous_commit')")
        };
        assert_eq!(commit_of("off"), "on");
        assert_eq!(commit_of("local"), "on");
        assert_eq!(commit_of("remote_apply"), "remote_apply");
        run("set local synchronous_commit = off");
        run("select backlog_get('A')");
        assert_eq!(rows("select current_setting('synchronous_commit')"), "off");
        run("set local mosaic.durability = 'inherit'");
        assert_eq!(commit_of("off"), "off");
    }
}
