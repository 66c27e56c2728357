//! The worst arguments, one at a time, and calls in odd places: no backend ends and nothing is an
//! internal error. Arguments at random are in `fuzz.rs`.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

/// Values of each type that an argument may have: ordinary ones, and the worst.
fn values(kind: &str) -> &'static [&'static str] {
    match kind {
        "text" => &[
            "null",
            "''",
            "' '",
            "'A'",
            "'B'",
            "'C'",
            "'w1'",
            "E'\\n'",
            "E'a\\x01'",
            "'''; drop table x; --'",
            "repeat('x', 201)",
            "repeat('世', 70000)",
            "'{}'",
            "'NULL'",
            "U&'\\FFFE\\+01F600'",
            "'input'",
            "'1'",
            "'-9223372036854775808'",
            "'9223372036854775807'",
        ],
        "text[]" => &[
            "null",
            "'{}'",
            "'{A}'",
            "'{A,B,C}'",
            "'{null}'",
            "array['', ' ']",
            "array[E'\\n']",
            "array[repeat('x', 70000)]",
            "'{{A,B},{C,A}}'",
            "'[5:6]={A,B}'",
            "'{A,A,A}'",
            "array['\"', '\\', '{', ',']",
            "(select array_agg('l' || n) from generate_series(1, 2000) n)",
            "'{body,title}'",
        ],
        "integer" => &[
            "null",
            "0",
            "1",
            "-1",
            "3",
            "10000",
            "10001",
            "2147483647",
            "-2147483648",
        ],
        "bigint" => &[
            "null",
            "0",
            "1",
            "2",
            "3",
            "-1",
            "9223372036854775807",
            "-9223372036854775808",
        ],
        "boolean" => &["null", "true", "false"],
        "jsonb" => &[
            "null",
            "'null'",
            "'[]'",
            "'{}'",
            "'\"x\"'",
            "'1e400'",
            "'[{\"title\": \"t\"}]'",
            "'[{\"title\": \"t\", \"id\": \"A\"}]'",
            "'[[]]'",
            "'[null]'",
            "'[{\"title\": 1e999999}]'",
            "'[{\"title\": \"t\", \"priority\": 1e30}]'",
            "'[{\"title\": \"t\", \"not_before\": \"9999-12-31T23:59:60Z\"}]'",
            "('[' || repeat('[', 5000) || repeat(']', 5000) || ']')::jsonb",
            "to_jsonb(repeat('x', 3000000))",
            "'[{\"title\": \"t\", \"depends_on\": [\"A\", null]}]'",
            "'[{\"kind\": \"header\"}]'",
            "'[{\"kind\": \"card\"}]'",
            "'[{\"type\": \"end\"}]'",
            "'[\"{}\"]'",
        ],
        "interval" => &[
            "null",
            "'0'",
            "'1 s'",
            "'1 hour'",
            "'-1 s'",
            "'178000000 years'",
            "'-178000000 years'",
            "'2147483647 days'",
            "'2562047788 hours'",
            "'0.000001 s'",
            "'1 month -30 days'",
        ],
        "timestamp with time zone" => &[
            "null",
            "now()",
            "'infinity'",
            "'-infinity'",
            "'4714-11-24 00:00:00+00 BC'",
            "'294276-12-31 23:59:59.999999+00'",
            "'1970-01-01'",
        ],
        "uuid" => &[
            "null",
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "gen_random_uuid()",
        ],
        "mosaic.backlog_status[]" => &[
            "null",
            "'{}'",
            "'{ready}'",
            "'{done,done}'",
            "'{null}'",
            "'{ready,claimed,blocked,done,cancelled}'",
            "'{{ready},{done}}'",
        ],
        other => panic!("no values for {other}"),
    }
}

