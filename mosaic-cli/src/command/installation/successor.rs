//! The program that was put in the place of this one, called as users call it.

use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Code, Failure, sentence};

/// A program that needs longer for its version or for a read does not work.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);

pub struct Successor(pub PathBuf);

impl Successor {
    pub fn version(&self) -> Result<String, Failure> {
        let document = self.ask(&["--version"], Some(PATIENCE))?;
        match document["version"].as_str() {
            Some(version) => Ok(version.to_owned()),
            None => Err(self.silent("it does not tell its version")),
        }
    }

    /// A read of the embedded backlog.
    pub fn read(&self) -> Result<(), Failure> {
        let document = self.ask(&["backlog", "list", "--limit", "1"], Some(PATIENCE))?;
        match document["cards"].is_array() {
            true => Ok(()),
            false => Err(self.silent("it does not list cards")),
        }
    }

    /// Waits for the transactions that are open on the cards, however long they take.
    pub fn migrate(&self) -> Result<(), Failure> {
        self.ask(&["db", "migrate"], None).map(drop)
    }

    pub fn start(&self) -> Result<(), Failure> {
        self.ask(&["db", "start"], None).map(drop)
    }

    pub fn stop(&self) -> Result<(), Failure> {
        self.ask(&["db", "stop"], None).map(drop)
    }

    fn ask(&self, arguments: &[&str], patience: Option<Duration>) -> Result<Value, Failure> {
        let mut child = Command::new(&self.0)
            .args(arguments)
            .arg("--json")
            // This is about the embedded backlog.
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| self.silent(&sentence(&error)))?;
        let mut stdout = child.stdout.take();
        // In a thread, as a long answer does not fit into a pipe.
        let answer = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(stdout) = &mut stdout {
                let _ = stdout.read_to_string(&mut text);
            }
            text
        });
        let ended = end_of(&mut child, patience);
        let text = answer.join().unwrap_or_default();
        let document: Value = serde_json::from_str(&text).unwrap_or_default();
        let asked = format!("`mosaic {}`", arguments.join(" "));
        match ended {
            Ok(true) => Ok(document),
            Ok(false) => {
                let error = &document["error"];
                let said =
                    ["message", "detail"].map(|part| error[part].as_str().unwrap_or_default());
                Err(self.silent(format!("{asked} fails: {}", said.join(". ")).trim_end()))
            }
            Err(error) => Err(self.silent(&format!("{asked}: {error}"))),
        }
    }

    fn silent(&self, why: &str) -> Failure {
        let why = why.trim_end_matches(['.', ' ']);
        Failure::new(
            Code::Resource,
            format!("{} does not answer as it should", self.0.display()),
        )
        .lasts(true)
        .detail(format!("{why}."))
    }
}

/// Whether it succeeded.
fn end_of(child: &mut Child, patience: Option<Duration>) -> std::io::Result<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if patience.is_some_and(|patience| start.elapsed() > patience) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(ErrorKind::TimedOut.into());
        }
        std::thread::sleep(PAUSE);
    }
}
