//! The cards and the links between them, both ways.

use std::collections::HashMap;

use serde_json::Value;

use super::state::State;
use crate::command::backlog::card::{items, text};

/// Cards go by their place in the order of claims.
pub struct Dag {
    cards: Vec<Value>,
    states: Vec<State>,
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
    /// Every card stands after those that it needs.
    order: Vec<usize>,
}

impl Dag {
    pub fn new(cards: Vec<Value>) -> Self {
        let places: HashMap<&str, usize> = cards
            .iter()
            .enumerate()
            .map(|(place, card)| (text(card, "id"), place))
            .collect();
        let mut needs: Vec<Vec<usize>> = cards
            .iter()
            .map(|card| {
                items(&card["depends_on"])
                    .iter()
                    .filter_map(|id| places.get(id.as_str()?).copied())
                    .collect()
            })
            .collect();
        let mut needed_by = vec![Vec::new(); cards.len()];
        for (card, needed) in needs.iter_mut().enumerate() {
            needed.sort_unstable();
            for need in needed {
                needed_by[*need].push(card);
            }
        }
        let order = order(&needs, &needed_by);
        Dag {
            states: cards.iter().map(State::of).collect(),
            cards,
            needs,
            needed_by,
            order,
        }
    }

    pub fn len(&self) -> usize {
        self.cards.len()
    }

    pub fn card(&self, card: usize) -> &Value {
        &self.cards[card]
    }

    pub fn id(&self, card: usize) -> &str {
        text(&self.cards[card], "id")
    }

    pub fn state(&self, card: usize) -> State {
        self.states[card]
    }

    pub fn needs(&self, card: usize) -> &[usize] {
        &self.needs[card]
    }

    pub fn needed_by(&self, card: usize) -> &[usize] {
        &self.needed_by[card]
    }

    pub fn order(&self) -> &[usize] {
        &self.order
    }

    pub fn find(&self, id: &str) -> Option<usize> {
        self.cards.iter().position(|card| text(card, "id") == id)
    }
}

/// The database lets no cycle in, so every card gets its turn.
fn order(needs: &[Vec<usize>], needed_by: &[Vec<usize>]) -> Vec<usize> {
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut order: Vec<usize> = (0..needs.len())
        .filter(|card| missing[*card] == 0)
        .collect();
    let mut next = 0;
    while let Some(card) = order.get(next).copied() {
        next += 1;
        for dependent in &needed_by[card] {
            missing[*dependent] -= 1;
            if missing[*dependent] == 0 {
                order.push(*dependent);
            }
        }
    }
    order
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// Cards as "A1 done", "B1 ready: A1 A2".
    pub fn dag(lines: &[&str]) -> Dag {
        let cards = lines.iter().map(|line| {
            let (card, needs) = line.split_once(':').unwrap_or((line, ""));
            let (id, status) = card.split_once(' ').unwrap_or((card, "ready"));
            let needs: Vec<&str> = needs.split_whitespace().collect();
            json!({"id": id, "title": format!("Title of {id}"), "status": status, "labels": [],
                   "depends_on": needs, "open_dependencies": needs.len(), "not_before": null})
        });
        Dag::new(cards.collect())
    }

    #[test]
    fn links_are_known_both_ways_and_the_order_respects_them() {
        let dag = dag(&["C: B A", "B: A", "A", "D: gone"]);
        assert_eq!(dag.needs(0), [1, 2]);
        assert_eq!(dag.needed_by(2), [0, 1]);
        let place = |id: &str| dag.order().iter().position(|card| dag.id(*card) == id);
        assert!(place("A") < place("B") && place("B") < place("C"));
        assert_eq!(dag.order().len(), 4);
        assert_eq!(dag.find("D"), Some(3));
        assert_eq!(dag.find("gone"), None);
    }
}
