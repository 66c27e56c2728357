use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn update_changes_a_card_in_any_state_and_leaves_the_state() {
        begin();
        state_table(
            "select backlog_update('{id}', title => 'new')",
            &[
                ("ready", "ready"),
                ("gated", "ready"),
                ("deferred", "ready"),
                ("claimed", "claimed"),
                ("expired", "claimed"),
                ("blocked", "blocked"),
                ("done", "done"),
                ("cancelled", "cancelled"),
            ],
        );
        refused(
            "not_found",
            "select backlog_update('nobody', title => 'new')",
        );
    }

    #[pg_test]
    fn update_changes_what_is_given_and_nothing_else() {
        begin();
        run(
            "select backlog_create('old', 'A', 'body', 'phase', 3, '{}', '{l}', '{r}', '1', null, '2030-01-02', 4)",
        );
        let all =
            "title, body, phase, priority, labels, requires, acceptance, not_before, max_attempts";
        let before = card("A", all);
        for (field, value, shown) in [
            ("title", "'t'", "t"),
            ("body", "'b'", "b"),
            ("phase", "'p'", "p"),
            ("priority", "-7", "-7"),
            ("labels", "'{y,x,y}'", r#"["x","y"]"#),
            ("labels", "'{}'", "[]"),
            ("requires", "'{q}'", r#"["q"]"#),
            ("acceptance", "'{\"k\": 2}'", r#"{"k": 2}"#),
            ("not_before", "'2031-01-01'", "2031-01-01T00:00:00+00:00"),
            ("max_attempts", "9", "9"),
        ] {
            assert!(
                attempt(&format!("select backlog_update('A', {field} => {value})")).is_none(),
                "{field}"
            );
            assert_eq!(card("A", field), shown);
            let others = all
                .split(", ")
                .filter(|other| *other != field)
                .collect::<Vec<_>>()
                .join(", ");
            let before = rows(&format!(
                "select {others} from (values ('old', 'body', 'phase', 3, '{{l}}'::text[], '{{r}}'::text[],
                   '1'::jsonb, '2030-01-02'::timestamptz, 4)) as v({all})"
            ));
            assert_eq!(card("A", &others), before, "{field}");
            run(
                "select backlog_update('A', 'old', 'body', 'phase', 3, '{l}', '{r}', '1', '2030-01-02', 4)",
            );
        }
        assert_eq!(card("A", all), before);
    }

    #[pg_test]
    fn the_history_keeps_the_old_and_the_new_value() {
        begin();
        run("select backlog_create('old', 'A', priority => 1, labels => '{x}')");
        run(
            "select backlog_update('A', title => 'new', priority => 1, labels => '{y}', body => 'b', actor => 'op')",
        );
        assert_eq!(
            rows(
                "select actor, old_status, new_status, detail -> 'title', detail -> 'labels', detail -> 'body',
                   (select count(*) from jsonb_object_keys(detail)) from backlog_events('A') where kind = 'updated'"
            ),
            r#"op|ready|ready|{"new": "new", "old": "old"}|{"new": ["y"], "old": ["x"]}|{"new": "b", "old": null}|3"#
        );
    }

    #[pg_test]
    fn the_same_update_again_changes_nothing() {
        begin();
        cards("A");
        let update = "select backlog_update('A', title => 'new', priority => 2, labels => '{x,y}')";
        run(update);
        at("1 min");
        assert_eq!(outcome("A", update), "repeat");
        assert_eq!(outcome("A", "select backlog_update('A')"), "repeat");
    }

    #[pg_test]
    fn clear_sets_fields_to_null() {
        begin();
        run(
            "select backlog_create('A', 'A', 'body', 'phase', acceptance => '1', not_before => '2030-01-02', max_attempts => 4)",
        );
        assert_eq!(
            rows(
                "select body, phase, acceptance, not_before, max_attempts, title
                 from backlog_update('A', clear => '{body,phase,acceptance,not_before,max_attempts}')"
            ),
            "null|null|null|null|null|A"
        );
        assert_eq!(
            rows("select detail -> 'body' from backlog_events('A') where kind = 'updated'"),
            r#"{"new": null, "old": "body"}"#
        );
        refused(
            "invalid_argument",
            "select backlog_update('A', clear => '{title}')",
        );
        refused(
            "invalid_argument",
            "select backlog_update('A', clear => '{status}')",
        );
        refused(
            "invalid_argument",
            "select backlog_update('A', body => 'b', clear => '{body}')",
        );
    }

    #[pg_test]
    fn a_new_priority_moves_the_card_in_the_order_of_claims() {
        begin();
        cards("A B C");
        run("select backlog_update('C', priority => 1)");
        run("select backlog_update('A', priority => -1)");
        assert_eq!(
            rows("select id from backlog_claim('w', max_cards => 9)"),
            "C B A"
        );
    }

    #[pg_test]
    fn not_before_defers_and_undefers() {
        begin();
        cards("A");
        run("select backlog_update('A', not_before => '2030-01-01 01:00+00')");
        assert_eq!(rows("select id from backlog_claim('w')"), "");
        run("select backlog_update('A', clear => '{not_before}')");
        assert_eq!(rows("select id from backlog_claim('w')"), "A");
    }

    #[pg_test]
    fn update_of_a_claimed_card_keeps_the_lease() {
        begin();
        cards("A");
        let token = claim("A", "w1");
        run(
            "select backlog_update('A', title => 'new', requires => '{gpu}', not_before => '2031-01-01')",
        );
        assert_eq!(
            rows("select status, claim_token, claim_owner from backlog where id = 'A'"),
            format!("claimed|{token}|w1")
        );
        run(&format!("select backlog_complete('A', {token})"));
        assert_eq!(card("A", "status"), "done");
    }

    #[pg_test]
    fn a_maximum_below_what_is_used_up_quarantines() {
        begin();
        cards("A");
        for _ in 0..2 {
            let token = claim("A", "w");
            run(&format!("select backlog_fail('A', {token}, 'why', '0')"));
        }
        assert_eq!(
            rows("select status, block_kind from backlog_update('A', max_attempts => 2)"),
            "blocked|attempts"
        );
        assert_eq!(
            rows("select new_status from backlog_events('A') order by event_id desc limit 1"),
            "blocked"
        );
    }
}
