//! What stands beside the backlog: the gateway's database, and the hooks of Claude Code. What nobody has set up is
//! no finding.

use super::finding::{Finding, State};
use crate::agents::claude::claude_home;
use crate::command::config;
use crate::command::hooks;
use crate::database::store::Address;
use crate::failure::capitalised;

pub fn examine(address: &Address, findings: &mut Vec<Finding>) {
    findings.extend(databases(address));
    findings.extend(of_claude());
}

/// Two backlogs by mistake are the worst silent failure.
fn databases(address: &Address) -> Option<Finding> {
    const NAME: &str = "databases";
    const HINT: &str =
        "Give both the same: DATABASE_URL, and `mosaic config set database_url --value-file FILE`.";
    match config::databases(address) {
        Ok(None) => None,
        Ok(Some(places)) if places.are_same() => Some(Finding::ok(
            NAME,
            "The command line and the gateway look at the same one.",
        )),
        Ok(Some(places)) => Some(Finding::not_ok(
            NAME,
            State::Warning,
            capitalised(&places.told()),
            HINT,
        )),
        Err(failure) => Some(Finding::failed(NAME, State::Unknown, &failure, HINT)),
    }
}

fn of_claude() -> Option<Finding> {
    const NAME: &str = "hooks";
    let found = match hooks::examine() {
        Ok(found) => found,
        // Without a home folder there are none.
        Err(_) if claude_home().is_err() => return None,
        Err(failure) => {
            let hint = "`mosaic config hooks list` shows them.";
            return Some(Finding::failed(NAME, State::Unknown, &failure, hint));
        }
    };
    let count = match found.count {
        0 => return None,
        1 => "1 hook of ours for Claude Code is on".to_owned(),
        count => format!("{count} hooks of ours for Claude Code are on"),
    };
    Some(if !found.problems.is_empty() {
        Finding::not_ok(
            NAME,
            State::Warning,
            found.problems.join(" "),
            "`mosaic config hooks enable mosaic` lets them run this program.",
        )
    } else if found.all_are_off {
        Finding::not_ok(
            NAME,
            State::Warning,
            format!("{count}, but disableAllHooks is on in the settings: none runs."),
            "Take disableAllHooks out, or `mosaic config hooks disable mosaic`.",
        )
    } else {
        Finding::ok(NAME, format!("{count} and run."))
    })
}
