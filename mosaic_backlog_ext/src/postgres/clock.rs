//! The server's clock, settable for tests. A verb reads it once and uses that time throughout.

use std::time::Duration;

use pgrx::prelude::*;

use crate::postgres::settings;

/// Microseconds since 2000-01-01 UTC, the representation of `timestamptz`.
pub type Micros = i64;

pub const SECOND: Micros = 1_000_000;

const UNIX_TO_POSTGRES_EPOCH: Micros = 946_684_800 * SECOND;

/// The time now: `mosaic.clock` if set, else the server's clock, which unlike `now()` does
/// not stand still while the transaction waits for a lock.
pub fn now() -> Micros {
    match settings::CLOCK.get() {
        Some(fixed) if !fixed.is_empty() => {
            // SAFETY: the arguments are those of `timestamptz_in`, a text that ends with a NUL, no type
            // of elements and no modifier; a text that is no time is an error.
            let time: Option<TimestampWithTimeZone> = unsafe {
                pgrx::direct_function_call(
                    pg_sys::timestamptz_in,
                    &[
                        fixed.as_c_str().into_datum(),
                        pg_sys::InvalidOid.into_datum(),
                        (-1_i32).into_datum(),
                    ],
                )
            };
            time.map_or(0, i64::from)
        }
        _ => server(),
    }
}

/// The time by the server's clock, whatever is set.
pub fn server() -> Micros {
    // SAFETY: takes no argument, and asks the system alone.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Sleeps so long, or until a signal comes.
pub fn sleep(time: Duration) {
    // SAFETY: a call of the system with a number.
    unsafe { pg_sys::pg_usleep(time.as_micros() as i64) };
}

/// As an array parameter.
pub fn times(times: &[Micros]) -> Vec<TimestampWithTimeZone> {
    times
        .iter()
        .filter_map(|time| TimestampWithTimeZone::try_from(*time).ok())
        .collect()
}

/// RFC 3339 in UTC, as it stands in the history's details.
pub fn rfc3339(at: Micros) -> String {
    chrono::DateTime::from_timestamp_micros(at.saturating_add(UNIX_TO_POSTGRES_EPOCH)).map_or_else(
        || "infinity".to_owned(),
        |t| t.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
    )
}

/// The times that RFC 3339 can write: the years 1 to 9999.
pub const FIRST: Micros = -63_082_281_600 * SECOND;
pub const LAST: Micros = 252_455_616_000 * SECOND - 1;

/// A time in RFC 3339, as in JSON.
pub fn parse(text: &str) -> Option<Micros> {
    let time = chrono::DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.timestamp_micros() - UNIX_TO_POSTGRES_EPOCH)
}
