//! `mosaic wizard`: the first run. It asks for what it needs, shows what it would do, asks once, does it, and ends with
//! what the doctor says. `mosaic init` is the part of it that a repository needs.

mod database;
mod hooks;
mod init;
mod mcp;
mod plan;
mod primer;
mod step;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::agents::Level;
use crate::command::backlog::doctor;
use crate::database::store::Address;
use crate::failure::Failure;
use crate::input::filled;
use crate::output::error::whole;
use crate::output::reply::Reply;
use crate::output::selection::{Prints, Selection};

pub use init::Init;
use plan::{carry_out, view};
use step::{Context, Item, Mode};

/// In seconds: transactions that are open for longer are told.
const MAX_AGE: u64 = 600;

const NEXT: [&str; 3] = [
    "mosaic backlog create \"The first thing to do\"",
    "mosaic backlog watch",
    "mosaic backlog claim --json",
];

/// Set Mosaic up: the database, and what agents need to work with it
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic wizard
  mosaic wizard --dry-run
  mosaic wizard --yes --hooks yes --mcp claude,codex --primer none

Asks what no flag says, shows what it would do, and asks once before anything is written.
With --yes, without a terminal, and with MOSAIC_ASSUME_YES=1, it asks nothing. --yes does what
would have been proposed; without it, only what a flag names is done to files of other programs.")]
pub struct Wizard {
    /// Ask nothing, and do what would have been proposed
    #[arg(short, long)]
    yes: bool,

    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// embedded, or the address of a database elsewhere, without a password
    #[arg(long, value_name = "WHERE", value_parser = filled)]
    database: Option<String>,

    /// Whether Claude Code gets the hooks
    #[arg(long, value_name = "WHETHER")]
    hooks: Option<Whether>,

    /// The agents that get the MCP server; all: those that are installed; none
    #[arg(long, value_name = "AGENT,…", value_delimiter = ',', value_parser = filled)]
    mcp: Vec<String>,

    /// The files that get the primer for agents; none
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', value_parser = filled)]
    primer: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whether {
    Yes,
    No,
}

type Step = fn(&Wizard, &mut Context) -> Result<Vec<Item>, Failure>;

/// In this order they are asked and done.
const STEPS: [Step; 4] = [
    |wizard, context| database::items(context, wizard.database.as_deref()),
    |wizard, context| hooks::items(context, wizard.hooks.map(|hooks| hooks == Whether::Yes)),
    |wizard, context| primer::named(context, &wizard.primer, &mcp::installed()),
    |wizard, context| mcp::named(context, &wizard.mcp, "--mcp", &Level::User),
];

impl Wizard {
    pub fn prints(&self) -> Prints {
        match self.dry_run {
            true => Prints::Report,
            false => Prints::Outcome,
        }
    }

    pub fn run(self, address: Address, selection: &Selection) -> Result<Reply, Failure> {
        if address.is_given() {
            return Err(
                Failure::usage("--database-url does not go with this command")
                    .hint("--database names the database."),
            );
        }
        let (mode, problem) = match Mode::of(self.yes) {
            Ok(mode) => (mode, None),
            Err(problem) => (Mode::Leaves, Some(problem)),
        };
        let mut context = Context::new(mode, address, selection.words);
        context.problems.extend(problem);
        if context.asks() && !self.dry_run {
            eprintln!("Nothing is written before the last question.");
        }
        let mut items = Vec::new();
        for step in STEPS {
            items.extend(step(&self, &mut context)?);
            // Nobody answers questions for nothing.
            if context.asks() && !context.problems.is_empty() {
                break;
            }
        }
        let mut document = carry_out(&mut context, items, self.dry_run)?;
        document["profile"] = json!(context.profile);
        document["doctor"] = match self.dry_run {
            true => Value::Null,
            false => said_by_the_doctor(&context),
        };
        document["next"] = json!(NEXT);
        Ok(Reply::new(document, view))
    }
}

fn said_by_the_doctor(context: &Context) -> Value {
    match doctor::examine(&context.address, MAX_AGE, context.words) {
        Ok((document, _)) => document,
        Err(failure) => json!({"healthy": false, "findings": [
            {"name": "backlog", "state": "error", "detail": whole(&failure), "hint": context.words.hint(&failure)},
        ]}),
    }
}
