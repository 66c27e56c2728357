//! Reading an import, line by line over any number of calls in one transaction.
//!
//! What has come so far is in the tables already, and nowhere to be seen before the commit.
//! What the end has to be checked against is kept in the memory of the session: the counts and
//! the graph. A commit before the end line is refused, so that no half of a file stays.

use std::cell::Cell;
use std::collections::HashSet;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::{PgXactCallbackEvent, register_xact_callback};
use serde_json::value::RawValue;

use super::card_line::Card;
use super::graph::Graph;
use super::line::{Counts, Dependency, Event, Line};
use super::{insert, tokens};
use crate::argument::{self, Jsonb};
use crate::card;
use crate::card::dependency::{self, Gates};
use crate::card::status::Status;
use crate::frontier::wake;
use crate::guard;
use crate::postgres::clock;
use crate::postgres::lock;
use crate::postgres::rows::{Rows, shapes};
use crate::postgres::statement::{Session, param, session, statements};
use crate::postgres::transaction;
use crate::refusal::Refusal;
use crate::verb::lease::ending;

/// Counters set by one statement.
const GATE_PAGE: usize = 10_000;

shapes! {
    /// How far the import has come, and whether its end line has come.
    ImportRow = "TABLE (lines bigint, cards bigint, dependencies bigint, events bigint, finished boolean)";
}

statements! {
    PROGRESS(INT8OID, INT8OID, INT8OID, INT8OID, BOOLOID) = "select $1, $2, $3, $4, $5";
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Options {
    dependencies: bool,
    events: bool,
}

/// An import under way.
struct Import {
    options: Options,
    /// The subtransaction in which it began.
    xid: transaction::Id,
    lines: u64,
    /// What the header promises; `None` before it has come.
    promised: Option<Counts>,
    last_token: i64,
    seen: Seen,
    graph: Graph,
    /// Arrivals that the history tells of after all that it says already.
    arrivals: Vec<Event>,
    /// Ready cards that may have no attempt left here.
    tried: Vec<String>,
    finished: bool,
}

#[derive(Default)]
struct Seen {
    cards: u64,
    dependencies: u64,
    events: u64,
}

/// Rows of one call that wait to be inserted together.
#[derive(Default)]
struct Pending {
    cards: Vec<(u64, Card)>,
    dependencies: Vec<Dependency>,
    events: Vec<Event>,
}

thread_local! {
    static UNDER_WAY: Cell<Option<Box<Import>>> = const { Cell::new(None) };
}

impl Import {
    /// Of so many lines, how many were not passed over.
    fn taken(wanted: bool, seen: u64) -> i64 {
        if wanted { seen as i64 } else { 0 }
    }

    /// Whether its changes are part of the current transaction, not undone to a savepoint.
    fn is_alive(&self) -> bool {
        transaction::is_own(self.xid)
    }
}

/// Takes lines that `backlog_export` wrote, as JSON arrays, in their order and in one
/// transaction. The end line finishes the import; without it the transaction cannot commit.
#[pg_extern(schema = "mosaic", volatile, parallel_unsafe, security_definer)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_import(
    lines: Option<Jsonb>,
    with_dependencies: default!(Option<bool>, "true"),
    with_events: default!(Option<bool>, "true"),
    actor: default!(Option<String>, "NULL"),
) -> Result<Rows<ImportRow>, pgrx::pg_sys::panic::ErrorReport> {
    guard::writing()?;
    let actor = argument::optional_name("actor", actor)?;
    let options = Options {
        dependencies: with_dependencies.unwrap_or(true),
        events: with_events.unwrap_or(true),
    };
    let Some(lines) = lines else {
        return Err(Refusal::argument("lines is missing", "Give a JSON array of lines.").into());
    };
    let text = lines.batch("lines")?;
    let lines: Vec<&RawValue> = serde_json::from_str(&text).map_err(|_| {
        Refusal::argument("lines is not a JSON array", "Give a JSON array of lines.")
    })?;
    Ok(session(|session| {
        let mut import = take_up(options)?;
        import.read(session, &lines, actor.as_deref())?;
        let answer = session.run(
            &PROGRESS,
            &[
                param(import.lines as i64),
                param(import.seen.cards as i64),
                param(Import::taken(
                    options.dependencies,
                    import.seen.dependencies,
                )),
                param(Import::taken(options.events, import.seen.events)),
                param(import.finished),
            ],
        );
        if !import.finished {
            UNDER_WAY.set(Some(import));
        }
        Ok::<_, Refusal>(Rows::new(session, &answer))
    })?)
}

