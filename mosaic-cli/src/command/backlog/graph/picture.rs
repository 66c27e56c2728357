//! What is shown of the graph: the cards of a subgraph, with the finished parts folded away.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::Value;

use super::critical_path;
use super::dag::Dag;
use super::state::State;

/// The cards that are asked for.
pub struct Subgraph {
    pub inside: Vec<bool>,
    /// Not asked for, but waited for.
    pub outside: Vec<bool>,
    /// The card that all is about.
    pub focus: Option<usize>,
}

impl Subgraph {
    pub fn everything(dag: &Dag) -> Self {
        Subgraph {
            inside: vec![true; dag.len()],
            outside: vec![false; dag.len()],
            focus: None,
        }
    }

    /// A card with all that it needs, and all that needs it.
    pub fn around(dag: &Dag, card: usize) -> Self {
        let mut inside = vec![false; dag.len()];
        for links in [Dag::needs as fn(&Dag, usize) -> &[usize], Dag::needed_by] {
            let mut next = vec![card];
            while let Some(card) = next.pop() {
                inside[card] = true;
                next.extend(links(dag, card).iter().filter(|other| !inside[**other]));
            }
        }
        Subgraph {
            inside,
            outside: vec![false; dag.len()],
            focus: Some(card),
        }
    }

    /// The cards that fit, and the unfinished ones that they wait for.
    pub fn of(dag: &Dag, fits: impl Fn(&Value) -> bool) -> Self {
        let inside: Vec<bool> = (0..dag.len()).map(|card| fits(dag.card(card))).collect();
        let outside = (0..dag.len())
            .map(|card| {
                let waits = |other: &usize| inside[*other] && dag.state(*other).is_open();
                !inside[card]
                    && dag.state(card) != State::Done
                    && dag.needed_by(card).iter().any(waits)
            })
            .collect();
        Subgraph {
            inside,
            outside,
            focus: None,
        }
    }
}

/// How many finished cards are folded away at one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    pub done: usize,
    pub cancelled: usize,
}

impl Folded {
    /// "… 37 done, 2 cancelled"; nothing if there is nothing.
    pub fn text(self) -> Option<String> {
        match (self.done, self.cancelled) {
            (0, 0) => None,
            (done, 0) => Some(format!("… {done} done")),
            (0, cancelled) => Some(format!("… {cancelled} cancelled")),
            (done, cancelled) => Some(format!("… {done} done, {cancelled} cancelled")),
        }
    }
}

pub struct Picture<'a> {
    pub dag: &'a Dag,
    subgraph: Subgraph,
    shown: Vec<bool>,
    /// The longest chain of open cards, in the order of the work.
    pub critical: Vec<usize>,
    /// The place of a card on that chain.
    step: Vec<Option<usize>>,
    /// Finished cards that a card needs, and in the picture of one card those that need it.
    before: HashMap<usize, Folded>,
    after: HashMap<usize, Folded>,
    /// Finished cards that stand for themselves.
    pub loose: Folded,
}

impl<'a> Picture<'a> {
    pub fn new(dag: &'a Dag, subgraph: Subgraph, all: bool) -> Self {
        let critical = critical_path::find(dag, &subgraph.inside);
        let mut step = vec![None; dag.len()];
        for (place, card) in critical.iter().enumerate() {
            step[*card] = Some(place);
        }
        let mut picture = Picture {
            shown: if all {
                subgraph.inside.clone()
            } else {
                unfinished(dag, &subgraph)
            },
            dag,
            subgraph,
            step,
            critical,
            before: HashMap::new(),
            after: HashMap::new(),
            loose: Folded::default(),
        };
        picture.fold();
        for (shown, outside) in picture.shown.iter_mut().zip(&picture.subgraph.outside) {
            *shown |= outside;
        }
        picture
    }

    /// Counts every card that is not shown at one place: the first that leads to it.
    fn fold(&mut self) {
        let mut counted = self.shown.clone();
        let cards = || (0..self.dag.len()).filter(|card| self.subgraph.inside[*card]);
        let mut gather = |from: usize, links: fn(&Dag, usize) -> &[usize]| {
            let mut folded = Folded::default();
            let mut next = vec![from];
            while let Some(card) = next.pop() {
                for other in links(self.dag, card) {
                    if self.subgraph.inside[*other] && !counted[*other] {
                        counted[*other] = true;
                        folded.add(self.dag.state(*other));
                        next.push(*other);
                    }
                }
            }
            folded
        };
        let mut before = HashMap::new();
        let mut after = HashMap::new();
        for card in cards().filter(|card| self.shown[*card]) {
            before.insert(card, gather(card, Dag::needs));
            if self.subgraph.focus.is_some() {
                after.insert(card, gather(card, Dag::needed_by));
            }
        }
        let mut loose = Folded::default();
        for card in cards().filter(|card| !counted[*card]) {
            loose.add(self.dag.state(card));
        }
        (self.before, self.after, self.loose) = (before, after, loose);
    }

