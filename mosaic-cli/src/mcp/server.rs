//! The protocol's side: what the server says about itself, and calls of tools on threads of their own.

use std::sync::Arc;

use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::session::Session;
use super::tools;
use crate::failure::{Failure, sentence};

const INSTRUCTIONS: &str = "\
A backlog that many agents share. `claim` gives you a card under a lease: keep its id and claim_token. \
Work on it, and `renew` at a third of the ttl. End with `complete`; or `fail` if the work went wrong, \
`block` if somebody has to decide, `release` if you have to stop. An empty list of cards from `claim` means \
that there is nothing to do. After the error claim_lost the card is no longer yours: stop working on it and \
throw your changes away. Repeat a call after an error only if it is retryable. \
No error ever means that there is no work.";

pub struct Server {
    session: Arc<Session>,
    /// Calls run one after another, in the order in which they came: an agent that sends several at once
    /// gets what it would have got from one by one, and a fleet needs one connection for each agent.
    turn: Mutex<()>,
}

impl Server {
    pub fn new(session: Arc<Session>) -> Self {
        Server {
            session,
            turn: Mutex::new(()),
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new(
                "mosaic-backlog",
                env!("CARGO_PKG_VERSION"),
            ))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(
            tools::TOOLS.iter().map(|tool| tool.described()).collect(),
        ))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::TOOLS.iter().find(|tool| tool.name == request.name) else {
            return Err(ErrorData::invalid_params(
                format!("there is no tool {:?}", request.name),
                None,
            ));
        };
        let arguments = request.arguments.unwrap_or_default();
        let _turn = self.turn.lock().await;
        let cancelled = context.ct;
        if cancelled.is_cancelled() {
            return Err(ErrorData::internal_error("the call was cancelled", None));
        }
        let session = self.session.clone();
        let outcome = spawn_blocking(move || {
            let outcome = tool.run(arguments, &session);
            // Nobody gets the answer, so nobody would work on the cards.
            if let (true, Ok(document)) = (cancelled.is_cancelled(), &outcome) {
                tool.undo(document, &session);
            }
            outcome
        });
        let outcome = outcome.await.unwrap_or_else(|error| {
            Err(Failure::internal("the call broke off").detail(sentence(&error)))
        });
        Ok(match outcome {
            Ok(document) => CallToolResult::structured(document),
            Err(failure) => CallToolResult::structured_error(failure.to_json()),
        }
        .into())
    }
}
