//! The line of a card.

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::value::{status, time, token, wrong};
use crate::argument;
use crate::card::BLOCK_KINDS;
use crate::card::status::Status;
use crate::postgres::clock::Micros;
use crate::refusal::Refusal;

/// Characters that a quarantine puts around the last reason.
const REASON_FRAME: usize = 1_000;
/// Bytes of the fingerprint of a creating request.
const FINGERPRINT_MAX: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCard {
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
    pub fn validate(self) -> Result<Card, Refusal> {
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
                "idempotency_key and creation_request come together or not at all",
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
            (Status::Claimed, _) => {
                return Err(wrong("the card is claimed, but has no claim_owner"));
            }
            (_, (None, None, None, None, None)) => None,
            _ => return Err(wrong("the card has a claim_owner, but is not claimed")),
        };
        let is_blocked = status == Status::Blocked;
        if is_blocked != self.block_kind.is_some() || is_blocked != self.block_reason.is_some() {
            return Err(wrong("only a blocked card has block_kind and block_reason"));
        }
        if let Some(kind) = &self.block_kind
            && !BLOCK_KINDS.contains(&kind.as_str())
        {
            return Err(wrong("block_kind is not a known kind"));
        }
        if (status == Status::Done) != self.completed_at.is_some() {
            return Err(wrong("only a done card has completed_at"));
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
        argument::json(field, json.get())?;
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
