//! Whether our hooks that are on do what they should: each is run once, for a session that there is not.

use std::io::{ErrorKind, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::files::Files;
use super::ours::program_of;
use crate::failure::Failure;

/// As long as a session waits.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);
/// Without the name of a session, nothing is renewed and nothing given back.
const NOBODY: &[u8] = b"{}";

pub struct Hooks {
    /// How many are on.
    pub count: usize,
    /// The settings switch every hook off.
    pub all_are_off: bool,
    /// In sentences.
    pub problems: Vec<String>,
}

pub fn examine() -> Result<Hooks, Failure> {
    let files = Files::locate()?;
    let state = files.state()?;
    let mut found = Hooks {
        count: 0,
        all_are_off: state.all_are_off(),
        problems: Vec::new(),
    };
    if !state.is_read() {
        found.problems.push(format!(
            "Claude Code takes nothing from {}: it has comments, or a comma at the end of a list.",
            files.settings.display()
        ));
    }
    for hook in state.hooks().iter().filter(|hook| hook.ours && hook.on) {
        found.count += 1;
        let command = &hook.handler.command;
        let program = program_of(command).unwrap_or_default();
        let problem = match program.is_file() {
            false => Some(format!("runs {}, which is gone", program.display())),
            true => try_out(command).err(),
        };
        found
            .problems
            .extend(problem.map(|problem| format!("{} {problem}.", hook.id)));
    }
    Ok(found)
}

/// Runs the command as Claude Code does; says what is wrong as the end of a sentence.
fn try_out(command: &str) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot be run: {error}");
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env_remove("CLAUDE_ENV_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(cannot)?;
    if let Some(mut input) = child.stdin.take()
        && let Err(error) = input.write_all(NOBODY)
        && error.kind() != ErrorKind::BrokenPipe
    {
        return Err(cannot(error));
    }
    let start = Instant::now();
    loop {
        match child.try_wait().map_err(cannot)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("fails: {status}")),
            None if start.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("does not end within {} s", PATIENCE.as_secs()));
            }
            None => std::thread::sleep(PAUSE),
        }
    }
}
