//! Workers that are processes of their own, so that they can be killed and stopped.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use super::{Caller, Connection, Shared};
use crate::home::signal;
use crate::record::{Call, Outcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Worker,
    Program,
}

/// The processes that run at this moment.
#[derive(Default)]
pub struct Processes(Mutex<Vec<(Kind, Arc<Mutex<Child>>)>>);

impl Processes {
    pub fn add(&self, kind: Kind, child: Child) -> Arc<Mutex<Child>> {
        let child = Arc::new(Mutex::new(child));
        self.0
            .lock()
            .expect("the processes")
            .push((kind, Arc::clone(&child)));
        child
    }

    pub fn remove(&self, child: &Arc<Mutex<Child>>) {
        self.0
            .lock()
            .expect("the processes")
            .retain(|(_, other)| !Arc::ptr_eq(child, other));
    }

    /// Sends a signal to all of a kind; how many there were. A process that has ended keeps its
    /// number until it was waited for, which needs the lock that is held here.
    pub fn signal(&self, kind: Kind, name: &str) -> usize {
        let processes = self.0.lock().expect("the processes");
        let mut reached = 0;
        for (other, child) in processes.iter() {
            let mut child = child.lock().expect("a process");
            if *other == kind && child.try_wait().is_ok_and(|status| status.is_none()) {
                signal(name, child.id());
                reached += 1;
            }
        }
        reached
    }
}

/// A worker's process: it makes the calls that it is told to.
pub struct Process {
    program: PathBuf,
    url: String,
    shared: Arc<Shared>,
    running: Option<Running>,
}

struct Running {
    child: Arc<Mutex<Child>>,
    stdin: std::process::ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub(super) fn new(program: PathBuf, url: &str, shared: &Arc<Shared>) -> Self {
        Self {
            program,
            url: url.to_owned(),
            shared: Arc::clone(shared),
            running: None,
        }
    }

    fn start(&mut self) {
        let mut child = Command::new(&self.program)
            .args(["worker", &self.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a worker's process");
        self.running = Some(Running {
            stdin: child.stdin.take().expect("a pipe"),
            stdout: BufReader::new(child.stdout.take().expect("a pipe")),
            child: self.shared.processes.add(Kind::Worker, child),
        });
    }

    fn ask(&mut self, question: &str) -> Option<String> {
        let running = self.running.as_mut()?;
        let mut answer = String::new();
        let asked = writeln!(running.stdin, "{question}").is_ok()
            && running.stdout.read_line(&mut answer).is_ok();
        if asked && answer.ends_with('\n') {
            return Some(answer);
        }
        self.end();
        None
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.shared.processes.remove(&running.child);
            let mut child = running.child.lock().expect("a process");
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl Caller for Process {
    fn ready(&mut self) -> bool {
        if self.running.is_none() {
            self.start();
        }
        self.ask("null")
            .is_some_and(|answer| answer.trim() == "true")
    }

    fn call(&mut self, call: &Call) -> Outcome {
        let question = serde_json::to_string(call).expect("a call as JSON");
        match self.ask(&question) {
            Some(answer) => serde_json::from_str(&answer).expect("an outcome"),
            None => Outcome::Unknown("the worker's process ended".to_owned()),
        }
    }
}

/// What runs in a worker's process: a line in is a call, or null to connect; a line out its
/// outcome, or whether it is connected.
pub fn serve(url: &str) {
    let mut connection = Connection::new(url.parse().expect("a URL"));
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let call: Option<Call> = serde_json::from_str(&line).expect("a call");
        let answer = match call {
            None => connection.ready().to_string(),
            Some(call) => serde_json::to_string(&connection.call(&call)).expect("JSON"),
        };
        println!("{answer}");
    }
}
