//! The dependencies of an import, in memory: numbers instead of ids.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::card::cycle;

/// Cards and their dependencies. Cards of the import come first, then those that they wait
/// for outside of it.
#[derive(Default)]
pub struct Graph {
    names: Vec<Rc<str>>,
    numbers: HashMap<Rc<str>, u32>,
    /// Of the cards of the import: whether it is done.
    done: Vec<bool>,
    /// Of the cards outside: the line that names it first.
    outside: Vec<u64>,
    /// From a card to one that it waits for.
    edges: HashSet<(u32, u32)>,
}

impl Graph {
    fn add(&mut self, id: &str) -> u32 {
        let name: Rc<str> = id.into();
        let number = self.names.len() as u32;
        self.names.push(Rc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    /// Adds a card of the import; false if it is there already.
    pub fn add_card(&mut self, id: &str, done: bool) -> bool {
        if self.numbers.contains_key(id) {
            return false;
        }
        self.add(id);
        self.done.push(done);
        true
    }

    /// Whether this is a card of the import.
    pub fn has_card(&self, id: &str) -> bool {
        self.numbers
            .get(id)
            .is_some_and(|number| (*number as usize) < self.done.len())
    }

    /// Adds a dependency of a card of the import; false if it is there already.
    pub fn add_edge(&mut self, card: &str, depends_on: &str, line: u64) -> bool {
        let from = self.numbers[card];
        let to = match self.numbers.get(depends_on) {
            Some(number) => *number,
            None => {
                self.outside.push(line);
                self.add(depends_on)
            }
        };
        self.edges.insert((from, to))
    }

    /// The cards outside of the import that cards of it wait for, in the order of their ids.
    pub fn outside(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.names[self.done.len()..]
            .iter()
            .map(ToString::to_string)
            .collect();
        ids.sort();
        ids
    }

    /// The line that first names a card outside of the import.
    pub fn line_of_outside(&self, id: &str) -> Option<u64> {
        let number = *self.numbers.get(id)? as usize;
        self.outside
            .get(number.checked_sub(self.done.len())?)
            .copied()
    }

    /// A dependency that closes a cycle, if there is one. Nothing outside of the import waits
    /// for a card of it, so that only cards of it can close one.
    pub fn cycle(&self) -> Option<(&str, &str)> {
        let inside: Vec<(u32, u32)> = (self.edges.iter().copied())
            .filter(|(_, to)| (*to as usize) < self.done.len())
            .collect();
        let cycle = cycle::find(self.done.len(), &inside)?;
        let on = cycle.get(1).unwrap_or(&cycle[0]);
        Some((&self.names[cycle[0]], &self.names[*on]))
    }

    /// The cards of the import with dependencies, and how many of these are not done.
    /// `done_outside` are the cards outside that are done.
    pub fn gates(&self, done_outside: &HashSet<String>) -> Vec<(String, i32)> {
        let mut open: HashMap<u32, i32> = HashMap::new();
        for (from, to) in &self.edges {
            let is_done = match self.done.get(*to as usize) {
                Some(done) => *done,
                None => done_outside.contains(&*self.names[*to as usize]),
            };
            *open.entry(*from).or_default() += i32::from(!is_done);
        }
        let mut gated: Vec<(String, i32)> = open
            .into_iter()
            .map(|(number, n)| (self.names[number as usize].to_string(), n))
            .collect();
        gated.sort();
        gated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::default();
        for id in ["a", "b", "c", "d"] {
            assert!(graph.add_card(id, id == "d"));
        }
        for (card, on) in edges {
            assert!(graph.add_edge(card, on, 1));
        }
        graph
    }

    #[test]
    fn a_cycle_is_found_and_a_diamond_is_none() {
        assert_eq!(
            graph(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]).cycle(),
            None
        );
        let graph = graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "a")]);
        let (card, on) = graph.cycle().expect("a cycle");
        assert!(matches!((card, on), ("b", "c") | ("c", "b")));
    }

    #[test]
    fn what_is_done_is_not_waited_for() {
        let graph = graph(&[("a", "d"), ("a", "b"), ("b", "x"), ("c", "y")]);
        assert_eq!(graph.outside(), ["x", "y"]);
        let done = HashSet::from(["x".to_owned()]);
        assert_eq!(
            graph.gates(&done),
            [("a", 1), ("b", 0), ("c", 1)].map(|(id, open)| (id.to_owned(), open))
        );
    }

    #[test]
    fn repeats_are_noticed() {
        let mut graph = graph(&[("a", "b")]);
        assert!(!graph.add_card("a", false));
        assert!(!graph.add_edge("a", "b", 2));
        assert!(graph.has_card("a"));
        assert!(graph.add_edge("a", "x", 3));
        assert!(!graph.has_card("x"));
        assert_eq!(graph.line_of_outside("x"), Some(3));
    }
}
