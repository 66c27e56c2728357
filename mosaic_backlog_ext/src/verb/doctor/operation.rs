//! How the backlog is run: its settings, the frontier, and vacuum.

use super::finding::{Finding, State};
use crate::card::{history, row};
use crate::frontier::{self, Sharing};
use crate::postgres::clock;
use crate::postgres::configuration;
use crate::postgres::sequence;
use crate::postgres::settings::{self, Durability};
use crate::postgres::statement::{Session, statements};
use crate::postgres::transaction;
use crate::verb::failing::{SUSPECT, failing};

/// Autovacuum comes when a fifth of a table is dead. With half of it, and not in a small table,
/// it does not keep up.
const DEAD_ROWS: i64 = 10_000;

statements! {
    VACUUM() =
        "select c.relname::text, pg_stat_get_live_tuples(c.oid), pg_stat_get_dead_tuples(c.oid),
           coalesce(greatest(pg_stat_get_last_vacuum_time(c.oid),
             pg_stat_get_last_autovacuum_time(c.oid))::text, 'never'),
           coalesce((select o.option_value::boolean from pg_options_to_table(c.reloptions) o
             where o.option_name = 'autovacuum_enabled'), true)
             and current_setting('autovacuum')::boolean and current_setting('track_counts')::boolean
         from pg_class c where c.relnamespace = (select oid from pg_namespace where nspname = 'mosaic') and c.relkind = 'r'
         order by c.relname";
}

pub fn settings() -> Finding {
    const NAME: &str = "settings";
    let clock = settings::CLOCK.get().unwrap_or_default();
    if !clock.is_empty() {
        return Finding::not_ok(
            NAME,
            State::Error,
            format!(
                "mosaic.clock stands at {}: no lease ends, and no card comes due.",
                clock.to_string_lossy()
            ),
            "It is for tests. As a superuser, reset mosaic.clock where it was set: for the database, \
             the role, or in the server's configuration.",
        );
    }
    if settings::DURABILITY.get() == Durability::Inherit
        && configuration::commits_are_not_waited_for()
    {
        return Finding::not_ok(
            NAME,
            State::Error,
            "mosaic.durability is inherit and synchronous_commit is off: a crash can lose completed \
             cards that were acknowledged, and hand out a token twice.",
            "Reset mosaic.durability, or set synchronous_commit to on.",
        );
    }
    Finding::ok(
        NAME,
        "The clock is the server's, and what is acknowledged is kept.",
    )
}

/// Whether cards and events are written without a statement. That they are not is slower, and no fault.
pub fn direct_writes() -> Finding {
    const NAME: &str = "direct_writes";
    if transaction::is_in_recovery() {
        return Finding::ok(NAME, "This server is a standby, which writes nothing.");
    }
    let obstacle = match settings::DIRECT_WRITES.get() {
        true => row::obstacle().or_else(history::obstacle),
        false => Some("mosaic.direct_writes is off".to_owned()),
    };
    Finding::ok(
        NAME,
        match obstacle {
            None => "In use.".to_owned(),
            Some(why) => format!("Not in use, so calls cost more: {why}."),
        },
    )
}

pub fn frontier(session: &Session) -> Finding {
    const NAME: &str = "frontier";
    if transaction::is_in_recovery() {
        return Finding::not_ok(
            NAME,
            State::Unknown,
            "This server is a standby, which hands out no cards.",
            "Ask the primary.",
        );
    }
    match frontier::sharing() {
        Sharing::Shared => audited(session, NAME),
        Sharing::NotYet => Finding::ok(
            NAME,
            "No claim since the server started; the next one makes the frontier's memory.",
        ),
        Sharing::Refused(why) => Finding::not_ok(
            NAME,
            State::Warning,
            format!(
                "The server has no shared memory to give ({why}): each claim scans its index, and gets \
                 slower with the cards claimed before."
            ),
            "Make room where the server's dynamic shared memory lies: in /dev/shm, which in a container is \
             often small, or in its data folder (dynamic_shared_memory_type). If there are too many segments, \
             raise max_connections, by which their number grows. The next call tries again by itself.",
        ),
        Sharing::Apart => Finding::not_ok(
            NAME,
            State::Error,
            "This session and new ones do not share what they know: mosaic.backlog_frontier_seq was changed \
             by hand. Claims see what others made claimable late.",
            "As a superuser: `alter sequence mosaic.backlog_frontier_seq restart`, after which all sessions \
             find memory that is new.",
        ),
    }
}

