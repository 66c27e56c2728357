//! Result sets whose SQL columns are declared once, beside the statement that yields them.

use std::marker::PhantomData;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

use crate::postgres::raised;
use crate::postgres::statement::{Answer, Column, Session, jsonb, param};

/// The columns of a result set, as they stand in `RETURNS TABLE (...)`.
pub trait Shape: 'static {
    const NAME: &'static str;
    const TABLE: &'static str;
}

/// Rows of shape `T`, handed to PostgreSQL as they came out of a statement.
pub struct Rows<T: Shape> {
    tuples: Vec<pg_sys::HeapTuple>,
    descriptor: pg_sys::TupleDesc,
    shape: PhantomData<T>,
}

impl<T: Shape> Rows<T> {
    /// Takes all rows of `answer` out of the session.
    pub fn new(session: &Session, answer: &Answer) -> Self {
        let copy = |row| {
            // SAFETY: the session is connected, and copies the row into the memory of its caller.
            unsafe { pg_sys::SPI_copytuple(sendable(answer, row).0) }
        };
        let tuples = (0..answer.len()).map(copy).collect();
        // SAFETY: the memory is that of the session's caller, who outlives it; the answer is there, and so is
        // its description.
        let descriptor = unsafe {
            let inner = pg_sys::MemoryContextSwitchTo(session.outer());
            let descriptor = pg_sys::CreateTupleDescCopy(answer.descriptor());
            pg_sys::MemoryContextSwitchTo(inner);
            descriptor
        };
        Self {
            tuples,
            descriptor,
            shape: PhantomData,
        }
    }
}

/// The description of the first `columns` columns.
fn first(all: pg_sys::TupleDesc, columns: usize) -> pg_sys::TupleDesc {
    // SAFETY: the description of a row that is there, which has so many columns at least; each of the new
    // one is written once.
    unsafe {
        assert!(columns <= (*all).natts as usize);
        let columns = columns as i16;
        let descriptor = pg_sys::CreateTemplateTupleDesc(i32::from(columns));
        for column in 1..=columns {
            pg_sys::TupleDescCopyEntry(descriptor, column, all, column);
        }
        descriptor
    }
}

// SAFETY: what is told of the type in SQL is so.
unsafe impl<T: Shape> SqlTranslatable for Rows<T> {
    const TYPE_IDENT: &'static str = T::NAME;
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Err(ArgumentError::Table);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::As(T::TABLE)));
}

// SAFETY: what is returned is null, and the rows are where a function that returns rows puts them.
unsafe impl<T: Shape> BoxRet for Rows<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        raised::coded(|| {
            let mut sink = Sink::open(fcinfo);
            sink.describe(self.descriptor);
            for tuple in self.tuples {
                sink.put_row(tuple, self.descriptor);
            }
            fcinfo.return_null()
        })
    }
}

/// Where a function's rows are put. PostgreSQL moves them to a file as they grow.
pub struct Sink {
    info: *mut pg_sys::ReturnSetInfo,
    store: *mut pg_sys::Tuplestorestate,
}

impl Sink {
    fn open(fcinfo: &mut FcInfo<'_>) -> Self {
        // SAFETY: PostgreSQL keeps what it calls a function with to the end of the call. That it can return
        // rows is told by the tag of what it wants them in, and the memory of the query outlives the call.
        unsafe {
            let info = (*fcinfo.as_mut_ptr())
                .resultinfo
                .cast::<pg_sys::ReturnSetInfo>();
            let fits = !info.is_null()
                && pgrx::is_a(info.cast(), pg_sys::NodeTag::T_ReturnSetInfo)
                && (*info).allowedModes & pg_sys::SetFunctionReturnMode::SFRM_Materialize as i32
                    != 0;
            if !fits {
                ereport!(
                    ERROR,
                    PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                    "a function that returns rows was called where rows cannot be returned"
                );
            }
            let inner = pg_sys::MemoryContextSwitchTo((*(*info).econtext).ecxt_per_query_memory);
            let random_access = (*info).allowedModes
                & pg_sys::SetFunctionReturnMode::SFRM_Materialize_Random as i32
                != 0;
            let store = pg_sys::tuplestore_begin_heap(random_access, false, pg_sys::work_mem);
            (*info).returnMode = pg_sys::SetFunctionReturnMode::SFRM_Materialize;
            (*info).setResult = store;
            pg_sys::MemoryContextSwitchTo(inner);
            Self { info, store }
        }
    }

    fn describe(&mut self, descriptor: pg_sys::TupleDesc) {
        // SAFETY: as for `open`. The description of a row that is there is copied.
        unsafe {
            let inner =
                pg_sys::MemoryContextSwitchTo((*(*self.info).econtext).ecxt_per_query_memory);
            (*self.info).setDesc = pg_sys::CreateTupleDescCopy(descriptor);
            pg_sys::MemoryContextSwitchTo(inner);
        }
    }

