use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    #[pg_test]
    fn link_follows_the_state_table() {
        begin();
        cards("X");
        state_table(
            "select backlog_link('{id}', '{X}')",
            &[
                ("ready", "ready"),
                ("gated", "ready"),
                ("claimed", "claimed"),
                ("expired", "claimed"),
                ("blocked", "blocked"),
                ("done", "bad_transition"),
                ("cancelled", "bad_transition"),
            ],
        );
        refused("not_found", "select backlog_link('nobody', '{X}')");
        refused("not_found", "select backlog_link('X', '{nobody}')");
    }

    #[pg_test]
    fn unlink_follows_the_state_table() {
        begin();
        state_table(
            "select backlog_unlink('{id}', '{gate}')",
            &[
                ("gated", "ready"),
                ("ready", "repeat"),
                ("claimed", "repeat"),
                ("blocked", "repeat"),
                ("done", "bad_transition"),
                ("cancelled", "bad_transition"),
            ],
        );
        refused("not_found", "select backlog_unlink('nobody', '{gate}')");
        refused("not_found", "select backlog_unlink('gated', '{nobody}')");
    }

    #[pg_test]
    fn link_and_unlink_again_change_nothing() {
        begin();
        cards("A B:A");
        at("1 min");
        assert_eq!(outcome("B", "select backlog_link('B', '{A}')"), "repeat");
        run("select backlog_unlink('B', '{A}')");
        at("2 min");
        assert_eq!(outcome("B", "select backlog_unlink('B', '{A}')"), "repeat");
    }

    #[pg_test]
    fn link_writes_down_what_it_added() {
        begin();
        cards("A B X:A");
        run("select backlog_link('X', '{B,A}', 'alice')");
        run("select backlog_unlink('X', '{A,B}', 'bob')");
        assert_eq!(
            rows(
                "select kind, actor, old_status, new_status, (select jsonb_agg(d order by d)
                   from jsonb_array_elements(detail -> 'depends_on') d)
                 from backlog_events('X') where kind <> 'created'"
            ),
            r#"linked|alice|ready|ready|["B"] unlinked|bob|ready|ready|["A", "B"]"#
        );
    }

    #[pg_test]
    fn a_card_cannot_depend_on_itself() {
        begin();
        cards("A");
        refused("cycle", "select backlog_link('A', '{A}')");
        refused(
            "cycle",
            "select backlog_create('B', 'B', depends_on => '{B}')",
        );
    }

    #[pg_test]
    fn a_link_that_closes_a_cycle_is_refused() {
        begin();
        cards("A B:A C:B D:C X");
        for (id, on) in [("A", "B"), ("A", "D"), ("B", "C"), ("A", "X,C")] {
            refused("cycle", &format!("select backlog_link('{id}', '{{{on}}}')"));
        }
        assert_eq!(card("A", "depends_on, open_dependencies"), "[]|0");
        // The other way round is no cycle.
        run("select backlog_link('D', '{A,B}')");
        assert_eq!(card("D", "open_dependencies"), "3");
    }

    #[pg_test]
    fn a_cycle_through_done_and_cancelled_cards_is_refused() {
        begin();
        cards("A B:A C:B");
        run("select backlog_complete('B', force => true)");
        refused("cycle", "select backlog_link('A', '{C}')");
        run("select backlog_reopen('B', 'why')");
        run("select backlog_cancel('B', 'why')");
        refused("cycle", "select backlog_link('A', '{C}')");
        run("select backlog_reopen('B', 'why')");
        run("select backlog_unlink('B', '{A}')");
        run("select backlog_link('A', '{C}')");
        refused("cycle", "select backlog_link('B', '{A}')");
    }

    #[pg_test]
    fn a_cycle_is_found_without_walking_every_path() {
        begin();
        // Two cards a layer, each on both of the layer below: a million million paths.
        run("select backlog_create_many((
               select jsonb_agg(jsonb_build_object('title', 'x', 'id', format('%s-%s', n, s), 'depends_on',
                 case when n = 1 then '[]' else jsonb_build_array(format('%s-a', n - 1), format('%s-b', n - 1)) end))
               from generate_series(1, 40) n, unnest('{a,b}'::text[]) s))");
        refused("cycle", "select backlog_link('1-a', '{40-b}')");
        run("select backlog_link('40-a', '{1-b}')");
    }

    #[pg_test]
    fn an_unlink_frees_a_claimable_card_at_once() {
        begin();
        cards("A B:A");
        at("10 min");
        run("select backlog_unlink('B', '{A}')");
        claim("A", "w");
        at("11 min");
        assert_eq!(
            rows("select oldest_claimable_seconds from backlog_stats()"),
            "60"
        );
        assert_eq!(rows("select id from backlog_claim('w')"), "B");
    }
}
