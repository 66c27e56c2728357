//! Behaviour of the verbs in one session. Each test runs in a transaction that is rolled back.

use pgrx::prelude::*;

mod cancel;
mod catalogue;
mod claim;
mod create;
mod gate;
mod history;
mod lease;
mod limits;
mod quarantine;
mod reclaim;
mod request;
mod roles;
mod stats;
mod update;
mod validation;
mod why;

/// Starts a test: short names, times in UTC, the clock at midnight of 2030-01-01.
///
/// Tests run at the same time and use the same ids, so each waits for the one before.
pub fn begin() {
    run("select pg_advisory_xact_lock(20260, 99)");
    run("set local search_path = mosaic, pg_catalog");
    run("set local timezone = 'UTC'");
    run(
        "create function pg_temp.attempt(statement text) returns text[] language plpgsql as $$
         declare detail text; state text; message text; hint text;
         begin
           execute statement;
           return null;
         exception when others then
           get stacked diagnostics detail = pg_exception_detail, state = returned_sqlstate,
             message = message_text, hint = pg_exception_hint;
           return array[split_part(detail, ':', 1), state, message, hint];
         end $$",
    );
    at("0");
}

/// Sets the clock to so long after midnight of 2030-01-01.
pub fn at(offset: &str) {
    run(&format!(
        "select set_config('mosaic.clock', (timestamptz '2030-01-01' + interval '{offset}')::text, true)"
    ));
}

/// Runs a statement that must succeed.
pub fn run(sql: &str) {
    Spi::connect_mut(|client| client.update(sql, None, &[]).map(|_| ()))
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
}

fn text(sql: &str) -> Option<String> {
    Spi::connect_mut(|client| {
        client
            .update(sql, Some(1), &[])
            .and_then(|rows| rows.first().get_one())
    })
    .unwrap_or_else(|error| panic!("{error}: {sql}"))
}

/// The rows of a query: columns joined by `|`, rows by a space, arrays and JSON as JSON.
pub fn rows(sql: &str) -> String {
    text(&format!(
        "select string_agg((select string_agg(coalesce(v, 'null'), '|' order by n)
           from json_each_text(row_to_json(t)) with ordinality e(k, v, n)), ' ') from ({sql}) t"
    ))
    .unwrap_or_default()
}

/// The one number that a query gives.
pub fn number(sql: &str) -> i64 {
    let text = rows(sql);
    text.parse()
        .unwrap_or_else(|_| panic!("no number: {text}: {sql}"))
}

/// How a statement was refused.
#[derive(Debug)]
pub struct Refused {
    /// The first word of DETAIL; empty for an error of PostgreSQL itself.
    pub code: String,
    pub sqlstate: String,
    pub message: String,
    pub hint: String,
}

/// Runs a statement in a subtransaction; `None` if it succeeds.
pub fn attempt(sql: &str) -> Option<Refused> {
    let parts: Option<Vec<String>> = Spi::connect_mut(|client| {
        client
            .update("select pg_temp.attempt($1)", Some(1), &[sql.into()])
            .and_then(|rows| rows.first().get_one())
    })
    .unwrap_or_else(|error| panic!("{error}: {sql}"));
    let [code, sqlstate, message, hint]: [String; 4] = parts?.try_into().expect("four parts");
    Some(Refused {
        code,
        sqlstate,
        message,
        hint,
    })
}

/// The SQLSTATE that belongs to a code.
pub fn sqlstate(code: &str) -> &'static str {
    match code {
        "invalid_argument" => "22023",
        "not_found" => "P0002",
        "key_conflict" | "id_conflict" => "23505",
        "claim_lost" | "cycle" | "open_dependencies" | "bad_transition" | "already_claimed" => {
            "55000"
        }
        "isolation" => "0A000",
        "unauthorized" => "42501",
        other => panic!("unknown code \"{other}\""),
    }
}

