//! The hooks of Claude Code.

use super::step::{Context, Item, State, without_promise};
use crate::agents::Agent;
use crate::command::hooks;
use crate::failure::Failure;
use crate::input::prompt;
use crate::interrupt;
use crate::output::screen::many_lines;

const STEP: &str = "hooks";
const WHAT: &str = "hooks of Claude Code";

pub fn items(context: &mut Context, flag: Option<bool>) -> Result<Vec<Item>, Failure> {
    if flag == Some(false) {
        return Ok(vec![Item::new(STEP, WHAT, State::Skipped)]);
    }
    let installed = Agent::named("claude").is_some_and(Agent::is_installed);
    if flag.is_none() && !installed {
        return Ok(Vec::new());
    }
    let outlook = match hooks::outlook() {
        Ok(outlook) => outlook,
        Err(problem) if flag == Some(true) => {
            context.problems.push(problem);
            return Ok(Vec::new());
        }
        Err(problem) => {
            let note = without_promise(&problem);
            return Ok(vec![Item::new(STEP, WHAT, State::Skipped).note(Some(note))]);
        }
    };
    // Some may be off because the user wants them off.
    let some_are_off = outlook.on > 0 && outlook.on < outlook.ours;
    if outlook.diff.is_empty() || some_are_off {
        context.has_hooks = true;
        let some = some_are_off.then(|| {
            format!(
                "{} of {} are on; `mosaic config hooks enable mosaic` switches all on.",
                outlook.on, outlook.ours
            )
        });
        return Ok(vec![
            Item::new(STEP, WHAT, State::Done).note(outlook.note.or(some)),
        ]);
    }
    let wanted = match flag {
        Some(wanted) => wanted,
        None if context.asks() => {
            eprint!("{}", many_lines(&outlook.diff));
            prompt::confirm("Put these hooks into Claude Code's settings?")?
        }
        None => context.proposes(),
    };
    if !wanted {
        let note = (!context.asks()).then(|| "--hooks yes puts them in.".to_owned());
        return Ok(vec![Item::new(STEP, WHAT, State::Skipped).note(note)]);
    }
    context.has_hooks = true;
    let act = || interrupt::whole(hooks::enable_all);
    Ok(vec![
        Item::planned(STEP, WHAT, act)
            .within(&outlook.settings, &outlook.diff)
            .note(outlook.note),
    ])
}
