//! Settings `mosaic.*`. Those that could weaken a guarantee are a superuser's to set.

use std::ffi::CString;

use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};

/// Whether a writing call raises `synchronous_commit` to `on` for its transaction.
#[derive(PostgresGucEnum, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Raise it: with it off, a crash could hand out a token twice.
    #[name = c"on"]
    On,
    /// Leave the session's own `synchronous_commit`.
    #[name = c"inherit"]
    Inherit,
}

pub static CLOCK: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
pub static MAX_ATTEMPTS: GucSetting<i32> = GucSetting::<i32>::new(5);
pub static DURABILITY: GucSetting<Durability> = GucSetting::<Durability>::new(Durability::On);
pub static RETRY_BASE: GucSetting<i32> = GucSetting::<i32>::new(10);
pub static RETRY_MAX: GucSetting<i32> = GucSetting::<i32>::new(3600);
pub static NOTIFY: GucSetting<bool> = GucSetting::<bool>::new(true);
pub static FRONTIER_AUDIT: GucSetting<i32> = GucSetting::<i32>::new(10);
pub static FRONTIER_KEPT: GucSetting<i32> = GucSetting::<i32>::new(600);
pub static DIRECT_WRITES: GucSetting<bool> = GucSetting::<bool>::new(true);
pub static ALLOW_DROP: GucSetting<bool> = GucSetting::<bool>::new(false);

pub fn register() {
    GucRegistry::define_string_guc(
        c"mosaic.clock",
        c"A fixed time that replaces the server's clock, for tests.",
        c"A timestamptz. Empty: the server's clock.",
        &CLOCK,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"mosaic.max_attempts",
        c"Claims of a card before it is quarantined.",
        c"For cards whose own max_attempts is null.",
        &MAX_ATTEMPTS,
        1,
        1_000_000,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_enum_guc(
        c"mosaic.durability",
        c"Whether writing calls raise synchronous_commit to on, until the commit.",
        c"'inherit' leaves the session's own value; a crash may then lose acknowledged work.",
        &DURABILITY,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"mosaic.retry_base",
        c"Delay before a failed card is claimable again, after its first attempt.",
        c"Doubles with each attempt, with jitter, up to mosaic.retry_max.",
        &RETRY_BASE,
        0,
        30 * 86_400,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"mosaic.retry_max",
        c"Longest delay before a failed card is claimable again.",
        c"Bounds the delay that grows from mosaic.retry_base.",
        &RETRY_MAX,
        0,
        30 * 86_400,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_bool_guc(
        c"mosaic.notify",
        c"Whether waiters are notified when cards become claimable.",
        c"A hint on which nothing depends; a transaction that is prepared gives none.",
        &NOTIFY,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"mosaic.frontier_audit",
        c"Age of a proof, after which a claim compares what it knows with the table.",
        c"Whatever is wrong in memory makes a card late by at most that. 0: each claim does.",
        &FRONTIER_AUDIT,
        0,
        3600,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"mosaic.frontier_kept",
        c"How long what claims know is kept while no session uses it.",
        c"By a background worker. 0: no longer than a session is there that has it.",
        &FRONTIER_KEPT,
        0,
        86_400,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_bool_guc(
        c"mosaic.direct_writes",
        c"Whether a plain claim, creation or completion writes its rows without a statement.",
        c"Off: statements write them all, to the same effect and slower.",
        &DIRECT_WRITES,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_bool_guc(
        c"mosaic.allow_drop",
        c"Whether DROP EXTENSION and DROP OWNED may remove cards.",
        c"Off: the extension can be dropped only while no card exists.",
        &ALLOW_DROP,
        GucContext::Suset,
        GucFlags::default(),
    );
    // A setting whose name is mistyped is refused instead of kept without effect.
    // SAFETY: the name is copied.
    unsafe { pgrx::pg_sys::MarkGUCPrefixReserved(c"mosaic".as_ptr()) };
}
