//! `mosaic init`: what agents find in a repository.

use clap::Args;
use serde_json::{Value, json};

use super::plan::{carry_out, view};
use super::step::{Context, Mode};
use super::{mcp, primer};
use crate::agents::{self, AGENTS, Agent, Level, Removal};
use crate::command::hooks;
use crate::database::store::Address;
use crate::failure::Failure;
use crate::input::filled;
use crate::output::error::whole;
use crate::output::reply::Reply;
use crate::output::screen::one_line;
use crate::output::selection::{Prints, Selection};

/// Give the agents of this repository the backlog: the primer, and the MCP server
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic init
  mosaic init --agents claude,codex --primer none --dry-run
  mosaic init --user --agents all
  mosaic init --remove
  mosaic init --remove --everywhere

Asks what no flag says, and once before anything is written. In a repository, the server is called
by its name alone, as others have it elsewhere. What an agent's file holds beside the entry stays
to the byte, and --remove leaves it as if the entry had never been there.")]
pub struct Init {
    /// The agents that get the MCP server; all: those that are installed; none
    #[arg(long, value_name = "AGENT,…", value_delimiter = ',', value_parser = filled)]
    agents: Vec<String>,

    /// The files that get the primer for agents; none
    #[arg(long, value_name = "FILE,…", value_delimiter = ',', value_parser = filled)]
    primer: Vec<String>,

    /// Put the MCP server into the user's own files, for all repositories; no primer
    #[arg(long, conflicts_with = "primer")]
    user: bool,

    /// Take the entries of the MCP server out again; the primer stays
    #[arg(long, conflicts_with_all = ["primer", "dry_run"])]
    remove: bool,

    /// Out of every file that got one from here, in other repositories too
    #[arg(long, requires = "remove", conflicts_with_all = ["agents", "user"])]
    everywhere: bool,

    /// Ask nothing, and do what would have been proposed
    #[arg(short, long)]
    yes: bool,

    /// Print what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Init {
    pub fn prints(&self) -> Prints {
        match self.dry_run {
            true => Prints::Report,
            false => Prints::Outcome,
        }
    }

    pub fn run(self, selection: &Selection) -> Result<Reply, Failure> {
        if self.everywhere {
            return taken_out(agents::remove_all()?);
        }
        let mut context = Context::new(Mode::of(self.yes)?, Address::default(), selection.words);
        let level = match (self.user, &context.repository) {
            (true, _) => Level::User,
            (false, Some(root)) => Level::Repository(root.clone()),
            (false, None) => {
                return Err(Failure::usage("this folder is in no repository")
                    .detail("No folder above it has a .git. Nothing was changed.")
                    .hint("`git init` makes one; --user is for all repositories."));
            }
        };
        if self.remove {
            return self.take_out(&level);
        }
        if context.mode == Mode::Leaves && self.agents.is_empty() && self.primer.is_empty() {
            return Err(Failure::usage("there is no terminal to ask what to put in")
                .detail("Nothing was changed.")
                .hint("--agents and --primer name it; --yes takes what would be proposed."));
        }
        context.forwards = agents::FORWARDED
            .into_iter()
            .filter(|name| crate::environment::filled(name).is_some())
            .collect();
        context.has_hooks = hooks::outlook().is_ok_and(|outlook| outlook.on > 0);
        let mut items = Vec::new();
        if !self.user {
            let named = match mcp::wanted(&self.agents, "--agents") {
                Ok(mcp::Wanted::These(agents)) if !agents.is_empty() => agents,
                _ => mcp::installed(),
            };
            items.extend(primer::named(&mut context, &self.primer, &named)?);
        }
        items.extend(mcp::named(&mut context, &self.agents, "--agents", &level)?);
        let document = carry_out(&mut context, items, self.dry_run)?;
        Ok(Reply::new(document, view))
    }

    fn take_out(&self, level: &Level) -> Result<Reply, Failure> {
        let agents: Vec<&'static Agent> = match mcp::wanted(&self.agents, "--agents")? {
            mcp::Wanted::These(agents) if !self.agents.is_empty() => agents,
            _ => AGENTS.iter().collect(),
        };
        taken_out(agents::remove_from(&agents, level)?)
    }
}

fn taken_out(removals: Vec<Removal>) -> Result<Reply, Failure> {
    let failed: Vec<String> = removals
        .iter()
        .filter_map(|removal| Some(whole(removal.outcome.as_ref().err()?)))
        .collect();
    let removed = removals
        .iter()
        .filter(|removal| removal.outcome.as_ref().is_ok_and(|removed| *removed));
    let removed: Vec<Value> = removed.map(to_json).collect();
    if !failed.is_empty() {
        let code = removals
            .iter()
            .find_map(|removal| removal.outcome.as_ref().err())
            .map_or(crate::failure::Code::Internal, |failure| failure.code);
        return Err(Failure::new(code, "not every entry was taken out")
            .detail(failed.join("\n"))
            .hint("Correct that, and run it again."));
    }
    let document = json!({"changed": !removed.is_empty(), "removed": removed});
    Ok(Reply::new(document, |document, _| {
        let removed = document["removed"].as_array().into_iter().flatten();
        let lines: String = removed
            .map(|entry| {
                let file = one_line(entry["file"].as_str().unwrap_or_default());
                format!("taken out of {file}\n")
            })
            .collect();
        match lines.is_empty() {
            true => "there was no entry of ours\n".to_owned(),
            false => lines,
        }
    }))
}

fn to_json(removal: &Removal) -> Value {
    json!({"agent": removal.agent.name, "file": removal.file.to_string_lossy()})
}
