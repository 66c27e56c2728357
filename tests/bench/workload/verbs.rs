//! The other verbs, the graph, reads, and what is written to the disk.

use std::time::Instant;

use super::{CLAIM, TEXTBOOK, fill, fill_textbook};
use crate::arguments::Arguments;
use crate::pgbench::{Load, median};
use crate::report::Report;
use crate::server::Server;

/// `create`, and `complete` of cards on which nothing depends, beside their floors.
pub fn create_and_complete(server: &Server, arguments: &Arguments, report: &mut Report) {
    let load = Load::new(server, arguments.size.seconds);
    let pairs = [
        (
            "create",
            "\\set n :n + 1\n\\set k :n * :clients + :client_id\n\
             select * from mosaic.backlog_create('a card', id => 'a' || :k);\n",
            "\\set n :n + 1\n\\set k :n * :clients + :client_id\n\
             select * from mosaic.floor_create('a card', 'a' || :k);\n",
        ),
        (
            "complete",
            "\\set n :n + 1\n\\set k :n * :clients + :client_id\n\
             select * from mosaic.backlog_complete('c' || :k);\n",
            "\\set n :n + 1\n\\set k :n * :clients + :client_id\n\
             select * from mosaic.floor_complete('c' || :k);\n",
        ),
    ];
    for (name, verb, floor) in pairs {
        let mut ratios = Vec::new();
        let mut rates = (0.0, 0.0);
        for _ in 0..arguments.size.rounds {
            let run = |script: &str| {
                fill(
                    server,
                    arguments.size.cards.max(arguments.size.seconds * 12_000),
                );
                load.run(script).rate
            };
            rates = (run(verb), run(floor));
            ratios.push(rates.0 / rates.1);
        }
        report.add(
            name,
            "≥ 0.8 × floor",
            format!("{:.2} × floor", median(ratios)),
            format!("{:.0}/s, floor {:.0}/s", rates.0, rates.1),
        );
    }
}

/// Seconds that a statement takes.
fn time(server: &Server, sql: &str) -> f64 {
    let mut session = server.session();
    let start = Instant::now();
    session.run(sql);
    start.elapsed().as_secs_f64()
}

/// Batches, wide and deep graphs.
pub fn the_graph(server: &Server, arguments: &Arguments, report: &mut Report) {
    let many = arguments.size.many.min(100_000);
    fill(server, 0);
    // Each card depends on the two before it.
    let batch = format!(
        "select count(*) from mosaic.backlog_create_many((select jsonb_agg(jsonb_build_object('title', 't', \
         'id', 'b' || n, 'depends_on', case when n < 3 then '[]' else jsonb_build_array('b' || n - 1, 'b' || n - 2) \
         end)) from generate_series(1, {many}) n))"
    );
    let seconds = time(server, &batch);
    report.add(
        &format!("create_many of {many} cards, {} edges", many * 2),
        "≥ 30,000 cards/s",
        format!("{:.0} cards/s", f64::from(many) / seconds),
        format!("{seconds:.2} s"),
    );
    let mut session = server.session();
    session.run("select from mosaic.backlog_create('new', id => 'new')");
    let link = |server: &Server, id: &str, on: &str| {
        let times = (0..5).map(|_| {
            let took = time(
                server,
                &format!("select from mosaic.backlog_link('{id}', '{{{on}}}')"),
            );
            server.session().run(&format!(
                "select from mosaic.backlog_unlink('{id}', '{{{on}}}')"
            ));
            took * 1000.0
        });
        median(times.collect())
    };
    let took = link(server, "new", &format!("b{many}"));
    report.add(
        &format!("link to the end of a chain of {many}"),
        "< 50 ms",
        format!("{took:.1} ms"),
        "new card, with a new connection".to_owned(),
    );
    let took = link(server, "b1", "new");
    report.add(
        "link of the first card of that chain to a new one",
        "< 50 ms",
        format!("{took:.1} ms"),
        "with a new connection".to_owned(),
    );
    fill(server, 0);
    session.run(
        "select from mosaic.backlog_create_many((select jsonb_agg(jsonb_build_object('title', 't', 'id', 'd' || n,
           'depends_on', coalesce((select jsonb_agg('d' || m) from generate_series(greatest(1, n - 140), n - 1) m), '[]')))
         from generate_series(1, 500) n))",
    );
    let edges = session.number("select count(*) from mosaic.backlog_dependency");
    session.run("select from mosaic.backlog_create('new', id => 'new')");
    let took = link(server, "new", "d500").max(link(server, "d1", "new"));
    report.add(
        &format!("link into a graph of 500 cards and {edges} edges"),
        "< 50 ms",
        format!("{took:.1} ms"),
        "the slower of its two ends".to_owned(),
    );
    for dependents in [many / 10, many] {
        fill(server, 1);
        session.run(&format!(
            "select from mosaic.backlog_create_many((select jsonb_agg(jsonb_build_object('title', 't', 'id', 'w' || n, \
             'depends_on', '[\"c0\"]'::jsonb)) from generate_series(1, {dependents}) n))"
        ));
        let seconds = time(server, "select from mosaic.backlog_complete('c0')");
        report.add(
            &format!("complete with {dependents} dependents"),
            "10,000 in < 1 s; linear",
            format!("{seconds:.2} s"),
            format!("{:.0} opened a second", f64::from(dependents) / seconds),
        );
    }
}

