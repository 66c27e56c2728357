//! `mosaic`: the command line of the Mosaic backlog.

mod backlog;
mod call;
mod db;
mod dsn;
mod embedded;
mod extension;
mod failure;
mod input;
mod interrupt;
mod redact;
mod reply;
mod screen;
mod store;
mod table;
mod tls;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use failure::Failure;
use reply::Reply;

/// Mosaic: a fleet of agents and the backlog that they share.
#[derive(Parser)]
#[command(name = "mosaic", version, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The flags that every command takes.
#[derive(Args, Debug)]
pub struct Global {
    /// Print exactly one JSON document on stdout, errors included
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    /// The backlog's server, as URL or key=value string [default: DATABASE_URL, else the embedded server]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        value_parser = input::filled,
        help_heading = "Global options"
    )]
    pub database_url: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    /// Everything about the fleet of agents
    #[command(subcommand)]
    Fleet(Fleet),
    /// Short for `mosaic fleet backlog`
    #[command(subcommand)]
    Backlog(backlog::Verb),
    /// The embedded Postgres server, and migrations
    #[command(subcommand)]
    Db(db::Verb),
}

#[derive(Subcommand)]
enum Fleet {
    /// Create, claim, finish and inspect the cards of the shared backlog
    #[command(subcommand)]
    Backlog(backlog::Verb),
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let json = wants_json(&arguments);
    interrupt::exit_on_sigint(json);
    reply::deliver(run(arguments), json).into()
}

fn run(arguments: Vec<OsString>) -> Result<Reply, Failure> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return reply::of_parser(error),
    };
    match cli.command {
        Command::Fleet(Fleet::Backlog(verb)) | Command::Backlog(verb) => {
            backlog::run(verb, &cli.global)
        }
        Command::Db(verb) => db::run(verb, &cli.global),
    }
}

/// Looks at the raw arguments, so that an error in one of them is printed as JSON too.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments
        .iter()
        .skip(1)
        .take_while(|argument| *argument != "--")
        .any(|argument| argument == "--json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn json_is_seen_wherever_it_stands_but_not_behind_a_double_dash() {
        let seen =
            |line: &str| wants_json(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(seen("mosaic backlog list --bogus --json"));
        assert!(seen("mosaic --json"));
        assert!(!seen("mosaic backlog create -- --json"));
        assert!(!seen("mosaic backlog list"));
    }
}