/// Runs a statement that must be refused with `code` and the SQLSTATE of that code, and that
/// must leave no trace. Gives the message.
pub fn refused(code: &str, sql: &str) -> String {
    let Some(refused) = attempt(sql) else {
        panic!("not refused with {code}: {sql}");
    };
    assert_eq!(
        (refused.code.as_str(), refused.sqlstate.as_str()),
        (code, sqlstate(code)),
        "{}: {sql}",
        refused.message
    );
    refused.message
}

/// Creates cards: `"A B:A C:A,B"` makes C depend on A and B. The title is the id.
pub fn cards(list: &str) {
    for card in list.split_whitespace() {
        let (id, depends_on) = card.split_once(':').unwrap_or((card, ""));
        run(&format!(
            "select backlog_create('{id}', '{id}', depends_on => '{{{depends_on}}}')"
        ));
    }
}

/// Claims a card for a worker for 15 minutes; gives the token.
pub fn claim(id: &str, worker: &str) -> i64 {
    number(&format!(
        "select claim_token from backlog_claim('{worker}', id => '{id}')"
    ))
}

/// Columns of one card.
pub fn card(id: &str, columns: &str) -> String {
    rows(&format!("select {columns} from backlog_get('{id}')"))
}

/// Claims and completes a card.
pub fn finish(id: &str) {
    let token = claim(id, "w");
    run(&format!("select backlog_complete('{id}', {token})"));
}

/// A card in `state`, under the state's name as id, that was claimed once by `w1`; its token.
fn in_state(state: &str) -> i64 {
    let id = state;
    cards(id);
    let ttl = if state == "expired" {
        "1 second"
    } else {
        "15 min"
    };
    let token = number(&format!(
        "select claim_token from backlog_claim('w1', '{ttl}', id => '{id}')"
    ));
    let then = match state {
        "claimed" | "expired" => return token,
        "ready" | "gated" => format!("select backlog_release('{id}', {token})"),
        "deferred" => format!("select backlog_release('{id}', {token}, '1 hour')"),
        "blocked" => format!("select backlog_block('{id}', 'why', claim_token => {token})"),
        "done" => format!("select backlog_complete('{id}', {token})"),
        "cancelled" => format!("select backlog_cancel('{id}', 'why', force => true)"),
        other => panic!("unknown state {other}"),
    };
    run(&then);
    if state == "gated" {
        run("select backlog_create('gate', 'gate')");
        run("select backlog_link('gated', '{gate}')");
    }
    token
}

/// What a statement makes of a card: its new status, `repeat` if nothing changed, or the code
/// of the refusal.
pub fn outcome(id: &str, sql: &str) -> String {
    let trace = format!(
        "select md5(c::text) from backlog c where id = '{id}'
         union all select count(*)::text from backlog_event where card_id = '{id}'"
    );
    let before = rows(&trace);
    if let Some(refused) = attempt(sql) {
        assert_eq!(refused.sqlstate, sqlstate(&refused.code), "{sql}");
        assert!(
            !refused.hint.is_empty() && refused.hint.ends_with('.'),
            "{}",
            refused.hint
        );
        return refused.code;
    }
    if rows(&trace) == before {
        return "repeat".to_owned();
    }
    card(id, "status")
}

/// Runs a verb, a minute later, on a card in each state. In its statement, `{id}` is the card and
/// `{token}` the token of its only claim.
pub fn state_table(statement: &str, expected: &[(&str, &str)]) {
    at("0");
    let cards: Vec<i64> = expected.iter().map(|(state, _)| in_state(state)).collect();
    at("1 min");
    for ((state, expected), token) in expected.iter().zip(cards) {
        let sql = statement
            .replace("{id}", state)
            .replace("{token}", &token.to_string());
        assert_eq!(outcome(state, &sql), *expected, "{state}: {sql}");
    }
}

/// Forgets every card, so that a test can start over with the same ids.
pub fn forget() {
    run("truncate backlog, backlog_dependency, backlog_event, backlog_claim_request");
}
