use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    fn gates() -> String {
        rows("select id, open_dependencies from backlog order by id")
    }

    /// Every counter equals the number of dependencies that are not done.
    fn assert_counted() {
        assert_eq!(
            rows(
                "select id from backlog c where open_dependencies <> (
                   select count(*) from backlog_dependency d join backlog x on x.id = d.depends_on
                   where d.card_id = c.id and x.status <> 'done')"
            ),
            ""
        );
    }

    #[pg_test]
    fn a_created_card_waits_for_its_dependencies_that_are_not_done() {
        begin();
        cards("open blocked cancelled done claimed");
        run("select backlog_block('blocked', 'why')");
        run("select backlog_cancel('cancelled', 'why')");
        finish("done");
        claim("claimed", "w1");
        cards("X:open,blocked,cancelled,done,claimed");
        assert_eq!(card("X", "open_dependencies"), "4");
        assert_counted();
    }

    #[pg_test]
    fn completing_opens_what_waited_for_it_alone() {
        begin();
        cards("A B X:A Y:A,B Z:A W:A");
        run("select backlog_block('Z', 'why')");
        run("select backlog_cancel('W', 'why')");
        assert_eq!(
            rows("select unblocked from backlog_complete('A')"),
            r#"["X"]"#
        );
        assert_eq!(gates(), "A|0 B|0 W|0 X|0 Y|1 Z|0");
        assert_eq!(
            rows("select unblocked from backlog_complete('B')"),
            r#"["Y"]"#
        );
        assert_eq!(
            rows("select id from backlog_list(ready_only => true)"),
            "X Y"
        );
    }

    #[pg_test]
    fn a_gate_opens_link_by_link_along_a_chain() {
        begin();
        cards("A B:A C:B");
        let claimed: Vec<String> = (0..3)
            .map(|_| {
                let id = rows("select id from backlog_claim('w')");
                run("select backlog_complete(id, claim_token) from backlog where status = 'claimed'");
                id
            })
            .collect();
        assert_eq!(claimed, ["A", "B", "C"]);
    }

    #[pg_test]
    fn linking_and_unlinking_move_the_counter() {
        begin();
        cards("A B done X");
        finish("done");
        let link = |list: &str| {
            rows(&format!(
                "select open_dependencies from backlog_link('X', '{{{list}}}')"
            ))
        };
        let unlink = |list: &str| {
            rows(&format!(
                "select open_dependencies from backlog_unlink('X', '{{{list}}}')"
            ))
        };
        assert_eq!(link("A,done"), "1");
        assert_eq!(link("A,B,A"), "2");
        assert_eq!(link("A"), "2");
        assert_eq!(unlink("done"), "2");
        assert_eq!(unlink("done,A"), "1");
        assert_eq!(unlink("A"), "1");
        assert_eq!(unlink("B"), "0");
        assert_eq!(card("X", "depends_on"), "[]");
        assert_eq!(rows("select id from backlog_claim('w', id => 'X')"), "X");
        assert_counted();
    }

    #[pg_test]
    fn reopening_a_done_card_gates_its_dependents_again() {
        begin();
        cards("A ready:A claimed:A blocked:A done:A cancelled:A");
        run("select backlog_complete('A')");
        let token = claim("claimed", "w1");
        run("select backlog_block('blocked', 'why')");
        finish("done");
        run("select backlog_cancel('cancelled', 'why')");
        assert_eq!(
            rows("select id, status, open_dependencies from backlog_reopen('A', 'wrong')"),
            "A|ready|0 blocked|blocked|1 claimed|claimed|1 ready|ready|1"
        );
        assert_counted();
        assert_eq!(rows("select id from backlog_list(ready_only => true)"), "A");
        // The lease of the claimed one goes on.
        run(&format!("select backlog_renew('claimed', {token})"));
        run(&format!("select backlog_complete('claimed', {token})"));
        run("select backlog_reopen('cancelled', 'after all')");
        assert_eq!(card("cancelled", "status, open_dependencies"), "ready|1");
        run("select backlog_complete('A')");
        assert_counted();
        assert_eq!(
            rows("select id from backlog_list(ready_only => true) order by id"),
            "cancelled ready"
        );
    }

    #[pg_test]
    fn a_cancelled_dependency_keeps_its_dependents_gated() {
        begin();
        cards("A B:A");
        run("select backlog_cancel('A', 'why')");
        assert_eq!(card("B", "status, open_dependencies"), "ready|1");
        refused("open_dependencies", "select backlog_claim('w', id => 'B')");
        run("select backlog_reopen('A', 'after all')");
        assert_eq!(card("B", "open_dependencies"), "1");
        run("select backlog_complete('A')");
        assert_eq!(card("B", "open_dependencies"), "0");
    }

    #[pg_test]
    fn completing_by_force_leaves_the_counter_right() {
        begin();
        cards("A B:A C:B");
        assert_eq!(
            rows("select unblocked from backlog_complete('B', force => true)"),
            r#"["C"]"#
        );
        assert_counted();
        run("select backlog_reopen('B', 'too early')");
        assert_eq!(gates(), "A|0 B|1 C|1");
        run("select backlog_complete('A')");
        assert_eq!(gates(), "A|0 B|0 C|1");
    }

    #[pg_test]
    fn a_waiting_card_that_is_given_back_stays_gated() {
        begin();
        cards("A B");
        let token = claim("B", "w1");
        run("select backlog_link('B', '{A}')");
        run(&format!("select backlog_release('B', {token})"));
        assert_eq!(
            rows("select id from backlog_claim('w1', max_cards => 9)"),
            "A"
        );
        refused("open_dependencies", "select backlog_claim('w1', id => 'B')");
    }
}