    /// The cards that are shown, in the order of claims.
    pub fn cards(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.dag.len()).filter(|card| self.shown[*card])
    }

    pub fn focus(&self) -> Option<usize> {
        self.subgraph.focus
    }

    pub fn is_outside(&self, card: usize) -> bool {
        self.subgraph.outside[card]
    }

    pub fn is_critical(&self, card: usize) -> bool {
        self.step[card].is_some()
    }

    /// What a card needs, of what is shown. Its step before on the critical path comes first.
    pub fn needs(&self, card: usize) -> Vec<usize> {
        if self.is_outside(card) {
            return Vec::new();
        }
        let mut needs = self.known(self.dag.needs(card));
        needs.sort_by_key(|need| Reverse(self.step[*need]));
        needs
    }

    pub fn needed_by(&self, card: usize) -> Vec<usize> {
        let mut dependents = self.known(self.dag.needed_by(card));
        dependents.retain(|other| !self.is_outside(*other));
        dependents.sort_by_key(|other| self.step[*other].unwrap_or(usize::MAX));
        dependents
    }

    fn known(&self, links: &[usize]) -> Vec<usize> {
        links
            .iter()
            .copied()
            .filter(|other| self.shown[*other])
            .collect()
    }

    pub fn folded_before(&self, card: usize) -> Folded {
        self.before.get(&card).copied().unwrap_or_default()
    }

    pub fn folded_after(&self, card: usize) -> Folded {
        self.after.get(&card).copied().unwrap_or_default()
    }
}

impl Folded {
    fn add(&mut self, state: State) {
        match state {
            State::Cancelled => self.cancelled += 1,
            _ => self.done += 1,
        }
    }
}

/// Cards that are finished with all that they need are left out, but for a cancelled one that an
/// open card still waits for.
fn unfinished(dag: &Dag, subgraph: &Subgraph) -> Vec<bool> {
    let mut shown = subgraph.inside.clone();
    let mut finished = vec![true; dag.len()];
    for card in dag.order().iter().copied() {
        let below = dag.needs(card).iter().all(|need| finished[*need]);
        finished[card] = !subgraph.inside[card] || (!dag.state(card).is_open() && below);
        let is_waited_for = dag.state(card) == State::Cancelled
            && dag
                .needed_by(card)
                .iter()
                .any(|other| subgraph.inside[*other] && dag.state(*other).is_open());
        if finished[card] && !is_waited_for && subgraph.focus != Some(card) {
            shown[card] = false;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::backlog::graph::dag::tests::dag;

    fn shown(picture: &Picture) -> String {
        let ids: Vec<&str> = picture.cards().map(|card| picture.dag.id(card)).collect();
        ids.join(" ")
    }

    const LINES: [&str; 8] = [
        "G: C X",
        "C: B",
        "B done: A",
        "A done",
        "X cancelled",
        "L done",
        "M cancelled: L",
        "F done: C",
    ];

    #[test]
    fn finished_parts_are_folded_and_every_card_is_counted_once() {
        let dag = dag(&LINES);
        let picture = Picture::new(&dag, Subgraph::everything(&dag), false);
        // X is cancelled and keeps G waiting; F was completed by force although C is open.
        assert_eq!(shown(&picture), "G C X F");
        assert_eq!(picture.folded_before(1).text().unwrap(), "… 2 done");
        assert_eq!(picture.folded_before(0).text(), None);
        assert_eq!(picture.loose.text().unwrap(), "… 1 done, 1 cancelled");
    }

    #[test]
    fn all_means_all() {
        let dag = dag(&LINES);
        let picture = Picture::new(&dag, Subgraph::everything(&dag), true);
        assert_eq!(picture.cards().count(), LINES.len());
        assert_eq!(picture.loose, Folded::default());
    }

    #[test]
    fn around_a_card_are_what_it_needs_and_what_needs_it() {
        let dag = dag(&["G: C", "C: B", "B: A", "A", "H: B", "I: A"]);
        let picture = Picture::new(&dag, Subgraph::around(&dag, 1), false);
        assert_eq!(shown(&picture), "G C B A");
        assert_eq!(picture.focus(), Some(1));
    }

    #[test]
    fn a_done_card_that_is_asked_for_is_shown() {
        let dag = dag(&["G done: C", "C done: B", "B done"]);
        let picture = Picture::new(&dag, Subgraph::around(&dag, 1), false);
        assert_eq!(shown(&picture), "C");
        assert_eq!(picture.folded_before(1).text().unwrap(), "… 1 done");
        assert_eq!(picture.folded_after(1).text().unwrap(), "… 1 done");
    }

    #[test]
    fn a_filter_keeps_what_its_cards_wait_for_elsewhere() {
        let dag = dag(&["G: C D", "C: B", "B", "D done"]);
        let picture = Picture::new(&dag, Subgraph::of(&dag, |card| card["id"] == "G"), false);
        assert_eq!(shown(&picture), "G C");
        assert!(picture.is_outside(1));
        assert!(picture.needs(1).is_empty());
    }
}
