//! What the steps have said there is to do: refused, shown, agreed to, and done one after the other.

use serde_json::{Value, json};

use super::step::{Context, Item, State};
use crate::command::backlog::doctor;
use crate::failure::Failure;
use crate::input::prompt;
use crate::output::screen::{Paint, Screen, many_lines, one_line};

/// Refuses what is wrong; asks once; does what is planned, and says what came of it.
pub fn carry_out(
    context: &mut Context,
    mut items: Vec<Item>,
    dry_run: bool,
) -> Result<Value, Failure> {
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

pub fn view(document: &Value, screen: &Screen) -> String {
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
        for command in document["next"].as_array().into_iter().flatten() {
            let command = one_line(command.as_str().unwrap_or_default());
            text.push_str(&format!("  {command}\n"));
        }
    }
    text
}
