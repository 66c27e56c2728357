//! What the screen shows, and how its parts are written.

use std::time::{Duration, Instant};

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use super::feed::Look;
use crate::command::backlog::card::number;
use crate::command::backlog::stats::span;
use crate::failure::Failure;
use crate::output::screen::Paint;

/// What the screen shows.
pub struct Shown {
    pub phase: Option<String>,
    pub interval: Duration,
    pub colour: bool,
    pub look: Look,
    /// When the look was taken.
    pub taken: Instant,
    /// Why there is no newer look.
    pub lost: Option<Failure>,
}

impl Shown {
    pub fn span(&self, paint: Paint, text: impl Into<String>) -> Span<'static> {
        let text = text.into();
        if !self.colour {
            return Span::raw(text);
        }
        let style = match paint {
            Paint::Bold => Style::new().add_modifier(Modifier::BOLD),
            Paint::Dim => Style::new().add_modifier(Modifier::DIM),
            Paint::Good => Style::new().fg(Color::Green),
            Paint::Warn => Style::new().fg(Color::Yellow),
            Paint::Bad => Style::new().fg(Color::Red),
            Paint::Info => Style::new().fg(Color::Cyan),
        };
        Span::styled(text, style)
    }

    pub fn count(&self, column: &str) -> i64 {
        number(&self.look.stats, column)
    }
}

/// Full cells of a bar; only what is whole fills all of them.
pub fn bar(part: f64, cells: usize) -> usize {
    ((part.clamp(0.0, 1.0) * cells as f64) as usize).min(cells)
}

/// A span without fractions, as they would flicker.
pub fn whole(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{}s", seconds.max(0.0) as u64)
    } else {
        span(seconds)
    }
}
