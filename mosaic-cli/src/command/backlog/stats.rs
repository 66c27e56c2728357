//! `stats`: the backlog in numbers.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::card::number;
use super::metrics;
use crate::database::call::Call;
use crate::database::store::{Address, Store};
use crate::failure::Failure;
use crate::input::filled;
use crate::output::reply::Reply;
use crate::output::screen::{Paint, Screen, one_line};

/// Count cards, holders and the throughput of the last hour
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic backlog stats --phase beta
  mosaic backlog stats --json | jq .claimable
  mosaic backlog stats --format prometheus > mosaic.prom")]
pub struct Stats {
    /// Only cards of this phase
    #[arg(long, value_parser = filled)]
    phase: Option<String>,

    /// Print metrics instead, as text that Prometheus reads
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<Format>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Prometheus,
}

impl Stats {
    pub fn run(self, address: &Address) -> Result<Reply, Failure> {
        let call = Call::new("backlog_stats").text("phase", self.phase.clone());
        let mut store = Store::open(address)?;
        let mut stats = store.row(&call)?;
        let failing = failing_workers(&mut store)?;
        if !failing.is_empty() {
            stats.insert("failing_workers".to_owned(), failing.into());
        }
        if self.format.is_some() && self.phase.is_none() {
            stats.insert("frontier".to_owned(), frontier(&mut store)?);
        }
        let stats = Value::Object(stats);
        Ok(match self.format {
            None => Reply::new(stats, view),
            Some(Format::Prometheus) => Reply::new(
                json!({"phase": self.phase, "stats": stats}),
                |document, _| metrics::prometheus(&document["stats"], document["phase"].as_str()),
            ),
        })
    }
}

/// The workers that fail one card after the other.
fn failing_workers(store: &mut Store) -> Result<Vec<Value>, Failure> {
    const FUNCTION: &str = "backlog_failing_workers";
    if !store.has(FUNCTION)? {
        return Ok(Vec::new());
    }
    let workers = store.rows(&Call::new(FUNCTION))?;
    Ok(workers.into_iter().map(Value::Object).collect())
}

/// What audits of the frontier have found; null where the extension does not tell.
fn frontier(store: &mut Store) -> Result<Value, Failure> {
    const FUNCTION: &str = "backlog_frontier";
    if !store.has(FUNCTION)? {
        return Ok(Value::Null);
    }
    Ok(Value::Object(store.row(&Call::new(FUNCTION))?))
}

fn view(stats: &Value, screen: &Screen) -> String {
    let count = |column: &str| number(stats, column);
    let mut lines = vec![
        (
            "cards",
            format!(
                "{} ready, {} claimed, {} blocked, {} done, {} cancelled",
                count("ready"),
                count("claimed"),
                count("blocked"),
                count("done"),
                count("cancelled")
            ),
        ),
        (
            "ready",
            format!(
                "{} claimable, {} wait for other cards, {} for their time",
                count("claimable"),
                count("gated"),
                count("deferred")
            ),
        ),
    ];
    if let Some(age) = stats["oldest_claimable_seconds"].as_f64() {
        lines.push(("oldest", format!("claimable for {}", span(age))));
    }
    if count("expired_leases") > 0 {
        lines.push(("leases", format!("{} have ended", count("expired_leases"))));
    }
    if let Some(owners) = stats["by_owner"].as_object().filter(|map| !map.is_empty()) {
        let owners: Vec<String> = owners
            .iter()
            .map(|(owner, cards)| format!("{} {cards}", one_line(owner)))
            .collect();
        lines.push(("held by", owners.join(", ")));
    }
    lines.push((
        "last hour",
        format!(
            "{} created, {} completed, {} failed, {} lapsed",
            count("created_last_hour"),
            count("completed_last_hour"),
            count("failed_last_hour"),
            count("lapsed_last_hour")
        ),
    ));
    for worker in stats["failing_workers"].as_array().into_iter().flatten() {
        let text = |column: &str| one_line(worker[column].as_str().unwrap_or_default());
        lines.push((
            "failing",
            format!(
                "{} failed {} cards in a row, last {}: {}",
                text("worker"),
                number(worker, "cards"),
                text("last_card"),
                shortened(&text("last_reason"))
            ),
        ));
    }
    for (name, half, most) in [
        ("wait", "wait_p50_seconds", "wait_p95_seconds"),
        ("cycle", "cycle_p50_seconds", "cycle_p95_seconds"),
    ] {
        if let (Some(half), Some(most)) = (stats[half].as_f64(), stats[most].as_f64()) {
            lines.push((name, format!("p50 {}, p95 {}", span(half), span(most))));
        }
    }
    lines
        .iter()
        .map(|(name, value)| {
            let name = screen.paint(Paint::Dim, &format!("{name:<11}"));
            format!("{name}{value}\n")
        })
        .collect()
}

/// The beginning of a long reason.
fn shortened(reason: &str) -> String {
    const LONGEST: usize = 80;
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

/// Seconds in the two largest units that matter.
pub fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    let seconds = seconds as u64;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days, hours, _) => format!("{days}d{hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::span;

    #[test]
    fn spans_are_short() {
        assert_eq!(span(0.25), "0.2s");
        assert_eq!(span(59.9), "59s");
        assert_eq!(span(340.0), "5m40s");
        assert_eq!(span(7_260.0), "2h1m");
        assert_eq!(span(90_000.0), "1d1h");
    }
}
