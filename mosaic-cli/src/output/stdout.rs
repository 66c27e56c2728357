//! Standard output, and whether anybody still reads it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Whether it was closed from the beginning, as by `>&-` in a shell.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// The standard library opens /dev/null in place of what is closed, before `main`: who looks later
/// would take an answer that nobody gets for written.
#[cfg(target_os = "linux")]
#[used]
// SAFETY: a list of functions that run before `main`; this one needs nothing that is set up by then.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = {
    extern "C" fn look() {
        // SAFETY: a look at a number, which need not be a file's.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
        CLOSED.store(flags == -1, Ordering::Relaxed);
    }
    look
};

/// An error if what is written now would be lost.
pub fn check() -> io::Result<()> {
    if CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(())
}

/// Waits so long, or until the reader goes away, which no write would tell while nothing happens.
/// Says whether it is still there.
pub fn is_read(within: Duration) -> bool {
    let timeout = Timespec::try_from(within).ok();
    let stdout = io::stdout();
    let mut reader = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut reader, timeout.as_ref()) {
        Ok(0) => true,
        Ok(_) => false,
        Err(_) => true,
    }
}
