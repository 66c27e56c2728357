//! The commands of the program: what is typed behind `mosaic`.

mod backlog;
pub mod completions;
mod config;
mod db;
pub mod hooks;
mod installation;
mod man;
mod mcp;
mod meant;
mod parser;
mod version;
mod wizard;

use std::ffi::OsString;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::database::limit;
use crate::database::store::Address;
use crate::failure::Failure;
use crate::input;
use crate::output::notes::{self, Level};
use crate::output::reply::Reply;
use crate::output::screen::Colour;
use crate::output::selection::{Asked, Prints, Selection};
use config::Flags;

/// Mosaic: a fleet of agents and the backlog that they share.
#[derive(Parser)]
#[command(
    name = "mosaic",
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// Print the version, and the extension's if a database can be reached
    #[arg(short = 'V', long)]
    version: bool,
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// The flags that every command takes.
#[derive(Args)]
struct Global {
    /// Print exactly one JSON document on stdout, errors included
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,

    /// Print only these fields of each card, in this order
    #[arg(
        long,
        global = true,
        value_name = "FIELD,…",
        value_delimiter = ',',
        value_parser = input::filled,
        help_heading = "Global options"
    )]
    fields: Vec<String>,

    /// Print only the ids of cards, one per line, and nothing else except errors and warnings
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,

    /// Say on stderr which database is asked, for what, and how long it takes
    #[arg(short, long, global = true, help_heading = "Global options")]
    verbose: bool,

    /// Use colour; auto: on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    color: Colour,

    /// The backlog's server, as URL or key=value string [default: DATABASE_URL, else the embedded server]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        value_parser = input::filled,
        help_heading = "Global options"
    )]
    database_url: Option<String>,

    /// How long the server may take to let the call in and to answer [default: MOSAIC_CONNECT_TIMEOUT, else 10s]
    #[arg(
        long,
        global = true,
        value_name = "DURATION",
        value_parser = input::connect_timeout,
        help_heading = "Global options"
    )]
    connect_timeout: Option<u64>,
}

#[derive(Subcommand)]
enum Command {
    Wizard(wizard::Wizard),
    Init(wizard::Init),
    /// Everything about the fleet of agents
    #[command(subcommand)]
    Fleet(Fleet),
    /// Create, claim, finish and inspect cards (short for `mosaic fleet backlog`)
    #[command(subcommand)]
    Backlog(backlog::Verb),
    /// The embedded Postgres server, migrations, backup and restore
    #[command(subcommand)]
    Db(db::Verb),
    Mcp(mcp::Mcp),
    /// Settings, where they come from, and the hooks of Claude Code
    #[command(subcommand)]
    Config(config::Verb),
    Update(installation::Update),
    Uninstall(installation::Uninstall),
    Completions(completions::Completions),
    Man(man::Man),
}

#[derive(Subcommand)]
enum Fleet {
    /// Create, claim, finish and inspect the cards of the shared backlog
    #[command(subcommand)]
    Backlog(backlog::Verb),
}

/// Parses and runs; says as soon as it is known how to print.
pub fn run(arguments: &[OsString], selection: &mut Selection) -> Result<Reply, Failure> {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return parser::outcome(error, arguments, Cli::command()),
    };
    let global = cli.global;
    let (quiet, verbose) = (global.quiet, global.verbose);
    let asked = Asked {
        json: global.json,
        quiet,
        verbose,
        fields: global.fields,
    };
    *selection = Selection::of(asked, &prints(cli.command.as_ref()), selection.words)?;
    if quiet {
        notes::set(Level::Quiet);
    }
    if verbose {
        notes::set(Level::Verbose);
    }
    // A step's caller has looked at its own environment.
    if !matches!(cli.command, Some(Command::Db(db::Verb::Step(_)))) {
        config::check_variables()?;
        limit::choose(global.connect_timeout)?;
    }
    let flags = Flags {
        address: Address(global.database_url),
        connect_timeout: global.connect_timeout,
    };
    match (cli.version, cli.command) {
        (true, None) => version::reply(&flags.address),
        (true, Some(_)) => Err(Failure::usage("--version does not go with a command")),
        (false, None) => {
            Err(Failure::usage("the command is incomplete")
                .hint("`mosaic --help` shows the commands."))
        }
        (false, Some(command)) => run_command(command, flags, selection),
    }
}

fn prints(command: Option<&Command>) -> Prints {
    match command {
        Some(Command::Fleet(Fleet::Backlog(verb)) | Command::Backlog(verb)) => verb.prints(),
        Some(Command::Db(verb)) => verb.prints(),
        Some(Command::Config(verb)) => verb.prints(),
        Some(Command::Wizard(wizard)) => wizard.prints(),
        Some(Command::Init(init)) => init.prints(),
        Some(Command::Man(man)) => man.prints(),
        Some(Command::Update(update)) => update.prints(),
        Some(Command::Uninstall(uninstall)) => uninstall.prints(),
        Some(Command::Mcp(_) | Command::Completions(_)) | None => Prints::Report,
    }
}