/// The functions, each with the types of its arguments.
fn functions(s: &mut Session) -> Vec<(String, Vec<String>)> {
    s.rows(
        "select p.proname as name, coalesce((select array_agg(format_type(t, null) order by n)
           from unnest(p.proargtypes) with ordinality a (t, n)), '{}') as types
         from pg_proc p where p.pronamespace = 'mosaic'::regnamespace and p.proname like 'backlog\\_%'
           and p.prorettype not in ('event_trigger'::regtype, 'trigger'::regtype)
         order by p.proname",
    )
    .iter()
    .map(|row| {
        let types = row["types"].as_array().expect("types").iter();
        (
            row["name"].as_str().expect("a name").to_owned(),
            types.map(|kind| kind.as_str().expect("a type").to_owned()).collect(),
        )
    })
    .collect()
}

/// Whether an error may come from bad arguments: a refusal with a code, or of the types.
fn is_orderly(refused: &mosaic_backlog_tests::refused::Refused) -> bool {
    !refused.code.is_empty()
        || (refused.sqlstate.starts_with("22") || refused.sqlstate.starts_with("54"))
}

#[test]
fn each_stray_value_alone_in_each_argument_is_answered_in_order() {
    let db = Database::fresh();
    let mut s = db.session();
    let functions = functions(&mut s);
    assert!(functions.len() >= 21);
    let pid = s.pid();
    for (name, types) in functions {
        for (at, kind) in types.iter().enumerate() {
            for value in values(kind) {
                let arguments: Vec<String> = types
                    .iter()
                    .enumerate()
                    .map(|(n, kind)| match (n == at, kind.as_str()) {
                        (true, _) => format!("{value}::{kind}"),
                        (false, "text") => "'A'::text".to_owned(),
                        (false, "text[]") => "'{A}'::text[]".to_owned(),
                        (false, "integer") => "1::integer".to_owned(),
                        (false, "bigint") => "1::bigint".to_owned(),
                        (false, "interval") => "'1 hour'::interval".to_owned(),
                        (false, _) => format!("null::{kind}"),
                    })
                    .collect();
                let call = format!("select * from mosaic.{name}({})", arguments.join(", "));
                s.run("begin; savepoint before");
                let answer = s.attempt(&call);
                s.run("rollback");
                if let Err(refused) = answer {
                    let short: String = call.chars().take(1000).collect();
                    assert!(is_orderly(&refused), "{short}: {refused:?}");
                }
            }
        }
    }
    assert_eq!(s.pid(), pid);
}

#[test]
fn functions_can_be_called_in_odd_places_without_an_internal_error() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["A", "B", "C"] {
        s.create(id);
    }
    for query in [
        "select mosaic.backlog_get('A')",
        "select (mosaic.backlog_get('A')).id",
        "select id, (select count(*) from mosaic.backlog_why(c.id)) from mosaic.backlog c",
        "select * from mosaic.backlog_list() l, lateral mosaic.backlog_get(l.id) g",
        "select * from rows from (mosaic.backlog_list(), mosaic.backlog_events()) with ordinality",
        "select mosaic.backlog_list() limit 1",
        "select case when true then mosaic.backlog_assert_held('A', 1) end",
        "select * from mosaic.backlog where id = (select id from mosaic.backlog_claim('w') limit 1)",
        "with c as (select * from mosaic.backlog_claim('w')) select id from c limit 0",
        "select * from (select mosaic.backlog_claim('w', max_cards => 1) from generate_series(1, 3)) x",
    ] {
        if let Err(refused) =
            s.attempt(&query.replace("select * from rows", "select 1 as n from rows"))
        {
            assert!(
                refused.sqlstate == "0A000" || is_orderly(&refused),
                "{query}: {refused:?}"
            );
        }
    }
    s.run("declare c cursor with hold for select * from mosaic.backlog_list(); fetch 2 from c; move backward all in c; close c");
    s.run("do $$ begin perform mosaic.backlog_create('from a block'); exception when others then raise; end $$");
    s.run(
        "create function caller(n int) returns text language plpgsql as $$
           begin
             perform mosaic.backlog_complete('nope');
             return 'done';
           exception when no_data_found then
             return (select status from mosaic.backlog_create('nested'));
           end $$",
    );
    assert_eq!(s.text("select caller(1)"), "ready");
}
