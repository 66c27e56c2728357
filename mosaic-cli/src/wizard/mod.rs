//! `mosaic wizard`: the first run. It asks for what it needs, shows what it would do, asks once, does it, and ends with
//! what the doctor says. `mosaic init` is the part of it that a repository needs.

mod database;
mod hooks;
mod init;
mod mcp;
mod primer;
mod step;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::Global;
use crate::agents::{Agent, Level};
use crate::backlog::doctor;
use crate::failure::{Failure, whole};
use crate::input::filled;
use crate::prompt;
use crate::reply::Reply;
use crate::screen::{Paint, Screen, many_lines, one_line};
use crate::shape::Prints;

pub use init::Init;
use step::{Context, Item, Mode, State};

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
    |wizard, context| primer_items(context, &wizard.primer, &mcp::installed()),
    |wizard, context| mcp_items(context, &wizard.mcp, "--mcp", &Level::User),
];

fn primer_items(
    context: &mut Context,
    words: &[String],
    agents: &[&'static Agent],
) -> Result<Vec<Item>, Failure> {
    const NONE: &str = "none";
    match words {
        [] => primer::items(context, None, agents),
        [word] if word == NONE => Ok(Vec::new()),
        files if files.iter().any(|file| file == NONE) => {
            context
                .problems
                .push(Failure::usage("--primer: none does not go with files"));
            Ok(Vec::new())
        }
        files => primer::items(context, Some(files), agents),
    }
}

fn mcp_items(
    context: &mut Context,
    words: &[String],
    option: &str,
    level: &Level,
) -> Result<Vec<Item>, Failure> {
    let wanted = match words {
        [] => None,
        words => match mcp::wanted(words, option) {
            Ok(wanted) => Some(wanted),
            Err(problem) => {
                context.problems.push(problem);
                return Ok(Vec::new());
            }
        },
    };
    mcp::items(context, wanted.as_ref(), level, option)
}

impl Wizard {
    pub fn prints(&self) -> Prints {
        match self.dry_run {
            true => Prints::Report,
            false => Prints::Outcome,
        }
    }

    pub fn run(self, global: Global) -> Result<Reply, Failure> {
        if global.database_url.is_some() {
            return Err(
                Failure::usage("--database-url does not go with this command")
                    .hint("--database names the database."),
            );
        }
        let (mode, problem) = match Mode::of(self.yes) {
            Ok(mode) => (mode, None),
            Err(problem) => (Mode::Leaves, Some(problem)),
        };
        let mut context = Context::new(mode, global);
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
    match doctor::examine(&context.global, MAX_AGE) {
        Ok((document, _)) => document,
        Err(failure) => json!({"healthy": false, "findings": [
            {"name": "backlog", "state": "error", "detail": whole(&failure), "hint": failure.hint},
        ]}),
    }
}

/// Refuses what is wrong; asks once; does what is planned, and says what came of it.
fn carry_out(context: &mut Context, mut items: Vec<Item>, dry_run: bool) -> Result<Value, Failure> {
    if let Some(refusal) = context.refusal() {
        return Err(refusal);
    }
    let planned = |items: &[Item]| items.iter().any(|item| item.state == State::Planned);
    if context.asks() && !dry_run && planned(&items) {
        eprint!("{}", plan(&items, &Screen::stderr()));
        if !prompt::confirm("Go ahead?")? {
            for item in items.iter_mut().filter(|item| item.state == State::Planned) {
                item.state = State::Skipped;
                item.act = None;
            }
        }
    }
    if !dry_run {
        act(&mut items)?;
    }
    let changed = items.iter().any(|item| item.state == State::Changed);
    let steps: Vec<Value> = items.iter().map(Item::to_json).collect();
    Ok(json!({"dry_run": dry_run, "changed": changed, "steps": steps}))
}

/// One after the other; the first that fails ends it, and says what stands.
fn act(items: &mut [Item]) -> Result<(), Failure> {
    for at in 0..items.len() {
        let Some(act) = items[at].act.take() else {
            continue;
        };
        let Err(mut failure) = act() else {
            items[at].state = State::Changed;
            continue;
        };
        items[at].state = State::Failed;
        let names = |state: State| {
            let names = items.iter().filter(|item| item.state == state);
            let names: Vec<&str> = names.map(|item| item.what.as_str()).collect();
            names.join(", ")
        };
        let mut detail = failure.detail.take().unwrap_or_default();
        detail.push_str(&format!("\nThis came up at: {}.", items[at].what));
        for (state, words) in [(State::Changed, "Done"), (State::Planned, "Not done")] {
            let names = names(state);
            if !names.is_empty() {
                detail.push_str(&format!(" {words}: {names}."));
            }
        }
        detail.push_str(" The same command goes on from here.");
        failure.detail = Some(detail.trim_start().to_owned());
        return Err(failure);
    }
    Ok(())
}

/// What is about to be done, with the differences.
fn plan(items: &[Item], screen: &Screen) -> String {
    let items: Vec<Value> = items.iter().map(Item::to_json).collect();
    format!("\n{}\n", shown(&items, screen, true))
}

fn shown(items: &[Value], screen: &Screen, with_diffs: bool) -> String {
    let mut text = String::new();
    for item in items {
        let field = |name: &str| item[name].as_str().unwrap_or_default();
        let paint = match field("state") {
            "done" | "changed" => Paint::Good,
            "planned" => Paint::Info,
            "failed" => Paint::Bad,
            _ => Paint::Dim,
        };
        let state = screen.paint(paint, &format!("{:<7}", field("state")));
        let file = match (field("state"), item["file"].as_str()) {
            ("planned" | "changed", Some(file)) => format!(" ({})", one_line(file)),
            _ => String::new(),
        };
        text.push_str(&format!("{state} {}{file}\n", one_line(field("what"))));
        if let Some(note) = item["note"].as_str() {
            text.push_str(&format!("        {}\n", one_line(note)));
        }
    }
    for item in items {
        if with_diffs && item["state"] == "planned" {
            text.push_str(&many_lines(item["diff"].as_str().unwrap_or_default()));
        }
    }
    text
}

fn view(document: &Value, screen: &Screen) -> String {
    let items = document["steps"].as_array().cloned().unwrap_or_default();
    let mut text = shown(&items, screen, document["dry_run"] == true);
    if let Some(line) = document["profile"].as_str() {
        text.push_str(&format!(
            "\nPut this line into your shell's profile, so that every command finds that database:\n  {}\n",
            one_line(line)
        ));
    }
    if document["doctor"].is_object() {
        text.push_str(&format!("\n{}", doctor::view(&document["doctor"], screen)));
    }
    if document["dry_run"] == false && document["next"].is_array() {
        text.push_str("\nNext:\n");
        for command in NEXT {
            text.push_str(&format!("  {command}\n"));
        }
    }
    text
}
