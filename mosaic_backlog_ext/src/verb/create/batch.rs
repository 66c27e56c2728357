//! Creation of a batch of cards, each at most once.

use std::collections::{HashMap, HashSet};
use std::thread::LocalKey;

use pgrx::prelude::*;
use serde_json::json;

use super::draft::NewCard;
use crate::card::cycle::Links;
use crate::card::dependency::{self, Gates};
use crate::card::history::{self, Event};
use crate::card::status::Status;
use crate::frontier::gate;
use crate::frontier::wake;
use crate::postgres::clock;
use crate::postgres::sequence::Sequence;
use crate::postgres::statement::{Parameter, Session, Statement, param, statements};
use crate::refusal::Refusal;

/// What has an id or a key already is passed over; what another unique index has is an error where that is
/// only so of an `(id)`.
macro_rules! insert {
    ($unless:literal) => {
        concat!(
            "insert into mosaic.backlog (id, title, body, phase, priority, labels, requires, acceptance, idempotency_key,
               not_before, max_attempts, open_dependencies, linked, creation_seq, creation_request,
               created_at, updated_at, claimable_since)
             select n.id, n.title, n.body, n.phase, n.priority, coalesce(n.labels::text[], '{}'), coalesce(n.requires::text[], '{}'), n.acceptance::jsonb,
               n.idempotency_key, n.not_before, n.max_attempts, n.open_dependencies, n.linked, n.creation_seq,
               n.creation_request::jsonb, $16, $16, $16
             from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
               as n(id, title, body, phase, priority, labels, requires, acceptance, idempotency_key, not_before,
                    max_attempts, open_dependencies, linked, creation_seq, creation_request)
             on conflict ",
            $unless,
            " do nothing
             returning id"
        )
    };
}

statements! {
    FIND(TEXTARRAYOID) =
        "select idempotency_key, id, creation_request::text from mosaic.backlog where idempotency_key = any($1)";
    TAKEN(TEXTARRAYOID) = "select id from mosaic.backlog where id = any($1)";
    INSERT_UNLESS_ID(TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
           TEXTARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID, INT4ARRAYOID, BOOLARRAYOID, INT8ARRAYOID, TEXTARRAYOID,
           TIMESTAMPTZOID) = insert!("(id)");
    INSERT_UNLESS_MET(TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
           TEXTARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID, INT4ARRAYOID, BOOLARRAYOID, INT8ARRAYOID, TEXTARRAYOID,
           TIMESTAMPTZOID) = insert!("");
    INSERT_EDGES(TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID) =
        "insert into mosaic.backlog_dependency (card_id, depends_on, created_at)
         select e.card_id, e.depends_on, $3 from unnest($1, $2) as e(card_id, depends_on)";
}

/// A generated id: short, easy to type, and sorted like the order of creation. The letter in
/// front grows with the number of digits.
pub fn generated_id(seq: i64) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut digits = Vec::new();
    let mut rest = seq;
    while rest > 0 || digits.len() < 5 {
        digits.push(DIGITS[(rest & 31) as usize]);
        rest >>= 5;
    }
    digits.push(b'c' + (digits.len() - 5) as u8);
    digits.reverse();
    String::from_utf8(digits).expect("ASCII")
}

/// What became of a card to create.
#[derive(Clone)]
pub struct Outcome {
    pub id: String,
    pub created: bool,
}

/// Creates cards, or finds those that an earlier request with the same key made.
pub fn create(
    session: &Session,
    cards: &[NewCard],
    actor: Option<&str>,
) -> Result<Vec<Outcome>, Refusal> {
    let fingerprints: Vec<Option<serde_json::Value>> = cards
        .iter()
        .map(|d| d.idempotency_key.as_ref().map(|_| d.fingerprint()))
        .collect();
    let mut batch = Batch {
        session,
        cards,
        fingerprints,
        outcomes: vec![None; cards.len()],
        actor,
    };
    batch.find_created()?;
    let own: HashSet<&str> = batch
        .missing()
        .filter_map(|i| cards[i].id.as_deref())
        .collect();
    refuse_cycle(cards, &own)?;
    let done = batch.lock_outside(&own)?;
    // Of keys, two requests that come at the same moment have to be told from two of one key.
    let mut id_alone = cards.iter().all(|card| card.idempotency_key.is_none());
    while batch.missing().next().is_some() {
        let insert = match id_alone {
            true => &INSERT_UNLESS_ID,
            false => &INSERT_UNLESS_MET,
        };
        let tried = batch.insert_missing(insert, &done);
        // What is still missing met another card with its key or its id.
        let met = batch.find_created()?;
        batch.open_gates(&own, &met)?;
        let taken = batch.taken(&tried);
        let is_taken = |i: &usize| id_alone || taken.contains(&tried[i]);
        let mut given = batch.missing().filter(is_taken);
        if let Some(id) = given.find_map(|i| cards[i].id.as_deref()) {
            return Err(Refusal::id_conflict(id));
        }
        // Where a generated id was taken, the next round draws another. What met neither met a unique index of
        // somebody's own, whose error it gets.
        id_alone |= !batch.missing().all(|i| is_taken(&i));
    }
    Ok(batch.outcomes.into_iter().flatten().collect())
}

