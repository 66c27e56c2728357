use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn reclaim_by_id_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_reclaim('{id}')",
            &[
                ("ready", "repeat"),
                ("gated", "repeat"),
                ("blocked", "repeat"),
                ("done", "repeat"),
                ("cancelled", "repeat"),
                ("claimed", "already_claimed"),
                ("expired", "ready"),
            ],
        );
        assert_eq!(rows("select id from backlog_reclaim('done')"), "");
        refused("not_found", "select backlog_reclaim('nobody')");
    }

    #[pg_test]
    fn reclaim_of_all_takes_ended_leases_and_leaves_live_ones() {
        begin();
        cards("A B C");
        run("select backlog_claim('w1', '1 min', id => 'A')");
        run("select backlog_claim('w2', '2 min', id => 'B')");
        let live = claim("C", "w3");
        at("2 min");
        assert_eq!(
            rows("select * from backlog_reclaim(actor => 'op')"),
            "A|w1|1|requeued B|w2|1|requeued"
        );
        assert_eq!(
            card(
                "A",
                "status, claim_owner, claim_token, claim_expires_at, attempts"
            ),
            "ready|null|null|null|1"
        );
        assert_eq!(
            rows("select status, claim_token from backlog where id = 'C'"),
            format!("claimed|{live}")
        );
        assert_eq!(
            rows(
                "select card_id, actor, old_status, new_status, detail ->> 'previous_owner' from backlog_event
                 where kind = 'lapsed' order by event_id"
            ),
            "A|op|claimed|ready|w1 B|op|claimed|ready|w2"
        );
        assert_eq!(rows("select * from backlog_reclaim()"), "");
    }

    #[pg_test]
    fn reclaim_of_a_live_lease_needs_force() {
        begin();
        cards("A");
        let token = claim("A", "w1");
        refused("already_claimed", "select backlog_reclaim('A')");
        assert_eq!(
            rows("select * from backlog_reclaim('A', force => true)"),
            "A|w1|1|requeued"
        );
        refused("claim_lost", &format!("select backlog_renew('A', {token})"));
        refused(
            "claim_lost",
            &format!("select backlog_complete('A', {token})"),
        );
        assert_eq!(
            rows("select kind, claim_token from backlog_event where old_status = 'claimed'"),
            format!("reclaimed|{token}")
        );
        refused("invalid_argument", "select backlog_reclaim(force => true)");
    }

    #[pg_test]
    fn grace_spares_leases_that_ended_lately() {
        begin();
        cards("A B");
        run("select backlog_claim('w1', '1 min', id => 'A')");
        run("select backlog_claim('w1', '5 min', id => 'B')");
        at("6 min");
        assert_eq!(
            rows("select id from backlog_reclaim(grace => '5 min')"),
            "A"
        );
        refused(
            "already_claimed",
            "select backlog_reclaim('B', grace => '2 min')",
        );
        assert_eq!(
            rows("select id from backlog_reclaim('B', grace => '1 min')"),
            "B"
        );
    }

    #[pg_test]
    fn reclaim_takes_the_longest_ended_first_and_no_more_than_asked() {
        begin();
        cards("A B C");
        for (id, ttl) in [("A", 3), ("B", 1), ("C", 2)] {
            run(&format!(
                "select backlog_claim('w', '{ttl} min', id => '{id}')"
            ));
        }
        at("1 hour");
        assert_eq!(
            rows("select id from backlog_reclaim(max_cards => 2)"),
            "B C"
        );
        assert_eq!(rows("select id from backlog_reclaim(max_cards => 2)"), "A");
    }

    #[pg_test]
    fn a_renewed_lease_is_live() {
        begin();
        cards("A");
        let token = number("select claim_token from backlog_claim('w', '1 min')");
        at("1 min");
        run(&format!("select backlog_renew('A', {token})"));
        assert_eq!(rows("select id from backlog_reclaim()"), "");
        at("2 min");
        assert_eq!(rows("select id from backlog_reclaim()"), "A");
    }
}
