//! SQL statements whose plans are kept for the life of the session.
//!
//! An unprepared statement is planned anew at every call, which costs more than running it.

use std::cell::Cell;
use std::ffi::CString;
use std::thread::LocalKey;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::prelude::*;

use crate::raised;

/// A statement and, after its first use in a session, its plan.
pub struct Statement {
    sql: &'static str,
    types: &'static [pg_sys::Oid],
    bitmaps: bool,
    scans: bool,
    plan: Cell<pg_sys::SPIPlanPtr>,
    updates_cards: Cell<bool>,
}

thread_local! {
    /// An update of cards by a verb is about to begin.
    static OWN_UPDATE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the update of cards that begins now is a verb's. Only for the first that asks: what
/// somebody's trigger does in the course of it is not.
pub fn is_own_update() -> bool {
    OWN_UPDATE.replace(false)
}

/// Declares kept statements: `NAME(parameter types) = "sql";`
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident($($ty:ident),*) = $sql:expr;)*) => {
        thread_local! {
            $($(#[$doc])* static $name: $crate::statement::Statement =
                const { $crate::statement::Statement::new($sql, &[$(::pgrx::pg_sys::$ty),*]) };)*
        }
    };
}
pub(crate) use statements;

impl Statement {
    pub const fn new(sql: &'static str, types: &'static [pg_sys::Oid]) -> Self {
        Self {
            sql,
            types,
            bitmaps: false,
            scans: false,
            plan: Cell::new(std::ptr::null_mut()),
            updates_cards: Cell::new(false),
        }
    }

    /// For a statement that reads much by intent: its plan may collect rows in a bitmap.
    pub const fn with_bitmaps(mut self) -> Self {
        self.bitmaps = true;
        self
    }

    /// For a statement that reads whole tables by intent.
    pub const fn with_scans(mut self) -> Self {
        self.scans = true;
        self.with_bitmaps()
    }

    unsafe fn plan(&self) -> pg_sys::SPIPlanPtr {
        if self.plan.get().is_null() {
            let sql = CString::new(self.sql).expect("no NUL in a statement");
            unsafe {
                let plan = pg_sys::SPI_prepare_cursor(
                    sql.as_ptr(),
                    self.types.len() as i32,
                    self.types.as_ptr().cast_mut(),
                    (pg_sys::CURSOR_OPT_GENERIC_PLAN | pg_sys::CURSOR_OPT_PARALLEL_OK) as i32,
                );
                assert!(!plan.is_null(), "cannot prepare: {}", self.sql);
                assert_eq!(pg_sys::SPI_keepplan(plan), 0);
                self.plan.set(plan);
                self.updates_cards
                    .set(self.sql.contains("update mosaic.backlog "));
            }
        }
        self.plan.get()
    }
}

/// Set while a statement of a verb runs, and unset also by an error.
struct OwnUpdate;

impl OwnUpdate {
    fn begin(is_update: bool) -> Self {
        OWN_UPDATE.set(is_update);
        Self
    }
}

impl Drop for OwnUpdate {
    fn drop(&mut self) {
        OWN_UPDATE.set(false);
    }
}

/// Keeps the planner to plain index scans while a statement is planned. A plan made while the
/// table was empty stays in use when it is large, and the planner cannot know how few rows a
/// filter leaves: it must neither scan a table nor read a part of it whole in order to sort it.
/// Where nothing else is possible, the price that this puts on a plan must not start the JIT.
struct ByIndex {
    seqscan: bool,
    bitmapscan: bool,
    jit: bool,
}

impl ByIndex {
    fn begin(statement: &Statement) -> Self {
        unsafe {
            let before = Self {
                seqscan: pg_sys::enable_seqscan,
                bitmapscan: pg_sys::enable_bitmapscan,
                jit: pg_sys::jit_enabled,
            };
            pg_sys::enable_seqscan = statement.scans;
            pg_sys::enable_bitmapscan = statement.bitmaps;
            pg_sys::jit_enabled = false;
            before
        }
    }
}

impl Drop for ByIndex {
    fn drop(&mut self) {
        unsafe {
            pg_sys::enable_seqscan = self.seqscan;
            pg_sys::enable_bitmapscan = self.bitmapscan;
            pg_sys::jit_enabled = self.jit;
        }
    }
}

/// An open SPI connection: statements run in it, and answers live as long as it.
pub struct Session {
    outer: pg_sys::MemoryContext,
}

/// Runs `work` with an SPI connection.
pub fn session<R, E>(work: impl FnOnce(&Session) -> Result<R, E>) -> Result<R, E> {
    let outer = PgMemoryContexts::CurrentMemoryContext.value();
    raised::coded(|| Spi::connect_mut(|_| work(&Session { outer })))
}