    fn is_described(&self) -> bool {
        // SAFETY: as for `open`.
        unsafe { !(*self.info).setDesc.is_null() }
    }

    /// Puts all rows of `answer` there.
    pub fn put(&mut self, answer: &Answer) {
        for row in 0..answer.len() {
            self.put_row(answer.tuple(row), answer.descriptor());
        }
    }

    /// Puts a row of this description there.
    pub fn put_row(&mut self, row: pg_sys::HeapTuple, descriptor: pg_sys::TupleDesc) {
        if !self.is_described() {
            self.describe(descriptor);
        }
        // SAFETY: the store is this call's, and copies the row.
        unsafe { pg_sys::tuplestore_puttuple(self.store, row) };
    }

    /// Puts the first `columns` columns of a row there: what lies behind the last that is
    /// described is not read from a row.
    pub fn put_first(
        &mut self,
        columns: usize,
        row: pg_sys::HeapTuple,
        descriptor: pg_sys::TupleDesc,
    ) {
        if !self.is_described() {
            self.describe(first(descriptor, columns));
        }
        self.put_row(row, descriptor);
    }
}

type Feed = Box<dyn FnOnce(&mut Sink) -> Result<(), ErrorReport>>;

/// Rows of shape `T` that may be too many or too large for the memory: handed over as they are
/// made.
pub struct Stream<T: Shape> {
    feed: Feed,
    shape: PhantomData<T>,
}

impl<T: Shape> Stream<T> {
    pub fn new<E: Into<ErrorReport>>(
        feed: impl FnOnce(&mut Sink) -> Result<(), E> + 'static,
    ) -> Self {
        Self {
            feed: Box::new(|sink| feed(sink).map_err(E::into)),
            shape: PhantomData,
        }
    }
}

// SAFETY: what is told of the type in SQL is so.
unsafe impl<T: Shape> SqlTranslatable for Stream<T> {
    const TYPE_IDENT: &'static str = T::NAME;
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Err(ArgumentError::Table);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::As(T::TABLE)));
}

// SAFETY: as for `Rows`.
unsafe impl<T: Shape> BoxRet for Stream<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        raised::coded(|| {
            let mut sink = Sink::open(fcinfo);
            (self.feed)(&mut sink).unwrap_or_report();
            fcinfo.return_null()
        })
    }
}

/// Rows of a page that are read at a time.
pub const PIECE: i64 = 8;

/// Bytes of a page as they are stored, after which it ends early.
const PAGE_MAX: usize = 64 * 1024 * 1024;

/// A row as it can be sent. A value of more than a page, which only somebody who writes past the
/// functions can store, would make each call that meets it an error: a mark stands in its place.
/// Gives its bytes, too.
fn sendable(rows: &Answer, row: usize) -> (pg_sys::HeapTuple, usize) {
    let bytes = rows.size(row);
    if bytes <= PAGE_MAX {
        return (rows.tuple(row), bytes);
    }
    let mut columns = rows.columns(row);
    for column in &mut columns {
        let bytes = column.size();
        if bytes > PAGE_MAX && column.kind == pg_sys::JSONBOID {
            column.value = jsonb(&format!("{{\"omitted_bytes\": {bytes}}}"));
        } else if bytes > PAGE_MAX && column.kind == pg_sys::TEXTOID {
            column.value = param(format!("({bytes} bytes left out)"));
        }
    }
    let bytes = columns.iter().map(Column::size).sum();
    (rows.row_of(&columns), bytes)
}

/// A page of rows that each have a cursor: it may end before it has as many as asked for, and is
/// gone on with as ever. Who reads it need not have room for as much as the rows may hold.
#[derive(Default)]
pub struct Page {
    bytes: usize,
}

impl Page {
    /// Puts rows of the page into `sink`, one at least; false if it ends with them.
    pub fn put(&mut self, sink: &mut Sink, rows: &Answer) -> bool {
        for row in 0..rows.len() {
            if self.bytes >= PAGE_MAX {
                return false;
            }
            let (tuple, bytes) = sendable(rows, row);
            sink.put_row(tuple, rows.descriptor());
            self.bytes += bytes;
        }
        true
    }
}

/// Declares shapes: `Name = "TABLE (...)";`
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $table:expr;)*) => {
        $($(#[$doc])* pub struct $name;
        impl $crate::postgres::rows::Shape for $name {
            const NAME: &'static str = concat!("mosaic_backlog_ext::Rows<", stringify!($name), ">");
            const TABLE: &'static str = $table;
        })*
    };
}
pub(crate) use shapes;
