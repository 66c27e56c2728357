//! What is said of a card to create, parsed and validated.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::argument;
use crate::postgres::clock::Micros;
use crate::refusal::Refusal;

/// A card to create, as the caller describes it. The keys are the arguments of `backlog_create`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    pub title: Option<String>,
    #[serde(default)]
    pub id: Option<String>,
    #[serde(default)]
    pub body: Option<String>,
    #[serde(default)]
    pub phase: Option<String>,
    #[serde(default)]
    pub priority: Option<i32>,
    #[serde(default)]
    pub depends_on: Option<Vec<Option<String>>>,
    #[serde(default)]
    pub labels: Option<Vec<Option<String>>>,
    #[serde(default)]
    pub requires: Option<Vec<Option<String>>>,
    #[serde(default)]
    pub acceptance: Option<Json>,
    #[serde(default)]
    pub idempotency_key: Option<String>,
    #[serde(default)]
    pub not_before: Option<Time>,
    #[serde(default)]
    pub max_attempts: Option<i32>,
}

/// JSON, as text.
#[derive(Deserialize)]
#[serde(from = "Box<RawValue>")]
pub struct Json(pub String);

impl From<Box<RawValue>> for Json {
    fn from(json: Box<RawValue>) -> Self {
        Self(json.get().to_owned())
    }
}

/// A time, of PostgreSQL or as JSON has it.
#[derive(Deserialize)]
#[serde(from = "String")]
pub enum Time {
    Known(Micros),
    Written(String),
}

impl From<String> for Time {
    fn from(text: String) -> Self {
        Self::Written(text)
    }
}

/// A card to create, validated.
pub struct NewCard {
    /// As the caller gave it.
    pub id: Option<String>,
    pub title: String,
    pub body: Option<String>,
    pub phase: Option<String>,
    pub priority: i32,
    pub depends_on: Vec<String>,
    pub labels: Vec<String>,
    pub requires: Vec<String>,
    pub acceptance: Option<String>,
    pub idempotency_key: Option<String>,
    pub not_before: Option<Micros>,
    pub max_attempts: Option<i32>,
}

impl Draft {
    pub fn validate(self) -> Result<NewCard, Refusal> {
        let card = NewCard {
            id: self.id.map(|id| argument::id("id", Some(id))).transpose()?,
            title: argument::title(self.title)?,
            body: self.body,
            phase: argument::optional_name("phase", self.phase)?,
            priority: argument::priority(self.priority.unwrap_or(0))?,
            depends_on: argument::ids("depends_on", self.depends_on)?,
            labels: argument::new_labels("labels", self.labels)?,
            requires: argument::new_labels("requires", self.requires)?,
            acceptance: self.acceptance.map(|Json(text)| text),
            idempotency_key: argument::optional_name("idempotency_key", self.idempotency_key)?,
            not_before: match self.not_before {
                None => None,
                Some(Time::Known(at)) => Some(at),
                Some(Time::Written(text)) => Some(argument::written_time(&text)?),
            },
            max_attempts: argument::max_attempts(self.max_attempts)?,
        };
        argument::document("body", card.body.as_deref().map_or(0, str::len))?;
        argument::json("acceptance", card.acceptance.as_deref().unwrap_or_default())?;
        if let Some(id) = &card.id
            && card.depends_on.contains(id)
        {
            return Err(Refusal::cycle(id, id));
        }
        Ok(card)
    }
}

impl NewCard {
    /// One hash a field: enough to tell on a retry whether and where the request differs,
    /// whatever became of the card since.
    pub fn fingerprint(&self) -> serde_json::Value {
        let fields = [
            ("id", json!(self.id)),
            ("title", json!(self.title)),
            ("body", json!(self.body)),
            ("phase", json!(self.phase)),
            ("priority", json!(self.priority)),
            ("depends_on", json!(self.depends_on)),
            ("labels", json!(self.labels)),
            ("requires", json!(self.requires)),
            ("acceptance", json!(self.acceptance)),
            ("not_before", json!(self.not_before)),
            ("max_attempts", json!(self.max_attempts)),
        ];
        fields
            .into_iter()
            .map(|(name, value)| {
                let hash = Sha256::digest(value.to_string().as_bytes());
                let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
                (name.to_owned(), json!(hex))
            })
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// The cards of a JSON array of them.
pub fn parse_batch(text: &str) -> Result<Vec<NewCard>, Refusal> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|_| {
        Refusal::argument("cards is not a JSON array", "Give a JSON array of cards.")
    })?;
    if elements.len() > argument::BATCH_MAX {
        return Err(Refusal::argument(
            format!(
                "cards has {} entries, at most {} are allowed",
                elements.len(),
                argument::BATCH_MAX
            ),
            "Split the batch.",
        ));
    }
    let mut cards = Vec::with_capacity(elements.len());
    let mut ids = HashMap::new();
    let mut keys = HashMap::new();
    for (index, element) in elements.into_iter().enumerate() {
        let at = index + 1;
        // serde would take an array for the fields in their order.
        if !element.get().starts_with('{') {
            return Err(Refusal::argument(
                format!("card {at} of the batch is not a JSON object"),
                "The keys are the arguments of mosaic.backlog_create.",
            ));
        }
        let card = serde_json::from_str::<Draft>(element.get())
            .map_err(|error| {
                let error = error.to_string();
                let error = error.split(" at line ").next().unwrap_or_default();
                Refusal::argument(
                    format!("card {at} of the batch is malformed: {error}"),
                    "The keys are the arguments of mosaic.backlog_create.",
                )
            })?
            .validate()
            .map_err(|refusal| refusal.of_batch(at))?;
        for (what, value, seen) in [
            ("id", &card.id, &mut ids),
            ("idempotency_key", &card.idempotency_key, &mut keys),
        ] {
            if let Some(value) = value
                && let Some(first) = seen.insert(value.clone(), at)
            {
                return Err(Refusal::argument(
                    format!("cards {first} and {at} of the batch have the same {what} \"{value}\""),
                    "Give each card once.",
                ));
            }
        }
        cards.push(card);
    }
    Ok(cards)
}
