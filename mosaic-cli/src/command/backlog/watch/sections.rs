//! The sections below the counts: leases, blocked cards, events. They share the rows that there are.

use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthStr;

use super::feed::left;
use super::shown::{Shown, bar, whole};
use crate::command::backlog::card::{number, text};
use crate::command::backlog::events::{actor, step};
use crate::output::screen::{Paint, local_time, one_line};
use crate::output::table::cut;

/// The newest events keep so many rows of a screen of usual size, their title included.
const EVENTS: usize = 6;
/// The bar of a lease.
const BAR: usize = 10;
/// No column but the last one is wider.
const WIDEST: usize = 24;

struct Section {
    title: &'static str,
    /// How many there are, of which `rows` may be the first ones.
    count: usize,
    rows: Vec<Row>,
}

type Row = Vec<(Paint, String)>;

/// At most `height` lines of `width` columns.
pub fn lines(shown: &Shown, width: usize, height: usize) -> Vec<Line<'static>> {
    let sections = [leases(shown), blocked(shown), events(shown)];
    // A line between the sections, where there is room.
    let gap = usize::from(height >= 15);
    let mut free = height;
    let mut take = |wanted: usize, most: usize| {
        let taken = wanted.min(most).min(free);
        free -= taken;
        taken
    };
    let [leases, blocked, events] = &sections;
    let kept = EVENTS.min(height / 3) + gap;
    let blocked_height = take(blocked.height(gap), (height - kept.min(height)) / 2);
    let leases_height = take(
        leases.height(gap),
        height.saturating_sub(kept + blocked_height),
    );
    let events_height = take(events.height(gap), height);
    let mut lines = Vec::new();
    for (section, height) in sections
        .iter()
        .zip([leases_height, blocked_height, events_height])
    {
        section.draw(shown, width, height, gap, &mut lines);
    }
    lines
}

fn leases(shown: &Shown) -> Section {
    let since = shown.taken.elapsed().as_secs_f64();
    let rows = shown.look.leases.iter().map(|lease| {
        let left = left(lease) - since;
        let part = left / number(lease, "claim_ttl_seconds").max(1) as f64;
        let full = bar(part, BAR);
        let (paint, time) = match left {
            left if left <= 0.0 => (Paint::Bad, format!("ended {} ago", whole(-left))),
            left if part < 0.2 => (Paint::Warn, whole(left)),
            left => (Paint::Good, whole(left)),
        };
        vec![
            (Paint::Bold, text(lease, "id").to_owned()),
            (Paint::Info, text(lease, "claim_owner").to_owned()),
            (
                paint,
                format!("{}{}", "█".repeat(full), "░".repeat(BAR - full)),
            ),
            (paint, time),
            (Paint::Dim, text(lease, "title").to_owned()),
        ]
    });
    Section {
        title: "LEASES",
        count: number(&shown.look.stats, "claimed") as usize,
        rows: rows.collect(),
    }
}

fn blocked(shown: &Shown) -> Section {
    let rows = shown.look.blocked.iter().map(|card| {
        let why = match (text(card, "block_kind"), text(card, "block_reason")) {
            (kind, "") => kind.to_owned(),
            (kind, reason) => format!("{kind}: {reason}"),
        };
        vec![
            (Paint::Bold, text(card, "id").to_owned()),
            (Paint::Dim, text(card, "title").to_owned()),
            (Paint::Warn, why),
        ]
    });
    Section {
        title: "BLOCKED",
        count: number(&shown.look.stats, "blocked") as usize,
        rows: rows.collect(),
    }
}

fn events(shown: &Shown) -> Section {
    let rows = shown.look.events.iter().map(|event| {
        vec![
            (Paint::Dim, local_time(text(event, "at"))),
            (Paint::Bold, text(event, "card_id").to_owned()),
            (
                paint_of(text(event, "kind")),
                text(event, "kind").to_owned(),
            ),
            (Paint::Dim, step(event)),
            (Paint::Info, actor(event).to_owned()),
            (Paint::Dim, text(&event["detail"], "reason").to_owned()),
        ]
    });
    Section {
        // Events know no phase.
        title: if shown.phase.is_some() {
            "NEWEST EVENTS OF ALL PHASES"
        } else {
            "NEWEST EVENTS"
        },
        count: 0,
        rows: rows.collect(),
    }
}

