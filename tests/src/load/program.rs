//! Calls of the program `mosaic`, a process each.

use std::io::Read;
use std::sync::{Arc, PoisonError};

use serde_json::Value;

use super::process::Kind;
use super::{Caller, Shared};
use crate::program::backlog;
use crate::record::{Call, Outcome, Verb};
use crate::wait;

pub struct Program {
    url: String,
    shared: Arc<Shared>,
}

impl Program {
    pub(super) fn new(url: &str, shared: &Arc<Shared>) -> Self {
        Self {
            url: url.to_owned(),
            shared: Arc::clone(shared),
        }
    }
}

impl Caller for Program {
    fn ready(&mut self) -> bool {
        true
    }

    fn by_sql(&self) -> bool {
        false
    }

    fn call(&mut self, call: &Call) -> Outcome {
        let words = words(call);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let child = backlog(&words).env("DATABASE_URL", &self.url).spawn();
        let child = self.shared.processes.add(Kind::Program, child);
        let status = wait::until("the program ends", || {
            child
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .try_wait()
                .expect("the program")
        });
        self.shared.processes.remove(&child);
        let mut stdout = String::new();
        let mut child = child.lock().expect("the program");
        let pipe = child.stdout.as_mut().expect("a pipe");
        pipe.read_to_string(&mut stdout).expect("UTF-8");
        let document: Value = serde_json::from_str(&stdout).unwrap_or_default();
        match status.code() {
            Some(0 | 3) => Outcome::Acknowledged(rows(call.verb, &document)),
            Some(_) if document["error"].is_object() => refused(&document["error"]),
            _ => Outcome::Unknown(format!("the program ended with {status}")),
        }
    }
}

fn refused(error: &Value) -> Outcome {
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    match text("code").as_str() {
        // The database went away, perhaps after the commit.
        code @ ("unreachable" | "resource" | "timeout") => {
            Outcome::Unknown(format!("{code}: {}", text("message")))
        }
        code => Outcome::Refused {
            code: code.to_owned(),
            sqlstate: String::new(),
            message: text("message"),
        },
    }
}

/// The words of the command line.
fn words(call: &Call) -> Vec<String> {
    let mut words = vec![call.verb.name().to_owned()];
    let mut flag = |name: &str, value: String| words.push(format!("--{name}={value}"));
    let mut plain = Vec::new();
    for (name, value) in &call.arguments {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        match name.as_str() {
            "title" => plain.push(text),
            "id" if call.verb != Verb::Create => plain.push(text),
            "claim_token" => flag("token", text),
            "max_cards" => flag("max", text),
            "depends_on" => call
                .list(name)
                .iter()
                .for_each(|card| flag("needs", (*card).to_owned())),
            "labels" => (call.list(name).iter()).for_each(|one| flag("label", (*one).to_owned())),
            "offers" => (call.list(name).iter()).for_each(|one| flag("offers", (*one).to_owned())),
            "retry_in" => flag("retry-in", format!("{text}s")),
            "ttl" => flag("ttl", text.replace(" seconds", "s")),
            _ => flag(&name.replace('_', "-"), text),
        }
    }
    words.extend(plain);
    words
}

/// The answer as the SQL function gives it.
fn rows(verb: Verb, document: &Value) -> Vec<Value> {
    let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
    match verb {
        Verb::Claim => {
            let mut cards = list("cards");
            for card in &mut cards {
                for told in card["dependencies"].as_array_mut().into_iter().flatten() {
                    *told = told["id"].take();
                }
            }
            cards
        }
        Verb::Cancel | Verb::Reopen => list("cards"),
        Verb::Reclaim => list("reclaimed"),
        Verb::Renew => vec![document.clone()],
        _ => {
            let mut row = document["card"].clone();
            for extra in ["created", "unblocked"] {
                if let Some(value) = document.get(extra) {
                    row[extra] = value.clone();
                }
            }
            vec![row]
        }
    }
}
