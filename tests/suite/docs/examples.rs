//! The SQL examples: each block runs in a new database, and answers as the page says.
//!
//! `-- => a | b` after a statement is a row that it returns, with null as `null`;
//! `-- error: code` before a statement is the code, or the SQLSTATE, that it fails with.

use postgres::SimpleQueryMessage;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;

use super::Faults;
use super::page::{Block, pages};

/// The time of the examples.
pub const CLOCK: &str = "2025-01-31 09:00:00+00";

struct Example {
    sql: String,
    error: Option<String>,
    rows: Vec<String>,
    at: usize,
}

#[test]
fn the_sql_examples_answer_as_shown() {
    let mut faults = Faults::default();
    let mut count = 0;
    for page in pages() {
        for block in page.blocks("sql") {
            count += 1;
            if let Some(fault) = fault(block) {
                faults.add(format!("{}:{fault}", page.name()));
            }
        }
    }
    assert!(count > 10, "only {count} SQL examples were found");
    faults.none();
}

/// Runs the statements of a block; says which one does not answer as shown.
fn fault(block: &Block) -> Option<String> {
    let examples = statements(block);
    let creates = |what: &str| {
        let prefix = format!("create {what} ");
        let names = examples
            .iter()
            .filter_map(move |example| example.sql.strip_prefix(&prefix));
        names
            .filter_map(|rest| rest.split([' ', ';']).next())
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let database = if creates("extension").is_empty() {
        Database::fresh()
    } else {
        Database::bare()
    };
    database.fix_clock(CLOCK);
    let mut session = database.session();
    let fault = examples.iter().find_map(|example| {
        differs(&mut session, example)
            .map(|fault| format!("{}: {}\n  {fault}", example.at, example.sql))
    });
    // Roles belong to the cluster and would meet those of other examples.
    session.run("rollback; reset role");
    for role in creates("role") {
        session.run(&format!("drop role {role}"));
    }
    fault
}

/// Runs the example; says how its answer differs from what the page says.
fn differs(session: &mut Session, example: &Example) -> Option<String> {
    let answer = session.client().simple_query(&example.sql);
    match (answer, &example.error) {
        (Ok(_), Some(code)) => Some(format!("it succeeded, documented is {code}")),
        (Err(error), documented) => {
            let code = code(&error);
            (code.as_deref() != documented.as_deref()).then(|| format!("{error:?}"))
        }
        (Ok(messages), None) => {
            let rows: Vec<String> = messages.iter().filter_map(row).collect();
            // Rows that are of no interest need not be shown, but then none are.
            let fits = example.rows.is_empty() || rows == example.rows;
            (!fits).then(|| format!("it returned {rows:#?}"))
        }
    }
}

/// The stable code of an error of ours, the SQLSTATE of any other.
fn code(error: &postgres::Error) -> Option<String> {
    let error = error.as_db_error()?;
    let is_code = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let word = error
        .detail()
        .and_then(|detail| detail.split_once(": "))
        .map(|(word, _)| word)
        .filter(|word| is_code(word));
    Some(word.unwrap_or(error.code().code()).to_owned())
}

fn row(message: &SimpleQueryMessage) -> Option<String> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    let values: Vec<&str> = (0..row.len())
        .map(|column| row.get(column).unwrap_or("null"))
        .map(|value| match value {
            "t" => "true",
            "f" => "false",
            value => value,
        })
        .collect();
    Some(values.join(" | "))
}

/// A statement ends with the line that ends with a semicolon.
fn statements(block: &Block) -> Vec<Example> {
    let mut statements: Vec<Example> = Vec::new();
    let mut sql: Vec<&str> = Vec::new();
    let mut error = None;
    for (number, line) in block.lines.iter().enumerate() {
        let at = block.at + number;
        if let Some(row) = line.strip_prefix("-- =>") {
            let last = statements.last_mut().expect("a statement before its rows");
            last.rows.push(row.trim().to_owned());
        } else if let Some(code) = line.strip_prefix("-- error:") {
            error = Some(code.trim().to_owned());
        } else if !line.trim().is_empty() {
            sql.push(line);
            if line.ends_with(';') {
                statements.push(Example {
                    sql: std::mem::take(&mut sql).join("\n"),
                    error: error.take(),
                    rows: Vec::new(),
                    at,
                });
            }
        }
    }
    assert!(sql.is_empty(), "a statement without semicolon: {sql:?}");
    statements
}
