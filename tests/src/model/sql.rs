//! A call as SQL. Times are told and asked for in seconds since 1970.

use serde_json::{Value, json};

use super::call::{Call, Claim, Filter, NewCard, Token, Update};
use super::{Seconds, Time};
use crate::cards::{array, quote};

/// The columns of a card, of a table under the alias `c`.
pub const CARD: &str = "c.id, c.title, c.body, c.phase, c.labels, c.requires, c.priority, c.status, c.acceptance,
  c.idempotency_key, extract(epoch from c.not_before)::bigint as not_before, c.claim_owner, c.claim_token,
  c.claim_ttl_seconds, extract(epoch from c.claimed_at)::bigint as claimed_at,
  extract(epoch from c.claim_expires_at)::bigint as claim_expires_at, c.attempts, c.max_attempts, c.block_kind,
  c.block_reason, c.result, c.open_dependencies, extract(epoch from c.created_at)::bigint as created_at,
  extract(epoch from c.updated_at)::bigint as updated_at, extract(epoch from c.completed_at)::bigint as completed_at";

/// The arguments of a call, by name. What is not given is left out.
#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn raw(mut self, name: &str, value: Option<String>) -> Self {
        self.0
            .extend(value.map(|value| format!("{name} => {value}")));
        self
    }

    fn text(self, name: &str, value: Option<&str>) -> Self {
        self.raw(name, value.map(quote))
    }

    fn show(self, name: &str, value: Option<impl ToString>) -> Self {
        self.raw(name, value.map(|value| value.to_string()))
    }

    fn seconds(self, name: &str, value: Option<Seconds>) -> Self {
        self.raw(name, value.map(|n| format!("interval '{n} seconds'")))
    }

    fn time(self, name: &str, value: Option<Time>) -> Self {
        self.raw(name, value.map(|time| format!("to_timestamp({time})")))
    }

    fn json(self, name: &str, value: Option<i32>) -> Self {
        self.raw(name, value.map(|n| format!("jsonb '{n}'")))
    }

    fn texts(self, name: &str, values: Option<&[&'static str]>) -> Self {
        self.raw(name, values.map(array))
    }

    fn ids(self, name: &str, values: &[String]) -> Self {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        self.raw(name, Some(array(&values)))
    }

    fn flag(self, name: &str, value: bool) -> Self {
        self.raw(name, value.then(|| "true".to_owned()))
    }

    fn token(self, token: Token) -> Self {
        let number = match token {
            Token::Number(number) => number.to_string(),
            _ => "null".to_owned(),
        };
        self.raw("claim_token", Some(number))
    }
}

fn create(new: &NewCard) -> Arguments {
    Arguments::default()
        .text("title", Some(new.title))
        .text("id", new.id.as_deref())
        .text("body", new.body)
        .text("phase", new.phase)
        .show("priority", Some(new.priority))
        .ids("depends_on", &new.depends_on)
        .texts("labels", Some(&new.labels))
        .texts("requires", Some(&new.requires))
        .json("acceptance", new.acceptance)
        .text("idempotency_key", new.idempotency_key)
        .time("not_before", new.not_before)
        .show("max_attempts", new.max_attempts)
}

/// A card of a batch. A time becomes text in the database.
fn batch_card(new: &NewCard) -> String {
    let fields: Value = json!({
        "title": new.title, "id": new.id, "body": new.body, "phase": new.phase, "priority": new.priority,
        "depends_on": new.depends_on, "labels": new.labels, "requires": new.requires,
        "acceptance": new.acceptance, "idempotency_key": new.idempotency_key,
        "max_attempts": new.max_attempts,
    });
    let not_before = new
        .not_before
        .map_or("null".to_owned(), |time| format!("to_timestamp({time})"));
    format!(
        "{}::jsonb || jsonb_build_object('not_before', {not_before})",
        quote(&fields.to_string())
    )
}

fn claim(claim: &Claim) -> Arguments {
    let request = claim
        .request
        .map(|n| format!("'00000000-0000-4000-8000-{n:012}'"));
    Arguments::default()
        .text("worker", Some(claim.worker))
        .seconds("ttl", Some(claim.ttl))
        .show("max_cards", Some(claim.max_cards))
        .text("phase", claim.phase)
        .texts("labels", Some(&claim.labels))
        .texts("offers", Some(&claim.offers))
        .text("id", claim.id.as_deref())
        .raw("request_id", request)
}

fn update(update: &Update) -> Arguments {
    Arguments::default()
        .text("id", Some(&update.id))
        .text("title", update.title)
        .text("body", update.body)
        .text("phase", update.phase)
        .show("priority", update.priority)
        .texts("labels", update.labels.as_deref())
        .texts("requires", update.requires.as_deref())
        .json("acceptance", update.acceptance)
        .time("not_before", update.not_before)
        .show("max_attempts", update.max_attempts)
        .texts("clear", Some(&update.clear))
}

/// The arguments of a call about one card.
fn of_card(id: &str) -> Arguments {
    Arguments::default().text("id", Some(id))
}

