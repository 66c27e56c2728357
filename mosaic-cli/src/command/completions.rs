//! `completions`: the script that makes a shell complete commands, options and ids.
//!
//! The script calls the program back with `MOSAIC_COMPLETE` set, so that what it offers is what
//! this version takes, and the ids are those of the backlog.

mod shells;

use std::ffi::OsStr;

use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{EnvCompleter, Fish, Zsh};
use serde_json::json;

use crate::database::ids;
use crate::database::store::{self, Address};
use crate::failure::{Failure, sentence};
use crate::output::notes::{self, Level};
use crate::output::reply::Reply;
use shells::{Bash, SHELLS, ZSH_AUTOLOAD};

const VARIABLE: &str = "MOSAIC_COMPLETE";
/// More would not fit on a screen.
const MOST: usize = 500;

/// Print the script that completes commands, options and ids in a shell
#[derive(Args)]
#[command(after_help = "\
Examples:
  source <(mosaic completions bash)
  mosaic completions fish > ~/.config/fish/completions/mosaic.fish

install.sh puts the scripts where the shells look for them.")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub fn run(self) -> Result<Reply, Failure> {
        let completer: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
        };
        let mut script = Vec::new();
        completer
            .write_registration(VARIABLE, "mosaic", "mosaic", "mosaic", &mut script)
            .map_err(|error| {
                Failure::internal("the script cannot be written").detail(sentence(&error))
            })?;
        let mut script = String::from_utf8_lossy(&script).into_owned();
        if matches!(self.shell, Shell::Zsh) {
            script.push_str(ZSH_AUTOLOAD);
        }
        Ok(Reply::new(
            json!({"shell": completer.name(), "script": script.trim_start()}),
            |document, _| document["script"].as_str().unwrap_or_default().to_owned(),
        ))
    }
}

/// Answers a shell that asks how a line may go on; says whether one did.
pub fn answer(program: fn() -> Command) -> Result<bool, Failure> {
    let asked = std::env::var_os(VARIABLE);
    if asked.is_none_or(|shell| shell.is_empty() || shell == "0") {
        return Ok(false);
    }
    // Whatever is said would stand in the line that somebody types.
    notes::set(Level::Silent);
    CompleteEnv::with_factory(|| with_ids(program()))
        .var(VARIABLE)
        .shells(SHELLS)
        .try_complete(std::env::args_os(), None)
        .map_err(Failure::from)
}

/// The commands, with ids where they take one.
fn with_ids(command: Command) -> Command {
    command
        .mut_args(|argument| match names_a_card(&argument) {
            true => argument.add(ArgValueCompleter::new(cards)),
            false => argument,
        })
        .mut_subcommands(with_ids)
}

/// `create --id` names one that is not there yet.
fn names_a_card(argument: &Arg) -> bool {
    let name = argument.get_id().as_str();
    name == "needs" || (name == "id" && argument.is_positional())
}

fn cards(begun: &OsStr) -> Vec<CompletionCandidate> {
    let Some(begun) = begun.to_str() else {
        return Vec::new();
    };
    let ids = store::choose(&Address(database_url()))
        .ok()
        .and_then(|choice| store::at_hand(choice, |client| Some(ids::listed(client))));
    ids.unwrap_or_default()
        .into_iter()
        .filter(|id| id.starts_with(begun))
        .take(MOST)
        .map(CompletionCandidate::new)
        .collect()
}

/// The option on the line that is being typed.
fn database_url() -> Option<String> {
    let words: Vec<String> = std::env::args().collect();
    let at = words
        .iter()
        .position(|word| word.starts_with("--database-url"))?;
    match words[at].split_once('=') {
        Some((_, url)) => Some(url.to_owned()),
        None => words.get(at + 1).cloned(),
    }
}
