//! Standard input and output as the protocol's lines. What cannot be read is answered at once, batches are answered in
//! one piece, and it is known which answers were written.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ProtocolVersion, RequestId,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex as Turn, Notify};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::batch::{Batch, Batches};
use super::message::{self, Line, Refusal};
use super::session::Session;

/// Longer lines are refused.
const LONGEST: usize = 64 << 20;
/// What was asked for before the client closed its side is answered, if it takes no longer.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

pub struct Wire<R, W> {
    input: BufReader<R>,
    /// The line so far.
    line: Vec<u8>,
    is_too_long: bool,
    /// Messages of a batch that wait for their turn.
    next: VecDeque<ClientJsonRpcMessage>,
    given_up: Option<RequestId>,
    /// Answers of ours that are being written.
    replies: JoinSet<()>,
    output: Arc<Output<W>>,
}

struct Output<W> {
    session: Arc<Session>,
    writer: Turn<W>,
    state: Mutex<State>,
    is_broken: AtomicBool,
    /// The writer broke, or an answer was written.
    changed: Notify,
}

#[derive(Default)]
struct State {
    version: Option<ProtocolVersion>,
    batches: Batches,
    /// Requests that are not answered yet.
    open: HashSet<RequestId>,
}

impl<R, W> Wire<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub fn new(input: R, output: W, session: Arc<Session>) -> Self {
        Wire {
            input: BufReader::new(input),
            line: Vec::new(),
            is_too_long: false,
            next: VecDeque::new(),
            given_up: None,
            replies: JoinSet::new(),
            output: Arc::new(Output {
                session,
                writer: Turn::new(output),
                state: Mutex::default(),
                is_broken: AtomicBool::new(false),
                changed: Notify::new(),
            }),
        }
    }

    /// The next line, also one that the end of the input cut. Whoever stops waiting for it loses nothing.
    async fn next_line(&mut self) -> Option<Result<Vec<u8>, Refusal>> {
        loop {
            let bytes = self.input.fill_buf().await.ok()?;
            if bytes.is_empty() && self.line.is_empty() && !self.is_too_long {
                return None;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let is_end = end.is_some() || bytes.is_empty();
            let taken = end.unwrap_or(bytes.len());
            if self.line.len() + taken > LONGEST {
                self.is_too_long = true;
                self.line = Vec::new();
            }
            if !self.is_too_long {
                self.line.extend_from_slice(&bytes[..taken]);
            }
            let consumed = taken + usize::from(end.is_some());
            self.input.consume(consumed);
            if !is_end {
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if std::mem::take(&mut self.is_too_long) {
                let message = format!("a line must have at most {LONGEST} bytes");
                return Some(Err(Refusal::invalid(None, message)));
            }
            return Some(Ok(line));
        }
    }

    /// Answers without the service. It must not keep the reading, which may be given up at any moment.
    fn reply(&mut self, answer: Value, about: Vec<RequestId>) {
        let output = self.output.clone();
        self.replies.spawn(async move {
            let _ = output.write(&answer, &about).await;
        });
    }

    /// Puts what the line says into the queue, or answers it.
    fn take(&mut self, line: Result<Vec<u8>, Refusal>) {
        let line = match line {
            Ok(line) => line,
            Err(refusal) => return self.reply(refusal.0, Vec::new()),
        };
        // Some editors begin with a byte order mark.
        let line = line
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(&line)
            .trim_ascii();
        if line.is_empty() {
            return;
        }
        match message::read(line) {
            Ok(Line::Message(message)) => self.queue(*message),
            Ok(Line::Batch(messages)) => self.take_batch(messages),
            Ok(Line::Nothing) => {}
            Err(refusal) => self.reply(refusal.0, Vec::new()),
        }
    }

    fn take_batch(&mut self, messages: Vec<Result<ClientJsonRpcMessage, Refusal>>) {
        let version = self.output.state().version.clone();
        if version != Some(ProtocolVersion::V_2025_03_26) {
            let refusal = Refusal::invalid(
                None,
                match version {
                    None => "a batch comes after initialize".to_owned(),
                    Some(version) => format!(
                        "protocol version {version} has no batches: send each message in a line of its own"
                    ),
                },
            );
            return self.reply(refusal.0, Vec::new());
        }
        let mut batch = Batch::default();
        let mut taken = Vec::new();
        for message in messages {
            match message {
                Ok(ClientJsonRpcMessage::Request(request))
                    if batch.waits_for.contains(&request.id)
                        || self.output.is_open(&request.id) =>
                {
                    let refusal = Refusal::invalid(Some(request.id), "the id is in use");
                    batch.answers.push(refusal.0);
                }
                Ok(message) => {
                    if let ClientJsonRpcMessage::Request(request) = &message {
                        batch.waits_for.push(request.id.clone());
                    }
                    taken.push(message);
                }
                Err(refusal) => batch.answers.push(refusal.0),
            }
        }
        let whole = self.output.state().batches.begin(batch);
        taken.into_iter().for_each(|message| self.queue(message));
        if let Some(batch) = whole.filter(|batch| !batch.answers.is_empty()) {
            self.reply(batch.answers.into(), Vec::new());
        }
    }

    fn queue(&mut self, message: ClientJsonRpcMessage) {
        // A subscription is answered when it ends, and nothing waits for that.
        if let ClientJsonRpcMessage::Request(request) = &message
            && !matches!(
                request.request,
                ClientRequest::SubscriptionsListenRequest(_)
            )
        {
            self.output.state().open.insert(request.id.clone());
        }
        self.next.push_back(message);
    }

    /// The service gets to know of a cancellation first, and answers the request no more then.
    fn note_cancellation(&mut self, message: &ClientJsonRpcMessage) {
        if let ClientJsonRpcMessage::Notification(notification) = message
            && let ClientNotification::CancelledNotification(cancelled) = &notification.notification
        {
            self.given_up = cancelled.params.request_id.clone();
        }
    }

    fn give_up(&mut self, request: RequestId) {
        let whole = {
            let mut state = self.output.state();
            state.open.remove(&request);
            state.batches.end(&request, None)
        };
        if let Some(batch) = whole.filter(|batch| !batch.answers.is_empty()) {
            self.reply(batch.answers.into(), batch.answered);
        }
        let session = self.output.session.clone();
        spawn_blocking(move || session.is_given_up(&request));
    }

    /// The client says nothing more: what it asked for is answered before the end.
    async fn last_answers(&mut self) {
        let output = self.output.clone();
        let answered = async {
            while !output.state().open.is_empty() && !output.is_broken.load(Ordering::Relaxed) {
                output.changed.notified().await;
            }
        };
        let _ = timeout(LAST_ANSWERS, answered).await;
        while self.replies.join_next().await.is_some() {}
    }
}

impl<W: AsyncWrite + Send + Unpin> Output<W> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self, request: &RequestId) -> bool {
        self.state().open.contains(request)
    }

    /// Writes an answer, which is about these requests.
    async fn write(&self, answer: &Value, about: &[RequestId]) -> io::Result<()> {
        let mut line = answer.to_string().into_bytes();
        line.push(b'\n');
        let mut writer = self.writer.lock().await;
        let written = match writer.write_all(&line).await {
            Ok(()) => writer.flush().await,
            error => error,
        };
        for request in about {
            if written.is_ok() {
                self.session.is_written(request);
            }
            self.state().open.remove(request);
        }
        if written.is_err() {
            self.is_broken.store(true, Ordering::Relaxed);
        }
        self.changed.notify_one();
        written
    }

    async fn send(&self, message: ServerJsonRpcMessage) -> io::Result<()> {
        let request = match &message {
            ServerJsonRpcMessage::Response(response) => {
                if let ServerResult::InitializeResult(begun) = &response.result {
                    self.state().version = Some(begun.protocol_version.clone());
                }
                Some(response.id.clone())
            }
            ServerJsonRpcMessage::Error(error) => error.id.clone(),
            _ => None,
        };
        let answer = serde_json::to_value(&message)?;
        let Some(request) = request else {
            return self.write(&answer, &[]).await;
        };
        if !self.state().batches.has(&request) {
            return self.write(&answer, &[request]).await;
        }
        let whole = self.state().batches.end(&request, Some(answer));
        match whole {
            Some(batch) => self.write(&batch.answers.into(), &batch.answered).await,
            None => Ok(()),
        }
    }
}

impl<R, W> Transport<RoleServer> for Wire<R, W>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let output = self.output.clone();
        async move { output.send(message).await }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        if let Some(request) = self.given_up.take() {
            self.give_up(request);
        }
        loop {
            if let Some(message) = self.next.pop_front() {
                self.note_cancellation(&message);
                return Some(message);
            }
            let output = self.output.clone();
            if output.is_broken.load(Ordering::Relaxed) {
                return None;
            }
            tokio::select! {
                line = self.next_line() => match line {
                    Some(line) => self.take(line),
                    None => {
                        self.last_answers().await;
                        return None;
                    }
                },
                () = output.changed.notified() => {}
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        while self.replies.join_next().await.is_some() {}
        self.output.writer.lock().await.shutdown().await
    }
}
