//! Columns that line up, whatever the script they are written in.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::output::screen::{Paint, Screen, one_line};

pub struct Cell {
    text: String,
    paint: Option<Paint>,
}

impl Cell {
    pub fn plain(text: impl AsRef<str>) -> Self {
        Cell {
            text: one_line(text.as_ref()),
            paint: None,
        }
    }

    pub fn painted(text: impl AsRef<str>, paint: Paint) -> Self {
        Cell {
            text: one_line(text.as_ref()),
            paint: Some(paint),
        }
    }

    fn width(&self) -> usize {
        self.text.width()
    }
}

pub struct Table {
    heads: Vec<String>,
    /// The column that is cut if the terminal is too narrow.
    flexible: usize,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(heads: impl IntoIterator<Item: Into<String>>, flexible: &str) -> Self {
        let heads: Vec<String> = heads.into_iter().map(Into::into).collect();
        Table {
            flexible: heads.iter().position(|head| *head == flexible).unwrap_or(0),
            heads,
            rows: Vec::new(),
        }
    }

    /// A cell for each of the heads.
    pub fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    pub fn render(&self, screen: &Screen) -> String {
        const GAP: &str = "  ";
        const NARROWEST: usize = 10;
        let mut widths: Vec<usize> = self.heads.iter().map(|head| head.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        if let Some(columns) = screen.width {
            let gaps = GAP.len() * widths.len().saturating_sub(1);
            let total = widths.iter().sum::<usize>() + gaps;
            let fitting = widths[self.flexible].saturating_sub(total.saturating_sub(columns));
            widths[self.flexible] = fitting.max(NARROWEST).min(widths[self.flexible]);
        }

        let heads = self.heads.iter();
        let heads = heads.map(|head| Cell::painted(head, Paint::Dim)).collect();
        let mut text = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            // Blanks are owed rather than written, so that no line ends in them.
            let mut owed = 0;
            for (cell, &width) in row.iter().zip(&widths) {
                let shown = cut(&cell.text, width);
                if !shown.is_empty() {
                    line.push_str(&" ".repeat(owed));
                    owed = 0;
                    match cell.paint {
                        Some(paint) => line.push_str(&screen.paint(paint, &shown)),
                        None => line.push_str(&shown),
                    }
                }
                owed += width - shown.width() + GAP.len();
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// The text in at most so many columns, with an ellipsis where something is missing.
pub fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 0;
    let mut shown: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used < width
        })
        .collect();
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["ID", "TITLE", "NOTE"], "TITLE");
        table.push([
            Cell::plain("A1"),
            Cell::plain("短い題名"),
            Cell::plain("first"),
        ]);
        table.push([
            Cell::plain("A10"),
            Cell::plain("a rather long title"),
            Cell::plain(""),
        ]);
        table
    }

    #[test]
    fn columns_line_up_by_display_width() {
        let screen = Screen {
            width: None,
            colour: false,
        };
        assert_eq!(
            table().render(&screen),
            "ID   TITLE                NOTE\n\
             A1   短い題名             first\n\
             A10  a rather long title\n"
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_the_title_alone() {
        let screen = Screen {
            width: Some(24),
            colour: false,
        };
        assert_eq!(
            table().render(&screen),
            "ID   TITLE         NOTE\n\
             A1   短い題名      first\n\
             A10  a rather lo…\n"
        );
    }

    #[test]
    fn wide_characters_are_cut_whole() {
        assert_eq!(cut("短い題名", 5), "短い…");
        assert_eq!(cut("短い題名", 8), "短い題名");
    }
}
