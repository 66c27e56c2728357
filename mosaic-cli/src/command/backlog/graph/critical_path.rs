//! The longest chain of open cards, each of which waits for the one before.

use super::dag::Dag;

/// The chain in the order of the work; empty if no open card waits for another.
pub fn find(dag: &Dag, inside: &[bool]) -> Vec<usize> {
    let counts = |card: usize| inside[card] && dag.state(card).is_open();
    let mut length = vec![0; dag.len()];
    let mut before = vec![None; dag.len()];
    let mut last = None;
    for card in dag.order().iter().copied().filter(|card| counts(*card)) {
        length[card] = 1;
        for need in dag.needs(card).iter().copied().filter(|need| counts(*need)) {
            if length[need] + 1 > length[card] {
                length[card] = length[need] + 1;
                before[card] = Some(need);
            }
        }
        // Of two that are as long, the one whose last card is claimed first.
        let is_next = |last: usize| {
            length[card] > length[last] || (length[card] == length[last] && card < last)
        };
        if last.is_none_or(is_next) {
            last = Some(card);
        }
    }
    let mut path: Vec<usize> = std::iter::successors(last, |card| before[*card]).collect();
    if path.len() < 2 {
        path.clear();
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::backlog::graph::dag::tests::dag;

    fn path(lines: &[&str]) -> String {
        let dag = dag(lines);
        let ids: Vec<&str> = find(&dag, &vec![true; dag.len()])
            .iter()
            .map(|card| dag.id(*card))
            .collect();
        ids.join(" ")
    }

    #[test]
    fn it_is_the_longest_chain_of_open_cards() {
        assert_eq!(
            path(&["G: C X", "X", "C: B", "B claimed: A", "A blocked"]),
            "A B C G"
        );
        // What is done or cancelled takes no more time.
        assert_eq!(
            path(&["G: C X", "X", "C done: B", "B done: A", "A done"]),
            "X G"
        );
        assert_eq!(path(&["G: C", "C cancelled: B", "B: A", "A"]), "A B");
    }

    #[test]
    fn cards_side_by_side_are_no_chain() {
        assert_eq!(path(&["A", "B"]), "");
        assert_eq!(path(&[]), "");
    }

    #[test]
    fn a_chain_may_be_long() {
        let lines: Vec<String> = (0..50_000).map(|n| format!("{n}: {}", n + 1)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(path(&lines).split(' ').count(), 50_000);
    }
}