/// A parameter: NULL is `None`.
pub type Parameter = Option<pg_sys::Datum>;

/// `value` as a parameter. The statement's declared type must be that of `T`.
pub fn param<T: IntoDatum>(value: T) -> Parameter {
    value.into_datum()
}

/// The JSON `text` as a parameter of type jsonb.
pub fn jsonb(text: &str) -> Parameter {
    let text = CString::new(text).expect("no NUL in JSON");
    unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[text.as_c_str().into_datum()])
    }
}

impl Session {
    /// Executes a kept statement; it sees all that was committed before it, and the
    /// transaction's own changes.
    pub fn run(&self, statement: &'static LocalKey<Statement>, parameters: &[Parameter]) -> Answer {
        statement.with(|statement| unsafe {
            debug_assert_eq!(statement.types.len(), parameters.len(), "{}", statement.sql);
            let by_index = ByIndex::begin(statement);
            let plan = statement.plan();
            let mut values: Vec<pg_sys::Datum> = parameters
                .iter()
                .map(|p| p.unwrap_or(pg_sys::Datum::null()))
                .collect();
            let nulls: Vec<std::ffi::c_char> = parameters
                .iter()
                .map(|p| if p.is_some() { b' ' } else { b'n' } as std::ffi::c_char)
                .collect();
            let own_update = OwnUpdate::begin(statement.updates_cards.get());
            let code =
                pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls.as_ptr(), false, 0);
            drop(own_update);
            drop(by_index);
            assert!(code >= 0, "SPI code {code}: {}", statement.sql);
            Answer::last()
        })
    }

    /// Runs a kept query in pages of `size` rows, of which one is in memory at a time. It reads
    /// on the snapshot of the calling statement: several queries see the same moment.
    pub fn pages(
        &self,
        statement: &'static LocalKey<Statement>,
        size: i64,
        mut each: impl FnMut(&Answer),
    ) {
        statement.with(|statement| unsafe {
            debug_assert!(statement.types.is_empty(), "{}", statement.sql);
            let portal = pg_sys::SPI_cursor_open(
                std::ptr::null(),
                statement.plan(),
                std::ptr::null_mut(),
                std::ptr::null(),
                true,
            );
            loop {
                pg_sys::SPI_cursor_fetch(portal, true, size);
                let answer = Answer::last();
                if answer.is_empty() {
                    break;
                }
                let table = pg_sys::SPI_tuptable;
                each(&answer);
                pg_sys::SPI_freetuptable(table);
            }
            pg_sys::SPI_cursor_close(portal);
        });
    }

    /// The memory context of the caller: what outlives the session is copied there.
    pub fn outer(&self) -> pg_sys::MemoryContext {
        self.outer
    }
}

/// The rows that a statement gave. They live as long as the session.
pub struct Answer {
    rows: *const pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    len: usize,
}

impl Answer {
    /// That of the statement that has just run.
    unsafe fn last() -> Self {
        unsafe {
            let table = pg_sys::SPI_tuptable.as_ref();
            Self {
                rows: table.map_or(std::ptr::null(), |table| table.vals.cast_const()),
                descriptor: table.map_or(std::ptr::null_mut(), |table| table.tupdesc),
                len: pg_sys::SPI_processed as usize,
            }
        }
    }

    /// Rows that no statement gave; they and their description must live as long as the session.
    pub fn of(rows: &[pg_sys::HeapTuple], descriptor: pg_sys::TupleDesc) -> Self {
        unsafe {
            let copy = pg_sys::palloc(size_of_val(rows).max(1)).cast::<pg_sys::HeapTuple>();
            copy.copy_from_nonoverlapping(rows.as_ptr(), rows.len());
            Self {
                rows: copy,
                descriptor,
                len: rows.len(),
            }
        }
    }

    /// Rows returned, or for a statement without RETURNING, rows written.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Column `column` (from 1) of row `row` (from 0); `None` is NULL.
    pub fn get<T: FromDatum>(&self, row: usize, column: i32) -> Option<T> {
        unsafe {
            let mut is_null = false;
            let datum =
                pg_sys::SPI_getbinval(self.tuple(row), self.descriptor(), column, &mut is_null);
            T::from_datum(datum, is_null)
        }
    }

    /// As `get`, where the statement cannot give NULL.
    pub fn must<T: FromDatum>(&self, row: usize, column: i32) -> T {
        self.get(row, column).expect("a column that is not null")
    }

    /// The values of a column that is not null.
    pub fn column<T: FromDatum>(&self, column: i32) -> Vec<T> {
        (0..self.len).map(|row| self.must(row, column)).collect()
    }

    pub fn tuple(&self, row: usize) -> pg_sys::HeapTuple {
        assert!(row < self.len);
        unsafe { *self.rows.add(row) }
    }

    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        self.descriptor
    }
}
