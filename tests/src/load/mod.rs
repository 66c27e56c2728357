//! Load: many workers that create, claim, finish and change cards at the same moment, and note
//! every call in a record.

mod connection;
mod drain;
mod nested;
mod process;
mod program;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use postgres::Config;

use crate::record::{Call, Outcome, Record, Recorder};
use crate::session::Session;

pub use connection::Connection;
use drain::drain;
pub use nested::prepare;
pub use process::{Kind, Processes, serve};

/// What makes the calls of a worker.
trait Caller: Send {
    /// Connects if need be; false while that fails.
    fn ready(&mut self) -> bool;

    fn call(&mut self, call: &Call) -> Outcome;

    /// Whether it can call functions that are not of the backlog.
    fn by_sql(&self) -> bool {
        true
    }
}

/// Who creates the cards that exist when the workers start.
pub const FIRST: &str = "first";

/// How much load, and by whom.
#[derive(Clone)]
pub struct Plan {
    /// Workers that are threads with a connection.
    pub connections: usize,
    /// Workers that are processes with a connection; `worker` is their program.
    pub processes: usize,
    /// Workers that start the program `mosaic` for each call.
    pub programs: usize,
    pub worker: Option<PathBuf>,
    /// Cards that exist when the workers start.
    pub cards: usize,
    /// How many of others one card waits for.
    pub fan_in: usize,
    /// Seconds of a lease.
    pub ttl: u32,
    pub seed: u64,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self {
            connections: 8,
            processes: 0,
            programs: 0,
            worker: None,
            cards: 120,
            fan_in: 300,
            ttl: 1,
            seed,
        }
    }
}

/// Where the load goes.
#[derive(Clone)]
pub struct Target {
    pub config: Config,
    /// The same for programs.
    pub url: String,
}

/// What the workers share.
struct Shared {
    recorder: Recorder,
    stop: AtomicBool,
    /// Cards that are known to exist, the newest last.
    known: Mutex<Vec<String>>,
    processes: Processes,
    plan: Plan,
}

/// Load that is running.
pub struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<worker::Worker>>,
}

impl Load {
    /// Creates the first cards and starts the workers, in a database that was prepared.
    #[track_caller]
    pub fn start(target: &Target, plan: Plan) -> Self {
        let shared = Arc::new(Shared {
            recorder: Recorder::new(),
            stop: AtomicBool::new(false),
            known: Mutex::default(),
            processes: Processes::default(),
            plan,
        });
        let mut rng = fastrand::Rng::with_seed(shared.plan.seed);
        let mut first =
            worker::Worker::new(FIRST, Box::new(connection(target)), &shared, rng.fork());
        first.create(shared.plan.cards);
        first.create_fan_in(shared.plan.fan_in);
        let plan = &shared.plan;
        let mut callers: Vec<(String, Box<dyn Caller>)> = Vec::new();
        for number in 0..plan.connections {
            callers.push((format!("c{number}"), Box::new(connection(target))));
        }
        for number in 0..plan.processes {
            let program = plan.worker.clone().expect("a program for the workers");
            let process = process::Process::new(program, &target.url, &shared);
            callers.push((format!("p{number}"), Box::new(process)));
        }
        for number in 0..plan.programs {
            let program = program::Program::new(&target.url, &shared);
            callers.push((format!("m{number}"), Box::new(program)));
        }
        let mut workers: Vec<worker::Worker> = callers
            .into_iter()
            .map(|(name, caller)| worker::Worker::new(&name, caller, &shared, rng.fork()))
            .collect();
        let by_label =
            worker::Worker::new("l", Box::new(connection(target)), &shared, rng.fork()).by_label();
        workers.push(by_label);
        let workers = (workers.into_iter())
            .map(|mut worker| {
                thread::spawn(move || {
                    worker.work();
                    worker
                })
            })
            .collect();
        Self { shared, workers }
    }

    pub fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// The processes of workers and programs.
    pub fn processes(&self) -> &Processes {
        &self.shared.processes
    }

    /// Stops the workers, brings all cards to their end, and reads what the database holds then.
    #[track_caller]
    pub fn finish(self, target: &Target, reader: &mut Session) -> Record {
        self.shared.stop.store(true, Ordering::Relaxed);
        let workers = self.workers.into_iter();
        // Their connections go on: when the last ends, what audits have found is forgotten.
        let _connected: Vec<_> = workers
            .map(|worker| worker.join().expect("a worker"))
            .collect();
        let mut last = connection(target);
        drain(&mut last, &self.shared.recorder, reader);
        self.shared
            .recorder
            .finish(crate::record::Backlog::read(reader))
    }
}

fn connection(target: &Target) -> Connection {
    Connection::new(target.config.clone())
}
