//! Reading cards.

use serde_json::json;

use super::call::Filter;
use super::{Answer, Backlog};

impl Backlog {
    pub(super) fn get(&self, id: &str) -> Answer {
        self.find(id)?;
        Ok(vec![self.row(id)])
    }

    /// All cards that the filters keep, in the order of claims, on pages of `max_cards`. The
    /// rows here are those of all pages: `cursor` says whether a card follows.
    pub(super) fn list(&self, filter: &Filter) -> Answer {
        if filter.max_cards == 0 {
            return Err("invalid_argument");
        }
        let mut ids = self.ids();
        ids.retain(|id| {
            let card = &self.cards[id];
            let statuses = filter.statuses.as_ref();
            statuses.map_or(card.status.is_open(), |statuses| {
                statuses.contains(&card.status)
            }) && filter.phase.is_none_or(|phase| card.phase == Some(phase))
                && card.has_all(&filter.labels)
                && filter.owner.is_none_or(|owner| card.owner() == Some(owner))
                && (!filter.ready_only || self.is_claimable(id))
        });
        ids.sort_by_key(|id| self.cards[id].claim_order());
        let row = |(at, id)| json!({"id": id, "follows": at + 1 < ids.len(), "total": ids.len()});
        Ok(ids.iter().enumerate().map(row).collect())
    }
}
