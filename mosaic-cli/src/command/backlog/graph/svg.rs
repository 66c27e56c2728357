//! A picture that any browser shows, on a light page and on a dark one.

use super::drawing::{Box, Drawing};
use super::layout;
use super::state::{STATES, State};
use crate::output::screen::is_unsafe;

const WIDTH: f64 = 220.0;
const HEIGHT: f64 = 42.0;
const LAYER: f64 = WIDTH + 60.0;
const ROW: f64 = HEIGHT + 14.0;
const EDGE: f64 = 16.0;
/// The legend's line.
const LEGEND: f64 = 30.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}\
.id{font-weight:bold}\
.quiet{fill:#6e7781}\
.box{fill:#ffffff;stroke-width:1.5}\
.arrow{fill:none;stroke:#8a8f98;stroke-width:1.2}\
.critical{stroke:#d64545;stroke-width:3}\
.head{fill:#8a8f98}\
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9198a1}.box{fill:#161b22}}";

pub fn render(drawing: &Drawing) -> String {
    let layout = layout::of(drawing);
    let x = |layer: usize| EDGE + layer as f64 * LAYER;
    let y = |row: f64| EDGE + LEGEND + row * ROW;
    let width = (x(layout.layers.max(3)) - LAYER + WIDTH + EDGE).round();
    let height = (y(layout.rows) + EDGE).round();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<style>{STYLE}</style>\n\
         <marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"head\" d=\"M0 0L8 4L0 8z\"/></marker>\n",
    );
    svg.push_str(&legend(drawing));
    for (arrow, way) in drawing.arrows.iter().zip(&layout.arrows) {
        svg.push_str(&line(way, x, y, arrow.is_critical));
    }
    for (one, (layer, row)) in drawing.boxes.iter().zip(&layout.boxes) {
        svg.push_str(&card(one, x(*layer), y(*row)));
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(drawing: &Drawing) -> String {
    let mut spans = String::new();
    for state in STATES {
        let count = drawing
            .boxes
            .iter()
            .filter(|one| one.state == Some(state))
            .count();
        if count > 0 {
            spans.push_str(&format!(
                "<tspan fill=\"{}\">{} {count} {}</tspan>  ",
                state.colour(),
                state.glyph(),
                state.word()
            ));
        }
    }
    if drawing.arrows.iter().any(|arrow| arrow.is_critical) {
        spans.push_str("<tspan fill=\"#d64545\">━ critical path</tspan>");
    }
    format!(
        "<text x=\"{EDGE}\" y=\"{}\" xml:space=\"preserve\">{spans}</text>\n",
        EDGE + 10.0
    )
}

/// From the right edge of one box to the left edge of another, straight through the layers between.
fn line(
    way: &[(usize, f64)],
    x: impl Fn(usize) -> f64,
    y: impl Fn(f64) -> f64,
    is_critical: bool,
) -> String {
    let middle = |row: f64| y(row) + HEIGHT / 2.0;
    let mut path = String::new();
    for (step, (layer, row)) in way.iter().enumerate() {
        let (left, at) = (x(*layer), middle(*row));
        if step == 0 {
            path.push_str(&format!("M{:.1} {at:.1}", left + WIDTH));
            continue;
        }
        let before = middle(way[step - 1].1);
        let bend = left - (LAYER - WIDTH) / 2.0;
        path.push_str(&format!(
            "C{bend:.1} {before:.1} {bend:.1} {at:.1} {left:.1} {at:.1}"
        ));
        if step + 1 < way.len() {
            path.push_str(&format!("H{:.1}", left + WIDTH));
        }
    }
    let class = if is_critical {
        "arrow critical"
    } else {
        "arrow"
    };
    format!("<path class=\"{class}\" d=\"{path}\" marker-end=\"url(#head)\"/>\n")
}

fn card(one: &Box, x: f64, y: f64) -> String {
    let line = escaped(&one.line);
    let Some(state) = one.state else {
        return format!(
            "<text class=\"quiet\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{line}</text>\n",
            x + WIDTH - 8.0,
            y + HEIGHT / 2.0 + 4.0
        );
    };
    let class = if one.is_critical {
        "box critical"
    } else {
        "box"
    };
    let quiet = if matches!(state, State::Done | State::Cancelled) {
        " class=\"quiet\""
    } else {
        ""
    };
    format!(
        "<g><title>{} ({}): {}</title>\
         <rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\" stroke=\"{}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\"><tspan fill=\"{}\">{}</tspan> <tspan class=\"id\">{}</tspan></text>\
         <text{quiet} x=\"{:.1}\" y=\"{:.1}\">{line}</text></g>\n",
        escaped(&one.id),
        state.word(),
        escaped(&one.title),
        state.colour(),
        x + 10.0,
        y + 17.0,
        state.colour(),
        state.glyph(),
        escaped(&crate::output::table::cut(&one.id, 26)),
        x + 10.0,
        y + 33.0,
    )
}

/// Text of XML. Some letters are not allowed in it, however they are written.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            letter if is_unsafe(letter) => escaped.push('\u{fffd}'),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::backlog::graph::drawing::tests::{HOSTILE, hostile};

    #[test]
    fn hostile_titles_are_text_of_valid_xml() {
        let svg = render(&hostile());
        let document = roxmltree::Document::parse(&svg).unwrap();
        let ns = "http://www.w3.org/2000/svg";
        let count = |tag: &'static str| {
            document
                .descendants()
                .filter(|node| node.has_tag_name((ns, tag)))
                .count()
        };
        assert_eq!(count("script"), 0);
        assert_eq!(count("rect"), HOSTILE.len() + 1);
        let titles: Vec<&str> = document
            .descendants()
            .filter(|node| node.has_tag_name((ns, "title")))
            .filter_map(|node| node.text())
            .collect();
        assert!(
            titles
                .iter()
                .any(|title| title.ends_with(": a \"quoted\" title")),
            "{titles:?}"
        );
        assert!(
            titles
                .iter()
                .any(|title| title.ends_with("<script>alert(1)</script> & so on"))
        );
    }

    #[test]
    fn an_empty_drawing_is_valid_too() {
        let nothing = Drawing {
            boxes: Vec::new(),
            arrows: Vec::new(),
        };
        roxmltree::Document::parse(&render(&nothing)).unwrap();
    }
}
