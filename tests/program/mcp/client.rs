//! An MCP client, the SDK's own, and the real server behind it.

use std::process::Child;
use std::time::Duration;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{Mosaic, Outcome, mosaic};
use rmcp::model::{CallToolRequestParams, CallToolResult, ClientRequest, PingRequest, Tool};
use rmcp::service::RunningService;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient, ServiceError};
use serde_json::Value;
use tokio::process::{ChildStdin, ChildStdout};
use tokio::runtime::Runtime;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(60);

pub struct Client {
    runtime: Runtime,
    service: RunningService<RoleClient, ()>,
    server: Child,
}

impl Client {
    /// A session with `mosaic mcp` on a database, as an ordinary worker.
    #[track_caller]
    pub fn on(database: &Database, worker: &str) -> Self {
        Self::of(mosaic(&["mcp", "--worker", worker]).on_as(database, "worker"))
    }

    /// The same with the operator's tools and rights.
    #[track_caller]
    pub fn operator(database: &Database) -> Self {
        let server = mosaic(&["mcp", "--worker", "boss", "--role", "operator"]);
        Self::of(server.on_as(database, "operator"))
    }

    #[track_caller]
    pub fn of(server: Mosaic) -> Self {
        Self::begin(server, ClientLifecycleMode::Initialize)
    }

    #[track_caller]
    pub fn begin(server: Mosaic, lifecycle: ClientLifecycleMode) -> Self {
        let mut server = server.with_open_input().spawn();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let service = runtime.block_on(async {
            let input = ChildStdin::from_std(server.stdin.take().expect("a pipe"));
            let output = ChildStdout::from_std(server.stdout.take().expect("a pipe"));
            let transport = (output.expect("a pipe"), input.expect("a pipe"));
            timeout(DEADLINE, ().serve_with_lifecycle(transport, lifecycle)).await
        });
        Self {
            service: service.expect("an answer in time").expect("a handshake"),
            runtime,
            server,
        }
    }

    fn wait<T>(
        &self,
        call: impl Future<Output = Result<T, ServiceError>>,
    ) -> Result<T, ServiceError> {
        let answer = self
            .runtime
            .block_on(async { timeout(DEADLINE, call).await });
        answer.expect("an answer in time")
    }

    /// The answer of a tool as the client got it.
    pub fn raw(&self, tool: &str, arguments: Value) -> Result<CallToolResult, ServiceError> {
        self.wait(self.service.call_tool(request(tool, arguments)))
    }

    /// The document of a call, or the object below "error".
    #[track_caller]
    pub fn attempt(&self, tool: &str, arguments: Value) -> Result<Value, Value> {
        let result = self.raw(tool, arguments).expect("an answer");
        let document = result.structured_content.expect("a document");
        // Clients that know no documents get the same as text.
        let text = &result.content[0].as_text().expect("a text").text;
        assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), document);
        assert_eq!(result.content.len(), 1);
        match result.is_error {
            Some(true) => Err(document["error"].clone()),
            _ => Ok(document),
        }
    }

    #[track_caller]
    pub fn call(&self, tool: &str, arguments: Value) -> Value {
        self.attempt(tool, arguments)
            .unwrap_or_else(|error| panic!("{tool}: {error}"))
    }

    /// The code of a call that must fail.
    #[track_caller]
    pub fn code(&self, tool: &str, arguments: Value) -> String {
        match self.attempt(tool, arguments) {
            Ok(document) => panic!("{tool} succeeded: {document}"),
            Err(error) => error["code"].as_str().expect("a code").to_owned(),
        }
    }

    /// The one card of a claim, and its token.
    #[track_caller]
    pub fn claim(&self) -> (Value, i64) {
        let mut document = self.call("claim", serde_json::json!({}));
        let card = document["cards"][0].take();
        let token = card["claim_token"].as_i64().expect("a token");
        (card, token)
    }

    /// Begins a call, and gives it up when `until` has happened.
    pub fn give_up(&self, tool: &str, arguments: Value, until: impl FnOnce()) {
        let peer = self.service.peer().clone();
        let request = request(tool, arguments);
        let call = self
            .runtime
            .spawn(async move { peer.call_tool(request).await });
        until();
        call.abort();
    }

    pub fn ping(&self) {
        let ping = ClientRequest::PingRequest(PingRequest::default());
        self.wait(self.service.send_request(ping)).expect("a pong");
    }

    pub fn tools(&self) -> Vec<Tool> {
        self.wait(self.service.list_all_tools()).expect("tools")
    }

    /// What the server says about itself.
    pub fn instructions(&self) -> String {
        let server = self.service.peer().peer_info().expect("a handshake");
        server.instructions.clone().expect("instructions")
    }

    /// The server's process.
    pub fn server(&self) -> u32 {
        self.server.id()
    }

    /// Ends the session as clients do: closes the server's standard input.
    pub fn close(self) -> Outcome {
        let Self {
            runtime,
            service,
            server,
        } = self;
        let _ = runtime.block_on(service.cancel());
        drop(runtime);
        Outcome::of(server)
    }

    /// Waits for a server that ends by itself.
    pub fn end(self) -> Outcome {
        Outcome::of(self.server)
    }
}

/// Tests name tools without what all names begin with.
fn request(tool: &str, arguments: Value) -> CallToolRequestParams {
    let tool = format!("backlog_{tool}");
    let Value::Object(arguments) = arguments else {
        panic!("no object: {arguments}");
    };
    CallToolRequestParams::new(tool).with_arguments(arguments)
}
