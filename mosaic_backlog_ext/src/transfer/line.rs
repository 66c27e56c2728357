//! Reading the lines: their shape, and the limits that hold for them as for every call.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{FORMAT, FORMAT_VERSION};
use crate::argument;
use crate::card::Status;
use crate::clock::{self, Micros};
use crate::refusal::Refusal;

/// Tokens above this are no tokens: the sequence would come to its end.
const TOKEN_MAX: i64 = 1 << 62;
/// Bytes of an event's details: what changed, old and new.
const DETAIL_MAX: usize = 32 * argument::DOCUMENT_MAX;
/// Characters that a quarantine puts around the last reason.
const REASON_FRAME: usize = 1_000;
/// Bytes of the fingerprint of a creating request.
const FINGERPRINT_MAX: usize = 10_000;
const BLOCK_KINDS: [&str; 5] = ["input", "dependency", "capability", "attempts", "other"];

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
            return Err(Refusal::line(at, "is no JSON object"));
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
            Some(_) => return Err(Refusal::line(at, "has a type that is not known")),
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

fn wrong(message: impl Into<String>) -> Refusal {
    Refusal::argument(
        message,
        "Import the lines of mosaic.backlog_export, whole and in their order.",
    )
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
                    "version {} of the format is not known here",
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
struct RawCard {
    #[serde(rename = "type")]
    _type: IgnoredAny,
    id: Option<String>,
    title: Option<String>,
    body: Option<String>,
    phase: Option<String>,
    labels: Option<Vec<Option<String>>>,
    requires: Option<Vec<Option<String>>>,
    priority: i32,
    status: String,
    #[serde(default, deserialize_with = "present")]
    acceptance: Option<Box<RawValue>>,
    idempotency_key: Option<String>,
    creation_request: Option<Box<RawValue>>,
    not_before: Option<String>,
    claim_owner: Option<String>,
    claim_token: Option<i64>,
    claim_ttl_seconds: Option<i32>,
    claimed_at: Option<String>,
    claim_expires_at: Option<String>,
    attempts: i32,
    max_attempts: Option<i32>,
    block_kind: Option<String>,
    block_reason: Option<String>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Box<RawValue>>,
    #[serde(rename = "open_dependencies")]
    _open_dependencies: Option<IgnoredAny>,
    created_at: String,
    updated_at: String,
    completed_at: Option<String>,
    settled_token: Option<i64>,
    claimable_since: String,
    last_failure: Option<String>,
}

/// JSON's null is a document like any other; no document is no key.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(from).map(Some)
}

/// The lease under which a card was held where it comes from.
pub struct Lease {
    pub owner: String,
    pub token: i64,
}

pub struct Card {
    pub id: String,
    pub title: String,
    pub body: Option<String>,
    pub phase: Option<String>,
    pub labels: Vec<String>,
    pub requires: Vec<String>,
    pub priority: i32,
    /// As in the file; a card that was claimed arrives as ready.
    pub status: Status,
    pub acceptance: Option<String>,
    pub idempotency_key: Option<String>,
    pub creation_request: Option<String>,
    pub not_before: Option<Micros>,
    pub lease: Option<Lease>,
    pub attempts: i32,
    pub max_attempts: Option<i32>,
    pub block_kind: Option<String>,
    pub block_reason: Option<String>,
    pub result: Option<String>,
    pub created_at: Micros,
    pub updated_at: Micros,
    pub completed_at: Option<Micros>,
    pub settled_token: Option<i64>,
    pub claimable_since: Micros,
    pub last_failure: Option<String>,
}

