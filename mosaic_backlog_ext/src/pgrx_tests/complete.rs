use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn complete_without_a_token_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_complete('{id}')",
            &[
                ("ready", "done"),
                ("gated", "open_dependencies"),
                ("deferred", "done"),
                ("claimed", "already_claimed"),
                ("expired", "already_claimed"),
                ("blocked", "bad_transition"),
                ("done", "repeat"),
                ("cancelled", "bad_transition"),
            ],
        );
        refused("not_found", "select backlog_complete('nobody')");
    }

    #[pg_test]
    fn complete_with_the_claims_token_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_complete('{id}', {token})",
            &[
                ("ready", "claim_lost"),
                ("claimed", "done"),
                ("expired", "done"),
                ("blocked", "bad_transition"),
                ("done", "repeat"),
                ("cancelled", "bad_transition"),
            ],
        );
    }

    #[pg_test]
    fn complete_with_force_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_complete('{id}', force => true)",
            &[
                ("ready", "done"),
                ("gated", "done"),
                ("claimed", "done"),
                ("expired", "done"),
                ("blocked", "done"),
                ("done", "repeat"),
                ("cancelled", "bad_transition"),
            ],
        );
    }

    #[pg_test]
    fn complete_of_a_done_card_with_another_token_is_refused() {
        begin();
        cards("A B");
        let token = claim("A", "w1");
        run(&format!("select backlog_complete('A', {token}, '1')"));
        refused(
            "claim_lost",
            &format!("select backlog_complete('A', {})", token + 1),
        );
        let lost = claim("B", "w1");
        run("select backlog_complete('B', force => true)");
        refused(
            "claim_lost",
            &format!("select backlog_complete('B', {lost})"),
        );
    }

    #[pg_test]
    fn a_repeat_keeps_the_first_result_and_opens_nothing_twice_and_another_result_is_refused() {
        begin();
        cards("A B C:A,B");
        let token = claim("A", "w1");
        run(&format!(
            "select backlog_complete('A', {token}, '\"first\"')"
        ));
        assert_eq!(
            rows(&format!(
                "select result, unblocked from backlog_complete('A', {token}, '\"first\"')"
            )),
            "first|[]"
        );
        refused(
            "claim_lost",
            &format!("select backlog_complete('A', {token}, '\"second\"')"),
        );
        assert_eq!(card("C", "open_dependencies"), "1");
    }

    #[pg_test]
    fn complete_ends_the_lease_and_stamps_the_card() {
        begin();
        cards("A");
        let token = claim("A", "w1");
        at("3 min");
        assert_eq!(
            rows(&format!(
                "select status, claim_owner, claim_token, claimed_at, result, completed_at, updated_at, attempts
                 from backlog_complete('A', {token}, '{{\"ok\": 1}}')"
            )),
            r#"done|null|null|null|{"ok": 1}|2030-01-01T00:03:00+00:00|2030-01-01T00:03:00+00:00|1"#
        );
    }

    #[pg_test]
    fn a_claimed_card_that_was_linked_can_still_be_completed() {
        begin();
        cards("A B");
        let token = claim("A", "w1");
        run("select backlog_link('A', '{B}')");
        run(&format!("select backlog_complete('A', {token})"));
        assert_eq!(card("A", "status, open_dependencies"), "done|1");
        run("select backlog_complete('B')");
        assert_eq!(card("A", "status, open_dependencies"), "done|0");
    }
}
