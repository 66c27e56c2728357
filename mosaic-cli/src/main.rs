//! `mosaic`: the command line of the Mosaic backlog.

mod backlog;
mod backup;
mod call;
mod client_program;
mod db;
mod dsn;
mod embedded;
mod extension;
mod failure;
mod input;
mod interrupt;
mod progress;
mod redact;
mod replacement;
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
#[derive(Args, Clone, Debug)]
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
    /// Create, claim, finish and inspect cards (short for `mosaic fleet backlog`)
    #[command(subcommand)]
    Backlog(backlog::Verb),
    /// The embedded Postgres server, migrations, backup and restore
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
    fn the_help_of_every_command_has_an_example() {
        fn visit(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().for_each(visit);
            } else if !command.is_hide_set() {
                let help = command.get_after_help().map(ToString::to_string);
                let name = command.get_name();
                assert!(
                    help.is_some_and(|help| help.contains("Example") && help.contains(name)),
                    "{name} has no example"
                );
            }
        }
        visit(&Cli::command());
    }

    #[test]
    fn commands_parse() {
        for line in [
            "fleet backlog create Title --id A4 --needs A1 --needs A2 --priority -3 --not-before +2h",
            "backlog create Title --body -dashes --label a --label b --acceptance {} --actor me",
            "backlog create --batch - --actor me --json",
            "backlog list --ready --status ready --status claimed --count --after 17",
            "backlog claim --worker w --ttl 1h30m --max 3 --offers gpu --label x",
            "backlog claim A4 --request-id 6f2a1a52-5a57-4a5e-8b0c-0f3a7a1f2b3c",
            "backlog renew A4 --token 42",
            "backlog release A4 --token 42 --retry-in 5m --reason later",
            "backlog complete A4 --token 42 --result -1 --force",
            "backlog fail A4 --token 42 --reason -why",
            "backlog block A4 --reason why --kind input",
            "backlog unblock A4",
            "backlog cancel A4 --reason why --cascade --force",
            "backlog reopen A4 --reason why",
            "backlog update A4 --clear labels --clear not-before --title T",
            "backlog link A4 --needs A1 A2 --json",
            "backlog unlink A4 --needs A1 --needs A2",
            "backlog reclaim A4 --force --grace 0s --max 5",
            "backlog stats --phase p --database-url host=h",
            "backlog show A4",
            "backlog why A4",
            "backlog events A4 --after x --limit 5",
            "backlog watch --phase p --interval 5s",
            "backlog watch A4 --after 17 --json",
            "backlog watch --from-start --json",
            "backlog graph A4 --format dot",
            "backlog graph --phase p --label a --label b --all",
            "backlog export",
            "backlog export f --no-dependencies --no-events --json",
            "backlog import - --no-dependencies --no-events --actor me",
            "db backup f --json",
            "db restore f",
        ] {
            let words = std::iter::once("mosaic").chain(line.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn slips_are_refused() {
        for line in [
            &["create", ""][..],
            &["create"],
            &["create", "T", "--batch", "f"],
            &["create", "T", "--phase", ""],
            &["create", "T", "--body", "--json"],
            &["create", "T", "--not-before", "tomorrow"],
            &["list", "--status", "open"],
            &["list", "--owner", " "],
            &["claim", "--ttl", "15"],
            &["claim", "--worker", ""],
            &["claim", "--request-id", "7"],
            &["claim", "--max", "many"],
            &["renew", "A4"],
            &["fail", "A4", "--token", "1"],
            &["block", "A4"],
            &["cancel", "A4"],
            &["link", "A4"],
            &["link", "A4", "--needs", ""],
            &["update", "A4", "--clear", "title"],
            &["show", ""],
            &["watch", "--interval", "0s"],
            &["watch", "--interval", "5"],
            &["watch", "--after", "1", "--from-start"],
            &["watch", "A4", "--phase", "p"],
            &["graph", "--format", "png"],
            &["graph", "A4", "--phase", "p"],
            &["graph", ""],
            &["import"],
            &["import", ""],
            &["list", "--database-url", ""],
        ] {
            let words = ["mosaic", "backlog"].iter().chain(line);
            let Err(error) = Cli::try_parse_from(words) else {
                panic!("{line:?} was taken");
            };
            assert_eq!(Failure::from(error).code, failure::Code::Usage, "{line:?}");
        }
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
