//! What the tables hold in the end is what the events say, and everything was handed out.

use std::collections::{BTreeSet, HashMap};

use super::replay::Replay;
use super::violation::{Rule, Violation, report};
use crate::record::Record;

pub fn check(record: &Record, replay: &Replay, found: &mut Vec<Violation>) {
    let backlog = &record.backlog;
    if backlog.lost != 0 {
        let what = format!("audits found {} that nobody knew of", backlog.lost);
        report(found, Rule::Forgotten, what);
    }
    let mut links: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (card, on) in &backlog.links {
        links.entry(card).or_default().insert(on);
    }
    let status: HashMap<&str, &str> = (backlog.cards.iter())
        .map(|card| (card.id.as_str(), card.status.as_str()))
        .collect();
    for id in replay.cards.keys() {
        if !status.contains_key(id.as_str()) {
            report(found, Rule::Lost, format!("card {id} is gone"));
        }
    }
    for card in &backlog.cards {
        let id = card.id.as_str();
        let Some(state) = replay.cards.get(id) else {
            report(found, Rule::Invented, format!("card {id} has no event"));
            continue;
        };
        let told = (state.status.as_str(), state.token);
        let holds = (card.status.as_str(), card.claim_token);
        if told != holds {
            let what = format!("{id} is {holds:?}, its events say {told:?}");
            report(found, Rule::StateDiffers, what);
        }
        let needs = links.remove(id).unwrap_or_default();
        if !needs
            .iter()
            .copied()
            .eq(state.needs.iter().map(String::as_str))
        {
            let what = format!("{id} waits for {needs:?}, its events say {:?}", state.needs);
            report(found, Rule::StateDiffers, what);
        }
        let open = needs
            .iter()
            .filter(|on| status.get(**on) != Some(&"done"))
            .count();
        if i64::try_from(open) != Ok(card.open_dependencies) {
            let what = format!("{id} counts {}, {open} are open", card.open_dependencies);
            report(found, Rule::CounterWrong, what);
        }
        if card.status != "done" {
            let what = format!(
                "{id} is {} in the end, {open} dependencies open",
                card.status
            );
            report(found, Rule::NeverHandedOut, what);
        }
    }
}
