//! Whether what the extension created is still there and works.

use std::thread::LocalKey;

use super::finding::{Finding, State};
use super::installed;
use crate::postgres::statement::{Session, Statement, statements};

statements! {
    TRIGGERS() =
        // One of that name that calls something else is none.
        "select t.tgname::text, t.tgenabled = 'A' from pg_trigger t join pg_proc p on p.oid = t.tgfoid
         join pg_class c on c.oid = t.tgrelid and c.relname = 'backlog'
         join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'mosaic'
         where not t.tgisinternal and t.tgenabled <> 'D'
           and t.tgqual is null and p.proname = t.tgname and p.pronamespace = n.oid
         union all
         select e.evtname::text, e.evtenabled = 'A' from pg_event_trigger e
         join pg_proc p on p.oid = e.evtfoid and p.pronamespace = (select oid from pg_namespace where nspname = 'mosaic')
         where e.evtenabled <> 'D'";
    INDEXES() =
        "select i.relname::text, x.indisvalid and x.indisready and x.indislive
         from pg_index x
         join pg_class i on i.oid = x.indexrelid
         join pg_class t on t.oid = x.indrelid
         where t.relnamespace = (select oid from pg_namespace where nspname = 'mosaic')";
}

/// What tells the frontier of changes, and what refuses to drop cards.
const TRIGGERS_EXPECTED: [&str; 3] = [
    "backlog_watch",
    "backlog_watch_hand",
    "mosaic_backlog_refuse_drop",
];

/// The scripts that create indexes: what they say is what must be there.
const SCRIPTS: [&str; 5] = [
    include_str!("../../../../sql/20_card.sql"),
    include_str!("../../../../sql/25_frontier.sql"),
    include_str!("../../../../sql/30_dependency.sql"),
    include_str!("../../../../sql/40_event.sql"),
    include_str!("../../../../sql/50_claim_request.sql"),
];

/// The names of the indexes that the scripts create, and whether each keeps rows unique.
fn expected_indexes() -> Vec<(String, bool)> {
    let mut table = "";
    let mut expected = Vec::new();
    for line in SCRIPTS.iter().flat_map(|script| script.lines()) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("create"), Some("table"), Some(name), _) => {
                table = name.trim_start_matches("mosaic.");
            }
            (Some("create"), Some("index"), Some(name), _) => {
                expected.push((name.to_owned(), false));
            }
            (Some("create"), Some("unique"), Some("index"), Some(name)) => {
                expected.push((name.to_owned(), true));
            }
            _ if line.contains("primary key") => expected.push((format!("{table}_pkey"), true)),
            _ => {}
        }
    }
    expected
}

/// The names that are missing, and those that are there but of no use.
fn compare<'a>(
    expected: impl Iterator<Item = &'a str>,
    there: &[(String, bool)],
) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut missing = Vec::new();
    let mut useless = Vec::new();
    for name in expected {
        match there.iter().find(|(known, _)| known == name) {
            None => missing.push(name),
            Some((_, false)) => useless.push(name),
            Some((_, true)) => {}
        }
    }
    (missing, useless)
}

/// `what: a, b. ` or nothing.
fn listed(what: &str, names: &[&str]) -> String {
    if names.is_empty() {
        String::new()
    } else {
        format!("{what}: {}. ", names.join(", "))
    }
}

fn named(session: &Session, statement: &'static LocalKey<Statement>) -> Vec<(String, bool)> {
    let answer = session.run(statement, &[]);
    (0..answer.len())
        .map(|row| (answer.must(row, 1), answer.must(row, 2)))
        .collect()
}

pub fn triggers(session: &Session) -> Finding {
    const NAME: &str = "triggers";
    let there = named(session, &TRIGGERS);
    let (missing, useless) = compare(TRIGGERS_EXPECTED.into_iter(), &there);
    if missing.is_empty() && useless.is_empty() {
        return Finding::ok(NAME, "All triggers of the extension are enabled.");
    }
    let detail = listed("Missing or disabled", &missing)
        + &listed(
            "Not enabled whatever session_replication_role says",
            &useless,
        );
    Finding::not_ok(
        NAME,
        State::Error,
        format!("{detail}Claims may miss cards, or cards may be dropped with the extension."),
        "As a superuser: `alter table mosaic.backlog enable always trigger backlog_watch, enable always \
         trigger backlog_watch_hand; alter event trigger mosaic_backlog_refuse_drop enable always`, and then \
         `update mosaic.backlog set id = id where false`, after which claims look at all cards anew.",
    )
}

pub fn indexes(session: &Session) -> Finding {
    const NAME: &str = "indexes";
    if let Some(version) = installed::other_version(session) {
        return installed::of_another_version(NAME, &version);
    }
    let there = named(session, &INDEXES);
    let expected = expected_indexes();
    let (missing, useless) = compare(expected.iter().map(|(name, _)| name.as_str()), &there);
    if missing.is_empty() && useless.is_empty() {
        return Finding::ok(NAME, format!("All {} indexes are valid.", expected.len()));
    }
    let is_unique = |name: &&str| {
        expected
            .iter()
            .any(|(known, unique)| known == name && *unique)
    };
    let wrong = missing.iter().chain(&useless).any(is_unique);
    let detail = listed("Missing", &missing) + &listed("Invalid", &useless);
    let (state, means) = if wrong {
        (State::Error, "Ids or keys may exist twice.")
    } else {
        (State::Warning, "Calls that need them are slow.")
    };
    Finding::not_ok(
        NAME,
        state,
        format!("{detail}{means}"),
        "As a superuser: `reindex index concurrently mosaic.NAME` makes an invalid one anew; the \
         statement of a missing one is in the extension's install script on the server.",
    )
}
