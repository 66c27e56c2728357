//! The picture of a look at the backlog, for any size of terminal.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use serde_json::Value;

use super::sections;
use super::shown::{Shown, bar, whole};
use crate::command::backlog::card::number;
use crate::output::redact::redact;
use crate::output::screen::{Paint, one_line};

/// Rows above the sections, and the one below them.
const HEAD: u16 = 4;
const FOOT: u16 = 1;
/// The bar of what is done.
const BAR: usize = 20;

pub fn draw(frame: &mut Frame, shown: &Shown) {
    let area = frame.area();
    let below = area.height.saturating_sub(HEAD + FOOT);
    let mut lines = head(shown);
    lines.extend(sections::lines(
        shown,
        usize::from(area.width),
        usize::from(below),
    ));
    let rows = area.height.saturating_sub(FOOT);
    frame.render_widget(Paragraph::new(lines), Rect::new(0, 0, area.width, rows));
    let foot = shown.span(Paint::Dim, "q quits");
    if area.height > HEAD {
        let last = Rect::new(0, rows, area.width, FOOT);
        frame.render_widget(Paragraph::new(Line::from(foot)), last);
    }
}

fn head(shown: &Shown) -> Vec<Line<'static>> {
    vec![title(shown), statuses(shown), ready(shown), progress(shown)]
}

fn title(shown: &Shown) -> Line<'static> {
    let mut spans = vec![shown.span(Paint::Bold, "mosaic backlog  ")];
    if let Some(phase) = &shown.phase {
        spans.push(shown.span(Paint::Info, format!("phase {}  ", one_line(phase))));
    }
    let age = shown.taken.elapsed();
    let news = match &shown.lost {
        Some(failure) => shown.span(
            Paint::Bad,
            format!(
                "no news for {}, trying again: {}",
                whole(age.as_secs_f64()),
                one_line(&redact(&failure.message))
            ),
        ),
        // The question is out, and nothing came back.
        None if age > shown.interval * 2 + Duration::from_secs(5) => shown.span(
            Paint::Warn,
            format!(
                "no news for {}: the database does not answer",
                whole(age.as_secs_f64())
            ),
        ),
        None => shown.span(
            Paint::Dim,
            format!("every {}", whole(shown.interval.as_secs_f64())),
        ),
    };
    spans.push(news);
    Line::from(spans)
}

fn statuses(shown: &Shown) -> Line<'static> {
    let mut spans = Vec::new();
    for (status, paint) in [
        ("ready", Paint::Good),
        ("claimed", Paint::Info),
        ("blocked", Paint::Warn),
        ("done", Paint::Dim),
        ("cancelled", Paint::Dim),
    ] {
        let count = shown.count(status);
        let paint = if count == 0 { Paint::Dim } else { paint };
        spans.push(shown.span(paint, format!("{count} {status}   ")));
    }
    Line::from(spans)
}

fn ready(shown: &Shown) -> Line<'static> {
    let mut text = format!(
        "{} claimable, {} gated, {} deferred",
        shown.count("claimable"),
        shown.count("gated"),
        shown.count("deferred")
    );
    if let Some(age) = shown.look.stats["oldest_claimable_seconds"].as_f64() {
        text.push_str(&format!("; the oldest claimable for {}", whole(age)));
    }
    Line::from(text)
}

/// How much is done, of what is to be done; and the last hour.
fn progress(shown: &Shown) -> Line<'static> {
    let done = shown.count("done");
    let all = done + shown.count("ready") + shown.count("claimed") + shown.count("blocked");
    let full = bar(done as f64 / all.max(1) as f64, BAR);
    Line::from(vec![
        shown.span(Paint::Good, "█".repeat(full)),
        shown.span(Paint::Dim, "░".repeat(BAR - full)),
        Span::raw(format!("  {done} of {all} done")),
        shown.span(Paint::Dim, last_hour(&shown.look.stats)),
    ])
}

fn last_hour(stats: &Value) -> String {
    format!(
        "; last hour: {} completed, {} failed, {} lapsed",
        number(stats, "completed_last_hour"),
        number(stats, "failed_last_hour"),
        number(stats, "lapsed_last_hour")
    )
}

#[cfg(test)]
pub mod tests {
    use std::time::Instant;

    use super::super::feed::Look;
    use super::*;
    use crate::failure::Failure;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::json;

    pub fn shown() -> Shown {
        let event = |kind: &str, card: &str| {
            json!({"at": "2001-02-03T12:00:00+00:00", "card_id": card, "kind": kind, "actor": "w1",
                   "old_status": "ready", "new_status": "claimed", "detail": {}})
        };
        Shown {
            phase: None,
            interval: Duration::from_secs(1),
            colour: false,
            look: Look {
                stats: json!({
                    "ready": 3, "claimed": 2, "blocked": 1, "done": 4, "cancelled": 0,
                    "claimable": 1, "gated": 2, "deferred": 0, "oldest_claimable_seconds": 340,
                }),
                leases: vec![
                    json!({"id": "A1", "title": "First", "claim_owner": "w1",
                           "claim_ttl_seconds": 900, "seconds_left": -75.0}),
                    json!({"id": "A2", "title": "Sec\u{1b}[31mond", "claim_owner": "w2",
                           "claim_ttl_seconds": 900, "seconds_left": 450.5}),
                ],
                blocked: vec![json!({"id": "A3", "title": "Third", "block_kind": "input",
                                     "block_reason": "which of the two?"})],
                events: (0..40)
                    .map(|n| event("claimed", &format!("E{n}")))
                    .collect(),
            },
            taken: Instant::now(),
            lost: None,
        }
    }

    /// The rows of the screen.
    pub fn drawn(shown: &Shown, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, shown)).unwrap();
        let buffer = terminal.backend().buffer();
        (0..height)
            .map(|y| {
                let row: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
                row.trim_end().to_owned()
            })
            .collect()
    }

    #[test]
    fn the_screen_counts_and_says_what_runs_and_what_is_blocked() {
        let screen = drawn(&shown(), 80, 24).join("\n");
        for part in [
            "3 ready   2 claimed   1 blocked   4 done   0 cancelled",
            "1 claimable, 2 gated, 0 deferred; the oldest claimable for 5m40s",
            "████████░░░░░░░░░░░░  4 of 10 done",
            "LEASES 2",
            "ended 1m15s ago",
            "7m30s",
            "BLOCKED 1",
            "input: which of the two?",
            "q quits",
        ] {
            assert!(screen.contains(part), "{part} is not in\n{screen}");
        }
        assert!(!screen.contains('\u{1b}'));
    }

    #[test]
    fn every_size_of_terminal_can_be_drawn() {
        for width in [1, 2, 7, 20, 40, 80, 200] {
            for height in 1..=40 {
                drawn(&shown(), width, height);
            }
        }
    }

    #[test]
    fn what_is_lost_is_said() {
        let mut shown = shown();
        shown.lost = Some(Failure::unreachable("cannot connect to db:5432"));
        let screen = drawn(&shown, 80, 24);
        assert_eq!(
            screen[0],
            "mosaic backlog  no news for 0s, trying again: cannot connect to db:5432"
        );
    }
}
