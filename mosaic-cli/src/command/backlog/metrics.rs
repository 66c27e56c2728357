//! The figures of `stats` in Prometheus' text format.

use serde_json::Value;

/// Labels and value of each sample; a figure that there is none of has no sample.
type Samples<'a> = Vec<(Option<(&'a str, &'a str)>, &'a Value)>;

/// The metrics of one backlog, or of one phase of it.
pub fn prometheus(stats: &Value, phase: Option<&str>) -> String {
    // The value of the label is the column's name without what all of them share.
    let by = |label: &'static str, ends: &[&'static str], ending: &str| -> Samples<'_> {
        ends.iter()
            .map(|end| (Some((label, *end)), &stats[format!("{end}{ending}")]))
            .collect()
    };
    let percentiles = |of: &str| -> Samples<'_> {
        ["50", "95"]
            .map(|end| {
                (
                    Some(("percentile", end)),
                    &stats[format!("{of}_p{end}_seconds")],
                )
            })
            .into()
    };
    let owners = stats["by_owner"].as_object().into_iter().flatten();
    let owners = owners.map(|(owner, cards)| (Some(("owner", owner.as_str())), cards));
    let metrics: [(&str, &str, Samples); 8] = [
        (
            "cards",
            "Cards by status.",
            by(
                "status",
                &["ready", "claimed", "blocked", "done", "cancelled"],
                "",
            ),
        ),
        (
            "ready_cards",
            "Ready cards by what they wait for: nothing (claimable), other cards (gated), their time (deferred).",
            by("state", &["claimable", "gated", "deferred"], ""),
        ),
        (
            "claimed_cards",
            "Claimed cards by the worker that holds them.",
            owners.collect(),
        ),
        (
            "expired_leases",
            "Claimed cards whose lease has ended and was not taken away yet.",
            vec![(None, &stats["expired_leases"])],
        ),
        (
            "oldest_claimable_seconds",
            "How long the longest waiting claimable card has been claimable.",
            vec![(None, &stats["oldest_claimable_seconds"])],
        ),
        (
            "last_hour_events",
            "What happened in the last hour, which is a gauge and not a counter.",
            by(
                "kind",
                &["created", "completed", "failed", "lapsed"],
                "_last_hour",
            ),
        ),
        (
            "wait_seconds",
            "How long the cards claimed in the last hour had been claimable.",
            percentiles("wait"),
        ),
        (
            "cycle_seconds",
            "Time from creation to completion of the cards completed in the last hour.",
            percentiles("cycle"),
        ),
    ];
    let mut text = String::new();
    for (name, help, samples) in metrics {
        text.push_str(&format!(
            "# HELP mosaic_backlog_{name} {help}\n# TYPE mosaic_backlog_{name} gauge\n"
        ));
        for (label, value) in samples {
            if !value.is_null() {
                let labels = [phase.map(|phase| ("phase", phase)), label];
                text.push_str(&format!(
                    "mosaic_backlog_{name}{} {value}\n",
                    braced(&labels)
                ));
            }
        }
    }
    let counters = [
        (
            "frontier_lost",
            "Cards and ended leases that an audit found and no claim knew of.",
            &stats["frontier"]["lost"],
        ),
        (
            "frontier_stuck",
            "Claims that were in the midst of their work so long that others stopped waiting for them.",
            &stats["frontier"]["stuck"],
        ),
    ];
    for (name, help, value) in counters {
        if !value.is_null() {
            text.push_str(&format!(
                "# HELP mosaic_backlog_{name}_total {help}\n# TYPE mosaic_backlog_{name}_total counter\n\
                 mosaic_backlog_{name}_total {value}\n"
            ));
        }
    }
    text
}

/// `{a="b",c="d"}`, or nothing.
fn braced(labels: &[Option<(&str, &str)>]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .flatten()
        .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
        .collect();
    if labels.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", labels.join(","))
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_known_has_no_sample() {
        let stats = json!({"ready": 2, "by_owner": {}, "oldest_claimable_seconds": null});
        let text = prometheus(&stats, None);
        assert!(text.contains("mosaic_backlog_cards{status=\"ready\"} 2\n"));
        assert!(!text.contains("\nmosaic_backlog_oldest_claimable_seconds"));
    }

    #[test]
    fn names_cannot_break_out_of_their_label() {
        let stats = json!({"by_owner": {"a\"b\\c\nd": 1}});
        assert!(prometheus(&stats, Some("p\"q")).contains(
            "mosaic_backlog_claimed_cards{phase=\"p\\\"q\",owner=\"a\\\"b\\\\c\\nd\"} 1\n"
        ));
    }
}
