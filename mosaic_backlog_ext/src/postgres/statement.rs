//! SQL statements whose plans are kept for the life of the session.
//!
//! An unprepared statement is planned anew at every call, which costs more than running it.

use std::cell::Cell;
use std::ffi::CString;
use std::marker::PhantomData;
use std::thread::LocalKey;

use pgrx::memcxt::PgMemoryContexts;
use pgrx::prelude::*;

use crate::postgres::raised;
use crate::postgres::table::attribute;

/// A statement and, after its first use in a session, its plan.
pub struct Statement {
    sql: &'static str,
    types: &'static [pg_sys::Oid],
    bitmaps: bool,
    scans: bool,
    lookups: bool,
    updates_cards: bool,
    plan: Cell<pg_sys::SPIPlanPtr>,
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
            $($(#[$doc])* static $name: $crate::postgres::statement::Statement =
                const { $crate::postgres::statement::Statement::new($sql, &[$(::pgrx::pg_sys::$ty),*]) };)*
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
            lookups: false,
            updates_cards: false,
            plan: Cell::new(std::ptr::null_mut()),
        }
    }

    /// For an update of cards by a verb: `is_own_update` tells it from what somebody does by hand.
    pub const fn of_cards(mut self) -> Self {
        self.updates_cards = true;
        self
    }

    /// For a statement that reads much by intent: its plan may collect rows in a bitmap.
    pub const fn with_bitmaps(mut self) -> Self {
        self.bitmaps = true;
        self
    }

    /// For a statement that reads whole tables by intent, and joins them by hashes: no plan for few rows
    /// reads one table anew for each row of another. In one process, as it has to work also where the server
    /// has no shared memory to give.
    pub const fn with_scans(mut self) -> Self {
        self.scans = true;
        self.with_bitmaps()
    }

    /// For a statement that looks up each row of a join, as one that recurses: no step of it reads a whole
    /// table.
    pub const fn with_lookups(mut self) -> Self {
        self.lookups = true;
        self
    }

    /// Made within a session, and kept beyond it.
    fn plan(&self, _within: &Session) -> pg_sys::SPIPlanPtr {
        if self.plan.get().is_null() {
            let sql = CString::new(self.sql).expect("no NUL in a statement");
            // Several processes need shared memory. Of use are they where much is read alone.
            let options = if self.bitmaps && !self.scans {
                pg_sys::CURSOR_OPT_GENERIC_PLAN | pg_sys::CURSOR_OPT_PARALLEL_OK
            } else {
                pg_sys::CURSOR_OPT_GENERIC_PLAN
            };
            // SAFETY: the text ends with a NUL, there are as many types as is said, and they are copied.
            let plan = unsafe {
                pg_sys::SPI_prepare_cursor(
                    sql.as_ptr(),
                    self.types.len() as i32,
                    self.types.as_ptr().cast_mut(),
                    options as i32,
                )
            };
            assert!(!plan.is_null(), "cannot prepare: {}", self.sql);
            // SAFETY: a plan that has just been made, and is never freed.
            assert_eq!(unsafe { pg_sys::SPI_keepplan(plan) }, 0);
            self.plan.set(plan);
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
    nestloop: bool,
    hashjoin: bool,
    mergejoin: bool,
    jit: bool,
}

impl ByIndex {
    fn begin(statement: &Statement) -> Self {
        // SAFETY: variables of the backend, which this thread alone reads and writes; all values will do.
        unsafe {
            let before = Self {
                seqscan: pg_sys::enable_seqscan,
                bitmapscan: pg_sys::enable_bitmapscan,
                nestloop: pg_sys::enable_nestloop,
                hashjoin: pg_sys::enable_hashjoin,
                mergejoin: pg_sys::enable_mergejoin,
                jit: pg_sys::jit_enabled,
            };
            pg_sys::enable_seqscan = statement.scans;
            pg_sys::enable_bitmapscan = statement.bitmaps;
            if statement.scans {
                pg_sys::enable_nestloop = false;
            }
            if statement.lookups {
                pg_sys::enable_hashjoin = false;
                pg_sys::enable_mergejoin = false;
            }
            pg_sys::jit_enabled = false;
            before
        }
    }
}

impl Drop for ByIndex {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            pg_sys::enable_seqscan = self.seqscan;
            pg_sys::enable_bitmapscan = self.bitmapscan;
            pg_sys::enable_nestloop = self.nestloop;
            pg_sys::enable_hashjoin = self.hashjoin;
            pg_sys::enable_mergejoin = self.mergejoin;
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
    // SAFETY: the argument is that of `jsonb_in`, a text that ends with a NUL; one that is no JSON is an
    // error.
    unsafe {
        pgrx::direct_function_call_as_datum(pg_sys::jsonb_in, &[text.as_c_str().into_datum()])
    }
}

/// Parameters as SPI takes them: values, and which of them are none.
fn in_two(parameters: &[Parameter]) -> (Vec<pg_sys::Datum>, Vec<std::ffi::c_char>) {
    let null = |p: &Parameter| if p.is_some() { b' ' } else { b'n' } as std::ffi::c_char;
    let value = |p: &Parameter| p.unwrap_or(pg_sys::Datum::null());
    (
        parameters.iter().map(value).collect(),
        parameters.iter().map(null).collect(),
    )
}

/// The moment that a query in pages sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When the calling statement began, so that several queries see the same.
    OfTheCall,
    /// When it begins itself.
    Now,
}

