//! The language of Mermaid, as Markdown pages show it.

use super::drawing::Drawing;
use super::state::STATES;
use crate::output::screen::is_unsafe;

pub fn render(drawing: &Drawing) -> String {
    let mut text = String::from("flowchart LR\n");
    for (number, one) in drawing.boxes.iter().enumerate() {
        let line = escaped(&one.line);
        let shape = match one.state {
            None => format!("n{number}([\"{line}\"]):::folded"),
            Some(state) => format!(
                "n{number}[\"{} {}<br/>{line}\"]:::{}",
                state.glyph(),
                escaped(&one.id),
                state.word()
            ),
        };
        text.push_str(&format!("  {shape}\n"));
    }
    for arrow in &drawing.arrows {
        let line = if arrow.is_critical { "==>" } else { "-->" };
        text.push_str(&format!("  n{} {line} n{}\n", arrow.from, arrow.to));
    }
    for state in STATES {
        text.push_str(&format!(
            "  classDef {} stroke:{},stroke-width:2px\n",
            state.word(),
            state.colour()
        ));
    }
    text.push_str("  classDef folded stroke-dasharray:3\n");
    text
}

/// Whatever could mean something to Mermaid, HTML or Markdown goes as the number of the letter.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        let is_plain = letter.is_alphanumeric() || " .,:-?!()/+='…→".contains(letter);
        if is_plain || (!letter.is_ascii() && !is_unsafe(letter)) {
            escaped.push(letter);
        } else {
            escaped.push_str(&format!("#{};", u32::from(letter)));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::backlog::graph::drawing::tests::{HOSTILE, hostile};

    #[test]
    fn what_could_mean_something_goes_as_a_number() {
        assert_eq!(escaped("a \"b\" <c>"), "a #34;b#34; #60;c#62;");
        assert_eq!(escaped("#quot; `x` ]"), "#35;quot#59; #96;x#96; #93;");
        assert_eq!(escaped("世界 ünï (ok)"), "世界 ünï (ok)");
    }

    #[test]
    fn no_title_leaves_its_quotes() {
        let text = render(&hostile());
        let boxes: Vec<&str> = text.lines().filter(|line| line.contains("[\"")).collect();
        assert_eq!(boxes.len(), HOSTILE.len() + 2);
        for line in boxes {
            let (_, rest) = line.split_once("[\"").unwrap();
            let (label, end) = rest.split_once("\"]").unwrap();
            assert!(end.starts_with(":::") || end.starts_with("):::"), "{line}");
            let label = label.replace("<br/>", "");
            assert!(
                !label.contains(['"', '<', '>', '`', '[', ']', '{', '}', '\n']),
                "{line}"
            );
        }
        let arrows = text.lines().filter(|line| line.contains(" ==> ")).count();
        assert_eq!(arrows, HOSTILE.len());
        assert_eq!(
            text.lines().count(),
            1 + HOSTILE.len() + 2 + arrows + STATES.len() + 1
        );
    }
}
