use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn block_without_a_token_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_block('{id}', 'another reason')",
            &[
                ("ready", "blocked"),
                ("gated", "blocked"),
                ("deferred", "blocked"),
                ("claimed", "already_claimed"),
                ("expired", "already_claimed"),
                ("blocked", "blocked"),
                ("done", "bad_transition"),
                ("cancelled", "bad_transition"),
            ],
        );
        refused("not_found", "select backlog_block('nobody', 'why')");
    }

    #[pg_test]
    fn block_with_the_claims_token_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_block('{id}', 'another reason', claim_token => {token})",
            &[
                ("ready", "claim_lost"),
                ("claimed", "blocked"),
                ("expired", "blocked"),
                ("blocked", "blocked"),
                ("done", "bad_transition"),
                ("cancelled", "bad_transition"),
            ],
        );
    }

    #[pg_test]
    fn unblock_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_unblock('{id}')",
            &[
                ("ready", "repeat"),
                ("gated", "repeat"),
                ("deferred", "repeat"),
                ("claimed", "bad_transition"),
                ("expired", "bad_transition"),
                ("blocked", "ready"),
                ("done", "bad_transition"),
                ("cancelled", "bad_transition"),
            ],
        );
        refused("not_found", "select backlog_unblock('nobody')");
    }

    #[pg_test]
    fn block_keeps_kind_and_reason_until_unblocked() {
        begin();
        cards("A");
        assert_eq!(
            rows(
                "select status, block_kind, block_reason from backlog_block('A', 'which colour?', 'input')"
            ),
            "blocked|input|which colour?"
        );
        assert_eq!(
            rows("select block_kind, block_reason from backlog_block('A', 'no screen')"),
            "other|no screen"
        );
        assert_eq!(
            rows("select status, block_kind, block_reason from backlog_unblock('A')"),
            "ready|null|null"
        );
    }

    #[pg_test]
    fn block_ends_the_lease_and_the_token() {
        begin();
        cards("A");
        let token = claim("A", "w1");
        assert_eq!(
            rows(&format!(
                "select status, claim_owner, claim_token, claim_expires_at, attempts
                 from backlog_block('A', 'why', 'dependency', {token})"
            )),
            "blocked|null|null|null|1"
        );
        refused("claim_lost", &format!("select backlog_renew('A', {token})"));
        assert_eq!(rows("select id from backlog_claim('w1')"), "");
    }

    #[pg_test]
    fn the_same_block_again_changes_nothing() {
        begin();
        cards("A B");
        let block = "select backlog_block('A', 'why', 'input')";
        run(block);
        let token = claim("B", "w1");
        let held = format!("select backlog_block('B', 'why', claim_token => {token})");
        run(&held);
        at("1 min");
        assert_eq!(outcome("A", block), "repeat");
        assert_eq!(outcome("B", &held), "repeat");
    }

    #[pg_test]
    fn unblock_gives_a_fresh_budget() {
        begin();
        run("select backlog_create('A', 'A', max_attempts => 1)");
        for _ in 0..2 {
            let token = claim("A", "w1");
            run(&format!("select backlog_fail('A', {token}, 'why', '0')"));
            assert_eq!(
                card("A", "status, block_kind, attempts"),
                "blocked|attempts|1"
            );
            assert_eq!(
                rows("select status, attempts from backlog_unblock('A')"),
                "ready|0"
            );
        }
        assert_eq!(
            rows("select attempts, last_failure from backlog_claim('w1')"),
            "1|why"
        );
    }

    #[pg_test]
    fn every_kind_of_block_is_known() {
        begin();
        cards("A");
        for kind in ["input", "dependency", "capability", "attempts", "other"] {
            assert_eq!(
                rows(&format!(
                    "select block_kind from backlog_block('A', 'why', '{kind}')"
                )),
                kind
            );
        }
        refused(
            "invalid_argument",
            "select backlog_block('A', 'why', 'mood')",
        );
        refused("invalid_argument", "select backlog_block('A', 'why', '')");
    }
}
