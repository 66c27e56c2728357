//! Calls at the same moment: started together, or one while another holds its locks.

use std::sync::Barrier;
use std::thread::{self, JoinHandle};

use serde_json::Value;

use crate::database::Database;
use crate::refused::Refused;
use crate::session::Session;
use crate::wait;

type Answer = Result<Vec<Value>, Refused>;

/// A query under way in a session of its own.
pub struct Call {
    pid: i64,
    query: String,
    thread: JoinHandle<(Session, Answer)>,
}

impl Session {
    /// Starts a query and does not wait for its answer.
    pub fn begin_call(mut self, query: &str) -> Call {
        let pid = self.pid();
        let query = query.to_owned();
        let own = query.clone();
        let thread = thread::spawn(move || {
            let answer = self.attempt(&own);
            (self, answer)
        });
        Call { pid, query, thread }
    }
}

impl Call {
    /// Whether the server says that the call waits for a lock.
    #[track_caller]
    pub fn is_waiting(&self, watcher: &mut Session) -> bool {
        watcher.truth(&format!(
            "select exists (select from pg_stat_activity where pid = {} and wait_event_type = 'Lock')",
            self.pid
        ))
    }

    /// Waits until the server says that the call waits for a lock.
    #[track_caller]
    pub fn until_it_waits(self, database: &Database) -> Self {
        let mut watcher = database.session();
        wait::until(&format!("{} waits for a lock", self.query), || {
            assert!(!self.thread.is_finished(), "{} did not wait", self.query);
            self.is_waiting(&mut watcher).then_some(())
        });
        self
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// The answer, and the session for further use.
    #[track_caller]
    pub fn finish(self) -> (Session, Answer) {
        self.thread.join().expect("the call's thread")
    }

    /// The answer.
    #[track_caller]
    pub fn answer(self) -> Answer {
        self.finish().1
    }

    /// The rows of a call that must succeed.
    #[track_caller]
    pub fn rows(self) -> Vec<Value> {
        let query = self.query.clone();
        match self.answer() {
            Ok(rows) => rows,
            Err(refused) => panic!("{query}: {refused:?}"),
        }
    }

    /// The stable code of a call that must fail.
    #[track_caller]
    pub fn code(self) -> String {
        let query = self.query.clone();
        match self.answer() {
            Ok(rows) => panic!("{query} succeeded: {rows:?}"),
            Err(refused) => refused.code,
        }
    }
}

/// Runs `work` in `count` sessions that start at the same moment; the results in their order.
#[track_caller]
pub fn together<T: Send>(
    database: &Database,
    count: usize,
    work: impl Fn(usize, &mut Session) -> T + Sync,
) -> Vec<T> {
    let barrier = Barrier::new(count);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let (barrier, work) = (&barrier, &work);
                let mut session = database.session();
                scope.spawn(move || {
                    barrier.wait();
                    work(number, &mut session)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .collect()
    })
}
