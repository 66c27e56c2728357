//! Failures in a row on different cards. One failure may be the card's; when one card after the other
//! fails, it is the worker: a key that was revoked, a tool that is gone, a disk that is full.
//!
//! The first failures cannot be told from a bad card and count. The one that makes the row too
//! long, and all that follow it, are the worker's: their cards go back without blame.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::failure::{Code, Failure};
use crate::output::screen::one_line;

/// After the first failure. It doubles with each that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Cards that the error names.
const NAMED: usize = 5;

pub struct Streak {
    /// So many make a broken worker; 0: none do.
    most: usize,
    row: Mutex<Row>,
}

#[derive(Default)]
struct Row {
    cards: Vec<String>,
    reason: String,
    is_over: bool,
}

impl Streak {
    pub fn new(most: u16) -> Self {
        Streak {
            most: most.into(),
            row: Mutex::default(),
        }
    }

    /// A card was finished, or needs somebody else: the command works.
    pub fn end(&self) {
        let mut row = self.row();
        if !row.is_over {
            row.cards.clear();
        }
    }

    /// The command failed on a card. Says whether that is the worker's fault by now.
    pub fn is_to_blame(&self, id: &str, reason: &str) -> bool {
        let mut row = self.row();
        let is_later = row.is_over;
        self.add(&mut row, id, reason);
        // Where one failure is enough, it may as well be the card's.
        is_later || (row.is_over && self.most > 1)
    }

    /// A card was failed.
    pub fn note(&self, id: &str, reason: &str) {
        self.add(&mut self.row(), id, reason);
    }

    fn add(&self, row: &mut Row, id: &str, reason: &str) {
        if !row.cards.iter().any(|known| known == id) {
            row.cards.push(id.to_owned());
        }
        if !reason.is_empty() {
            reason.clone_into(&mut row.reason);
        }
        row.is_over |= self.most > 0 && row.cards.len() >= self.most;
    }

    pub fn is_over(&self) -> bool {
        self.row().is_over
    }

    /// How long to wait before the next card.
    pub fn pause(&self) -> Duration {
        match self.row().cards.len() as u32 {
            0 => Duration::ZERO,
            count => (FIRST_PAUSE * 2_u32.saturating_pow(count - 1).min(64)).min(LONGEST_PAUSE),
        }
    }

    /// What ends the run.
    pub fn failure(&self) -> Option<Failure> {
        let row = self.row();
        if !row.is_over {
            return None;
        }
        let count = row.cards.len();
        let message = match count {
            1 => "the command failed".to_owned(),
            _ => format!("the command failed on {count} cards in a row"),
        };
        let mut named: Vec<String> = row
            .cards
            .iter()
            .take(NAMED)
            .map(|id| one_line(id))
            .collect();
        if count > NAMED {
            named.push("…".to_owned());
        }
        let mut detail = format!("Cards: {}.", named.join(", "));
        if !row.reason.is_empty() {
            detail.push_str(&format!(" The last time: {}", one_line(&row.reason)));
        }
        if !detail.ends_with('.') {
            detail.push('.');
        }
        Some(Failure::new(Code::WorkerBroken, message).detail(detail).hint(
            "Look at what the command needs (keys, tools, disk, network) before the worker is started again.",
        ))
    }

    fn row(&self) -> MutexGuard<'_, Row> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_cards_in_a_row_make_a_broken_worker() {
        let streak = Streak::new(3);
        assert!(!streak.is_to_blame("A", "r"));
        assert!(!streak.is_to_blame("A", "r"));
        assert!(!streak.is_to_blame("B", "r"));
        assert!(streak.failure().is_none());
        assert!(streak.is_to_blame("C", "exit code 1"));
        assert!(streak.is_to_blame("D", "exit code 1"));
        // What goes well afterwards does not undo it.
        streak.end();
        let failure = streak.failure().expect("it is over");
        assert_eq!(failure.message, "the command failed on 4 cards in a row");
        assert_eq!(
            failure.detail.as_deref(),
            Some("Cards: A, B, C, D. The last time: exit code 1.")
        );
    }

    #[test]
    fn what_goes_well_begins_the_row_again() {
        let streak = Streak::new(2);
        for id in ["A", "B", "C"] {
            assert!(!streak.is_to_blame(id, "r"));
            assert_eq!(streak.pause(), FIRST_PAUSE);
            streak.end();
        }
        assert!(!streak.is_over());
    }

    #[test]
    fn pauses_grow_to_a_minute_and_none_is_the_limit_of_0() {
        let streak = Streak::new(0);
        let mut pauses = Vec::new();
        for number in 0..9 {
            assert!(!streak.is_to_blame(&number.to_string(), "r"));
            pauses.push(streak.pause().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(!streak.is_over());
    }

    #[test]
    fn where_one_failure_is_enough_it_counts() {
        let streak = Streak::new(1);
        assert!(!streak.is_to_blame("A", "r"));
        assert!(streak.is_over());
    }
}
