//! The graph as a tree for the terminal: what a card needs stands below it.

use std::collections::VecDeque;

use unicode_width::UnicodeWidthStr;

use super::picture::{Folded, Picture};
use super::state::{STATES, State};
use crate::command::backlog::card;
use crate::output::screen::{Paint, Screen, one_line};
use crate::output::table::cut;

/// A level of the tree in columns.
const STEP: usize = 3;
/// The width where the output is no terminal, for the depth of the tree alone.
const USUAL: usize = 120;

pub fn render(picture: &Picture, screen: &Screen) -> String {
    if picture.dag.len() == 0
        || picture.cards().next().is_none() && picture.loose == Folded::default()
    {
        return "no cards\n".into();
    }
    let mut tree = Tree {
        picture,
        screen,
        // Half of the line is left for the titles.
        deepest: (screen.width.unwrap_or(USUAL) / STEP / 2).clamp(4, 20),
        printed: vec![false; picture.dag.len()],
        below: VecDeque::new(),
        text: String::new(),
    };
    match picture.focus() {
        Some(card) => tree.around(card),
        None => tree.whole(),
    }
    tree.footer();
    tree.text
}

/// The way that the tree grows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Needs,
    NeededBy,
}

struct Tree<'a> {
    picture: &'a Picture<'a>,
    screen: &'a Screen,
    deepest: usize,
    printed: Vec<bool>,
    /// Cards whose own tree is too deep for its place.
    below: VecDeque<usize>,
    text: String,
}

impl Tree<'_> {
    fn whole(&mut self) {
        let goals: Vec<usize> = self
            .picture
            .cards()
            .filter(|card| {
                self.picture.needed_by(*card).is_empty() && !self.picture.is_outside(*card)
            })
            .collect();
        // The goal of the critical path comes first.
        let (critical, others): (Vec<usize>, Vec<usize>) = goals
            .into_iter()
            .partition(|card| self.picture.is_critical(*card));
        for card in critical.into_iter().chain(others) {
            self.card("", card, false);
            self.grow("", card, Way::Needs, 0);
            self.go_on_below(Way::Needs);
        }
        if let Some(text) = self.picture.loose.text() {
            self.remark("", &text);
        }
    }

    fn around(&mut self, card: usize) {
        self.card("", card, false);
        self.grow("", card, Way::Needs, 0);
        self.go_on_below(Way::Needs);
        let waits = !self.picture.needed_by(card).is_empty();
        if waits || self.picture.folded_after(card) != Folded::default() {
            self.remark("", "needed by");
            self.grow("", card, Way::NeededBy, 0);
            self.go_on_below(Way::NeededBy);
        }
    }

    /// The branches that were too deep, each from the left again.
    fn go_on_below(&mut self, way: Way) {
        while let Some(card) = self.below.pop_front() {
            let head = format!("↓ {}", one_line(self.picture.dag.id(card)));
            self.remark("", &head);
            self.grow("", card, way, 0);
        }
    }

    fn next(&self, card: usize, way: Way) -> (Vec<usize>, Folded) {
        match way {
            Way::Needs => (self.picture.needs(card), self.picture.folded_before(card)),
            Way::NeededBy => (
                self.picture.needed_by(card),
                self.picture.folded_after(card),
            ),
        }
    }

    /// The branches under a card.
    fn grow(&mut self, indent: &str, card: usize, way: Way, depth: usize) {
        let picture = self.picture;
        let (cards, folded) = self.next(card, way);
        let count = cards.len();
        let mut above: Vec<&str> = Vec::new();
        for (place, card) in cards.into_iter().enumerate() {
            // It stands further up already, or came there in a branch before this one.
            if self.printed[card] {
                above.push(picture.dag.id(card));
                continue;
            }
            let is_last = place + 1 == count && above.is_empty() && folded == Folded::default();
            let (branch, rest) = fork(is_last);
            let (below, folded) = self.next(card, way);
            let grows = !below.is_empty() || folded != Folded::default();
            let too_deep = grows && depth + 1 >= self.deepest;
            self.card(&format!("{indent}{branch}"), card, too_deep);
            if too_deep {
                self.below.push_back(card);
            } else {
                self.grow(&format!("{indent}{rest}"), card, way, depth + 1);
            }
        }
        let above = (!above.is_empty()).then(|| format!("↑ {}", one_line(&above.join(", "))));
        let remarks: Vec<String> = above.into_iter().chain(folded.text()).collect();
        for (place, remark) in remarks.iter().enumerate() {
            let (branch, _) = fork(place + 1 == remarks.len());
            self.remark(&format!("{indent}{branch}"), remark);
        }
    }

    /// `├─ ◐ A4 * Parse the config (w1 until 12:31)`
    fn card(&mut self, indent: &str, card: usize, goes_on: bool) {
        self.printed[card] = true;
        let state = self.picture.dag.state(card);
        let id = one_line(self.picture.dag.id(card));
        let value = self.picture.dag.card(card);
        let mut notes = Vec::new();
        if matches!(state, State::Claimed | State::Blocked | State::Deferred) {
            notes.push(card::note(value));
        }
        if self.picture.is_outside(card) {
            notes.push("not in the selection".to_owned());
        }
        let mut note = match notes.is_empty() {
            true => String::new(),
            false => format!(" ({})", notes.join("; ")),
        };
        let end = if goes_on { " ↓" } else { "" };
        let mark = if self.picture.is_critical(card) {
            " *"
        } else {
            ""
        };
        let mut title = format!(" {}", one_line(card::text(value, "title")));
        let used =
            indent.width() + state.glyph().width() + 1 + id.width() + mark.width() + end.width();
        if let Some(width) = self.screen.width {
            let room = width.saturating_sub(used);
            // A title is kept before a long reason.
            let least = title.width().min(room / 2);
            note = cut(&note, room - least);
            title = cut(&title, room.saturating_sub(note.width()));
        }
        let paint = |paint, text: &str| self.screen.paint(paint, text);
        let (id, mark) = match mark {
            "" => (paint(Paint::Bold, &id), String::new()),
            mark => (paint(Paint::Bold, &id), paint(Paint::Bad, mark)),
        };
        let line = format!(
            "{}{} {id}{mark}{}{}{}\n",
            paint(Paint::Dim, indent),
            paint(state.paint(), state.glyph()),
            if state.is_open() {
                title
            } else {
                paint(Paint::Dim, &title)
            },
            paint(Paint::Dim, &note),
            paint(Paint::Dim, end),
        );
        self.text.push_str(&line);
    }

    fn remark(&mut self, indent: &str, text: &str) {
        let mut line = format!("{indent}{text}");
        if let Some(width) = self.screen.width {
            line = cut(&line, width);
        }
        self.text.push_str(&self.screen.paint(Paint::Dim, &line));
        self.text.push('\n');
    }

    /// What the signs mean, and the critical path.
    fn footer(&mut self) {
        let cards: Vec<State> = self
            .picture
            .cards()
            .map(|card| self.picture.dag.state(card))
            .collect();
        let signs: Vec<String> = STATES
            .into_iter()
            .filter(|state| cards.contains(state))
            .map(|state| format!("{} {}", state.glyph(), state.word()))
            .collect();
        if !signs.is_empty() {
            self.text.push('\n');
            self.remark("", &signs.join("  "));
        }
        let path = &self.picture.critical;
        if !path.is_empty() {
            let ids: Vec<String> = path
                .iter()
                .map(|card| one_line(self.picture.dag.id(*card)))
                .collect();
            let text = format!(
                "* critical path, {} open cards: {}",
                path.len(),
                ids.join(" → ")
            );
            self.remark("", &text);
        }
    }
}

