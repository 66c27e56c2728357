//! What the load had of what is rare: whether a round without a violation says something about it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use crate::record::{Record, Verb};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strain {
    /// Filters of claims, each counted once. The frontier keeps 256 heads.
    pub filters: usize,
    /// Cards that share the time to which they were deferred with others.
    pub of_one_time: usize,
    /// Claims that a trigger on a table of the user's made, or had rolled back.
    pub in_triggers: usize,
    /// Claims in the midst of another claim.
    pub in_claims: usize,
    /// Claims of a card that waited for more cards than a claim tells of.
    pub of_fan_in: usize,
}

impl Strain {
    pub fn of(record: &Record) -> Self {
        let mut filters = BTreeSet::new();
        let mut times: HashMap<&str, usize> = HashMap::new();
        let mut strain = Self::default();
        for entry in &record.entries {
            let call = &entry.call;
            if call.verb == Verb::Claim && entry.outcome.is_acknowledged() {
                filters.insert((call.text("phase"), call.list("labels"), call.list("offers")));
                strain.in_triggers += usize::from(call.nested().is_some());
                let rows = entry.outcome.rows().iter();
                let many = rows.filter(|row| row["dependencies_total"].as_u64() > Some(100));
                strain.of_fan_in += many.count();
            }
            if let Some(time) = call.text("not_before") {
                *times.entry(time).or_default() += 1;
            }
        }
        let events = record.backlog.events.iter();
        let helpers = events.filter(|e| e.kind == "claimed" && e.actor.contains('/'));
        strain.in_claims = helpers.count();
        strain.filters = filters.len();
        strain.of_one_time = times.values().filter(|count| **count > 1).sum();
        strain
    }
}

impl Strain {
    /// Of both together; the fewest filters that one of them had.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        Self {
            filters: self.filters.min(other.filters),
            of_one_time: self.of_one_time + other.of_one_time,
            in_triggers: self.in_triggers + other.in_triggers,
            in_claims: self.in_claims + other.in_claims,
            of_fan_in: self.of_fan_in + other.of_fan_in,
        }
    }
}

impl fmt::Display for Strain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} filters, {} cards of a time that others have, {} claims in triggers, {} claims in \
             claims, {} claims of a card that waited for 300",
            self.filters, self.of_one_time, self.in_triggers, self.in_claims, self.of_fan_in
        )
    }
}