impl Session {
    /// Executes a kept statement; it sees all that was committed before it, and the
    /// transaction's own changes.
    pub fn run(
        &self,
        statement: &'static LocalKey<Statement>,
        parameters: &[Parameter],
    ) -> Answer<'_> {
        statement.with(|statement| {
            assert_eq!(statement.types.len(), parameters.len(), "{}", statement.sql);
            let by_index = ByIndex::begin(statement);
            let plan = statement.plan(self);
            let (mut values, nulls) = in_two(parameters);
            let own_update = OwnUpdate::begin(statement.updates_cards);
            // SAFETY: the plan is kept, and the session connected; there are as many values as the plan has
            // parameters, of the types that the statement declares.
            let code = unsafe {
                pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls.as_ptr(), false, 0)
            };
            drop(own_update);
            drop(by_index);
            assert!(code >= 0, "SPI code {code}: {}", statement.sql);
            Answer::last(self)
        })
    }

    /// Runs a kept query in pages of `size` rows, of which one is in memory at a time, as long as
    /// `each` wants more. `Moment` says what it sees.
    pub fn pages(
        &self,
        statement: &'static LocalKey<Statement>,
        parameters: &[Parameter],
        moment: Moment,
        size: i64,
        mut each: impl FnMut(&Answer) -> bool,
    ) {
        statement.with(|statement| {
            assert_eq!(statement.types.len(), parameters.len(), "{}", statement.sql);
            // What is of the calling statement's moment reads whole tables by intent.
            let guided = moment == Moment::Now || statement.scans;
            let by_index = guided.then(|| ByIndex::begin(statement));
            let plan = statement.plan(self);
            let (mut values, nulls) = in_two(parameters);
            // SAFETY: as for `run`; the values are copied, and a name is made up.
            let portal = unsafe {
                pg_sys::SPI_cursor_open(
                    std::ptr::null(),
                    plan,
                    values.as_mut_ptr(),
                    nulls.as_ptr(),
                    moment == Moment::OfTheCall,
                )
            };
            drop(by_index);
            loop {
                // SAFETY: the portal is open, and nobody else knows its name.
                unsafe { pg_sys::SPI_cursor_fetch(portal, true, size) };
                let answer = Answer::last(self);
                let goes_on = !answer.is_empty() && each(&answer);
                answer.free();
                if !goes_on {
                    break;
                }
            }
            // SAFETY: as above. At an error the end of the transaction closes it.
            unsafe { pg_sys::SPI_cursor_close(portal) };
        });
    }

    /// The memory context of the caller: what outlives the session is copied there.
    pub fn outer(&self) -> pg_sys::MemoryContext {
        self.outer
    }
}

/// The rows that a statement gave. They live as long as the session.
pub struct Answer<'a> {
    rows: *const pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
    len: usize,
    /// What SPI keeps them in.
    table: *mut pg_sys::SPITupleTable,
    session: PhantomData<&'a Session>,
}

impl<'a> Answer<'a> {
    /// That of the statement that has just run.
    fn last(_of: &'a Session) -> Self {
        // SAFETY: variables of the backend. They are of the statement that has just run: its rows and their
        // number, or null.
        unsafe {
            let table = pg_sys::SPI_tuptable.as_ref();
            Self {
                rows: table.map_or(std::ptr::null(), |table| table.vals.cast_const()),
                descriptor: table.map_or(std::ptr::null_mut(), |table| table.tupdesc),
                len: pg_sys::SPI_processed as usize,
                table: pg_sys::SPI_tuptable,
                session: PhantomData,
            }
        }
    }

