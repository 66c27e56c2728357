//! Beside the other queues.

use mosaic_backlog_tests::folder;

use super::claims::turns;
use super::{CLAIM, enough, fill};
use crate::arguments::Arguments;
use crate::peers::{self, Peer};
use crate::pgbench::{Load, median};
use crate::report::Report;
use crate::server::Server;

const CLAIM_TEN: &str = "select * from mosaic.backlog_claim('bench', '1 hour', 10);\n";
const CYCLE: &str = "select * from mosaic.backlog_create('a card');\n\
     select id, claim_token from mosaic.backlog_claim('bench', '1 hour')\n\\gset\n\
     select id from mosaic.backlog_complete(:id, :claim_token);\n";

/// What both do.
struct Trial<'a> {
    ours: &'static str,
    /// The name of their script.
    theirs: &'static str,
    load: Load<'a>,
    /// Of a transaction.
    cards: f64,
}

/// The whole cycle, claims of one card by few and many clients, claims of ten: in turns, for a
/// part of the time each.
pub fn with_plenty(server: &Server, arguments: &Arguments, report: &mut Report) {
    let cards = enough(arguments);
    let seconds = arguments.size.seconds;
    let load = Load::new(server, seconds.div_ceil(arguments.size.rounds));
    let clients = if arguments.is_toy() { 16 } else { 64 };
    let trial = |ours, theirs, load, cards| Trial {
        ours,
        theirs,
        load,
        cards,
    };
    // The cycle leaves as many jobs as it finds; claims of ten leave few.
    let trials = [
        trial(CYCLE, "cycle.sql", load.clone(), 1.0),
        trial(CLAIM, "claim.sql", load.clone(), 1.0),
        trial(CLAIM, "claim.sql", load.clients(clients), 1.0),
        trial(
            CLAIM_TEN,
            "claim10.sql",
            Load::new(server, (seconds / 5).max(1)),
            10.0,
        ),
    ];
    // Of theirs, each turn leaves fewer.
    for peer in peers::prepare(server, arguments, cards / 2 * 3) {
        let compared: Vec<(String, String)> = trials
            .iter()
            .map(|trial| beside(server, arguments, trial, &peer))
            .map(|pair| pair.unwrap_or_else(|| ("none".to_owned(), "none".to_owned())))
            .collect();
        let (ratios, rates): (Vec<String>, Vec<String>) = compared.into_iter().unzip();
        report.add(
            &format!(
                "ours over {}: cycle, claim, claim by {clients} clients, cards in claims of 10",
                peer.name
            ),
            "> 1",
            ratios.join(", "),
            format!("{} a second", rates.join("; ")),
        );
    }
}

/// The ratio of the rates, and the rates; `None` if the peer cannot do it.
fn beside(
    server: &Server,
    arguments: &Arguments,
    trial: &Trial,
    peer: &Peer,
) -> Option<(String, String)> {
    let file = peer.script(trial.theirs)?;
    fill(server, enough(arguments));
    let load = trial.load.clone().database(&peer.database);
    let runs = turns(
        arguments,
        || trial.load.run(trial.ours).rate * trial.cards,
        || load.run_file(file.clone(), &folder::create()).rate * trial.cards,
    );
    let of = |of: fn(&(f64, f64)) -> f64| median(runs.iter().map(of).collect());
    let ratio = of(|(ours, theirs)| ours / theirs);
    let (ours, theirs) = (of(|run| run.0), of(|run| run.1));
    Some((format!("{ratio:.2}"), format!("{ours:.0} over {theirs:.0}")))
}

/// The rate of empty claims beside a snapshot, right after all jobs were claimed.
pub fn empty_claims(server: &Server, peer: &Peer, seconds: u32) -> Option<f64> {
    let (one, ten) = (peer.script("claim.sql")?, peer.script("claim10.sql"));
    let mut holder = server.hold_snapshot_of(&peer.database, "pg_class");
    server.cluster.session("postgres").run(&format!(
        "alter database {} set synchronous_commit = off",
        peer.database
    ));
    let load = Load::new(server, seconds).database(&peer.database);
    let (all, each) = ten.map_or((one.clone(), 1), |ten| (ten, 10));
    load.clone()
        .transactions(peer.jobs / each / load.number() + 1)
        .run_file(all, &folder::create());
    let rate = load.run_file(one, &folder::create()).rate;
    holder.run("rollback");
    Some(rate)
}