/// The import that this transaction has under way, or a new one.
fn take_up(options: Options) -> Result<Box<Import>, Refusal> {
    let xid = transaction::id();
    if let Some(import) = UNDER_WAY.take()
        && import.is_alive()
    {
        let same_level = import.xid == xid;
        let same_options = import.options == options;
        if same_level && same_options {
            return Ok(import);
        }
        UNDER_WAY.set(Some(import));
        return Err(if same_level {
            Refusal::argument(
                "with_dependencies or with_events differs from the call before",
                "Give the same options in all calls of an import.",
            )
        } else {
            Refusal::scattered_import()
        });
    }
    lock::import();
    register_xact_callback(PgXactCallbackEvent::PreCommit, refuse_unfinished);
    register_xact_callback(PgXactCallbackEvent::PrePrepare, refuse_unfinished);
    register_xact_callback(PgXactCallbackEvent::Abort, || UNDER_WAY.set(None));
    Ok(Box::new(Import {
        options,
        xid,
        lines: 0,
        promised: None,
        last_token: 0,
        seen: Seen::default(),
        graph: Graph::default(),
        arrivals: Vec::new(),
        tried: Vec::new(),
        finished: false,
    }))
}

fn refuse_unfinished() {
    if let Some(import) = UNDER_WAY.take()
        && import.is_alive()
    {
        ErrorReport::from(Refusal::unfinished_import(import.lines)).report(PgLogLevel::ERROR);
    }
}

impl Import {
    fn read(
        &mut self,
        session: &Session,
        lines: &[&RawValue],
        actor: Option<&str>,
    ) -> Result<(), Refusal> {
        let mut pending = Pending::default();
        for line in lines {
            self.lines += 1;
            self.take(session, Line::read(line.get(), self.lines)?, &mut pending)?;
        }
        self.insert(session, pending, actor)?;
        if self.finished {
            self.settle(session, actor)?;
        }
        Ok(())
    }

    /// Checks one line against what came before it.
    fn take(
        &mut self,
        session: &Session,
        line: Line,
        pending: &mut Pending,
    ) -> Result<(), Refusal> {
        let at = self.lines;
        if self.finished {
            return Err(Refusal::line(at, "follows the end line"));
        }
        let promised = match (self.promised, line) {
            (None, Line::Header(header)) => {
                self.promised = Some(header.counts);
                self.last_token = header.last_token;
                return tokens::raise(session, header.last_token);
            }
            (None, _) => return Err(Refusal::line(at, "comes without a header before it")),
            (Some(_), Line::Header(_)) => return Err(Refusal::line(at, "is a second header")),
            (Some(promised), Line::Card(card)) => {
                if self.seen.dependencies > 0 || self.seen.events > 0 {
                    return Err(Refusal::line(at, "is a card after dependencies or events"));
                }
                self.take_card(&card)?;
                pending.cards.push((at, *card));
                promised
            }
            (Some(promised), Line::Dependency(edge)) => {
                if self.seen.events > 0 {
                    return Err(Refusal::line(at, "is a dependency after events"));
                }
                self.take_dependency(edge, pending)?;
                promised
            }
            (Some(promised), Line::Event(event)) => {
                self.take_event(event, pending)?;
                promised
            }
            (Some(promised), Line::End(counts)) => {
                self.finished = true;
                if counts != promised {
                    return Err(Refusal::line(at, "has other counts than the header"));
                }
                if self.seen.cards != promised.cards
                    || self.seen.dependencies != promised.dependencies.unwrap_or(0)
                    || self.seen.events != promised.events.unwrap_or(0)
                {
                    return Err(Refusal::line(
                        at,
                        "has other counts than the lines before it",
                    ));
                }
                promised
            }
        };
        if self.seen.cards > promised.cards
            || self.seen.dependencies > promised.dependencies.unwrap_or(0)
            || self.seen.events > promised.events.unwrap_or(0)
        {
            return Err(Refusal::line(at, "is one more than the header counts"));
        }
        Ok(())
    }

