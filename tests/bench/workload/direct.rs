//! Each verb that can write without a statement, beside itself with `mosaic.direct_writes` off.

use super::{CLAIM, enough, fill};
use crate::arguments::Arguments;
use crate::pgbench::{Load, median};
use crate::report::Report;
use crate::server::{DATABASE, Server};

const VERBS: [(&str, &str); 4] = [
    ("create", "select * from mosaic.backlog_create('a card');\n"),
    (
        "create with a key",
        "select * from mosaic.backlog_create('a card', idempotency_key => gen_random_uuid()::text);\n",
    ),
    ("claim", CLAIM),
    (
        "complete",
        "\\set n :n + 1\n\\set k :n * :clients + :client_id\nselect * from mosaic.backlog_complete('c' || :k);\n",
    ),
];

pub fn beside_statements(server: &Server, arguments: &Arguments, report: &mut Report) {
    let run = |load: &Load, script: &str, value: &str| {
        fill(server, enough(arguments));
        server.session().run(&format!(
            "alter database {DATABASE} set mosaic.direct_writes = {value}"
        ));
        load.run(script).rate
    };
    for clients in [4, 64] {
        let load = Load::new(server, arguments.size.seconds).clients(clients);
        for (verb, script) in VERBS {
            let rounds = (0..arguments.size.rounds).map(|_| {
                let directly = run(&load, script, "on");
                (directly, run(&load, script, "off"))
            });
            let rounds: Vec<(f64, f64)> = rounds.collect();
            let (directly, by_statements) = rounds.last().copied().unwrap_or_default();
            report.add(
                &format!("{verb}, {clients} clients, written directly"),
                "≥ 1.1 × by statements",
                format!(
                    "{:.2} × by statements",
                    median(rounds.iter().map(|(on, off)| on / off).collect())
                ),
                format!("{directly:.0}/s, by statements {by_statements:.0}/s"),
            );
        }
    }
    server.session().run(&format!(
        "alter database {DATABASE} reset mosaic.direct_writes"
    ));
}
