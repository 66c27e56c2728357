//! A tool: one function of the backlog, as an agent calls it.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use rmcp::model::{JsonObject, ToolAnnotations};
use serde_json::{Value, json};

use super::argument;
use super::kind::{Argument, OPEN, STATUSES};
use super::request::Request;
use super::session::Session;
use crate::database::call::Call;
use crate::failure::Failure;
use crate::input::duration;

pub struct Tool {
    pub name: &'static str,
    pub about: &'static str,
    pub role: Role,
    pub function: &'static str,
    pub arguments: &'static [Argument],
    pub effect: Effect,
    pub returns: Returns,
}

/// Whose tool it is. What somebody may do is decided by the database.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// What it takes to work on cards, and to plan them
    Worker,
    /// And what changes the plan of others
    Operator,
}

/// What a call does, beside its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Reads,
    /// It takes leases, in the name of a worker.
    Claims,
    /// It prolongs a lease.
    Renews,
    /// It gives a lease back, in the name of the worker that the card knows.
    Returns,
    /// It ends a lease if there is one, in the name of an actor.
    Settles,
    /// The same, and somebody may miss what it ended.
    Ends,
    /// It changes a card, in the name of an actor.
    Changes,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Returns {
    /// Cards with all that it takes to start.
    Work,
    WholeCard,
    Card,
    Cards,
    /// A card, and a column that belongs beside it.
    CardAnd(&'static str),
    Created,
    Page,
    Lease,
    Reasons,
    Reclaimed,
    Events,
    /// The one that was written.
    Event,
    Numbers,
}

impl Tool {
    pub fn described(&self) -> rmcp::model::Tool {
        let annotations = match self.effect {
            Effect::Reads => ToolAnnotations::new().read_only(true),
            Effect::Ends => ToolAnnotations::new().destructive(true),
            _ => ToolAnnotations::new().destructive(false),
        };
        rmcp::model::Tool::new(
            self.name,
            self.about,
            Arc::new(argument::of_tool(self.arguments)),
        )
        .with_annotations(annotations)
    }

    pub fn run(&self, arguments: JsonObject, session: &Session) -> Result<Value, Failure> {
        let given = self.read(arguments)?;
        let id = given.text("id");
        let call = self.call(&given, id.as_deref(), session)?;
        let rows = session.rows(&call)?;
        let lost = id.as_deref().and_then(|id| session.tell_lost(id));
        match (self.effect, &id) {
            (Effect::Claims, _) => rows.iter().for_each(|card| session.hold(card)),
            (Effect::Returns | Effect::Settles | Effect::Ends, Some(id)) => session.let_go(id),
            (Effect::Renews, Some(id)) => {
                let ttl = given.text("ttl").and_then(|ttl| duration(&ttl).ok());
                session.renewed(
                    id,
                    given.number("claim_token"),
                    ttl.map(Duration::from_secs),
                );
            }
            _ => {}
        }
        let mut document = self.document(rows, &given)?;
        if let (Some(lost), true) = (lost, self.effect != Effect::Claims) {
            document["claim_lost"] = json!(lost);
        }
        Ok(document)
    }

    fn call(&self, given: &Request, id: Option<&str>, session: &Session) -> Result<Call, Failure> {
        let mut call = Call::new(self.function);
        for argument in self.arguments {
            if let Some(value) = given.0.get(argument.name) {
                call = argument.add_to(call, value)?;
            }
        }
        let is_open_alone = !given.is_on("ready_only") && given.texts("statuses").next().is_none();
        if self.returns == Returns::Page && is_open_alone {
            // Said, as an older extension has another default.
            let statuses = if given.is_on("all") { STATUSES } else { OPEN };
            call = call.statuses("statuses", words(statuses));
        }
        Ok(match self.effect {
            Effect::Claims if !given.has("worker") => call.text("worker", session.worker.clone()),
            Effect::Settles | Effect::Ends | Effect::Changes => {
                call.text("actor", session.actor(id))
            }
            Effect::Renews => call.returning("claim_expires_at"),
            Effect::Reads | Effect::Claims | Effect::Returns => call,
        })
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
