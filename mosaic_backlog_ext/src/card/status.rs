//! Where a card is in its life.

use std::cell::Cell;

use pgrx::prelude::*;

use crate::postgres::value;

/// The values of the enum `mosaic.backlog_status`, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Ready,
    Claimed,
    Blocked,
    Done,
    Cancelled,
}

impl Status {
    const ALL: [Self; 5] = [
        Self::Ready,
        Self::Claimed,
        Self::Blocked,
        Self::Done,
        Self::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Claimed => "claimed",
            Self::Blocked => "blocked",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn parse(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|status| status.name() == name)
            .unwrap_or_else(|| panic!("unknown status {name}"))
    }
}

/// What stands for them in this database.
#[derive(Clone, Copy)]
pub struct Statuses {
    kind: pg_sys::Oid,
    oids: [pg_sys::Oid; Status::ALL.len()],
}

thread_local! {
    static STATUSES: Cell<Option<Statuses>> = const { Cell::new(None) };
}

impl Statuses {
    /// Those of the enum `kind`, which is another once the extension was dropped and created again.
    pub fn of_type(kind: pg_sys::Oid) -> Self {
        if let Some(known) = STATUSES.get().filter(|known| known.kind == kind) {
            return known;
        }
        let known = Self {
            kind,
            oids: Status::ALL.map(|status| value::of_enum(kind, status.name())),
        };
        STATUSES.set(Some(known));
        known
    }

    /// The status with this value.
    pub fn status(&self, oid: pg_sys::Oid) -> Status {
        let at = self.oids.iter().position(|known| *known == oid);
        Status::ALL[at.expect("a known status")]
    }

    pub fn oid(&self, status: Status) -> pg_sys::Oid {
        self.oids[status as usize]
    }
}