fn paint_of(kind: &str) -> Paint {
    match kind {
        "completed" => Paint::Good,
        "failed" | "lapsed" | "reclaimed" | "quarantined" => Paint::Bad,
        "blocked" | "cancelled" => Paint::Warn,
        _ => Paint::Bold,
    }
}

impl Section {
    /// The lines that it would like: a title, the rows, and what sets it apart. Nothing if it is empty.
    fn height(&self, gap: usize) -> usize {
        match self.rows.len() {
            0 => 0,
            rows => gap + 1 + rows,
        }
    }

    fn draw(
        &self,
        shown: &Shown,
        width: usize,
        height: usize,
        gap: usize,
        lines: &mut Vec<Line<'static>>,
    ) {
        // A title without a row says nothing.
        let Some(room) = height.checked_sub(gap + 1).filter(|room| *room > 0) else {
            return;
        };
        lines.extend((0..gap).map(|_| Line::default()));
        let title = match self.count {
            0 => self.title.to_owned(),
            count => format!("{} {count}", self.title),
        };
        lines.push(Line::from(shown.span(Paint::Bold, title)));
        let whole = self.count.max(self.rows.len());
        // The newest events are a part by their name.
        let cut_short = self.count > 0 && whole > room;
        let rows = &self.rows[..self.rows.len().min(room - usize::from(cut_short))];
        lines.extend(aligned(rows, shown, width));
        if cut_short {
            let more = format!("… {} more", whole - rows.len());
            lines.push(Line::from(shown.span(Paint::Dim, more)));
        }
    }
}

/// Rows whose columns line up. All but the last column have their own width, within reason.
fn aligned(rows: &[Row], shown: &Shown, width: usize) -> Vec<Line<'static>> {
    const GAP: usize = 2;
    let columns = rows.first().map_or(0, Vec::len);
    // What others wrote may be anything.
    let clean: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|(_, text)| one_line(text)).collect())
        .collect();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let widest = clean.iter().map(|row| row[column].width()).max();
            widest.unwrap_or(0).min(WIDEST)
        })
        .collect();
    rows.iter()
        .zip(clean)
        .map(|(row, texts)| {
            let mut spans: Vec<Span> = Vec::new();
            let mut used = 0;
            for (column, ((paint, _), text)) in row.iter().zip(texts).enumerate() {
                let last = column + 1 == columns;
                let room = width.saturating_sub(used);
                let own = if last { room } else { widths[column].min(room) };
                let text = cut(&text, own);
                let blanks = (own + GAP).saturating_sub(text.width());
                used += own + GAP;
                spans.push(shown.span(*paint, text));
                if !last {
                    spans.push(Span::raw(" ".repeat(blanks)));
                }
            }
            Line::from(spans)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{drawn, shown};
    use serde_json::json;

    #[test]
    fn what_does_not_fit_is_counted() {
        let mut shown = shown();
        shown.look.stats["claimed"] = json!(1_500);
        let lease = shown.look.leases[1].clone();
        shown.look.leases = vec![lease; 1_000];
        let screen = drawn(&shown, 80, 24);
        let cut: Vec<&String> = screen.iter().filter(|row| row.contains(" more")).collect();
        let rows = screen.iter().filter(|row| row.contains("7m30s")).count();
        assert_eq!(cut, [&format!("… {} more", 1_500 - rows)]);
        assert!(rows > 3 && screen.iter().any(|row| row.starts_with("BLOCKED")));
        assert!(screen.iter().any(|row| row.starts_with("NEWEST EVENTS")));
    }

    #[test]
    fn columns_line_up_and_long_ones_are_cut() {
        let mut shown = shown();
        shown.look.leases[1]["claim_owner"] = json!("世界 with a name that is far too long");
        let screen = drawn(&shown, 100, 24);
        let bars: Vec<usize> = screen
            .iter()
            .filter(|row| row.contains('░') && !row.contains("done"))
            .map(|row| {
                row.find(['█', '░'])
                    .map_or(0, |at| row[..at].chars().count())
            })
            .collect();
        assert!(bars.len() == 2 && bars[0] == bars[1], "{screen:?}");
        assert!(screen.iter().any(|row| row.contains('…')), "{screen:?}");
    }
}
