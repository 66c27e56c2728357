use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn claim_by_id_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_claim('w2', id => '{id}')",
            &[
                ("ready", "claimed"),
                ("gated", "open_dependencies"),
                ("deferred", "bad_transition"),
                ("claimed", "already_claimed"),
                ("expired", "claimed"),
                ("blocked", "bad_transition"),
                ("done", "bad_transition"),
                ("cancelled", "bad_transition"),
            ],
        );
        refused("not_found", "select backlog_claim('w2', id => 'nobody')");
    }

    #[pg_test]
    fn claim_takes_the_highest_priority_then_the_oldest() {
        begin();
        for (id, priority) in [("old", 0), ("new", 0), ("low", -1), ("high", 7)] {
            run(&format!(
                "select backlog_create('{id}', '{id}', priority => {priority})"
            ));
        }
        run("select backlog_create('top', 'top', priority => 1000000)");
        run("select backlog_create('last', 'last', priority => -1000000)");
        let order: Vec<String> = (0..6)
            .map(|_| rows("select id from backlog_claim('w1')"))
            .collect();
        assert_eq!(order, ["top", "high", "old", "new", "low", "last"]);
        assert_eq!(rows("select id from backlog_claim('w1')"), "");
    }

    #[pg_test]
    fn claim_of_several_gives_them_in_claim_order_and_no_more() {
        begin();
        cards("A B C");
        run("select backlog_create('D', 'D', priority => 1)");
        assert_eq!(
            rows("select id, status from backlog_claim('w1', max_cards => 3)"),
            "D|claimed A|claimed B|claimed"
        );
        assert_eq!(
            rows("select id from backlog_claim('w1', max_cards => 3)"),
            "C"
        );
    }

    #[pg_test]
    fn claim_passes_over_gated_and_deferred_cards() {
        begin();
        run("select backlog_create('later', 'later', priority => 9,
               not_before => '2030-01-01 01:00+00')");
        cards("A");
        run("select backlog_create('B', 'B', priority => 9, depends_on => '{A}')");
        assert_eq!(
            rows("select id from backlog_claim('w1', max_cards => 9)"),
            "A"
        );
        at("1 hour");
        assert_eq!(
            rows("select id from backlog_claim('w1', '2 hours', max_cards => 9)"),
            "later A"
        );
    }

    #[pg_test]
    fn claim_filters_by_phase_and_by_all_labels() {
        begin();
        run("select backlog_create('A', 'A', phase => 'one', labels => '{x}')");
        run("select backlog_create('B', 'B', phase => 'two', labels => '{x,y}')");
        run("select backlog_create('C', 'C', phase => 'two', labels => '{y}')");
        let claim = |filter: &str| rows(&format!("select id from backlog_claim('w1', {filter})"));
        assert_eq!(claim("phase => 'three'"), "");
        assert_eq!(claim("labels => '{x,z}'"), "");
        assert_eq!(claim("labels => '{y,x}'"), "B");
        assert_eq!(claim("phase => 'two', labels => '{x}'"), "");
        assert_eq!(claim("phase => 'two'"), "C");
        assert_eq!(claim("labels => '{}'"), "A");
    }

    #[pg_test]
    fn claim_gives_a_card_only_to_a_worker_that_offers_all_it_requires() {
        begin();
        run("select backlog_create('A', 'A', priority => 1, requires => '{gpu,net}')");
        cards("B");
        assert_eq!(rows("select id from backlog_claim('w1')"), "B");
        assert_eq!(
            rows("select id from backlog_claim('w1', offers => '{gpu}')"),
            ""
        );
        let message = refused(
            "bad_transition",
            "select backlog_claim('w1', id => 'A', offers => '{gpu}')",
        );
        assert!(message.contains("net") && !message.contains("gpu"));
        assert_eq!(
            rows("select id from backlog_claim('w1', offers => '{net,gpu,disk}')"),
            "A"
        );
    }

    #[pg_test]
    fn claim_fills_the_lease_from_the_clock() {
        begin();
        cards("A");
        at("1 hour");
        assert_eq!(
            rows(
                "select status, claim_owner, claim_ttl_seconds, claimed_at, claim_expires_at, attempts, updated_at
                  from backlog_claim('w1', '90 seconds')"
            ),
            "claimed|w1|90|2030-01-01T01:00:00+00:00|2030-01-01T01:01:30+00:00|1|2030-01-01T01:00:00+00:00"
        );
        assert_eq!(rows("select id from backlog_list(owner => 'w1')"), "A");
    }

    #[pg_test]
    fn tokens_grow_over_cards_claims_and_truncation() {
        begin();
        cards("A B");
        let mut tokens = vec![claim("A", "w1"), claim("B", "w1")];
        run(&format!("select backlog_release('A', {})", tokens[0]));
        tokens.push(claim("A", "w1"));
        run("truncate backlog, backlog_dependency, backlog_event restart identity");
        cards("A");
        tokens.push(claim("A", "w1"));
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    }

    #[pg_test]
    fn claim_tells_the_results_of_dependencies_and_the_last_failure() {
        begin();
        cards("A B C:A,B");
        run("select backlog_complete('A', result => '{\"n\": 1}')");
        run("select backlog_complete('B')");
        let claim = "select id, dependencies, last_failure from backlog_claim('w1')";
        let dependencies = r#"[{"id": "A", "title": "A", "result": {"n": 1}}, {"id": "B", "title": "B", "result": null}]"#;
        assert_eq!(rows(claim), format!("C|{dependencies}|null"));
        let token = number("select claim_token from backlog where id = 'C'");
        run(&format!(
            "select backlog_fail('C', {token}, 'no luck', '0')"
        ));
        assert_eq!(rows(claim), format!("C|{dependencies}|no luck"));
        cards("D");
        assert_eq!(rows(claim), "D|[]|null");
    }

    #[pg_test]
    fn claim_hands_on_a_card_whose_lease_ended() {
        begin();
        cards("A");
        let first = claim("A", "w1");
        at("14 min 59.999999 s");
        assert_eq!(rows("select id from backlog_claim('w2')"), "");
        at("15 min");
        assert_eq!(
            rows(&format!(
                "select id, claim_owner, attempts, claim_token > {first} from backlog_claim('w2')"
            )),
            "A|w2|2|true"
        );
        assert_eq!(
            rows(
                "select kind, actor, claim_token is not null, old_status, new_status
                 from backlog_event where card_id = 'A' and kind = 'lapsed'"
            ),
            "lapsed|w2|true|claimed|ready"
        );
    }

    #[pg_test]
    fn one_claim_sweeps_a_bounded_number_of_ended_leases() {
        begin();
        run(
            "select backlog_create_many((select jsonb_agg(jsonb_build_object('title', n::text))
             from generate_series(1, 250) n))",
        );
        run("select backlog_claim('w1', '1 second', max_cards => 250)");
        at("1 min");
        let expired = || number("select expired_leases from backlog_stats()");
        let mut left = expired();
        let mut claims = 0;
        while left > 0 {
            run("select backlog_claim('w2', phase => 'none')");
            let now = expired();
            assert!(now < left);
            left = now;
            claims += 1;
        }
        assert!(claims > 1);
        assert_eq!(number("select claimable from backlog_stats()"), 250);
    }

    #[pg_test]
    fn claim_by_id_takes_no_filter() {
        begin();
        cards("A");
        refused(
            "invalid_argument",
            "select backlog_claim('w1', id => 'A', phase => 'x')",
        );
        refused(
            "invalid_argument",
            "select backlog_claim('w1', id => 'A', labels => '{x}')",
        );
        assert_eq!(
            rows("select id from backlog_claim('w1', id => 'A', labels => '{}')"),
            "A"
        );
    }

    #[pg_test]
    fn the_claim_columns_belong_to_claimed_cards_alone() {
        begin();
        cards("A B");
        claim("A", "w1");
        for change in [
            "set claim_owner = null where id = 'A'",
            "set claim_token = null where id = 'A'",
            "set claim_expires_at = null where id = 'A'",
            "set status = 'ready' where id = 'A'",
            "set claim_owner = 'w1' where id = 'B'",
            "set claim_token = 1 where id = 'B'",
            "set status = 'claimed' where id = 'B'",
        ] {
            let refused = attempt(&format!("update backlog {change}")).expect(change);
            assert_eq!(refused.sqlstate, "23514", "{change}");
        }
    }
}
