//! `mosaic fleet backlog`: every verb parses its arguments, calls one function of the database and shows the answer.

mod block;
mod cancel;
mod card;
mod claim;
mod complete;
mod create;
pub mod doctor;
mod events;
mod export;
mod graph;
mod holding;
mod import;
mod lease;
mod link;
mod list;
mod metrics;
mod note;
pub mod prime;
mod reason;
mod reclaim;
mod run;
mod show;
mod stats;
mod update;
mod waiting;
mod wanted;
mod watch;
mod why;
mod words;
mod worker;

pub use card::{SAID, claimed_fields, fields as fields_of_a_card};
pub use prime::PRIMER;
pub use worker::{agent, identity};

use clap::Subcommand;

use crate::Global;
use crate::failure::Failure;
use crate::reply::Reply;
use crate::shape::Prints;

#[derive(Subcommand)]
pub enum Verb {
    Create(create::Create),
    List(list::List),
    Show(show::Show),
    Claim(claim::Claim),
    Run(run::Run),
    Renew(lease::Renew),
    Release(lease::Release),
    Complete(complete::Complete),
    Fail(lease::Fail),
    Block(block::Block),
    Unblock(block::Unblock),
    Note(note::Note),
    Cancel(cancel::Cancel),
    Reopen(cancel::Reopen),
    Update(update::Update),
    Link(link::Link),
    Unlink(link::Unlink),
    Reclaim(reclaim::Reclaim),
    Stats(stats::Stats),
    Why(why::Why),
    Doctor(doctor::Doctor),
    Events(events::Events),
    Watch(watch::Watch),
    Graph(graph::Graph),
    Export(export::Export),
    Import(import::Import),
    Prime(prime::Prime),
}

pub fn run(verb: Verb, global: &Global) -> Result<Reply, Failure> {
    match verb {
        Verb::Create(create) => create.run(global),
        Verb::List(list) => list.run(global),
        Verb::Show(show) => show.run(global),
        Verb::Claim(claim) => claim.run(global),
        Verb::Run(run) => run.run(global),
        Verb::Renew(renew) => renew.run(global),
        Verb::Release(release) => release.run(global),
        Verb::Complete(complete) => complete.run(global),
        Verb::Fail(fail) => fail.run(global),
        Verb::Block(block) => block.run(global),
        Verb::Unblock(unblock) => unblock.run(global),
        Verb::Note(note) => note.run(global),
        Verb::Cancel(cancel) => cancel.run(global),
        Verb::Reopen(reopen) => reopen.run(global),
        Verb::Update(update) => update.run(global),
        Verb::Link(link) => link.run(global),
        Verb::Unlink(unlink) => unlink.run(global),
        Verb::Reclaim(reclaim) => reclaim.run(global),
        Verb::Stats(stats) => stats.run(global),
        Verb::Why(why) => why.run(global),
        Verb::Doctor(doctor) => doctor.run(global),
        Verb::Events(events) => events.run(global),
        Verb::Watch(watch) => watch.run(global),
        Verb::Graph(graph) => graph.run(global),
        Verb::Export(export) => export.run(global),
        Verb::Import(import) => import.run(global),
        Verb::Prime(prime) => prime.run(),
    }
}

impl Verb {
    pub fn prints(&self) -> Prints {
        match self {
            Verb::Create(create) => create.prints(),
            Verb::Claim(_) => Prints::Cards(card::claimed_fields()),
            Verb::Show(_) => Prints::Cards(card::fields(&card::SAID)),
            Verb::List(_)
            | Verb::Release(_)
            | Verb::Complete(_)
            | Verb::Fail(_)
            | Verb::Block(_)
            | Verb::Unblock(_)
            | Verb::Cancel(_)
            | Verb::Reopen(_)
            | Verb::Update(_)
            | Verb::Link(_)
            | Verb::Unlink(_) => Prints::Cards(card::fields(&[])),
            Verb::Reclaim(_) => Prints::Cards(reclaim::FIELDS.to_vec()),
            Verb::Run(_) | Verb::Renew(_) | Verb::Note(_) | Verb::Export(_) | Verb::Import(_) => {
                Prints::Outcome
            }
            _ => Prints::Report,
        }
    }
}