    /// Rows that no statement gave; they and their description must live as long as the session.
    pub fn of(_in: &'a Session, rows: &[pg_sys::HeapTuple], descriptor: pg_sys::TupleDesc) -> Self {
        // SAFETY: there is room for all of them, and what was just allocated overlaps with nothing.
        unsafe {
            let copy = pg_sys::palloc(size_of_val(rows).max(1)).cast::<pg_sys::HeapTuple>();
            copy.copy_from_nonoverlapping(rows.as_ptr(), rows.len());
            Self {
                rows: copy,
                descriptor,
                len: rows.len(),
                table: std::ptr::null_mut(),
                session: PhantomData,
            }
        }
    }

    /// Gives the rows back before the session ends.
    pub fn free(self) {
        if !self.table.is_null() {
            // SAFETY: the rows of a statement, which are given back once: this takes them.
            unsafe { pg_sys::SPI_freetuptable(self.table) };
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
        let mut is_null = false;
        // SAFETY: row and description belong together; a column that there is not gives NULL. Each statement
        // has its columns in its text, and whoever reads one names its type.
        unsafe {
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
        // SAFETY: there are so many rows, by the line above.
        unsafe { *self.rows.add(row) }
    }

    pub fn descriptor(&self) -> pg_sys::TupleDesc {
        self.descriptor
    }

    /// The columns of a row.
    pub fn columns(&self, row: usize) -> Vec<Column> {
        let row = self.tuple(row);
        // SAFETY: row and description belong together: there is room for the value of each column, and each
        // number from 1 is that of a column. That there is a row tells that it has a description.
        unsafe {
            let count = (*self.descriptor).natts as usize;
            let mut values = vec![pg_sys::Datum::null(); count];
            let mut nulls = vec![true; count];
            pg_sys::heap_deform_tuple(
                row,
                self.descriptor,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            let columns = (1..).zip(values.into_iter().zip(nulls));
            columns
                .map(|(at, (value, is_null))| {
                    let attribute = attribute(self.descriptor, at);
                    Column {
                        value: (!is_null).then_some(value),
                        kind: attribute.atttypid,
                        varies: attribute.attlen == -1,
                    }
                })
                .collect()
        }
    }

    /// A row of the same description with other values.
    pub fn row_of(&self, columns: &[Column]) -> pg_sys::HeapTuple {
        row(self.descriptor, columns.iter().map(|column| column.value))
    }

    /// Bytes of a row, with what is stored elsewhere and compressed.
    pub fn size(&self, row: usize) -> usize {
        self.columns(row).iter().map(Column::size).sum()
    }
}

/// A row of this description, whose columns have the types of `values`.
pub fn row(
    description: pg_sys::TupleDesc,
    values: impl Iterator<Item = Parameter>,
) -> pg_sys::HeapTuple {
    let (mut values, mut nulls): (Vec<pg_sys::Datum>, Vec<bool>) = values
        .map(|value| (value.unwrap_or(pg_sys::Datum::null()), value.is_none()))
        .unzip();
    // SAFETY: there are as many values as the description has columns; it outlives the call, as
    // answers do, and the row is a copy.
    unsafe {
        assert_eq!(values.len(), (*description).natts as usize);
        pg_sys::heap_form_tuple(description, values.as_mut_ptr(), nulls.as_mut_ptr())
    }
}

/// A column of a row.
#[derive(Clone, Copy)]
pub struct Column {
    pub value: Parameter,
    pub kind: pg_sys::Oid,
    /// Whether its values have lengths of their own.
    pub varies: bool,
}

impl Column {
    /// Bytes, with what is stored elsewhere and compressed.
    pub fn size(&self) -> usize {
        match self.value {
            // SAFETY: what has a length of its own points at it.
            Some(value) if self.varies => unsafe { pg_sys::toast_raw_datum_size(value) },
            Some(_) => size_of::<pg_sys::Datum>(),
            None => 0,
        }
    }

    /// Whether it is stored in another place than its row.
    pub fn is_elsewhere(&self) -> bool {
        self.value.filter(|_| self.varies).is_some_and(|value| {
            // SAFETY: as above.
            unsafe { pgrx::varlena::varatt_is_1b_e(value.cast_mut_ptr()) }
        })
    }

    /// Makes sure that it can be read, if it is stored in another place: else that is an error.
    pub fn look_elsewhere(&self) {
        if let Some(value) = self.value
            && self.is_elsewhere()
        {
            // SAFETY: of what lies elsewhere this makes a copy, which nobody else has.
            unsafe { pg_sys::pfree(pg_sys::pg_detoast_datum(value.cast_mut_ptr()).cast()) };
        }
    }
}