fn run_command(command: Command, flags: Flags, selection: &Selection) -> Result<Reply, Failure> {
    let address = flags.address.clone();
    match command {
        Command::Fleet(Fleet::Backlog(verb)) | Command::Backlog(verb) => {
            backlog::run(verb, &address, selection)
        }
        Command::Db(verb) => db::run(verb, &address, selection),
        Command::Wizard(wizard) => wizard.run(address, selection),
        Command::Completions(_)
        | Command::Man(_)
        | Command::Init(_)
        | Command::Update(_)
        | Command::Uninstall(_)
            if address.is_given() =>
        {
            Err(
                Failure::usage("--database-url does not go with this command")
                    .detail("It asks no database but the embedded one."),
            )
        }
        Command::Mcp(mcp) => mcp.run(address, selection),
        Command::Config(verb) => verb.run(&flags),
        Command::Update(update) => update.run(&address),
        Command::Uninstall(uninstall) => uninstall.run(selection),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(Cli::command()),
        Command::Init(init) => init.run(selection),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::hint::Words;

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
            "backlog claim --wait 10m",
            "backlog run -- true",
            "backlog run --wait --loop --jobs 3 --grace 1m --label x --json -- sh -c true --json",
            "backlog run --wait 5m --worker w --ttl 30m --phase p --offers gpu -- true",
            "backlog renew A4 --token 42",
            "backlog release A4 --token 42 --retry-in 5m --reason later",
            "backlog complete A4 --token 42 --result -1 --force",
            "backlog fail A4 --token 42 --reason -why",
            "backlog block A4 --reason why --kind input",
            "backlog unblock A4 --answer so",
            "backlog note A4 text --token 42 --actor me --json",
            "backlog note A4 --note-file -",
            "backlog list --search words",
            "backlog cancel A4 --reason why --cascade --force",
            "backlog reopen A4 --reason why",
            "backlog update A4 --clear labels --clear not-before --title T",
            "backlog link A4 --needs A1 A2 --json",
            "backlog unlink A4 --needs A1 --needs A2",
            "backlog reclaim A4 --force --grace 0s --max 5",
            "backlog stats --phase p --database-url host=h",
            "backlog stats --phase p --format prometheus",
            "backlog show A4",
            "backlog why A4",
            "backlog doctor --max-age 1h --json",
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
            "db resume-after-restore --last-token 5 --actor me",
            "backlog prime --write f --json",
            "mcp --worker w --on-exit release",
            "wizard --yes --dry-run --hooks no --database embedded --mcp claude,zed --primer AGENTS.md --json",
            "wizard --mcp none --primer none",
            "init --agents all --primer CLAUDE.md,AGENTS.md --dry-run",
            "init --user --remove --yes --json",
            "init --remove --everywhere",
            "config show --json",
            "config set gateway_port 8080",
            "config set database_url --value-file -",
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
            &["claim", "A4", "--wait", "5m"],
            &["claim", "--wait"],
            &["run"],
            &["run", "true"],
            &["run", "--jobs", "0", "--", "true"],
            &["run", "--wait", "5", "--", "true"],
            &["renew", "A4"],
            &["fail", "A4", "--token", "1"],
            &["block", "A4"],
            &["cancel", "A4"],
            &["note", "A4"],
            &["note", "A4", "text", "--note-file", "f"],
            &["unblock", "A4", "--answer", "a", "--answer-file", "f"],
            &["list", "--search", " "],
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
            &["stats", "--format", "xml"],
            &["stats", "--format", "prometheus", "--json"],
            &["doctor", "--max-age", "10"],
            &["list", "--database-url", ""],
            &["prime", "--write", ""],
        ] {
            let words = ["mosaic", "backlog"].iter().chain(line);
            let Err(error) = Cli::try_parse_from(words) else {
                panic!("{line:?} was taken");
            };
            assert_eq!(
                Failure::from(error).code,
                crate::failure::Code::Usage,
                "{line:?}"
            );
        }
    }

    #[test]
    fn functions_become_commands_and_other_names_stay() {
        for (hint, told) in [
            (
                "See which with mosaic.backlog_why('A1').",
                "See which with `mosaic backlog why A1`.",
            ),
            (
                "Take the link away (mosaic.backlog_unlink), or mosaic.backlog_reclaim() now.",
                "Take the link away (`mosaic backlog unlink`), or `mosaic backlog reclaim` now.",
            ),
            (
                "alter table mosaic.backlog_event enable trigger backlog_watch",
                "alter table mosaic.backlog_event enable trigger backlog_watch",
            ),
            (
                "As an operator, call mosaic.backlog_resume_after_restore().",
                "As an operator, call `mosaic db resume-after-restore`.",
            ),
            (
                "Look at the card with mosaic.backlog_get().",
                "Look at the card with `mosaic backlog show`.",
            ),
            ("Try again.", "Try again."),
        ] {
            assert_eq!(Words::of(Cli::command).told(hint), told);
        }
    }
}
