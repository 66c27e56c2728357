//! Ending a server: asked at first, then told, in the end by force.
//!
//! By signals to the very processes, and not through pg_ctl: a server that is stuck takes no
//! shutdown, and the number in its lock file may be that of another process in another container.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::Serialize;

use super::process;
use crate::failure::{Code, Failure};
use crate::output::notes::say;

/// A shutdown that has begun may have much to write.
const CHECKPOINT: Duration = Duration::from_secs(120);
/// The server itself gives its processes five seconds in an immediate shutdown.
const IMMEDIATE: Duration = Duration::from_secs(8);
/// A process that was stopped by a signal takes no other but SIGKILL.
const STOPPED: Duration = Duration::from_secs(1);
const KILLED: Duration = Duration::from_secs(10);

/// How it ended, in the words of PostgreSQL. What was committed is kept in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Manner {
    /// Connections were cut, and everything was written.
    Fast,
    /// Without a checkpoint: the next start recovers.
    Immediate,
    /// By SIGKILL.
    Killed,
}

/// Ends the server, and every process of it. `patience`: how long it may take to begin with it.
pub fn end(pid: u32, data: &Path, patience: Duration) -> Result<Manner, Failure> {
    let Some(server) = Process::of(pid, data) else {
        return kill_the_rest(data).map(|_| Manner::Fast);
    };
    let is_stopped = process::is_stopped(pid);
    let at_most = |time: Duration| if is_stopped { STOPPED.min(time) } else { time };
    let cannot = |error: rustix::io::Errno| {
        Failure::new(
            Code::Unauthorized,
            format!("cannot end the server, process {pid}"),
        )
        .detail(format!("{error}."))
    };
    server.send(Signal::INT).map_err(cannot)?;
    if server.ends_within(at_most(patience)) || is_at_it(data) && server.ends_within(CHECKPOINT) {
        kill_the_rest(data)?;
        return Ok(Manner::Fast);
    }
    say(&format!(
        "the server, process {pid}, does not shut down when asked to (fast): telling it to end at once (immediate)"
    ));
    server.send(Signal::QUIT).map_err(cannot)?;
    if server.ends_within(at_most(IMMEDIATE)) {
        kill_the_rest(data)?;
        return Ok(Manner::Immediate);
    }
    say(&format!(
        "process {pid} does not end at once either (immediate): ending it by force (SIGKILL)"
    ));
    server.send(Signal::KILL).map_err(cannot)?;
    if !server.ends_within(KILLED) {
        return Err(Failure::new(
            Code::Resource,
            format!("the server, process {pid}, does not end even by SIGKILL"),
        )
        .detail(
            "The kernel holds it: it waits for a disk or a file system that does not answer.",
        ));
    }
    kill_the_rest(data)?;
    Ok(Manner::Killed)
}

/// Whether the shutdown has begun and can come to an end: one process that is held up keeps all waiting.
fn is_at_it(data: &Path) -> bool {
    process::is_shutting_down(data) && !process::all_of(data).into_iter().any(process::is_stopped)
}

/// Ends by force what outlived its server. Gives how many there were.
pub fn kill_the_rest(data: &Path) -> Result<usize, Failure> {
    let start = Instant::now();
    let mut killed = 0;
    loop {
        let left = process::all_of(data);
        if left.is_empty() {
            super::guard::wait_for_release(data);
            return Ok(killed);
        }
        if start.elapsed() > KILLED {
            return Err(super::guard::still_at_work(data, &left));
        }
        // Most see by themselves that their server is gone.
        if start.elapsed() > STOPPED {
            for process in left.iter().filter_map(|pid| Process::of(*pid, data)) {
                killed += usize::from(process.send(Signal::KILL).is_ok());
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that keeps its identity: its number is given to no other while we hold it.
struct Process(OwnedFd);

impl Process {
    /// If it works in the folder.
    fn of(pid: u32, data: &Path) -> Option<Process> {
        let handle = pidfd_open(Pid::from_raw(pid as i32)?, PidfdFlags::empty()).ok()?;
        process::works_in(pid, data).then_some(Process(handle))
    }

    fn send(&self, signal: Signal) -> rustix::io::Result<()> {
        match pidfd_send_signal(&self.0, signal) {
            // It is gone, which is what is wanted.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            sent => sent,
        }
    }

    fn ends_within(&self, time: Duration) -> bool {
        let start = Instant::now();
        loop {
            let left = time.saturating_sub(start.elapsed());
            let limit = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: i64::from(left.subsec_nanos()),
            };
            let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut polled, Some(&limit)) {
                Ok(count) if count > 0 => return true,
                _ if left.is_zero() => return false,
                _ => {}
            }
        }
    }
}
