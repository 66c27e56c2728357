//! Whether what went wrong can pass by itself, so that the same call may succeed later.
//!
//! Judged by what names the cause: the kernel's error, PostgreSQL's SQLSTATE, or the words of its
//! programs. What is not known to pass lasts: who waits for it would wait for ever.

use std::error::Error;
use std::io::{self, ErrorKind};

use rustix::io::Errno;

/// Of a file, a folder, a pipe or a program.
pub fn io(error: &io::Error) -> bool {
    // These have no kind of their own.
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    kind(error.kind()) || matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS))
}

fn kind(kind: ErrorKind) -> bool {
    matches!(
        kind,
        // Somebody else is at it, or the system has too much to do.
        ErrorKind::Interrupted
            | ErrorKind::WouldBlock
            | ErrorKind::TimedOut
            | ErrorKind::ResourceBusy
            | ErrorKind::ExecutableFileBusy
            | ErrorKind::Deadlock
            // Room comes and goes.
            | ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::OutOfMemory
            // The other side may come back.
            | ErrorKind::AddrInUse
            | ErrorKind::AddrNotAvailable
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NotConnected
            | ErrorKind::StaleNetworkFileHandle
            | ErrorKind::UnexpectedEof
    )
}

/// Of a connection. Only what the kernel says about the server's address is for ever: the server's
/// socket appears with the server, and the client's library uses the kernel's words for its own.
pub fn connection(error: &postgres::Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause {
        Some(cause) if cause.raw_os_error().is_some() => {
            cause.kind() == ErrorKind::NotFound || io(cause)
        }
        _ => true,
    }
}

/// Of PostgreSQL.
pub fn sqlstate(state: &str) -> bool {
    match state {
        // The same call reaches the limit again; the database was dropped.
        "53400" | "57P04" => false,
        "55P03" | "40001" | "40P01" => true,
        other => ["08", "53", "57"]
            .iter()
            .any(|class| other.starts_with(class)),
    }
}

/// Of PostgreSQL's programs, which tell no code.
pub fn complaint(text: &str) -> bool {
    [
        "No space left on device",
        "Disk quota exceeded",
        "Cannot allocate memory",
        "out of memory",
        "Resource temporarily unavailable",
        "Too many open files",
        "too many clients",
        "remaining connection slots",
        "did not start in time",
        "the database system is",
        "terminating connection",
        "server closed the connection",
        "lock timeout",
        "deadlock detected",
        "could not obtain lock",
    ]
    .iter()
    .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_of_the_kernel_is_judged() {
        use ErrorKind::*;
        for passing in [
            AddrInUse,
            AddrNotAvailable,
            BrokenPipe,
            ConnectionAborted,
            ConnectionRefused,
            ConnectionReset,
            Deadlock,
            ExecutableFileBusy,
            HostUnreachable,
            Interrupted,
            NetworkDown,
            NetworkUnreachable,
            NotConnected,
            OutOfMemory,
            QuotaExceeded,
            ResourceBusy,
            StaleNetworkFileHandle,
            StorageFull,
            TimedOut,
            UnexpectedEof,
            WouldBlock,
        ] {
            assert!(io(&passing.into()), "{passing:?}");
        }
        for lasting in [
            AlreadyExists,
            ArgumentListTooLong,
            CrossesDevices,
            DirectoryNotEmpty,
            FileTooLarge,
            InvalidData,
            InvalidFilename,
            InvalidInput,
            IsADirectory,
            NotADirectory,
            NotFound,
            NotSeekable,
            Other,
            PermissionDenied,
            ReadOnlyFilesystem,
            TooManyLinks,
            Unsupported,
            WriteZero,
        ] {
            assert!(!io(&lasting.into()), "{lasting:?}");
        }
    }

    #[test]
    fn what_has_no_kind_is_judged_by_its_number() {
        for (errno, passes) in [
            (Errno::MFILE, true),
            (Errno::NFILE, true),
            (Errno::NOBUFS, true),
            (Errno::NOSPC, true),
            (Errno::IO, false),
            (Errno::LOOP, false),
            (Errno::NOLCK, false),
            (Errno::NXIO, false),
            (Errno::ROFS, false),
            (Errno::ACCESS, false),
            (Errno::PERM, false),
        ] {
            assert_eq!(io(&errno.into()), passes, "{errno:?}");
        }
    }

    #[test]
    fn every_sqlstate_that_may_be_waited_for_is_judged() {
        for passing in [
            "08000", "08001", "08003", "08004", "08006", "08007", "08P01", // connections
            "40001", "40P01", "55P03", // others
            "53000", "53100", "53200", "53300", // resources
            "57000", "57014", "57P01", "57P02", "57P03", "57P05", // the server goes or comes
        ] {
            assert!(sqlstate(passing), "{passing}");
        }
        for lasting in [
            "53400", "57P04", // a limit of the configuration, a dropped database
            "3D000", "28000", "28P01", "42501", "25006", "58030", "58P01", "XX000", "XX001",
            "XX002", "F0000", "F0001",
        ] {
            assert!(!sqlstate(lasting), "{lasting}");
        }
    }

    #[test]
    fn programs_are_judged_by_what_they_say() {
        assert!(complaint(
            "FATAL:  could not write: No space left on device"
        ));
        assert!(complaint("FATAL:  sorry, too many clients already"));
        assert!(!complaint(
            "PANIC:  could not locate a valid checkpoint record"
        ));
        assert!(!complaint("could not open file: Permission denied"));
    }
}