/// Refuses cycles among the cards of a batch. A new card has no dependents outside it.
fn refuse_cycle(cards: &[NewCard], own: &HashSet<&str>) -> Result<(), Refusal> {
    let mut links = Links::default();
    for card in cards {
        if let Some(id) = card.id.as_deref().filter(|id| own.contains(id)) {
            for on in card
                .depends_on
                .iter()
                .filter(|on| own.contains(on.as_str()))
            {
                links.add(id, on);
            }
        }
    }
    match links.cycle() {
        None => Ok(()),
        Some(cycle) => Err(Refusal::cycle(cycle[0], cycle.get(1).unwrap_or(&cycle[0]))),
    }
}

/// A creation under way.
struct Batch<'a> {
    session: &'a Session,
    cards: &'a [NewCard],
    /// Of the cards with an idempotency key.
    fingerprints: Vec<Option<serde_json::Value>>,
    outcomes: Vec<Option<Outcome>>,
    actor: Option<&'a str>,
}

impl Batch<'_> {
    /// Those that are not created yet.
    fn missing(&self) -> impl Iterator<Item = usize> {
        self.outcomes
            .iter()
            .enumerate()
            .filter(|(_, outcome)| outcome.is_none())
            .map(|(i, _)| i)
    }

    /// Finds those whose idempotency key was used before with the same request.
    /// Gives the ids of those found now.
    fn find_created(&mut self) -> Result<Vec<String>, Refusal> {
        let keys: Vec<&str> = self
            .missing()
            .filter_map(|i| self.cards[i].idempotency_key.as_deref())
            .collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.session.run(&FIND, &[param(keys)]);
        let found: HashMap<String, (String, Option<String>)> = (0..answer.len())
            .map(|row| {
                (
                    answer.must(row, 1),
                    (answer.must(row, 2), answer.get(row, 3)),
                )
            })
            .collect();
        let mut ids = Vec::new();
        for i in self.missing().collect::<Vec<_>>() {
            let Some(key) = &self.cards[i].idempotency_key else {
                continue;
            };
            let Some((id, first)) = found.get(key) else {
                continue;
            };
            let first: serde_json::Value = first
                .as_deref()
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            let differing: Vec<String> = self.fingerprints[i]
                .as_ref()
                .and_then(serde_json::Value::as_object)
                .into_iter()
                .flatten()
                .filter(|(field, hash)| first.get(field) != Some(hash))
                .map(|(field, _)| field.clone())
                .collect();
            if !differing.is_empty() {
                return Err(Refusal::key_conflict(key, id, &differing));
            }
            self.outcomes[i] = Some(Outcome {
                id: id.clone(),
                created: false,
            });
            ids.push(id.clone());
        }
        Ok(ids)
    }

    /// Locks the dependencies that are not created by this batch, before their status is
    /// read. Gives those that are done.
    fn lock_outside(&self, own: &HashSet<&str>) -> Result<HashSet<String>, Refusal> {
        let mut outside: Vec<String> = self
            .missing()
            .flat_map(|i| &self.cards[i].depends_on)
            .filter(|id| !own.contains(id.as_str()))
            .cloned()
            .collect();
        outside.sort();
        outside.dedup();
        let gates = Gates::pass(&outside);
        let locked = dependency::lock_shared(self.session, &outside)?;
        gates.leave();
        Ok(locked
            .into_iter()
            .filter(|(_, s)| *s == Status::Done)
            .map(|(id, _)| id)
            .collect())
    }

    /// Those of the ids of missing cards that other cards have.
    fn taken(&self, tried: &HashMap<usize, String>) -> HashSet<String> {
        let ids: Vec<&str> = self.missing().map(|i| tried[&i].as_str()).collect();
        if ids.is_empty() {
            return HashSet::new();
        }
        let answer = self.session.run(&TAKEN, &[param(ids)]);
        answer.column(1).into_iter().collect()
    }

    /// Inserts the missing cards with their edges and events, as far as no other card has
    /// their id or key. Gives the ids that the others would have got.
    fn insert_missing(
        &mut self,
        insert: &'static LocalKey<Statement>,
        done: &HashSet<String>,
    ) -> HashMap<usize, String> {
        let now = clock::now();
        let mut new: Vec<(usize, String, i64)> = self
            .missing()
            .map(|i| {
                let seq = Sequence::Creations.next();
                (
                    i,
                    self.cards[i]
                        .id
                        .clone()
                        .unwrap_or_else(|| generated_id(seq)),
                    seq,
                )
            })
            .collect();
        // Batches that meet in ids or in keys wait for each other in one order.
        new.sort_by(|(a, id_a, _), (b, id_b, _)| {
            let (a, b) = (&self.cards[*a], &self.cards[*b]);
            let given = b.id.is_some().cmp(&a.id.is_some());
            given.then_with(|| match &a.id {
                Some(_) => id_a.cmp(id_b),
                None => a.idempotency_key.cmp(&b.idempotency_key),
            })
        });
        let cards: Vec<&NewCard> = new.iter().map(|(i, ..)| &self.cards[*i]).collect();
        let ids: Vec<String> = new.iter().map(|(_, id, _)| id.clone()).collect();
        let seqs: Vec<i64> = new.iter().map(|(.., seq)| *seq).collect();
        let missing: Vec<usize> = new.into_iter().map(|(i, ..)| i).collect();
        let open = |card: &NewCard| {
            card.depends_on
                .iter()
                .filter(|id| !done.contains(*id))
                .count() as i32
        };
        let not_before = |card: &NewCard| {
            card.not_before
                .and_then(|at| TimestampWithTimeZone::try_from(at).ok())
        };
        let answer = self.session.run(
            insert,
            &[
                param(ids.iter().map(String::as_str).collect::<Vec<_>>()),
                column(&cards, |d| d.title.as_str()),
                column(&cards, |d| d.body.as_deref()),
                column(&cards, |d| d.phase.as_deref()),
                column(&cards, |d| d.priority),
                column(&cards, |d| some_array(&d.labels)),
                column(&cards, |d| some_array(&d.requires)),
                column(&cards, |d| d.acceptance.as_deref()),
                column(&cards, |d| d.idempotency_key.as_deref()),
                column(&cards, not_before),
                column(&cards, |d| d.max_attempts),
                column(&cards, open),
                column(&cards, |d| !d.depends_on.is_empty()),
                param(seqs),
                param(
                    missing
                        .iter()
                        .map(|i| self.fingerprints[*i].as_ref().map(ToString::to_string))
                        .collect::<Vec<_>>(),
                ),
                param(now),
            ],
        );
        let inserted: HashSet<String> = answer.column(1).into_iter().collect();
        let (mut created, others): (Vec<(usize, String)>, Vec<_>) = missing
            .into_iter()
            .zip(ids)
            .partition(|(_, id)| inserted.contains(id));
        created.sort();
        if created.iter().any(|(i, _)| open(&self.cards[*i]) == 0) {
            wake::waiters();
        }
        let (from, to): (Vec<&str>, Vec<&str>) = created
            .iter()
            .flat_map(|(i, id)| {
                let depends_on = self.cards[*i].depends_on.iter();
                depends_on.map(move |on| (id.as_str(), on.as_str()))
            })
            .unzip();
        if !from.is_empty() {
            self.session
                .run(&INSERT_EDGES, &[param(from), param(to), param(now)]);
        }
        let events: Vec<Event> = created
            .iter()
            .map(|(i, id)| created_event(&self.cards[*i], id, self.actor))
            .collect();
        history::record_many(self.session, now, &events);
        for (i, id) in created {
            self.outcomes[i] = Some(Outcome { id, created: true });
        }
        others.into_iter().collect()
    }

    /// Cards of the batch were counted as open dependencies. Where another session created
    /// such a card at the same moment, it may be done already: its dependents here wait no more.
    fn open_gates(&self, own: &HashSet<&str>, met: &[String]) -> Result<(), Refusal> {
        let mut met: Vec<String> = met
            .iter()
            .filter(|id| own.contains(id.as_str()))
            .cloned()
            .collect();
        met.sort();
        for (id, status) in dependency::lock_shared(self.session, &met)? {
            if status == Status::Done {
                let dependents = self
                    .cards
                    .iter()
                    .zip(&self.outcomes)
                    .filter(|(card, _)| card.depends_on.contains(&id))
                    .filter_map(|(_, outcome)| outcome.as_ref().filter(|o| o.created))
                    .map(|outcome| outcome.id.clone())
                    .collect();
                gate::shift(self.session, dependents, -1, clock::now());
            }
        }
        Ok(())
    }
}

/// What the history says of a creation.
pub fn created_event<'a>(card: &NewCard, id: &'a str, actor: Option<&'a str>) -> Event<'a> {
    Event {
        card_id: id,
        kind: "created",
        actor,
        claim_token: None,
        old_status: None,
        new_status: Status::Ready,
        detail: json!({
            "title": card.title, "phase": card.phase, "priority": card.priority,
            "depends_on": card.depends_on,
        }),
    }
}

/// One column of the cards to insert.
fn column<'a, T>(cards: &[&'a NewCard], of: impl Fn(&'a NewCard) -> T) -> Parameter
where
    Vec<T>: IntoDatum,
{
    param(cards.iter().map(|card| of(card)).collect::<Vec<T>>())
}

/// `values` as the text of an array.
pub fn array_literal(values: &[String]) -> String {
    let quoted: Vec<String> = values
        .iter()
        .map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    format!("{{{}}}", quoted.join(","))
}

/// The same where there are any.
fn some_array(values: &[String]) -> Option<String> {
    (!values.is_empty()).then(|| array_literal(values))
}
