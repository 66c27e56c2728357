//! `mosaic mcp`: the backlog as tools for agents, by the Model Context Protocol on standard input and output.

mod argument;
mod batch;
mod bound;
mod document;
mod given;
mod keeper;
mod kind;
mod message;
mod reading;
mod request;
mod server;
mod session;
mod tool;
mod tools;
mod wire;

use std::io::{self, IsTerminal};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use rmcp::ServiceExt;
use rmcp::service::ServerInitializeError;
use rmcp::transport::io::stdio_pipes;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use uuid::Uuid;

use crate::database::store::Address;
use crate::environment::actor::{agent, identity};
use crate::failure::{Code, Exit, Failure, sentence};
use crate::input;
use crate::interrupt;
use crate::output::hint::Words;
use crate::output::reply::{Reply, say};
use crate::output::selection::Selection;
use crate::output::stdout;

use server::Server;
use session::Session;
use tool::Role;
use wire::Wire;

/// Serve the backlog to an agent, as MCP tools on standard input and output
#[derive(Args)]
#[command(after_help = "\
Example:
  mosaic mcp --worker w1

An MCP client starts it. Its configuration:
  {\"mcpServers\": {\"backlog\": {\"command\": \"mosaic\", \"args\": [\"mcp\"]}}}")]
pub struct Mcp {
    /// Who claims and acts [default: MOSAIC_AGENT, else user@host and a part of this session's own]
    #[arg(long, value_name = "NAME", value_parser = input::name)]
    worker: Option<String>,

    /// Which tools are offered; the database decides what is allowed
    #[arg(long, value_name = "ROLE", default_value = "worker")]
    role: Role,

    /// Renew the leases of cards claimed here for as long as the session lasts
    #[arg(long)]
    keep: bool,

    /// What happens to the leases that are still held when the session ends
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    on_exit: OnExit,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnExit {
    /// They continue until they lapse; the token stays valid for another session
    Keep,
    /// Their cards are given back at once, without blame
    Release,
}

/// Why a session ended.
enum Ended {
    Closed,
    Terminated,
    Interrupted,
}

impl Mcp {
    pub fn run(self, address: Address, selection: &Selection) -> Result<Reply, Failure> {
        if selection.is_json() {
            return Err(Failure::usage("`mosaic mcp` does not take --json")
                .hint("Standard output carries the protocol, which is JSON."));
        }
        if io::stdin().is_terminal() {
            say("speaks MCP on standard input and output; an MCP client is to start it");
        }
        stdout::check().map_err(|error| {
            Failure::new(Code::Resource, "cannot write to standard output").detail(sentence(&error))
        })?;
        let session = Arc::new(Session::new(address, self.worker.unwrap_or_else(name)));
        interrupt::hand_over();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::io("cannot start", &error).detail(sentence(&error)))?;
        if self.keep {
            keeper::start(session.clone());
        }
        let ended = runtime.block_on(serve(session.clone(), self.role, selection.words));
        // A read of standard input, or a call that hangs, must not keep the program.
        runtime.shutdown_background();
        session.end();
        if self.on_exit == OnExit::Release {
            session.release_all();
        }
        match ended? {
            Ended::Closed | Ended::Terminated => Ok(Reply::Written(Exit::Success)),
            Ended::Interrupted => Err(Failure::new(Code::Interrupted, "interrupted")),
        }
    }
}

fn unwritten(error: &io::Error) -> Failure {
    Failure::io("cannot write to standard output", error).detail(sentence(error))
}

/// Two sessions of one user are told apart.
fn name() -> String {
    agent().unwrap_or_else(|| {
        let session = Uuid::new_v4().simple().to_string();
        format!("{}/mcp-{}", identity(), &session[..6])
    })
}

/// Serves until the client closes standard input or a signal comes. Calls that are under way are answered first.
async fn serve(session: Arc<Session>, role: Role, words: Words) -> Result<Ended, Failure> {
    let mut signals = Signals::new()?;
    let (input, output) = stdio_pipes();
    let wire = Wire::new(input, output, session.clone());
    let server = Server::new(session, role, words);
    let service = tokio::select! {
        service = server.serve(wire) => service,
        ended = signals.next() => return Ok(ended),
    };
    let service = match service {
        Ok(service) => service,
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(Ended::Closed),
        Err(error) => {
            if let ServerInitializeError::TransportError { error, .. } = &error
                && let Some(error) = error.error.downcast_ref::<io::Error>()
            {
                return Err(unwritten(error));
            }
            return Err(
                Failure::usage("the MCP client did not begin a session").detail(sentence(&error))
            );
        }
    };
    let stop = service.cancellation_token();
    let mut end = std::pin::pin!(service.waiting());
    tokio::select! {
        _ = &mut end => Ok(Ended::Closed),
        ended = signals.next() => {
            stop.cancel();
            // What is under way was asked for before the signal.
            let _ = end.await;
            Ok(ended)
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let listen = || {
            Ok(Signals {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup: signal(SignalKind::hangup())?,
            })
        };
        listen().map_err(|error: io::Error| {
            Failure::io("cannot listen to signals", &error).detail(sentence(&error))
        })
    }

    async fn next(&mut self) -> Ended {
        tokio::select! {
            _ = self.interrupt.recv() => Ended::Interrupted,
            _ = self.terminate.recv() => Ended::Terminated,
            _ = self.hangup.recv() => Ended::Terminated,
        }
    }
}
