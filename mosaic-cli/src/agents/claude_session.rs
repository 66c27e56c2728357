//! What a session of Claude Code holds. Its cards and their tokens are in a file for its user alone, as a token
//! is its holder's: below mosaicHome, by the session's name, which is the end of its `MOSAIC_AGENT`.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::database::embedded::Home;
use crate::database::store::Record;
use crate::environment::actor::agent;
use crate::failure::Failure;
use crate::files::rewrite::{self, Change, rewrite};

/// As long as a lease can last.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
const LONGEST: usize = 100;

/// A card that is held, and the proof of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub id: String,
    pub token: i64,
    /// In seconds.
    pub ttl: u64,
    /// By the clock of this machine, in seconds: when a third of the lease has passed.
    pub renew_at: u64,
}

pub struct ClaudeSession {
    pub name: String,
    file: PathBuf,
}

impl ClaudeSession {
    /// By the id that Claude Code gives it; `None`: nothing can be named so.
    pub fn of(id: &str) -> Result<Option<ClaudeSession>, Failure> {
        let name = match Uuid::parse_str(id) {
            Ok(uuid) => uuid.simple().to_string()[..8].to_owned(),
            Err(_) => id.to_owned(),
        };
        ClaudeSession::named(name)
    }

    fn named(name: String) -> Result<Option<ClaudeSession>, Failure> {
        let fits = !name.is_empty()
            && name.len() <= LONGEST
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if !fits {
            return Ok(None);
        }
        let file = folder()?.join(format!("{name}.json"));
        Ok(Some(ClaudeSession { name, file }))
    }

    /// The one that this program was called in: it began with our hook, and has a file since.
    fn current() -> Option<ClaudeSession> {
        let agent = agent()?;
        let (_, name) = agent.rsplit_once('/')?;
        let session = ClaudeSession::named(name.to_owned()).ok()??;
        session.file.is_file().then_some(session)
    }

    pub fn begin(&self) -> Result<(), Failure> {
        rewrite::make_private(&folder()?)?;
        forget_old(&folder()?);
        self.change(|_| {})
    }

    pub fn end(&self) {
        let _ = fs::remove_file(&self.file);
    }

    /// Nothing, if there is no such session.
    pub fn held(&self) -> Vec<Held> {
        rewrite::read(&self.file)
            .ok()
            .flatten()
            .map(|bytes| held_in(&bytes))
            .unwrap_or_default()
    }

    /// Adds claims, in place of those of before on the same cards.
    pub fn hold(&self, new: &[Held]) -> Result<(), Failure> {
        if new.is_empty() || !self.file.is_file() {
            return Ok(());
        }
        self.change(|held| {
            held.retain(|held| !new.iter().any(|new| new.id == held.id));
            held.extend_from_slice(new);
        })
    }

    /// Takes over what became of some claims; `None`: they are over. What was claimed meanwhile stays.
    pub fn record(&self, outcome: &[(Held, Option<Held>)]) -> Result<(), Failure> {
        self.change(|held| {
            for (before, after) in outcome {
                let place = held
                    .iter()
                    .position(|held| (&held.id, held.token) == (&before.id, before.token));
                match (place, after) {
                    (Some(at), Some(after)) => held[at] = after.clone(),
                    (Some(at), None) => drop(held.remove(at)),
                    (None, _) => {}
                }
            }
        })
    }

    fn change(&self, change: impl Fn(&mut Vec<Held>)) -> Result<(), Failure> {
        rewrite(&self.file, 0o600, |bytes| {
            let mut held = held_in(bytes.unwrap_or_default());
            change(&mut held);
            let held: Vec<Value> = held
                .iter()
                .map(|held| {
                    json!({"id": held.id, "token": held.token, "ttl": held.ttl,
                        "renew_at": held.renew_at})
                })
                .collect();
            let text = json!({"held": held}).to_string();
            Ok(match bytes == Some(text.as_bytes()) {
                true => Change::Nothing,
                false => Change::To(text.into_bytes()),
            })
        })?;
        Ok(())
    }
}

/// Keeps in mind what was claimed, if that was in a session. That this fails is no reason for the claim to fail.
pub fn remember(cards: &[Record]) {
    if let Some(session) = ClaudeSession::current() {
        let _ = session.hold(&claims(
            cards.iter().map(|card| Value::Object(card.clone())),
        ));
    }
}

/// The claims that cards show.
pub fn claims(cards: impl IntoIterator<Item = Value>) -> Vec<Held> {
    cards
        .into_iter()
        .filter_map(|card| {
            let ttl = card["claim_ttl_seconds"]
                .as_f64()
                .map_or(900, |ttl| ttl as u64);
            Some(Held {
                id: card["id"].as_str()?.to_owned(),
                token: card["claim_token"].as_i64()?,
                ttl,
                renew_at: now() + ttl / 3,
            })
        })
        .collect()
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn folder() -> Result<PathBuf, Failure> {
    Ok(Home::locate()?.root.join("sessions"))
}

fn held_in(bytes: &[u8]) -> Vec<Held> {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let held = value["held"].as_array().into_iter().flatten();
    held.filter_map(|held| {
        Some(Held {
            id: held["id"].as_str()?.to_owned(),
            token: held["token"].as_i64()?,
            ttl: held["ttl"].as_u64()?,
            renew_at: held["renew_at"].as_u64()?,
        })
    })
    .collect()
}

/// Sessions that never ended by their hook.
fn forget_old(folder: &std::path::Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_old = entry
            .metadata()
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT));
        if is_old {
            let _ = fs::remove_file(entry.path());
        }
    }
}
