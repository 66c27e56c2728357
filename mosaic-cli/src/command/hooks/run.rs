//! `mosaic hook EVENT`: what our hooks run. Whatever happens, it exits with 0: Claude Code would take a 2 for
//! "block". It prints nothing unless there is something to say, and starts no server.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::panic::catch_unwind;

use serde_json::{Map, Value};

use crate::agents::claude_session::{ClaudeSession, Held, claims, now};
use crate::agents::primer::PRIMER;
use crate::database::call::Call;
use crate::database::limit;
use crate::database::store::{Address, Store};
use crate::environment::actor::identity;
use crate::environment::filled;
use crate::failure::{Code, Failure};
use crate::output::notes::{self, Level};
use crate::output::screen::one_line;

/// More is no event.
const LONGEST: u64 = 16 << 20;
/// In seconds: less than a session waits for.
const PATIENCE: u64 = 4;

/// Runs a hook if the arguments ask for one; says whether they did.
pub fn answer(arguments: &[OsString]) -> bool {
    if arguments.get(1).is_none_or(|word| word != "hook") {
        return false;
    }
    let event = arguments.get(2).and_then(|event| event.to_str());
    let event = event.unwrap_or_default().to_owned();
    std::panic::set_hook(Box::new(|_| {}));
    let said = catch_unwind(|| run(&event)).ok().and_then(Result::ok);
    if let Some(said) = said.filter(|said| !said.is_empty()) {
        let _ = std::io::stdout().write_all(said.as_bytes());
    }
    true
}

/// What Claude Code is told.
fn run(event: &str) -> Result<String, Failure> {
    notes::set(Level::Silent);
    limit::choose(Some(PATIENCE))?;
    let mut input = String::new();
    let _ = std::io::stdin().take(LONGEST).read_to_string(&mut input);
    let input: Value = serde_json::from_str(&input).unwrap_or_default();
    let id = input["session_id"].as_str().unwrap_or_default();
    match (event, ClaudeSession::of(id)?) {
        ("session-start", session) => Ok(start(session)),
        ("post-tool-use", Some(session)) => {
            session.hold(&claimed(&input))?;
            renew(&session, false).map(|_| String::new())
        }
        ("stop", Some(session)) => renew(&session, false).map(|_| String::new()),
        ("session-end", Some(session)) => {
            if ["logout", "prompt_input_exit", "other"]
                .iter()
                .any(|reason| input["reason"] == *reason)
            {
                give_back(&session)?;
            }
            Ok(String::new())
        }
        _ => Ok(String::new()),
    }
}

/// The primer, and the cards that a session that goes on still holds.
fn start(session: Option<ClaudeSession>) -> String {
    let mut said = PRIMER.to_owned();
    let Some(session) = session else {
        return said;
    };
    if session.begin().is_ok() {
        let _ = name_agent(&session.name);
    }
    let held = renew(&session, true).unwrap_or_else(|_| session.held());
    if !held.is_empty() {
        said.push_str("\nThis session holds:\n\n");
    }
    for held in held {
        let id = one_line(&held.id);
        said.push_str(&format!("- {id}, `--token {}`\n", held.token));
    }
    said
}

/// Lets the commands of this session act under a name of its own.
fn name_agent(session: &str) -> std::io::Result<()> {
    let Some(file) = filled("CLAUDE_ENV_FILE") else {
        return Ok(());
    };
    let name = identity();
    let name = match name
        .strip_suffix(session)
        .is_some_and(|rest| rest.ends_with('/'))
    {
        true => name,
        false => format!("{name}/{session}"),
    };
    let line = format!("export MOSAIC_AGENT='{}'\n", name.replace('\'', "'\\''"));
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        // What is no file must not hold the session up.
        .custom_flags(libc::O_NONBLOCK)
        .open(file)?;
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    let mut before = Vec::new();
    (&file).take(LONGEST).read_to_end(&mut before)?;
    let before = String::from_utf8_lossy(&before);
    if before.contains(&line) {
        return Ok(());
    }
    let gap = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    file.write_all(format!("{gap}{line}").as_bytes())
}

/// What `mosaic mcp` claimed, as the tool's answer shows it. Whether that is so, the next renewal finds out.
fn claimed(input: &Value) -> Vec<Held> {
    let tool = input["tool_name"].as_str().unwrap_or_default();
    if !(tool.starts_with("mcp__") && tool.ends_with("__claim")) {
        return Vec::new();
    }
    let mut cards = Vec::new();
    collect(&input["tool_response"], &mut cards);
    claims(cards)
}

/// The cards in an answer: in its structured part, or as text.
fn collect(value: &Value, cards: &mut Vec<Value>) {
    match value {
        Value::String(text) => {
            if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                collect(&value, cards);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, cards)),
        Value::Object(fields) => match fields.get("cards") {
            Some(Value::Array(found)) => cards.extend(found.iter().cloned()),
            _ => parts(fields).for_each(|part| collect(part, cards)),
        },
        _ => {}
    }
}

fn parts(fields: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    ["content", "text", "structuredContent"]
        .into_iter()
        .filter_map(|name| fields.get(name))
}

/// Renews what is due, or all of it, and tells what is still held. No call where nothing is.
fn renew(session: &ClaudeSession, all: bool) -> Result<Vec<Held>, Failure> {
    let due: Vec<Held> = session
        .held()
        .into_iter()
        .filter(|held| all || held.renew_at <= now())
        .collect();
    if due.is_empty() {
        return Ok(session.held());
    }
    let mut store = Store::reopen(&Address::default())?;
    let mut outcome = Vec::new();
    for held in due {
        let call = call("backlog_renew", &held).returning("claim_expires_at");
        match store.rows(&call) {
            Ok(_) => {
                let renewed = Held {
                    renew_at: now() + held.ttl / 3,
                    ..held.clone()
                };
                outcome.push((held, Some(renewed)));
            }
            Err(failure) if is_over(&failure) => outcome.push((held, None)),
            // It is tried again the next time.
            Err(_) => {}
        }
    }
    session.record(&outcome)?;
    Ok(session.held())
}

fn give_back(session: &ClaudeSession) -> Result<(), Failure> {
    let held = session.held();
    if !held.is_empty() {
        let mut store = Store::reopen(&Address::default())?;
        for held in &held {
            let call = call("backlog_release", held).text("reason", "the session ended".to_owned());
            match store.rows(&call) {
                Err(failure) if !is_over(&failure) => return Err(failure),
                _ => session.record(&[(held.clone(), None)])?,
            }
        }
    }
    session.end();
    Ok(())
}

fn call(function: &'static str, held: &Held) -> Call {
    Call::new(function)
        .text("id", held.id.clone())
        .bigint("claim_token", held.token)
}

fn is_over(failure: &Failure) -> bool {
    matches!(
        failure.code,
        Code::ClaimLost | Code::BadTransition | Code::NotFound
    )
}
