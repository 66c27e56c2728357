//! A recording as an SVG that plays by itself: every command appears with what it printed, and a scene
//! makes room for the next one.

use vt100::{Cell, Color, Screen};

pub const COLUMNS: u16 = 92;
const CELL: f64 = 8.4;
const LINE: f64 = 18.0;
const EDGE: f64 = 16.0;
/// Seconds that a command stays alone, and that each line of its output adds.
const PAUSE: f64 = 0.9;
const READING: f64 = 0.35;
/// Seconds that a whole scene stays.
const REST: f64 = 3.0;

/// A command with its output.
struct Step {
    lines: Vec<String>,
    /// The line of the scene that it begins at.
    top: usize,
    /// When it appears, and when its scene is over.
    from: f64,
    to: f64,
}

#[derive(Default)]
pub struct Recording {
    steps: Vec<Step>,
    /// Steps before this one are of scenes that are over.
    first: usize,
    now: f64,
    height: usize,
}

impl Recording {
    pub fn print(&mut self, command: &str, screen: &Screen) {
        let mut lines = vec![format!(
            "<tspan class=\"dim\">$</tspan> {}",
            escaped(command)
        )];
        lines.extend(printed(screen));
        let top = self.steps[self.first..]
            .iter()
            .map(|step| step.lines.len())
            .sum();
        let reading = PAUSE + READING * lines.len() as f64;
        self.steps.push(Step {
            lines,
            top,
            from: self.now,
            to: 0.0,
        });
        self.now += reading;
    }

    pub fn clear(&mut self) {
        self.now += REST;
        for step in &mut self.steps[self.first..] {
            step.to = self.now;
            self.height = self.height.max(step.top + step.lines.len());
        }
        self.first = self.steps.len();
    }

    pub fn to_svg(&self) -> String {
        let width = f64::from(COLUMNS) * CELL + 2.0 * EDGE;
        let height = self.height as f64 * LINE + 2.0 * EDGE;
        let mut style = String::from(
            "text{font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#d6dbe1;white-space:pre}\
             .bold{font-weight:bold}.dim{fill:#8b949e}.c1{fill:#ff7b72}.c2{fill:#56d364}.c3{fill:#e3b341}.c6{fill:#76c7ff}\n",
        );
        let mut body = String::new();
        let all = self.now;
        for (number, step) in self.steps.iter().enumerate() {
            let (from, to) = (step.from / all * 100.0, step.to / all * 100.0);
            // Where nothing moves, the last scene is shown.
            let still = u8::from(number + 1 == self.steps.len());
            style.push_str(&format!(
                "#s{number}{{opacity:{still};animation:k{number} {all:.1}s step-end infinite}}\
                 @keyframes k{number}{{0%{{opacity:0}}{from:.2}%{{opacity:1}}{to:.2}%{{opacity:0}}}}\n"
            ));
            body.push_str(&format!("<g id=\"s{number}\">"));
            for (line, text) in step.lines.iter().enumerate() {
                let y = EDGE + (step.top + line) as f64 * LINE + 13.0;
                body.push_str(&format!(
                    "<text x=\"{EDGE}\" y=\"{y:.0}\" xml:space=\"preserve\">{text}</text>\n"
                ));
            }
            body.push_str("</g>\n");
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">\n<title>mosaic backlog in a terminal</title>\n\
             <style>{style}</style>\n\
             <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#0d1117\"/>\n{body}</svg>"
        )
    }
}

/// The lines of the screen, without the empty ones at its end.
fn printed(screen: &Screen) -> Vec<String> {
    let (rows, columns) = screen.size();
    let mut lines: Vec<String> = (0..rows.get())
        .map(|row| {
            let cells = (0..columns.get()).filter_map(|column| screen.cell(row, column));
            line(cells)
        })
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// Cells of one look become one span.
fn line<'a>(cells: impl Iterator<Item = &'a Cell>) -> String {
    let mut spans: Vec<(String, String)> = Vec::new();
    for cell in cells.filter(|cell| !cell.is_wide_continuation()) {
        let contents = if cell.has_contents() {
            cell.contents()
        } else {
            " "
        };
        let look = look(cell);
        match spans.last_mut() {
            Some((last, text)) if *last == look => text.push_str(contents),
            _ => spans.push((look, contents.to_owned())),
        }
    }
    while let Some((_, text)) = spans.last_mut() {
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            break;
        }
        spans.pop();
    }
    spans
        .into_iter()
        .map(|(look, text)| match look.as_str() {
            "" => escaped(&text),
            look => format!("<tspan class=\"{look}\">{}</tspan>", escaped(&text)),
        })
        .collect()
}

fn look(cell: &Cell) -> String {
    let mut look = Vec::new();
    if cell.bold() {
        look.push("bold".to_owned());
    }
    match cell.fgcolor() {
        Color::Idx(number) => look.push(format!("c{number}")),
        _ if cell.dim() => look.push("dim".to_owned()),
        _ => {}
    }
    look.join(" ")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
