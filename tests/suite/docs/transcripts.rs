//! The transcripts (`console` blocks): each runs in a shell of its own on a new backlog, with the
//! real program, and prints what the page shows.
//!
//! In what is printed, `…` stands for anything; in JSON, a lone `…` in an object for more keys.
//! Times of people are shown without the date. `$ sleep N` moves the clock instead of waiting.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use mosaic_backlog_tests::at_end::{As, AtEnd};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::{folder, programs};
use serde_json::Value;

use super::Faults;
use super::page::{Block, Page, pages};

/// For events that are not told yet.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends what one command prints.
const MARK: char = '\u{1}';

struct Step {
    command: String,
    printed: String,
    at: usize,
}

#[test]
fn the_transcripts_print_what_is_shown() {
    let mut faults = Faults::default();
    let mut count = 0;
    for page in pages() {
        for block in page.blocks("console") {
            count += 1;
            check(&page, block, &mut faults);
        }
    }
    assert!(count > 5, "only {count} transcripts were found");
    faults.none();
}

fn check(page: &Page, block: &Block, faults: &mut Faults) {
    let steps = steps(block);
    let mut shell = if steps.iter().any(|step| step.command.contains("mosaic db ")) {
        Shell::on_the_embedded_server()
    } else {
        Shell::on_a_database()
    };
    for step in steps {
        let mut printed = shell.run(&step.command);
        // What happened is told once no older transaction of the server runs, of other tests too.
        if step.command.contains("backlog events") {
            let asked = Instant::now();
            while !fits(&step.printed, &printed) && asked.elapsed() < PATIENCE {
                printed = shell.run(&step.command);
            }
        }
        if !fits(&step.printed, &printed) {
            faults.add(format!(
                "{}:{}: $ {}\n{printed}",
                page.name(),
                step.at,
                step.command
            ));
            break;
        }
    }
}

/// `$ command`, goes on with `> `; what follows is what it prints.
fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (number, line) in block.lines.iter().enumerate() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                printed: String::new(),
                at: block.at + number,
            });
            continue;
        }
        let step = steps.last_mut().expect("a command first");
        match line.strip_prefix("> ") {
            Some(more) if step.printed.is_empty() => {
                step.command.push('\n');
                step.command.push_str(more);
            }
            _ => {
                step.printed.push_str(line);
                step.printed.push('\n');
            }
        }
    }
    steps
}

struct Shell {
    shell: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// The clock's database, and the seconds since the beginning.
    clock: Option<(Database, u64)>,
    _end: AtEnd,
}

impl Shell {
    fn on_a_database() -> Self {
        let database = Database::fresh();
        database.fix_clock(&clock_after(0));
        let url = database.url("operator");
        let mut shell = Self::start(|command| command.env("DATABASE_URL", url));
        shell.clock = Some((database, 0));
        shell
    }

    fn on_the_embedded_server() -> Self {
        Self::start(|command| command)
    }

    fn start(environment: impl FnOnce(&mut Command) -> &mut Command) -> Self {
        let folder = folder::kept();
        let home = folder.join("home");
        let mut command = Command::new("bash");
        command
            .args(["--norc", "--noprofile"])
            .current_dir(&folder)
            .env_clear()
            .env("PATH", path())
            .env("HOME", &folder)
            .env("MOSAIC_HOME", &home)
            .env("MOSAIC_AGENT", "me")
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let end = AtEnd::run(
            As::Caller,
            "MOSAIC_HOME=\"$2/home\" \"$1\" db stop; rm -rf \"$2\"",
            &[programs::mosaic(), &folder],
        );
        let mut shell = environment(&mut command).spawn().expect("bash");
        let input = shell.stdin.take();
        let output = shell.stdout.take().expect("its output");
        let mut shell = Self {
            shell,
            input,
            output,
            clock: None,
            _end: end,
        };
        shell.run("exec 2>&1");
        shell
    }

    /// What the command prints.
    fn run(&mut self, command: &str) -> String {
        if let Some(seconds) = command.strip_prefix("sleep ") {
            let (database, now) = self.clock.as_mut().expect("a clock that can be moved");
            *now += seconds.parse::<u64>().expect("seconds");
            database.fix_clock(&clock_after(*now));
            return String::new();
        }
        // The status of the command has to reach the next one.
        let lines = format!("{command}\n_s=$?; printf '\\001'; (exit $_s)\n");
        let input = self.input.as_mut().expect("its input");
        input.write_all(lines.as_bytes()).expect("write");
        input.flush().expect("write");
        let mut printed = Vec::new();
        let mut byte = [0];
        loop {
            match self.output.read(&mut byte) {
                Ok(1) if char::from(byte[0]) == MARK => break,
                Ok(1) => printed.push(byte[0]),
                _ => panic!("the shell ended at: {command}"),
            }
        }
        // People see the date of another day than today.
        String::from_utf8(printed)
            .expect("UTF-8")
            .replace("2025-01-31 ", "")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}

/// The programs under test come first.
fn path() -> std::ffi::OsString {
    let folder = |program: &std::path::Path| PathBuf::from(program.parent().expect("a folder"));
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let folders = [
        folder(programs::mosaic()),
        folder(&programs::postgresql("psql")),
    ];
    std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&usual))).expect("a PATH")
}

fn clock_after(seconds: u64) -> String {
    assert!(
        seconds < 60,
        "the clock of an example moves less than a minute"
    );
    super::examples::CLOCK.replace(":00+00", &format!(":{seconds:02}+00"))
}

/// Whether the shell printed what the page shows.
fn fits(shown: &str, printed: &str) -> bool {
    if shown.starts_with('{') {
        let shown: Value = serde_json::from_str(&with_wildcards(shown))
            .unwrap_or_else(|error| panic!("{error}: {shown}"));
        return serde_json::from_str(printed).is_ok_and(|printed| json_fits(&shown, &printed));
    }
    let lines = |text: &str| -> Vec<String> {
        let lines = text.trim_end().lines();
        lines.map(|line| line.trim_end().to_owned()).collect()
    };
    let (shown, printed) = (lines(shown), lines(printed));
    shown.len() == printed.len() && shown.iter().zip(&printed).all(|(s, p)| text_fits(s, p))
}

/// `…` outside of strings becomes a key, as `{"a": 1, …}` is no JSON.
fn with_wildcards(json: &str) -> String {
    let mut inside = false;
    let mut escaped = false;
    json.chars()
        .map(|c| {
            inside ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            if c == '…' && !inside {
                "\"…\": null".to_owned()
            } else {
                c.to_string()
            }
        })
        .collect()
}

fn json_fits(shown: &Value, printed: &Value) -> bool {
    match (shown, printed) {
        (Value::Object(shown), Value::Object(printed)) => {
            let more = shown.contains_key("…");
            (more || shown.len() == printed.len())
                && shown
                    .iter()
                    .filter(|(key, _)| *key != "…")
                    .all(|(key, value)| printed.get(key).is_some_and(|p| json_fits(value, p)))
        }
        (Value::Array(shown), Value::Array(printed)) => {
            shown.len() == printed.len() && shown.iter().zip(printed).all(|(s, p)| json_fits(s, p))
        }
        (Value::String(shown), Value::String(printed)) => text_fits(shown, printed),
        (Value::Number(shown), Value::Number(printed)) => shown.as_f64() == printed.as_f64(),
        (shown, printed) => shown == printed,
    }
}

fn text_fits(shown: &str, printed: &str) -> bool {
    let mut parts = shown.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
