//! Batches, which protocol version 2025-03-26 has and no other: what they ask for is answered in one piece.

use rmcp::model::RequestId;
use serde_json::Value;

#[derive(Default)]
pub struct Batches {
    open: Vec<Batch>,
}

/// A batch, until all of it is answered.
#[derive(Default)]
pub struct Batch {
    pub waits_for: Vec<RequestId>,
    pub answers: Vec<Value>,
    /// The requests that the answers are for.
    pub answered: Vec<RequestId>,
}

impl Batch {
    fn is_whole(&self) -> bool {
        self.waits_for.is_empty()
    }
}

impl Batches {
    /// Begins one; gives it back if nothing is under way for it.
    pub fn begin(&mut self, batch: Batch) -> Option<Batch> {
        if batch.is_whole() {
            return Some(batch);
        }
        self.open.push(batch);
        None
    }

    /// Whether an answer belongs to a batch.
    pub fn has(&self, request: &RequestId) -> bool {
        self.open
            .iter()
            .any(|batch| batch.waits_for.contains(request))
    }

    /// An answer, or none as the request was cancelled. Gives the batch that is whole by it.
    pub fn end(&mut self, request: &RequestId, answer: Option<Value>) -> Option<Batch> {
        let at = self
            .open
            .iter()
            .position(|batch| batch.waits_for.contains(request))?;
        let batch = &mut self.open[at];
        batch.waits_for.retain(|waiting| waiting != request);
        if let Some(answer) = answer {
            batch.answers.push(answer);
            batch.answered.push(request.clone());
        }
        let is_whole = batch.is_whole();
        is_whole.then(|| self.open.swap_remove(at))
    }
}
