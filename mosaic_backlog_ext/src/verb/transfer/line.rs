//! Reading the lines: their shape, and the limits that hold for them as for every call.

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use super::card_line::{Card, RawCard};
use super::value::{status, time, token, wrong};
use crate::argument;
use crate::card::status::Status;
use crate::postgres::clock::Micros;
use crate::refusal::Refusal;

/// The name and the version of the format, in the header of every file.
pub const FORMAT: &str = "mosaic-backlog";
pub const FORMAT_VERSION: u32 = 1;

/// Bytes of an event's details: what changed, old and new.
const DETAIL_MAX: usize = 32 * argument::DOCUMENT_MAX;

#[derive(Deserialize)]
struct Typed {
    r#type: Option<String>,
}

pub enum Line {
    Header(Header),
    Card(Box<Card>),
    Dependency(Dependency),
    Event(Event),
    End(Counts),
}

impl Line {
    /// Reads the line with the number `at`.
    pub fn read(text: &str, at: u64) -> Result<Self, Refusal> {
        // serde would take an array for the fields in their order.
        if !text.starts_with('{') {
            return Err(Refusal::line(at, "is not a JSON object"));
        }
        let line = match parse::<Typed>(text, at)?.r#type.as_deref() {
            Some("header") => parse::<RawHeader>(text, at)?.validate().map(Self::Header),
            Some("card") => parse::<RawCard>(text, at)?
                .validate()
                .map(|card| Self::Card(Box::new(card))),
            Some("dependency") => parse::<RawDependency>(text, at)?
                .validate()
                .map(Self::Dependency),
            Some("event") => parse::<RawEvent>(text, at)?.validate().map(Self::Event),
            Some("end") => parse::<RawEnd>(text, at).map(|end| {
                Self::End(Counts {
                    cards: end.cards,
                    dependencies: end.dependencies,
                    events: end.events,
                })
            }),
            Some(_) => return Err(Refusal::line(at, "has an unknown type")),
            None => return Err(Refusal::line(at, "has no type")),
        };
        line.map_err(|refusal| refusal.of_line(at))
    }
}

fn parse<T: DeserializeOwned>(text: &str, at: u64) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| {
        let error = error.to_string();
        let error = error.split(" at line ").next().unwrap_or_default();
        Refusal::line(at, format!("is malformed: {error}"))
    })
}

/// How many lines of each type there are; `None`: they were left out of the export.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub cards: u64,
    pub dependencies: Option<u64>,
    pub events: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEnd {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    cards: u64,
    dependencies: Option<u64>,
    events: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHeader {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    format: String,
    format_version: u32,
    #[serde(rename = "extension_version")]
    _extension_version: IgnoredAny,
    #[serde(rename = "exported_at")]
    _exported_at: IgnoredAny,
    cards: u64,
    dependencies: Option<u64>,
    events: Option<u64>,
    last_claim_token: i64,
}

pub struct Header {
    pub counts: Counts,
    /// No claim of the exported backlog has a larger one.
    pub last_token: i64,
}

impl RawHeader {
    fn validate(self) -> Result<Header, Refusal> {
        if self.format != FORMAT {
            return Err(wrong(format!("the format is not {FORMAT}")));
        }
        if self.format_version != FORMAT_VERSION {
            return Err(Refusal::argument(
                format!(
                    "version {} of the format is not supported here",
                    self.format_version
                ),
                "Update the extension, or export with the version that runs here.",
            ));
        }
        Ok(Header {
            counts: Counts {
                cards: self.cards,
                dependencies: self.dependencies,
                events: self.events,
            },
            last_token: token(self.last_claim_token)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDependency {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    card_id: Option<String>,
    depends_on: Option<String>,
    created_at: String,
}

pub struct Dependency {
    pub card_id: String,
    pub depends_on: String,
    pub created_at: Micros,
}

impl RawDependency {
    fn validate(self) -> Result<Dependency, Refusal> {
        let card_id = argument::id("card_id", self.card_id)?;
        let depends_on = argument::id("depends_on", self.depends_on)?;
        if card_id == depends_on {
            return Err(Refusal::cycle(&card_id, &depends_on));
        }
        Ok(Dependency {
            card_id,
            depends_on,
            created_at: time("created_at", &self.created_at)?,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvent {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    card_id: Option<String>,
    at: String,
    kind: Option<String>,
    actor: Option<String>,
    login_role: Option<String>,
    claim_token: Option<i64>,
    old_status: Option<String>,
    new_status: String,
    detail: Box<RawValue>,
}

pub struct Event {
    pub card_id: String,
    pub at: Micros,
    pub kind: String,
    pub actor: String,
    pub login_role: String,
    pub claim_token: Option<i64>,
    pub old_status: Option<Status>,
    pub new_status: Status,
    pub detail: String,
}

impl RawEvent {
    fn validate(self) -> Result<Event, Refusal> {
        if !self.detail.get().starts_with('{') {
            return Err(wrong("detail is not a JSON object"));
        }
        if self.detail.get().len() > DETAIL_MAX {
            return Err(wrong(format!("detail has more than {DETAIL_MAX} bytes")));
        }
        Ok(Event {
            card_id: argument::id("card_id", self.card_id)?,
            at: time("at", &self.at)?,
            kind: argument::name("kind", self.kind)?,
            actor: argument::name("actor", self.actor)?,
            login_role: imported(argument::name("login_role", self.login_role)?)?,
            claim_token: self.claim_token.map(token).transpose()?,
            old_status: self.old_status.as_deref().map(status).transpose()?,
            new_status: status(&self.new_status)?,
            detail: self.detail.get().to_owned(),
        })
    }
}

/// A login role as it is kept: whoever wrote the file could write any, and no server knows it. What
/// was imported before is marked already.
fn imported(login_role: String) -> Result<String, Refusal> {
    const MARK: &str = "imported:";
    if login_role.starts_with(MARK) {
        return Ok(login_role);
    }
    argument::name("login_role", Some(format!("{MARK}{login_role}")))
}