/// Reads of a large backlog, most of it done.
pub fn reads(server: &Server, arguments: &Arguments, report: &mut Report) {
    let many = arguments.size.many;
    fill(server, many);
    let mut session = server.session();
    session.run(
        "update mosaic.backlog set status = 'done', completed_at = now() where substr(id, 2)::integer % 20 > 0",
    );
    session.run("vacuum analyze mosaic.backlog");
    let reads = [
        (
            "list, first page",
            "< 5 ms",
            "select * from mosaic.backlog_list()",
        ),
        ("get", "< 1 ms", "select * from mosaic.backlog_get('c20')"),
        ("why", "< 50 ms", "select * from mosaic.backlog_why('c20')"),
        ("stats", "< 100 ms", "select * from mosaic.backlog_stats()"),
    ];
    for (name, goal, query) in reads {
        // The first call of a session plans.
        session.rows(query);
        let times = (0..15).map(|_| {
            let start = Instant::now();
            session.run(query);
            start.elapsed().as_secs_f64() * 1000.0
        });
        let took = median(times.collect());
        report.add(
            &format!("{name} of {many} cards"),
            goal,
            format!("{took:.1} ms"),
            "median of 15, one session".to_owned(),
        );
    }
}

/// Bytes of log and dead rows that a card leaves.
pub fn volume(server: &Server, arguments: &Arguments, report: &mut Report) {
    let cards = arguments.size.cards.min(20_000);
    let load = Load::new(server, 0);
    let load = load.clone().transactions(cards / load.number());
    let mut measure = |name: &str, table: &str, script: &str| {
        let mut session = server.session();
        session.run("checkpoint");
        let lsn = session.text("select pg_current_wal_lsn()::text");
        session.run("select pg_stat_reset()");
        load.run(script);
        let bytes = session.number(&format!(
            "select pg_wal_lsn_diff(pg_current_wal_lsn(), '{lsn}')::bigint"
        ));
        session.run("select pg_stat_force_next_flush()");
        let row = session.row(&format!(
            "select n_tup_upd + n_tup_del as dead, n_tup_hot_upd as hot from pg_stat_user_tables \
             where relid = '{table}'::regclass"
        ));
        let each = |value: &serde_json::Value| value.as_f64().unwrap_or(0.0) / f64::from(cards);
        report.add(
            &format!("log and dead rows of a {name}"),
            "stated",
            format!(
                "{} bytes, {:.2} rows",
                bytes / i64::from(cards),
                each(&row["dead"])
            ),
            format!(
                "{:.2} of them HOT; right after a checkpoint",
                each(&row["hot"])
            ),
        );
    };
    fill(server, 0);
    measure(
        "create",
        "mosaic.backlog",
        "select * from mosaic.backlog_create('a card');\n",
    );
    fill(server, cards);
    measure("claim", "mosaic.backlog", CLAIM);
    fill(server, cards);
    measure(
        "completion",
        "mosaic.backlog",
        "\\set n :n + 1\n\\set k :n * :clients + :client_id\nselect * from mosaic.backlog_complete('c' || :k);\n",
    );
    fill_textbook(server, cards);
    measure("textbook claim", "textbook", TEXTBOOK);
}