    fn take_card(&mut self, card: &Card) -> Result<(), Refusal> {
        self.seen.cards += 1;
        let token = card.lease.as_ref().map(|lease| lease.token);
        self.check_token(token.max(card.settled_token))?;
        if !self.graph.add_card(&card.id, card.status == Status::Done) {
            return Err(Refusal::line(
                self.lines,
                format!("has card \"{}\" a second time", card.id),
            ));
        }
        if insert::arrival(card.status) == Status::Ready && card.attempts > 0 {
            self.tried.push(card.id.clone());
        }
        Ok(())
    }

    fn take_dependency(&mut self, edge: Dependency, pending: &mut Pending) -> Result<(), Refusal> {
        self.seen.dependencies += 1;
        self.check_card(&edge.card_id)?;
        if !self.options.dependencies {
            return Ok(());
        }
        if !self
            .graph
            .add_edge(&edge.card_id, &edge.depends_on, self.lines)
        {
            return Err(Refusal::line(self.lines, "has a dependency a second time"));
        }
        pending.dependencies.push(edge);
        Ok(())
    }

    fn take_event(&mut self, event: Event, pending: &mut Pending) -> Result<(), Refusal> {
        self.seen.events += 1;
        self.check_card(&event.card_id)?;
        self.check_token(event.claim_token)?;
        if self.options.events {
            pending.events.push(event);
        }
        Ok(())
    }

    /// History and dependencies of cards that are not imported are not for an import to add.
    fn check_card(&self, id: &str) -> Result<(), Refusal> {
        if self.graph.has_card(id) {
            Ok(())
        } else {
            Err(Refusal::line(
                self.lines,
                format!("is about card \"{id}\", which is not in the file"),
            ))
        }
    }

    fn check_token(&self, token: Option<i64>) -> Result<(), Refusal> {
        if token.is_some_and(|token| token > self.last_token) {
            return Err(Refusal::line(
                self.lines,
                "has a token above the header's last_claim_token",
            ));
        }
        Ok(())
    }

    fn insert(
        &mut self,
        session: &Session,
        pending: Pending,
        actor: Option<&str>,
    ) -> Result<(), Refusal> {
        if !pending.cards.is_empty() {
            let now = clock::now();
            let inserted = insert::cards(session, &pending.cards, now);
            if inserted.len() < pending.cards.len() {
                return Err(insert::conflict(session, &pending.cards, &inserted, now));
            }
            // Without its history, a card's arrival is what the history begins with.
            let history_comes =
                self.options.events && self.promised.is_some_and(|p| p.events.is_some());
            let arrivals = pending
                .cards
                .iter()
                .filter(|(_, card)| !history_comes || card.lease.is_some())
                .map(|(_, card)| insert::arrived(card, actor, now));
            if history_comes {
                self.arrivals.extend(arrivals);
            } else {
                insert::events(session, &arrivals.collect::<Vec<_>>());
            }
        }
        insert::dependencies(session, &pending.dependencies);
        insert::events(session, &pending.events);
        Ok(())
    }

    /// The whole file has come: closes the gates that are to be closed.
    fn settle(&mut self, session: &Session, actor: Option<&str>) -> Result<(), Refusal> {
        if let Some((id, on)) = self.graph.cycle() {
            return Err(Refusal::cycle(id, on));
        }
        let outside = self.graph.outside();
        let gates = Gates::pass(&outside);
        let found = dependency::lock_shared(session, &outside).map_err(|refusal| {
            let missing = outside.iter().find(|id| refusal.is_about(id));
            match missing.and_then(|id| self.graph.line_of_outside(id)) {
                Some(line) => refusal.of_line(line),
                None => refusal,
            }
        })?;
        gates.leave();
        let done: HashSet<String> = found
            .into_iter()
            .filter(|(_, status)| *status == Status::Done)
            .map(|(id, _)| id)
            .collect();
        for page in self.graph.gates(&done).chunks(GATE_PAGE) {
            insert::gate(session, page.to_vec());
        }
        insert::events(session, &self.arrivals);
        // The maximum of attempts may be lower here, and a lease that stayed behind was one.
        let now = clock::now();
        for id in &self.tried {
            let card = card::Card::lock(session, id)?;
            if card.is_exhausted() {
                ending::quarantine(session, &card, "quarantined", None, actor, now);
            }
        }
        wake::waiters();
        Ok(())
    }
}