impl RawCard {
    fn validate(self) -> Result<Card, Refusal> {
        let status = status(&self.status)?;
        argument::document("body", self.body.as_deref().map_or(0, str::len))?;
        let acceptance = document("acceptance", self.acceptance)?;
        let result = document("result", self.result)?;
        let idempotency_key = argument::optional_name("idempotency_key", self.idempotency_key)?;
        let creation_request = self
            .creation_request
            .map(|json| fingerprint(&json))
            .transpose()?;
        if idempotency_key.is_some() != creation_request.is_some() {
            return Err(wrong(
                "idempotency_key and creation_request stand together or not at all",
            ));
        }
        let claim = (
            self.claim_owner,
            self.claim_token,
            self.claim_ttl_seconds,
            self.claimed_at,
            self.claim_expires_at,
        );
        let lease = match (status, claim) {
            (
                Status::Claimed,
                (Some(owner), Some(number), Some(_), Some(claimed), Some(expires)),
            ) => {
                time("claimed_at", &claimed)?;
                time("claim_expires_at", &expires)?;
                Some(Lease {
                    owner: argument::name("claim_owner", Some(owner))?,
                    token: token(number)?,
                })
            }
            (Status::Claimed, _) => return Err(wrong("the card is claimed, but by nobody")),
            (_, (None, None, None, None, None)) => None,
            _ => return Err(wrong("the card is held by somebody, but is not claimed")),
        };
        let is_blocked = status == Status::Blocked;
        if is_blocked != self.block_kind.is_some() || is_blocked != self.block_reason.is_some() {
            return Err(wrong(
                "block_kind and block_reason stand at a blocked card, and at no other",
            ));
        }
        if let Some(kind) = &self.block_kind
            && !BLOCK_KINDS.contains(&kind.as_str())
        {
            return Err(wrong("block_kind is none that is known"));
        }
        if (status == Status::Done) != self.completed_at.is_some() {
            return Err(wrong("completed_at stands at a done card, and at no other"));
        }
        if self.attempts < 0 {
            return Err(wrong("attempts is negative"));
        }
        Ok(Card {
            id: argument::id("id", self.id)?,
            title: argument::title(self.title)?,
            body: self.body,
            phase: argument::optional_name("phase", self.phase)?,
            labels: argument::labels("labels", self.labels)?,
            requires: argument::labels("requires", self.requires)?,
            priority: argument::priority(self.priority)?,
            status,
            acceptance,
            idempotency_key,
            creation_request,
            not_before: optional_time("not_before", self.not_before)?,
            lease,
            attempts: self.attempts,
            max_attempts: argument::max_attempts(self.max_attempts)?,
            block_kind: self.block_kind,
            block_reason: reason("block_reason", self.block_reason)?,
            result,
            created_at: time("created_at", &self.created_at)?,
            updated_at: time("updated_at", &self.updated_at)?,
            completed_at: optional_time("completed_at", self.completed_at)?,
            settled_token: self.settled_token.map(token).transpose()?,
            claimable_since: time("claimable_since", &self.claimable_since)?,
            last_failure: reason("last_failure", self.last_failure)?,
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
            return Err(wrong("detail is no JSON object"));
        }
        if self.detail.get().len() > DETAIL_MAX {
            return Err(wrong(format!("detail has more than {DETAIL_MAX} bytes")));
        }
        Ok(Event {
            card_id: argument::id("card_id", self.card_id)?,
            at: time("at", &self.at)?,
            kind: argument::name("kind", self.kind)?,
            actor: argument::name("actor", self.actor)?,
            login_role: argument::name("login_role", self.login_role)?,
            claim_token: self.claim_token.map(token).transpose()?,
            old_status: self.old_status.as_deref().map(status).transpose()?,
            new_status: status(&self.new_status)?,
            detail: self.detail.get().to_owned(),
        })
    }
}

fn status(name: &str) -> Result<Status, Refusal> {
    match name {
        "ready" | "claimed" | "blocked" | "done" | "cancelled" => Ok(Status::parse(name)),
        _ => Err(wrong("the status is none that is known")),
    }
}

fn token(number: i64) -> Result<i64, Refusal> {
    if (1..=TOKEN_MAX).contains(&number) {
        Ok(number)
    } else {
        Err(wrong(format!("a token must lie between 1 and {TOKEN_MAX}")))
    }
}

fn reason(field: &str, text: Option<String>) -> Result<Option<String>, Refusal> {
    let most = argument::REASON_MAX + REASON_FRAME;
    match &text {
        Some(reason) if reason.trim().is_empty() => Err(wrong(format!("{field} is empty"))),
        Some(reason) if reason.chars().count() > most => {
            Err(wrong(format!("{field} has more than {most} characters")))
        }
        _ => Ok(text),
    }
}

fn document(field: &str, json: Option<Box<RawValue>>) -> Result<Option<String>, Refusal> {
    json.map(|json| {
        argument::document(field, json.get().len())?;
        Ok(json.get().to_owned())
    })
    .transpose()
}

fn fingerprint(json: &RawValue) -> Result<String, Refusal> {
    let text = json.get();
    let fields: Option<std::collections::BTreeMap<String, String>> =
        serde_json::from_str(text).ok();
    if fields.is_none() || text.len() > FINGERPRINT_MAX {
        return Err(wrong("creation_request is not what an export writes"));
    }
    Ok(text.to_owned())
}

fn optional_time(field: &str, text: Option<String>) -> Result<Option<Micros>, Refusal> {
    text.map(|text| time(field, &text)).transpose()
}

fn time(field: &str, text: &str) -> Result<Micros, Refusal> {
    clock::parse(text).map_err(|_| wrong(format!("{field} is no time")))
}
