//! The language of Graphviz.

use super::drawing::Drawing;

pub fn render(drawing: &Drawing) -> String {
    let mut text = String::from(
        "digraph backlog {\n  rankdir=LR\n  bgcolor=\"transparent\"\n  \
         node [shape=box style=\"rounded,filled\" fillcolor=\"white\" fontname=\"sans-serif\" fontsize=11]\n  \
         edge [color=\"#8a8f98\"]\n",
    );
    for (number, one) in drawing.boxes.iter().enumerate() {
        let line = escaped(&one.line);
        let attributes = match one.state {
            None => format!("label=\"{line}\" shape=plaintext style=\"\" fontcolor=\"#8a8f98\""),
            Some(state) => format!(
                "label=\"{} {}\\n{line}\" tooltip=\"{}\" color=\"{}\" penwidth={}",
                state.glyph(),
                escaped(&one.id),
                escaped(&one.title),
                state.colour(),
                if one.is_critical { 3 } else { 1 },
            ),
        };
        text.push_str(&format!("  n{number} [{attributes}]\n"));
    }
    for arrow in &drawing.arrows {
        let style = if arrow.is_critical {
            " [color=\"#d64545\" penwidth=3]"
        } else {
            ""
        };
        text.push_str(&format!("  n{} -> n{}{style}\n", arrow.from, arrow.to));
    }
    text.push_str("}\n");
    text
}

/// Text between quotes. A backslash would begin an escape, and an ampersand an entity.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('&', "&amp;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::backlog::graph::drawing::tests::{HOSTILE, hostile};
    use std::io::Write;
    use std::process::{Command, Stdio};

    /// What stands between quotes becomes `""`, as a reader of the language sees it.
    fn without_strings(text: &str) -> String {
        let mut bare = String::new();
        let mut letters = text.chars();
        let mut inside = false;
        while let Some(letter) = letters.next() {
            match letter {
                '\\' if inside => drop(letters.next()),
                '"' => {
                    inside = !inside;
                    bare.push('"');
                }
                letter if !inside => bare.push(letter),
                _ => {}
            }
        }
        assert!(!inside, "a string has no end");
        bare
    }

    #[test]
    fn no_title_leaves_its_quotes() {
        let bare = without_strings(&render(&hostile()));
        let lines: Vec<&str> = bare.lines().collect();
        assert_eq!(lines[0], "digraph backlog {");
        assert_eq!(lines[lines.len() - 1], "}");
        let cards = HOSTILE.len() + 1;
        for (number, line) in lines[5..5 + cards].iter().enumerate() {
            let begin = format!("  n{number} [label=\"\" tooltip=\"\" color=\"\" penwidth=");
            assert!(line.starts_with(&begin) && line.ends_with(']'), "{line}");
        }
        let arrows = lines.iter().filter(|line| line.contains(" -> n")).count();
        assert_eq!(arrows, cards - 1);
        assert_eq!(lines.len(), 5 + cards + 1 + arrows + 1);
    }

    #[test]
    fn graphviz_reads_it_where_it_is_installed() {
        let Ok(mut dot) = Command::new("dot")
            .arg("-Tsvg")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
        else {
            return;
        };
        let mut input = dot.stdin.take().unwrap();
        input.write_all(render(&hostile()).as_bytes()).unwrap();
        drop(input);
        let output = dot.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !complaint.contains("syntax"),
            "{complaint}"
        );
        let svg = String::from_utf8(output.stdout).unwrap();
        assert_eq!(svg.matches("class=\"node\"").count(), HOSTILE.len() + 2);
    }
}
