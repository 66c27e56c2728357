//! The signatures that clients rely on. A `?` marks an argument with a default.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    const ARGUMENTS: [&str; 23] = [
        "assert_held(id text, claim_token bigint)",
        "block(id text, reason text, kind text?, claim_token bigint?, actor text?)",
        "cancel(id text, reason text, cascade boolean?, force boolean?, actor text?)",
        "claim(worker text, ttl interval?, max_cards integer?, phase text?, labels text[]?, offers text[]?, id text?, request_id uuid?)",
        "complete(id text, claim_token bigint?, result jsonb?, force boolean?, actor text?)",
        "create(title text, id text?, body text?, phase text?, priority integer?, depends_on text[]?, labels text[]?, requires text[]?, acceptance jsonb?, idempotency_key text?, not_before timestamp with time zone?, max_attempts integer?, actor text?)",
        "create_many(cards jsonb, actor text?)",
        "events(id text?, after text?, max_events integer?)",
        "fail(id text, claim_token bigint, reason text, retry_in interval?)",
        "get(id text)",
        "link(id text, depends_on text[], actor text?)",
        "list(statuses backlog_status[]?, phase text?, labels text[]?, owner text?, ready_only boolean?, max_cards integer?, after text?, with_total boolean?, search text?)",
        "note(id text, note text, claim_token bigint?, actor text?)",
        "reclaim(id text?, force boolean?, grace interval?, max_cards integer?, actor text?)",
        "release(id text, claim_token bigint, retry_in interval?, reason text?)",
        "renew(id text, claim_token bigint, ttl interval?, note text?)",
        "reopen(id text, reason text, actor text?)",
        "stats(phase text?)",
        "token(id text, actor text?)",
        "unblock(id text, answer text?, actor text?)",
        "unlink(id text, depends_on text[], actor text?)",
        "update(id text, title text?, body text?, phase text?, priority integer?, labels text[]?, requires text[]?, acceptance jsonb?, not_before timestamp with time zone?, max_attempts integer?, clear text[]?, actor text?)",
        "why(id text)",
    ];

    /// Of the functions that do not return cards.
    const COLUMNS: [&str; 7] = [
        "create_many: id text, created boolean",
        "doctor: name text, state text, detail text, hint text",
        "events: event_id bigint, card_id text, at timestamp with time zone, kind text, actor text, login_role text, claim_token bigint, old_status backlog_status, new_status backlog_status, detail jsonb, cursor text",
        "note: event_id bigint, card_id text, at timestamp with time zone, kind text, actor text, login_role text, claim_token bigint, old_status backlog_status, new_status backlog_status, detail jsonb, cursor text",
        "reclaim: id text, previous_owner text, attempts integer, action text",
        "stats: ready bigint, claimed bigint, blocked bigint, done bigint, cancelled bigint, claimable bigint, gated bigint, deferred bigint, expired_leases bigint, oldest_claimable_seconds bigint, by_owner jsonb, created_last_hour bigint, completed_last_hour bigint, failed_last_hour bigint, lapsed_last_hour bigint, wait_p50_seconds double precision, wait_p95_seconds double precision, cycle_p50_seconds double precision, cycle_p95_seconds double precision",
        "why: kind text, id text, title text, status backlog_status, owner text, until timestamp with time zone, block_kind text, reason text, depth integer",
    ];

    /// The lines of a query, each with a semicolon behind it.
    fn lines(sql: &str) -> Vec<String> {
        rows(sql)
            .split_terminator(';')
            .map(|line| line.trim().to_owned())
            .collect()
    }

    #[pg_test]
    fn the_functions_take_what_they_always_took() {
        begin();
        let arguments = lines(
            "select format('%s(%s);', substr(proname, 9), string_agg(n || ' ' || format_type(t, null) ||
               case when i > pronargs - pronargdefaults then '?' else '' end, ', ' order by i))
             from pg_proc p, unnest(p.proargnames[:pronargs], p.proargtypes::oid[]) with ordinality as a(n, t, i)
             where p.pronamespace = 'mosaic'::regnamespace group by p.oid order by proname collate \"C\"",
        );
        for expected in ARGUMENTS {
            assert!(
                arguments.iter().any(|a| a == expected),
                "{expected}: {arguments:#?}"
            );
        }
    }

    #[pg_test]
    fn the_functions_return_what_they_always_returned() {
        begin();
        let columns = lines(
            "select format('%s: %s;', substr(proname, 9), string_agg(n || ' ' || format_type(t, null), ', ' order by i))
             from pg_proc p, unnest(p.proargnames, p.proallargtypes, p.proargmodes) with ordinality as a(n, t, m, i)
             where p.pronamespace = 'mosaic'::regnamespace and m = 't' group by p.oid order by proname",
        );
        for expected in COLUMNS {
            assert!(
                columns.iter().any(|c| c == expected),
                "{expected}: {columns:#?}"
            );
        }
    }
}
