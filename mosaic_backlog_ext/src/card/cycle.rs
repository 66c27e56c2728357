//! Cards that wait for each other in a circle.

use std::collections::HashMap;
use std::rc::Rc;

/// Links between cards, which are numbered as they come.
#[derive(Default)]
pub struct Links {
    names: Vec<Rc<str>>,
    numbers: HashMap<Rc<str>, u32>,
    /// From a card to one that it waits for.
    links: Vec<(u32, u32)>,
}

impl Links {
    fn number(&mut self, id: &str) -> u32 {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = self.names.len() as u32;
        let name: Rc<str> = id.into();
        self.names.push(Rc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    pub fn add(&mut self, card: &str, depends_on: &str) {
        let link = (self.number(card), self.number(depends_on));
        self.links.push(link);
    }

    /// The cards of a cycle, as `find` gives them.
    pub fn cycle(&self) -> Option<Vec<&str>> {
        let cycle = find(self.names.len(), &self.links)?;
        Some(cycle.iter().map(|number| &*self.names[*number]).collect())
    }
}

/// The cards of a cycle, each of which waits for the next and the last for the first; `links` lead
/// from one of `count` cards to one that it waits for. Cards that wait for nothing are taken away
/// until there are none (Kahn 1962): what is left is on a cycle or waits for one.
pub fn find(count: usize, links: &[(u32, u32)]) -> Option<Vec<usize>> {
    // The dependents of each card lie together; `starts` says where.
    let mut starts = vec![0_usize; count + 1];
    let mut waits = vec![0_u32; count];
    for (card, depends_on) in links {
        starts[*depends_on as usize + 1] += 1;
        waits[*card as usize] += 1;
    }
    for number in 0..count {
        starts[number + 1] += starts[number];
    }
    let mut dependents = vec![0_u32; links.len()];
    let mut next = starts.clone();
    for (card, depends_on) in links {
        let place = &mut next[*depends_on as usize];
        dependents[*place] = *card;
        *place += 1;
    }
    let mut free: Vec<usize> = (0..count).filter(|number| waits[*number] == 0).collect();
    while let Some(number) = free.pop() {
        for dependent in &dependents[starts[number]..starts[number + 1]] {
            let dependent = *dependent as usize;
            waits[dependent] -= 1;
            if waits[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
    // Each card that is left waits for another one that is left.
    let mut at = waits.iter().position(|n| *n > 0)?;
    let mut below = vec![0_usize; count];
    for (card, depends_on) in links {
        if waits[*depends_on as usize] > 0 {
            below[*card as usize] = *depends_on as usize;
        }
    }
    let mut step = vec![None; count];
    let mut way = Vec::new();
    loop {
        if let Some(first) = step[at] {
            way.drain(..first);
            return Some(way);
        }
        step[at] = Some(way.len());
        way.push(at);
        at = below[at];
    }
}
