//! The picture as boxes and arrows, for every format that has them.

use super::picture::Picture;
use super::state::State;
use crate::command::backlog::card::text;
use crate::output::screen::one_line;
use crate::output::table::cut;

/// Columns of a title in a box; the whole of it is the tooltip.
const TITLE: usize = 30;

pub struct Drawing {
    pub boxes: Vec<Box>,
    pub arrows: Vec<Arrow>,
}

pub struct Box {
    /// Of a card its id; of folded cards nothing.
    pub id: String,
    /// The title in short, or how many cards are folded.
    pub line: String,
    pub title: String,
    /// `None`: folded cards.
    pub state: Option<State>,
    pub is_critical: bool,
}

/// From a card to one that waits for it.
pub struct Arrow {
    pub from: usize,
    pub to: usize,
    pub is_critical: bool,
}

impl Drawing {
    pub fn of(picture: &Picture) -> Self {
        let mut drawing = Drawing {
            boxes: Vec::new(),
            arrows: Vec::new(),
        };
        let mut places = vec![None; picture.dag.len()];
        for card in picture.cards() {
            places[card] = Some(drawing.boxes.len());
            let title = one_line(text(picture.dag.card(card), "title"));
            drawing.boxes.push(Box {
                id: one_line(picture.dag.id(card)),
                line: cut(&title, TITLE),
                title,
                state: Some(picture.dag.state(card)),
                is_critical: picture.is_critical(card),
            });
        }
        for card in picture.cards() {
            let Some(to) = places[card] else { continue };
            for need in picture.needs(card) {
                let Some(from) = places[need] else { continue };
                let steps = picture.critical.windows(2);
                let is_critical = picture.is_critical(need)
                    && picture.is_critical(card)
                    && steps.into_iter().any(|step| step == [need, card]);
                drawing.arrows.push(Arrow {
                    from,
                    to,
                    is_critical,
                });
            }
            if let Some(line) = picture.folded_before(card).text() {
                let from = drawing.folded(line);
                drawing.arrow(from, to);
            }
            if let Some(line) = picture.folded_after(card).text() {
                let after = drawing.folded(line);
                drawing.arrow(to, after);
            }
        }
        if let Some(line) = picture.loose.text() {
            drawing.folded(line);
        }
        drawing
    }

    fn folded(&mut self, line: String) -> usize {
        self.boxes.push(Box {
            id: String::new(),
            title: line.clone(),
            line,
            state: None,
            is_critical: false,
        });
        self.boxes.len() - 1
    }

    fn arrow(&mut self, from: usize, to: usize) {
        self.arrows.push(Arrow {
            from,
            to,
            is_critical: false,
        });
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::command::backlog::graph::dag::Dag;
    use crate::command::backlog::graph::picture::Subgraph;
    use serde_json::json;

    pub const HOSTILE: [&str; 14] = [
        "a \"quoted\" title",
        "back\\slash\\",
        "<script>alert(1)</script> & so on",
        "] end [ --> n1[\"x\"]",
        "two\nlines\r\nand\ttab",
        "\u{1b}[31mred\u{7}\u{0}",
        "`markdown` **bold** #quot; ; %% comment",
        "]]> <!-- --> <![CDATA[",
        "}; digraph { a -> b }",
        "\u{202e}reversed\u{2066}",
        "\u{ffff}\u{fffe}\u{85}\u{2028}",
        "世界 🚀 ünï",
        "'single' and ${shell} $(calls)",
        "end",
    ];

    /// Cards whose titles and ids are hostile, one after the other.
    pub fn hostile() -> Drawing {
        let long = "x".repeat(1_000);
        let mut before: Option<String> = None;
        let mut cards = Vec::new();
        for title in HOSTILE.into_iter().chain([long.as_str()]) {
            let id = format!("{title} {}", cards.len());
            cards.push(
                json!({"id": id, "title": title, "status": "ready", "labels": [],
                "depends_on": before.as_slice(), "open_dependencies": 0, "not_before": null}),
            );
            before = Some(id);
        }
        cards.push(
            json!({"id": "D", "title": "done", "status": "done", "labels": [],
            "depends_on": [], "open_dependencies": 0, "not_before": null}),
        );
        let dag = Dag::new(cards);
        Drawing::of(&Picture::new(&dag, Subgraph::everything(&dag), false))
    }

    #[test]
    fn folded_cards_are_a_box_of_their_own() {
        let dag =
            crate::command::backlog::graph::dag::tests::dag(&["G: C", "C: B", "B done", "L done"]);
        let drawing = Drawing::of(&Picture::new(&dag, Subgraph::everything(&dag), false));
        let lines: Vec<&str> = drawing.boxes.iter().map(|one| one.line.as_str()).collect();
        assert_eq!(lines, ["Title of G", "Title of C", "… 1 done", "… 1 done"]);
        let arrows: Vec<_> = drawing
            .arrows
            .iter()
            .map(|arrow| (arrow.from, arrow.to, arrow.is_critical))
            .collect();
        assert_eq!(arrows, [(1, 0, true), (2, 1, false)]);
    }
}
