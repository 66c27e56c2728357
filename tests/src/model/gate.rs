//! The edges of the dependency graph.

use std::collections::BTreeSet;

use super::{Answer, Backlog, Caller};

impl Backlog {
    /// Whether following dependencies from any of `from` leads to `id`, whatever the status of
    /// the cards on the way: done and cancelled ones can be reopened.
    pub(super) fn leads_to(&self, from: &BTreeSet<String>, id: &str) -> bool {
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let mut next: Vec<&String> = from.iter().collect();
        while let Some(at) = next.pop() {
            if at == id {
                return true;
            }
            if seen.insert(at) {
                next.extend(&self.cards[at].depends_on);
            }
        }
        false
    }

    /// The cards that depend on `id`.
    pub(super) fn dependents(&self, id: &str) -> Vec<String> {
        let cards = self.cards.values();
        cards
            .filter(|card| card.depends_on.contains(id))
            .map(|card| card.id.clone())
            .collect()
    }

    /// The card and the dependencies that are named, all known, the card open.
    fn ends(&self, id: &str, depends_on: &[String]) -> Result<BTreeSet<String>, &'static str> {
        if depends_on.is_empty() {
            return Err("invalid_argument");
        }
        let card = self.find(id)?;
        for on in depends_on {
            self.find(on)?;
        }
        if !card.status.is_open() {
            return Err("bad_transition");
        }
        Ok(depends_on.iter().cloned().collect())
    }

    /// A claimed card may be linked: the gate governs handing out, not finishing.
    pub(super) fn link(&mut self, id: &str, depends_on: &[String], by: &Caller) -> Answer {
        let named = self.ends(id, depends_on)?;
        if self.leads_to(&named, id) {
            return Err("cycle");
        }
        if !named.is_subset(&self.cards[id].depends_on) {
            self.change(id).depends_on.extend(named);
            self.record_change(id, "linked", &by.actor);
        }
        self.get(id)
    }

    /// Edges that do not exist are passed over.
    pub(super) fn unlink(&mut self, id: &str, depends_on: &[String], by: &Caller) -> Answer {
        let named = self.ends(id, depends_on)?;
        if !named.is_disjoint(&self.cards[id].depends_on) {
            let card = self.change(id);
            card.depends_on.retain(|on| !named.contains(on));
            self.record_change(id, "unlinked", &by.actor);
        }
        self.get(id)
    }
}