/// What audits of the frontier have found.
fn audited(session: &Session, name: &'static str) -> Finding {
    let report = frontier::report(session);
    let (audits, lost, stuck): (i64, i64, i64) =
        (report.must(0, 2), report.must(0, 3), report.must(0, 6));
    let at = |column| clock::rfc3339(report.must(0, column));
    if lost > 0 {
        let last = report
            .get(0, 5)
            .map_or_else(String::new, |id: String| format!(" (card \"{id}\")"));
        return Finding::not_ok(
            name,
            State::Error,
            format!(
                "The frontier had lost {lost} cards or ended leases, the last at {}{last}; an audit found them, \
                 and they were handed out late.",
                at(4)
            ),
            "Nothing is lost and nothing has to be done, but this is a fault of the extension, or triggers of ours \
             were switched off: please report it. The count begins anew when the server restarts, or when nobody was connected for a while.",
        );
    }
    if stuck > 0 {
        return Finding::not_ok(
            name,
            State::Warning,
            format!(
                "{stuck} times a claim was in the midst of its work for so long that others gave up waiting for it, \
                 the last at {}.",
                at(7)
            ),
            "A trigger of your own on mosaic.backlog that takes a long time makes claims slow; make it faster.",
        );
    }
    Finding::ok(
        name,
        format!("Claims are fast: the frontier is shared. Audits that found nothing: {audits}."),
    )
}

pub fn vacuum(session: &Session) -> Finding {
    const NAME: &str = "vacuum";
    let answer = session.run(&VACUUM, &[]);
    let mut off = Vec::new();
    let mut behind = Vec::new();
    let (mut live, mut dead) = (0, 0);
    for row in 0..answer.len() {
        let table: String = answer.must(row, 1);
        let (alive, gone): (i64, i64) = (answer.must(row, 2), answer.must(row, 3));
        live += alive;
        dead += gone;
        if gone > DEAD_ROWS && gone > alive / 2 {
            behind.push(format!(
                "mosaic.{table} has {gone} dead rows beside {alive} live ones, last vacuum: {}",
                answer.must::<String>(row, 4)
            ));
        }
        if !answer.must::<bool>(row, 5) {
            off.push(format!("mosaic.{table}"));
        }
    }
    if !off.is_empty() {
        return Finding::not_ok(
            NAME,
            State::Warning,
            format!("Autovacuum is off for {}.", off.join(", ")),
            "Dead rows are never removed, and tables and indexes grow. Set autovacuum and track_counts \
             to on, and as a superuser reset autovacuum_enabled of these tables.",
        );
    }
    if !behind.is_empty() {
        return Finding::not_ok(
            NAME,
            State::Warning,
            format!("{}.", behind.join("; ")),
            "Something keeps the rows alive, such as an old transaction, a replication slot or a \
             prepared transaction; or autovacuum is too slow. When that is mended, a superuser runs \
             `vacuum` on the table.",
        );
    }
    Finding::ok(
        NAME,
        format!(
            "{live} live rows, {dead} dead ones, in {} tables.",
            answer.len()
        ),
    )
}

/// What the tables know was drawn from the sequences, or they were set back.
pub fn sequences(session: &Session) -> Finding {
    const NAME: &str = "sequences";
    let drawn = sequence::drawn();
    let known = sequence::known(session);
    let behind: Vec<String> = sequence::ALL
        .into_iter()
        .zip(drawn)
        .zip(known)
        .filter(|((_, drawn), known)| drawn < known)
        .map(|((sequence, drawn), known)| {
            let name = sequence.name().to_string_lossy();
            // The numbers themselves may be somebody's token.
            format!("mosaic.{name} is {} behind the tables", known - drawn)
        })
        .collect();
    if behind.is_empty() {
        return Finding::ok(NAME, "No sequence is behind the tables.");
    }
    Finding::not_ok(
        NAME,
        State::Error,
        format!("{}.", behind.join("; ")),
        "The rows came without their sequences, or these were set back. As an operator, call \
         mosaic.backlog_resume_after_restore(), after which no token comes again.",
    )
}

pub fn failing_workers(session: &Session) -> Finding {
    const NAME: &str = "failing_workers";
    let answer = failing(session, SUSPECT);
    if answer.is_empty() {
        return Finding::ok(NAME, "No worker fails one card after the other.");
    }
    let worst = |row| {
        let (worker, cards): (String, i64) = (answer.must(row, 1), answer.must(row, 2));
        let reason: String = answer.get(row, 6).unwrap_or_default();
        let short: String = reason.chars().take(200).collect();
        format!("Worker {worker} failed {cards} different cards in a row, last for: {short}")
    };
    let mut told: Vec<String> = (0..answer.len().min(3)).map(worst).collect();
    if answer.len() > told.len() {
        told.push(format!("{} more workers", answer.len() - told.len()));
    }
    Finding::not_ok(
        NAME,
        State::Warning,
        format!("{}.", told.join("; ").trim_end_matches('.')),
        "More likely the worker is broken than all these cards: stop it and repair it. Cards that ran out of \
         attempts meanwhile are quarantined; unblock them then.",
    )
}
