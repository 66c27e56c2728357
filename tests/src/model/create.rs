//! Creating cards, one or a batch, at most once each.

use std::collections::BTreeSet;

use serde_json::json;

use super::block::given;
use super::call::NewCard;
use super::card::{Card, Status};
use super::claim::set;
use super::{Answer, Backlog, Caller, Drawn};

impl Backlog {
    pub(super) fn create(&mut self, new: &NewCard, by: &Caller, drawn: &Drawn) -> Answer {
        let created = self.create_all(std::slice::from_ref(new), by, drawn)?;
        let (id, created) = &created[0];
        let mut row = self.row(id);
        row["created"] = json!(created);
        Ok(vec![row])
    }

    /// All or nothing. `depends_on` may name cards of the same batch, before or after.
    pub(super) fn create_many(&mut self, new: &[NewCard], by: &Caller, drawn: &Drawn) -> Answer {
        let (mut ids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for new in new {
            valid(new)?;
            // No card twice.
            let is_twice = new.id.as_ref().is_some_and(|id| !ids.insert(id))
                || new.idempotency_key.is_some_and(|key| !keys.insert(key));
            if is_twice {
                return Err("invalid_argument");
            }
        }
        let created = self.create_all(new, by, drawn)?;
        let row = |(id, created)| json!({"id": id, "created": created});
        Ok(created.into_iter().map(row).collect())
    }

    /// The cards' ids, and which of them are new.
    fn create_all(
        &mut self,
        new: &[NewCard],
        by: &Caller,
        drawn: &Drawn,
    ) -> Result<Vec<(String, bool)>, &'static str> {
        for new in new {
            valid(new)?;
        }
        let new: Vec<NewCard> = new.iter().map(normal).collect();
        // The same key and the same request as the first time: that card, whatever became of it.
        let mut found = Vec::new();
        for new in &new {
            let before = self.cards.values().find(|card| {
                new.idempotency_key.is_some() && card.idempotency_key == new.idempotency_key
            });
            match before {
                Some(card) if card.request != *new => return Err("key_conflict"),
                before => found.push(before.map(|card| card.id.clone())),
            }
        }
        let fresh: Vec<&NewCard> = new
            .iter()
            .zip(&found)
            .filter(|(_, found)| found.is_none())
            .map(|(new, _)| new)
            .collect();
        refuse_cycle(&fresh)?;
        let own = |id: &String| fresh.iter().any(|new| new.id.as_ref() == Some(id));
        // (Silent.) An unknown dependency is told before an id that is taken.
        for on in fresh.iter().flat_map(|new| &new.depends_on) {
            if !own(on) {
                self.find(on)?;
            }
        }
        if fresh
            .iter()
            .filter_map(|new| new.id.as_ref())
            .any(|id| self.cards.contains_key(id))
        {
            return Err("id_conflict");
        }
        let mut outcomes = Vec::new();
        for (at, (new, found)) in new.iter().zip(found).enumerate() {
            outcomes.push(match found {
                Some(id) => (id, false),
                None => (self.bear(new, drawn.ids.get(at)), true),
            });
        }
        // The whole batch exists before anything is said about it.
        for (id, _) in outcomes.iter().filter(|(_, created)| *created) {
            self.record(id, "created", &by.actor, None, None, None);
        }
        Ok(outcomes)
    }

    /// A new card, under its own id or the one that the database generated.
    fn bear(&mut self, new: &NewCard, generated: Option<&String>) -> String {
        let id = new.id.as_ref().or(generated).expect("an id").clone();
        let card = Card {
            id: id.clone(),
            title: new.title.to_owned(),
            body: new.body,
            phase: new.phase,
            labels: new.labels.iter().copied().collect(),
            requires: new.requires.iter().copied().collect(),
            priority: new.priority,
            status: Status::Ready,
            acceptance: new.acceptance,
            idempotency_key: new.idempotency_key,
            not_before: new.not_before,
            claim: None,
            attempts: 0,
            max_attempts: new.max_attempts,
            block: None,
            result: None,
            depends_on: new.depends_on.iter().cloned().collect(),
            created_at: self.now,
            updated_at: self.now,
            completed_at: None,
            born: self.born,
            is_generated: new.id.is_none(),
            request: new.clone(),
            settled: None,
            last_failure: None,
            claimable_since: None,
        };
        self.born += 1;
        let before = self.cards.insert(id.clone(), card);
        assert!(before.is_none(), "the generated id {id} is taken");
        id
    }
}

fn valid(new: &NewCard) -> Result<(), &'static str> {
    given(new.title)?;
    if new.max_attempts.is_some_and(|max| max < 1) {
        return Err("invalid_argument");
    }
    if new
        .id
        .as_ref()
        .is_some_and(|id| new.depends_on.contains(id))
    {
        return Err("cycle");
    }
    Ok(())
}

/// The same request said otherwise is the same request.
fn normal(new: &NewCard) -> NewCard {
    let mut new = new.clone();
    new.labels = set(&new.labels);
    new.requires = set(&new.requires);
    new.depends_on.sort();
    new.depends_on.dedup();
    new
}

/// A new card has no dependents but in its own batch: only there a cycle can close. Cards that
/// wait for no card of the batch that is left are taken out until none is left.
fn refuse_cycle(batch: &[&NewCard]) -> Result<(), &'static str> {
    let mut left: Vec<&NewCard> = batch
        .iter()
        .copied()
        .filter(|new| new.id.is_some())
        .collect();
    loop {
        let ids: Vec<&String> = left.iter().filter_map(|new| new.id.as_ref()).collect();
        let waiting: Vec<&NewCard> = left
            .iter()
            .copied()
            .filter(|new| new.depends_on.iter().any(|on| ids.contains(&on)))
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if waiting.len() == left.len() {
            return Err("cycle");
        }
        left = waiting;
    }
}
