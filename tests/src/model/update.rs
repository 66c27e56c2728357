//! Changing what a card says, in any state.

use super::block::given;
use super::call::Update;
use super::card::{Card, Status};
use super::claim::set;
use super::{Answer, Backlog, Caller};

/// The content of a card: what an update can change.
fn content(card: &Card) -> impl PartialEq + use<> {
    (
        (card.title.clone(), card.body, card.phase, card.priority),
        (card.labels.clone(), card.requires.clone(), card.acceptance),
        (card.not_before, card.max_attempts),
    )
}

impl Backlog {
    /// What is not given stays; what is to be cleared becomes null. An update that changes
    /// nothing is a repeat.
    pub(super) fn update(&mut self, update: &Update, by: &Caller) -> Answer {
        update.title.map_or(Ok(()), given)?;
        let given = [
            ("body", update.body.is_some()),
            ("phase", update.phase.is_some()),
            ("acceptance", update.acceptance.is_some()),
            ("not_before", update.not_before.is_some()),
            ("max_attempts", update.max_attempts.is_some()),
        ];
        // Only what may be null can be cleared, and not together with a new value.
        let may_be_cleared = |field: &&str| given.contains(&(*field, false));
        if update.max_attempts.is_some_and(|max| max < 1)
            || !update.clear.iter().all(may_be_cleared)
        {
            return Err("invalid_argument");
        }
        let id = &update.id;
        let before = content(self.find(id)?);
        let card = self.card_mut(id);
        if let Some(title) = update.title {
            card.title = title.to_owned();
        }
        card.body = update.body.or(card.body);
        card.phase = update.phase.or(card.phase);
        card.priority = update.priority.unwrap_or(card.priority);
        if let Some(labels) = &update.labels {
            card.labels = set(labels).into_iter().collect();
        }
        if let Some(requires) = &update.requires {
            card.requires = set(requires).into_iter().collect();
        }
        card.acceptance = update.acceptance.or(card.acceptance);
        card.not_before = update.not_before.or(card.not_before);
        card.max_attempts = update.max_attempts.or(card.max_attempts);
        for field in &update.clear {
            match *field {
                "body" => card.body = None,
                "phase" => card.phase = None,
                "acceptance" => card.acceptance = None,
                "not_before" => card.not_before = None,
                _ => card.max_attempts = None,
            }
        }
        if content(card) != before {
            self.change(id);
            self.record_change(id, "updated", &by.actor);
        }
        // A maximum below what the card has used up leaves no attempt to hand out.
        if self.cards[id].status == Status::Ready && self.cards[id].is_used_up() {
            self.quarantine(id, "quarantined", None, &by.actor);
        }
        self.get(id)
    }
}