/// One page of a list, after a cursor.
pub fn page(filter: &Filter, after: Option<&str>) -> String {
    let statuses = filter.statuses.as_ref().map(|statuses| {
        let names: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
        format!("'{{{}}}'", names.join(","))
    });
    let arguments = Arguments::default()
        .raw("statuses", statuses)
        .text("phase", filter.phase)
        .texts("labels", Some(&filter.labels))
        .text("owner", filter.owner)
        .flag("ready_only", filter.ready_only)
        .show("max_cards", Some(filter.max_cards))
        .text("after", after)
        .flag("with_total", true);
    let arguments = arguments.0.join(", ");
    format!("select c.id, c.cursor, c.total from mosaic.backlog_list({arguments}) c")
}

/// The query that makes a call. A list is made page by page instead.
pub fn query(call: &Call, actor: Option<&str>) -> String {
    let card = format!("{CARD}, c.depends_on");
    let why =
        "c.kind, c.id, c.title, c.status, c.owner, extract(epoch from c.until)::bigint as until,
       c.block_kind, c.reason, c.depth";
    let (columns, function, arguments) = match call {
        Call::Create(new) => (format!("{card}, c.created"), "create", create(new)),
        Call::CreateMany(new) => {
            let cards: Vec<String> = new.iter().map(batch_card).collect();
            let cards = format!("jsonb_build_array({})", cards.join(", "));
            let arguments = Arguments::default().raw("cards", Some(cards));
            ("c.id, c.created".to_owned(), "create_many", arguments)
        }
        Call::Get { id } => (card, "get", of_card(id)),
        Call::List(filter) => return page(filter, None),
        Call::Claim(asked) => {
            let columns = format!("{card}, c.dependencies, c.last_failure, c.dependencies_total");
            (columns, "claim", claim(asked))
        }
        Call::Renew { id, token, ttl } => {
            let columns = "extract(epoch from c)::bigint as claim_expires_at".to_owned();
            (
                columns,
                "renew",
                of_card(id).token(*token).seconds("ttl", *ttl),
            )
        }
        Call::Release {
            id,
            token,
            retry_in,
            reason,
        } => {
            let arguments = of_card(id).token(*token).seconds("retry_in", *retry_in);
            (card, "release", arguments.text("reason", *reason))
        }
        Call::Fail {
            id,
            token,
            reason,
            retry_in,
        } => {
            let arguments = of_card(id)
                .token(*token)
                .seconds("retry_in", Some(*retry_in));
            (card, "fail", arguments.text("reason", Some(reason)))
        }
        Call::Complete {
            id,
            token,
            result,
            force,
        } => {
            let arguments = of_card(id).token(*token).json("result", *result);
            let columns = format!("{card}, c.unblocked");
            (columns, "complete", arguments.flag("force", *force))
        }
        Call::Block {
            id,
            reason,
            kind,
            token,
        } => {
            let arguments = of_card(id).token(*token).text("kind", Some(kind));
            (card, "block", arguments.text("reason", Some(reason)))
        }
        Call::Unblock { id } => (card, "unblock", of_card(id)),
        Call::Cancel {
            id,
            reason,
            cascade,
            force,
        } => {
            let arguments = of_card(id).text("reason", Some(reason));
            let arguments = arguments.flag("cascade", *cascade).flag("force", *force);
            (card, "cancel", arguments)
        }
        Call::Reopen { id, reason } => (card, "reopen", of_card(id).text("reason", Some(reason))),
        Call::Update(asked) => (card, "update", update(asked)),
        Call::Link { id, depends_on } => (card, "link", of_card(id).ids("depends_on", depends_on)),
        Call::Unlink { id, depends_on } => {
            (card, "unlink", of_card(id).ids("depends_on", depends_on))
        }
        Call::Reclaim {
            id,
            force,
            grace,
            max_cards,
        } => {
            let arguments = Arguments::default()
                .text("id", id.as_deref())
                .flag("force", *force);
            let arguments = arguments.seconds("grace", Some(*grace));
            (
                "c.*".to_owned(),
                "reclaim",
                arguments.show("max_cards", Some(*max_cards)),
            )
        }
        Call::Stats { phase } => (
            "c.*".to_owned(),
            "stats",
            Arguments::default().text("phase", *phase),
        ),
        Call::Why { id } => (why.to_owned(), "why", of_card(id)),
        Call::AssertHeld { id, token } => (String::new(), "assert_held", of_card(id).token(*token)),
    };
    let arguments = if has_actor(call) {
        arguments.text("actor", actor)
    } else {
        arguments
    };
    format!(
        "select {columns} from mosaic.backlog_{function}({}) c",
        arguments.0.join(", ")
    )
}

/// Reading calls change nothing, and the holder of a lease is known by its claim.
fn has_actor(call: &Call) -> bool {
    !matches!(
        call,
        Call::Get { .. }
            | Call::List(_)
            | Call::Claim(_)
            | Call::Renew { .. }
            | Call::Release { .. }
            | Call::Fail { .. }
            | Call::Stats { .. }
            | Call::Why { .. }
            | Call::AssertHeld { .. }
    )
}
