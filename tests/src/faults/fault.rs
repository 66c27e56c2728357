//! The faults, one by one.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use postgres::NoTls;

use super::server::{CALLER, STRANGER, Server};
use crate::load::{Kind, Load};
use crate::record::Moment;
use crate::wait;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    BackendKilled,
    PostmasterKilled,
    ImmediateShutdown,
    ProgramsKilled,
    WorkersKilled,
    WorkersStopped,
    DiskFull,
    ConnectionsExhausted,
    ClockMoved,
}

/// How long a fault lasts that does not end by itself: longer than the leases of the load.
const WHILE: Duration = Duration::from_millis(1_500);
/// How long each of several steps of a fault lasts.
const STEP: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_millis(10);

impl Fault {
    pub const ALL: [Self; 9] = [
        Self::BackendKilled,
        Self::PostmasterKilled,
        Self::ImmediateShutdown,
        Self::ProgramsKilled,
        Self::WorkersKilled,
        Self::WorkersStopped,
        Self::DiskFull,
        Self::ConnectionsExhausted,
        Self::ClockMoved,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::BackendKilled => "backend killed",
            Self::PostmasterKilled => "postmaster killed",
            Self::ImmediateShutdown => "immediate shutdown",
            Self::ProgramsKilled => "CLI calls killed",
            Self::WorkersKilled => "workers killed",
            Self::WorkersStopped => "workers stopped beyond their leases",
            Self::DiskFull => "disk full",
            Self::ConnectionsExhausted => "connections used up",
            Self::ClockMoved => "clock moved by an hour",
        }
    }

    /// Why it cannot happen here.
    pub fn impossible(self, server: &Server) -> Option<&str> {
        match (self, &server.disk) {
            (Self::DiskFull, Err(why)) => Some(why),
            _ => None,
        }
    }

    /// Lets it happen, and mends what does not mend itself. Gives the moment from which on calls
    /// can succeed: of the fault if it is one instant, else of its end.
    #[track_caller]
    pub fn happen(self, server: &Server, database: &str, load: &Load, rng: &mut Rng) -> Moment {
        let recorder = load.recorder();
        recorder.mark(self.name(), self == Self::ClockMoved);
        let began = recorder.now();
        match self {
            Self::BackendKilled => {
                let mut admin = server.cluster.session(database);
                // Of a session that lasts, not of a program's. It may have ended by now all the same.
                wait::until("a backend is killed", || {
                    let pids = admin.column(&format!(
                        "select pid from pg_stat_activity where usename = '{CALLER}'
                         order by backend_start limit 6"
                    ));
                    let pid = pids.get(rng.usize(0..pids.len().max(1)))?;
                    let kill = (Command::new("kill").args(["-9", &pid.to_string()]))
                        .stderr(Stdio::null())
                        .status();
                    kill.is_ok_and(|status| status.success()).then_some(())
                });
                let killed = recorder.now();
                wait::until("a call breaks off", || {
                    recorder.look(|entries| {
                        let mut entries = entries.iter().rev();
                        let broken = entries.any(|e| e.end >= killed && e.outcome.is_unknown());
                        broken.then_some(())
                    })
                });
                // Until the server has noticed, it still lets sessions in.
                wait::until("the server ends all sessions", || {
                    admin.attempt("select").is_err().then_some(())
                });
                server.bring_back(database);
                killed
            }
            Self::PostmasterKilled => {
                let pid = server.cluster.postmaster().expect("a server");
                crate::home::signal("KILL", pid);
                wait::until("the postmaster is gone", || {
                    server.cluster.postmaster().is_none().then_some(())
                });
                server.bring_back(database);
                began
            }
            Self::ImmediateShutdown => {
                server.cluster.crash();
                server.bring_back(database);
                began
            }
            Self::ProgramsKilled => {
                let mut killed = 0;
                wait::until("programs to kill", || {
                    thread::sleep(TICK * rng.u32(0..10));
                    killed += load.processes().signal(Kind::Program, "KILL");
                    (killed >= 5).then_some(())
                });
                recorder.now()
            }
            Self::WorkersKilled => {
                wait::until("workers to kill", || {
                    (load.processes().signal(Kind::Worker, "KILL") > 0).then_some(())
                });
                began
            }
            Self::WorkersStopped => {
                load.processes().signal(Kind::Worker, "STOP");
                thread::sleep(WHILE);
                load.processes().signal(Kind::Worker, "CONT");
                recorder.now()
            }
            Self::DiskFull => {
                let disk = server.disk.as_ref().expect("a disk");
                disk.fill();
                thread::sleep(STEP);
                use_up_log(server, database);
                thread::sleep(STEP);
                disk.free();
                let freed = recorder.now();
                server.bring_back(database);
                freed
            }
            Self::ConnectionsExhausted => {
                exhaust(server, database);
                recorder.now()
            }
            Self::ClockMoved => {
                move_clock(server, database);
                recorder.now()
            }
        }
    }
}

/// The log goes on in a new file, for which there is no room: the server has to go down.
fn use_up_log(server: &Server, database: &str) {
    let config = server.cluster.config(database, crate::cluster::SUPERUSER);
    for _ in 0..20 {
        let Ok(mut client) = config.connect(NoTls) else {
            return;
        };
        if client
            .batch_execute("select pg_logical_emit_message(false, '', 'x'); select pg_switch_wal()")
            .is_err()
            && client.is_closed()
        {
            return;
        }
    }
}

/// Takes all connections that come free, and ends those of the callers.
fn exhaust(server: &Server, database: &str) {
    let mut admin = server.cluster.session(database);
    let config = server.cluster.config(database, STRANGER);
    let mut taken = Vec::new();
    let began = Instant::now();
    while began.elapsed() < WHILE {
        while let Ok(client) = config.connect(NoTls) {
            taken.push(client);
        }
        admin.run(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{CALLER}'"
        ));
        thread::sleep(TICK);
    }
}

/// An hour ahead, then an hour behind, each for all sessions at once, then as before.
fn move_clock(server: &Server, database: &str) {
    let mut admin = server.cluster.session(database);
    // The setting exists once the library is loaded.
    admin.run("select from mosaic.backlog_stats()");
    for hours in [1, -1] {
        let time = admin.text(&format!(
            "select clock_timestamp() + interval '{hours} hours'"
        ));
        admin.run(&format!("alter system set mosaic.clock = '{time}'"));
        admin.run("select pg_reload_conf()");
        thread::sleep(STEP);
    }
    admin.run("alter system reset mosaic.clock");
    admin.run("select pg_reload_conf()");
    wait::until("the clock is as before", || {
        let mut session = server.cluster.session(database);
        session.run("select from mosaic.backlog_stats()");
        (session
            .text("select current_setting('mosaic.clock')")
            .is_empty())
        .then_some(())
    });
}
