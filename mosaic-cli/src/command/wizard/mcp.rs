//! Our MCP server for each agent.

use super::step::{Context, Item, State, without_promise};
use crate::agents::{AGENTS, Agent, Edit, Found, Level, NAME};
use crate::failure::Failure;
use crate::failure::suggest::{question, similar};
use crate::interrupt;

const STEP: &str = "mcp";

/// What a flag says about agents.
pub enum Wanted {
    /// Those that are installed.
    Installed,
    These(Vec<&'static Agent>),
}

/// What the words of a flag mean.
pub fn wanted(words: &[String], flag: &str) -> Result<Wanted, Failure> {
    if let [word] = words {
        match word.as_str() {
            "all" => return Ok(Wanted::Installed),
            "none" => return Ok(Wanted::These(Vec::new())),
            _ => {}
        }
    }
    let agents: Result<Vec<_>, Failure> = words
        .iter()
        .map(|word| {
            Agent::named(word).ok_or_else(|| {
                let names = AGENTS.iter().map(|agent| agent.name);
                let failure = Failure::usage(format!("{flag}: there is no agent {word:?}"));
                let all: Vec<&str> = names.clone().collect();
                failure
                    .detail(format!("They are {}; or all, or none.", all.join(", ")))
                    .hint(question(&similar(word, names)).unwrap_or_default())
            })
        })
        .collect();
    Ok(Wanted::These(agents?))
}

pub fn installed() -> Vec<&'static Agent> {
    AGENTS.iter().filter(|agent| agent.is_installed()).collect()
}

/// What the words of the flag `option` name.
pub fn named(
    context: &mut Context,
    words: &[String],
    option: &str,
    level: &Level,
) -> Result<Vec<Item>, Failure> {
    let wanted = match words {
        [] => None,
        words => match wanted(words, option) {
            Ok(wanted) => Some(wanted),
            Err(problem) => {
                context.problems.push(problem);
                return Ok(Vec::new());
            }
        },
    };
    items(context, wanted.as_ref(), level, option)
}

fn items(
    context: &mut Context,
    flag: Option<&Wanted>,
    level: &Level,
    option: &str,
) -> Result<Vec<Item>, Failure> {
    let (agents, named) = match flag {
        Some(Wanted::These(agents)) => (agents.clone(), true),
        Some(Wanted::Installed) => (installed(), true),
        None => (installed(), false),
    };
    let mut items: Vec<Item> = Vec::new();
    for agent in agents {
        match item(agent, level, &context.forwards) {
            Ok(item) => items.push(item),
            Err(problem) if named => context.problems.push(problem),
            Err(problem) => {
                let note = Some(without_promise(&problem));
                items.push(Item::new(STEP, what(agent), State::Skipped).note(note));
            }
        }
    }
    let shown = |item: &Item| {
        let file = item.file.as_ref().map(|file| file.display().to_string());
        format!("{}, {}", item.what, file.unwrap_or_default())
    };
    context.choose(
        &mut items,
        named,
        "Which agents should have the backlog as tools?",
        shown,
        &format!("{option} names the agents that get it."),
    )?;
    Ok(items)
}

fn what(agent: &Agent) -> String {
    format!("MCP server for {}", agent.title)
}

fn item(agent: &'static Agent, level: &Level, forwards: &[&str]) -> Result<Item, Failure> {
    let edit = Edit::plan(agent, level, forwards)?;
    let what = what(agent);
    Ok(match &edit.found {
        Found::Foreign => {
            return Err(Failure::usage(format!(
                "{} has another server called {NAME:?}",
                edit.file.display()
            ))
            .detail("Nothing was changed.")
            .hint("Give that one another name there, or leave this agent out."));
        }
        Found::Ours => Item::new(STEP, what, State::Done).note(edit.note),
        Found::Named(name) => Item::new(STEP, what, State::Done)
            .note(Some(format!("It is there under the name {name:?}."))),
        Found::Nothing | Found::Older => {
            let (file, diff, note) = (edit.file.clone(), edit.diff(), edit.note.clone());
            let act = move || interrupt::whole(|| edit.write());
            Item::planned(STEP, what, act)
                .within(&file, &diff)
                .note(note)
        }
    })
}
