//! The state of a card as one sign and one word.

use serde_json::Value;

use crate::command::backlog::card::{is_past, number, text};
use crate::output::screen::Paint;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Claimable,
    Gated,
    Deferred,
    Claimed,
    Blocked,
    Done,
    Cancelled,
}

pub const STATES: [State; 7] = [
    State::Claimable,
    State::Gated,
    State::Deferred,
    State::Claimed,
    State::Blocked,
    State::Done,
    State::Cancelled,
];

impl State {
    pub fn of(card: &Value) -> Self {
        match text(card, "status") {
            "claimed" => State::Claimed,
            "blocked" => State::Blocked,
            "done" => State::Done,
            "cancelled" => State::Cancelled,
            _ if number(card, "open_dependencies") > 0 => State::Gated,
            _ => match text(card, "not_before") {
                "" => State::Claimable,
                time if is_past(time) => State::Claimable,
                _ => State::Deferred,
            },
        }
    }

    /// Whether there is still work to do.
    pub fn is_open(self) -> bool {
        !matches!(self, State::Done | State::Cancelled)
    }

    pub fn word(self) -> &'static str {
        match self {
            State::Claimable => "claimable",
            State::Gated => "gated",
            State::Deferred => "deferred",
            State::Claimed => "claimed",
            State::Blocked => "blocked",
            State::Done => "done",
            State::Cancelled => "cancelled",
        }
    }

    pub fn glyph(self) -> &'static str {
        match self {
            State::Claimable => "○",
            State::Gated => "◌",
            State::Deferred => "◔",
            State::Claimed => "◐",
            State::Blocked => "⊘",
            State::Done => "●",
            State::Cancelled => "✕",
        }
    }

    pub fn paint(self) -> Paint {
        match self {
            State::Claimable => Paint::Good,
            State::Claimed => Paint::Info,
            State::Blocked => Paint::Warn,
            _ => Paint::Dim,
        }
    }

    /// The colour of a drawing: strong enough on white and on black.
    pub fn colour(self) -> &'static str {
        match self {
            State::Claimable => "#2e9e4f",
            State::Gated => "#8a8f98",
            State::Deferred => "#7b6fd0",
            State::Claimed => "#2684d9",
            State::Blocked => "#d98a1b",
            State::Done => "#5f9e86",
            State::Cancelled => "#a8696f",
        }
    }
}
