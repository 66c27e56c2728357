//! The real program `mosaic`, with nothing of the caller's environment but its path.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::database::Database;
use crate::home::Home;
use crate::programs;

/// A call of the program.
pub struct Mosaic {
    command: Command,
    input: Option<String>,
}

/// How a call ended.
#[derive(Debug)]
pub struct Outcome {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

/// `mosaic` with these arguments.
pub fn mosaic<A: AsRef<OsStr>>(arguments: &[A]) -> Mosaic {
    let call = program(programs::mosaic(), arguments);
    if programs::prefix().is_some() {
        return call;
    }
    // A program that was not installed has no PostgreSQL beside it.
    let bin = programs::postgresql("postgres");
    let root = bin.parent().and_then(Path::parent);
    call.env("MOSAIC_POSTGRES", root.expect("a folder above bin"))
}

/// The same of another installation.
pub fn program<A: AsRef<OsStr>>(path: &Path, arguments: &[A]) -> Mosaic {
    let mut command = Command::new(path);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .env("LANG", "C.UTF-8")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Mosaic {
        command,
        input: None,
    }
}

/// `mosaic backlog … --json` with these arguments.
pub fn backlog(arguments: &[&str]) -> Mosaic {
    let mut all = vec!["backlog"];
    all.extend(arguments);
    all.push("--json");
    mosaic(&all)
}

impl Mosaic {
    /// On a database, as a superuser.
    pub fn on(self, database: &Database) -> Self {
        self.on_as(database, crate::cluster::SUPERUSER)
    }

    pub fn on_as(self, database: &Database, user: &str) -> Self {
        self.env("DATABASE_URL", database.url(user))
    }

    /// On the embedded server of a home.
    pub fn at(mut self, home: &Home) -> Self {
        home.describe(&mut self.command);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Called from a folder.
    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub fn input(mut self, text: &str) -> Self {
        self.input = Some(text.to_owned());
        self
    }

    /// For what the methods here do not cover.
    pub fn with(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    /// A call that reads what the caller goes on writing.
    pub fn with_open_input(self) -> Self {
        self.with(|command| {
            command.stdin(Stdio::piped());
        })
    }

    pub fn into_command(self) -> Command {
        self.command
    }

    /// Starts the call and does not wait for its end.
    #[track_caller]
    pub fn spawn(mut self) -> Child {
        self.command
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error}", self.command))
    }

    #[track_caller]
    pub fn run(mut self) -> Outcome {
        if self.input.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let input = self.input.take();
        let mut child = self.spawn();
        if let Some(input) = input {
            let mut stdin = child.stdin.take().expect("a pipe");
            // A program that does not read to the end has its reasons.
            let _ = stdin.write_all(input.as_bytes());
        }
        Outcome::of(child)
    }

    /// The document of a call that must succeed.
    #[track_caller]
    pub fn json(self) -> Value {
        self.run().json(0)
    }

    /// The code of a call that must fail with this exit code.
    #[track_caller]
    pub fn code(self, exit: i32) -> String {
        let document = self.run().json(exit);
        document["error"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("no error: {document}"))
            .to_owned()
    }
}

impl Outcome {
    /// Waits for the end of a call.
    #[track_caller]
    pub fn of(child: Child) -> Self {
        let output = child.wait_with_output().expect("the program's output");
        Self {
            exit: exit_code(output.status),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    /// The document of a call with `--json`, which is all that stands on stdout, and what
    /// every error has.
    #[track_caller]
    pub fn json(self, exit: i32) -> Value {
        assert_eq!(self.exit, exit, "{self:?}");
        let document: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no single document: {error}: {self:?}"));
        assert!(
            self.stdout.ends_with('\n') && self.stdout.trim_end().lines().count() == 1,
            "{self:?}"
        );
        if exit != 0 && exit != 3 {
            let error = document["error"].as_object().expect("an error");
            let keys: Vec<&str> = error.keys().map(String::as_str).collect();
            assert_eq!(keys.len(), 5, "{error:?}");
            for key in ["code", "message", "detail", "hint", "retryable"] {
                assert!(keys.contains(&key), "{key}: {error:?}");
            }
            let code = error["code"].as_str().expect("a code");
            match error["retryable"].as_bool().expect("yes or no") {
                // The cause may last all the same.
                false => assert!(!["busy", "timeout"].contains(&code), "{error:?}"),
                true => assert!(
                    ["busy", "timeout", "unreachable", "resource"].contains(&code),
                    "{error:?}"
                ),
            }
        }
        document
    }
}

pub fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .expect("an exit code")
}
