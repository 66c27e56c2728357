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
mod prime;
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

use clap::Subcommand;

use crate::database::store::Address;
use crate::failure::Failure;
use crate::output::reply::Reply;
use crate::output::selection::{Prints, Selection};

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

pub fn run(verb: Verb, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
    match verb {
        Verb::Create(create) => create.run(address, selection),
        Verb::List(list) => list.run(address, selection),
        Verb::Show(show) => show.run(address),
        Verb::Claim(claim) => claim.run(address),
        Verb::Run(run) => run.run(address, selection),
        Verb::Renew(renew) => renew.run(address),
        Verb::Release(release) => release.run(address),
        Verb::Complete(complete) => complete.run(address),
        Verb::Fail(fail) => fail.run(address),
        Verb::Block(block) => block.run(address),
        Verb::Unblock(unblock) => unblock.run(address),
        Verb::Note(note) => note.run(address),
        Verb::Cancel(cancel) => cancel.run(address),
        Verb::Reopen(reopen) => reopen.run(address),
        Verb::Update(update) => update.run(address),
        Verb::Link(link) => link.run(address),
        Verb::Unlink(unlink) => unlink.run(address),
        Verb::Reclaim(reclaim) => reclaim.run(address),
        Verb::Stats(stats) => stats.run(address),
        Verb::Why(why) => why.run(address),
        Verb::Doctor(doctor) => doctor.run(address, selection),
        Verb::Events(events) => events.run(address),
        Verb::Watch(watch) => watch.run(address, selection),
        Verb::Graph(graph) => graph.run(address, selection),
        Verb::Export(export) => export.run(address, selection),
        Verb::Import(import) => import.run(address),
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