/// What leads to a branch, and what stands below that.
fn fork(is_last: bool) -> (&'static str, &'static str) {
    if is_last {
        ("└─ ", "   ")
    } else {
        ("├─ ", "│  ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::backlog::graph::dag::tests::dag;
    use crate::command::backlog::graph::picture::Subgraph;

    fn tree(lines: &[&str], width: Option<usize>, focus: Option<&str>) -> String {
        let dag = dag(lines);
        let subgraph = match focus {
            Some(id) => Subgraph::around(&dag, dag.find(id).unwrap()),
            None => Subgraph::everything(&dag),
        };
        let screen = Screen {
            width,
            colour: false,
        };
        render(&Picture::new(&dag, subgraph, false), &screen)
    }

    #[test]
    fn a_card_is_printed_once_and_referred_to_after() {
        assert_eq!(
            tree(
                &["G: C B", "C: B", "B claimed: A", "A done", "L done"],
                None,
                None
            ),
            "◌ G * Title of G\n\
             ├─ ◌ C * Title of C\n\
             │  └─ ◐ B * Title of B ( until )\n\
             │     └─ … 1 done\n\
             └─ ↑ B\n\
             … 1 done\n\
             \n\
             ◌ gated  ◐ claimed\n\
             * critical path, 3 open cards: B → C → G\n"
        );
    }

    #[test]
    fn one_card_stands_between_what_it_needs_and_what_needs_it() {
        assert_eq!(
            tree(&["G: C", "C: B", "B", "H: B"], None, Some("C")),
            "◌ C * Title of C\n\
             └─ ○ B * Title of B\n\
             needed by\n\
             └─ ◌ G * Title of G\n\
             \n\
             ○ claimable  ◌ gated\n\
             * critical path, 3 open cards: B → C → G\n"
        );
    }

    #[test]
    fn a_deep_tree_goes_on_further_down() {
        let lines: Vec<String> = (0..30).map(|n| format!("c{n}: c{}", n + 1)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let text = tree(&lines, Some(40), None);
        assert!(text.lines().all(|line| line.width() <= 40), "{text}");
        for n in 0..30 {
            let cards = text
                .lines()
                .filter(|line| line.contains(&format!(" c{n} * ")));
            assert_eq!(cards.count(), 1, "c{n}: {text}");
        }
        assert!(text.contains("\n↓ c6\n└─ ◌ c7 * "), "{text}");
    }

    #[test]
    fn no_card_is_said_so() {
        assert_eq!(tree(&[], None, None), "no cards\n");
    }
}
