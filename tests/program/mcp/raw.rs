//! A client that sends lines as they are, and reads lines as they come.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout};

use mosaic_backlog_tests::program::{Mosaic, Outcome};
use serde_json::{Value, json};

pub struct Raw {
    pub server: Child,
    answers: Lines<BufReader<ChildStdout>>,
    last: i64,
}

impl Raw {
    /// A session in which nothing was said yet.
    pub fn silent(server: Mosaic) -> Self {
        let mut server = server.with_open_input().spawn();
        let answers = BufReader::new(server.stdout.take().expect("a pipe")).lines();
        Self {
            server,
            answers,
            last: 0,
        }
    }

    pub fn begin(server: Mosaic, version: &str) -> Self {
        let mut raw = Self::silent(server);
        let begun = raw.ask(
            "initialize",
            json!({"protocolVersion": version, "capabilities": {},
                "clientInfo": {"name": "raw", "version": "1"}}),
        );
        assert_eq!(begun["result"]["protocolVersion"], version);
        raw.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        raw
    }

    pub fn send(&mut self, line: impl AsRef<[u8]>) {
        let input = self.server.stdin.as_mut().expect("an open input");
        input.write_all(line.as_ref()).expect("a write");
        input.write_all(b"\n").expect("a write");
    }

    pub fn answer(&mut self) -> Value {
        let line = self.answers.next().expect("an answer").expect("text");
        serde_json::from_str(&line).expect("JSON")
    }

    /// Sends a request, and gives its answer.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.send(request(id, method, &params).to_string());
        let answer = self.answer();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Calls a tool.
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Nobody reads what the server says from here on.
    pub fn stop_reading(self) -> Child {
        self.server
    }

    pub fn close(mut self) -> Outcome {
        drop(self.server.stdin.take());
        let rest: Vec<String> = self.answers.map(|line| line.expect("text")).collect();
        assert_eq!(rest, [""; 0]);
        Outcome::of(self.server)
    }
}

pub fn request(id: i64, method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}
