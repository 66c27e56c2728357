//! What can be seen from inside of PostgreSQL alone: that the library loads as it was built here,
//! and calls that are part of a caller's transaction and of its own calls. What the functions do
//! is said in `tests/suite`. Each test runs in a transaction that is rolled back.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use pgrx::prelude::*;

    fn value<T: FromDatum + IntoDatum>(sql: &str) -> Option<T> {
        Spi::get_one(sql).unwrap_or_else(|error| panic!("{error}: {sql}"))
    }

    fn run(sql: &str) {
        Spi::run(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    #[pg_test]
    fn it_is_created_in_the_version_of_the_library() {
        let version: Option<String> =
            value("select extversion from pg_extension where extname = 'mosaic_backlog_ext'");
        assert_eq!(version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    }

    #[pg_test]
    fn its_schema_has_tables_and_functions_and_they_lead_into_the_library() {
        assert_eq!(
            value(
                "select to_regclass('mosaic.backlog') is not null and to_regclass('mosaic.backlog_event') is not null"
            ),
            Some(true)
        );
        let elsewhere: Option<String> = value(
            "select string_agg(proname, ' ') from pg_proc where pronamespace = 'mosaic'::regnamespace
               and proname like 'backlog\\_%' and coalesce(probin, '') not like '%mosaic_backlog_ext%'",
        );
        assert_eq!(elsewhere, None);
    }

    #[pg_test]
    fn a_card_lives_within_one_transaction() {
        run("select from mosaic.backlog_create('t', id => 'A')");
        run("select from mosaic.backlog_create('t', id => 'B', depends_on => '{A}')");
        let unblocked: Option<Vec<String>> = value(
            "select unblocked from mosaic.backlog_claim('w') c
               cross join lateral mosaic.backlog_complete(c.id, c.claim_token)",
        );
        assert_eq!(unblocked, Some(vec!["B".to_owned()]));
        let kinds: Option<String> = value(
            "select string_agg(kind, ' ' order by event_id) from mosaic.backlog_event where card_id = 'A'",
        );
        assert_eq!(kinds.as_deref(), Some("created claimed completed"));
    }

    #[pg_test]
    fn a_refusal_that_a_caller_catches_undoes_its_call_alone() {
        run("select from mosaic.backlog_create('t', id => 'A')");
        run("do $$
             declare told text;
             begin
               perform mosaic.backlog_create('t', id => 'B'), mosaic.backlog_block('nobody', 'why');
               raise 'not refused';
             exception when no_data_found then
               get stacked diagnostics told = pg_exception_detail;
               perform mosaic.backlog_block('A', told);
             end $$");
        let told: Option<String> = value(
            "select string_agg(id || ' ' || status || ' ' || split_part(block_reason, ':', 1), ', ')
             from mosaic.backlog",
        );
        assert_eq!(told.as_deref(), Some("A blocked not_found"));
    }

    #[pg_test]
    fn the_settings_of_the_library_are_there_and_the_clock_is_used() {
        run("set local timezone = 'UTC'; set local mosaic.clock = '2030-01-01 10:00+00'");
        run("select from mosaic.backlog_create('t', id => 'A')");
        let end: Option<String> =
            value("select claim_expires_at::text from mosaic.backlog_claim('w', '5 min')");
        assert_eq!(end.as_deref(), Some("2030-01-01 10:05:00+00"));
    }
}
