//! Result sets whose SQL columns are declared once, beside the statement that yields them.

use std::marker::PhantomData;

use pgrx::callconv::{BoxRet, FcInfo};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

use crate::raised;
use crate::statement::{Answer, Session};

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
        let rows: Vec<_> = (0..answer.len()).map(|row| (answer, row)).collect();
        Self::described(session, Some(answer), &rows, None)
    }

    /// Takes the first `columns` of these rows out of the session; of no rows, it makes none.
    pub fn first_columns(session: &Session, rows: &[(&Answer, usize)], columns: usize) -> Self {
        let answer = rows.first().map(|(answer, _)| *answer);
        Self::described(session, answer, rows, Some(columns))
    }

    pub fn is_empty(&self) -> bool {
        self.tuples.is_empty()
    }

    fn described(
        session: &Session,
        answer: Option<&Answer>,
        rows: &[(&Answer, usize)],
        columns: Option<usize>,
    ) -> Self {
        unsafe {
            let tuples = rows
                .iter()
                .map(|(answer, row)| pg_sys::SPI_copytuple(answer.tuple(*row)))
                .collect();
            let inner = pg_sys::MemoryContextSwitchTo(session.outer());
            let descriptor = answer.map_or(std::ptr::null_mut(), |answer| {
                let all = answer.descriptor();
                // What lies behind its last attribute is not read from a row.
                columns.map_or_else(|| pg_sys::CreateTupleDescCopy(all), |n| first(all, n))
            });
            pg_sys::MemoryContextSwitchTo(inner);
            Self {
                tuples,
                descriptor,
                shape: PhantomData,
            }
        }
    }
}

/// The description of the first `columns` columns.
unsafe fn first(all: pg_sys::TupleDesc, columns: usize) -> pg_sys::TupleDesc {
    unsafe {
        let columns = columns as i16;
        let descriptor = pg_sys::CreateTemplateTupleDesc(i32::from(columns));
        for column in 1..=columns {
            pg_sys::TupleDescCopyEntry(descriptor, column, all, column);
        }
        descriptor
    }
}

unsafe impl<T: Shape> SqlTranslatable for Rows<T> {
    const TYPE_IDENT: &'static str = T::NAME;
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Err(ArgumentError::Table);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::As(T::TABLE)));
}

unsafe impl<T: Shape> BoxRet for Rows<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        raised::coded(|| unsafe {
            let mut sink = Sink::open(fcinfo);
            if !self.descriptor.is_null() {
                sink.describe(self.descriptor);
            }
            for tuple in self.tuples {
                pg_sys::tuplestore_puttuple(sink.store, tuple);
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
    unsafe fn open(fcinfo: &mut FcInfo<'_>) -> Self {
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

    unsafe fn describe(&mut self, descriptor: pg_sys::TupleDesc) {
        unsafe {
            let inner =
                pg_sys::MemoryContextSwitchTo((*(*self.info).econtext).ecxt_per_query_memory);
            (*self.info).setDesc = pg_sys::CreateTupleDescCopy(descriptor);
            pg_sys::MemoryContextSwitchTo(inner);
        }
    }

    /// Puts all rows of `answer` there.
    pub fn put(&mut self, answer: &Answer) {
        unsafe {
            if (*self.info).setDesc.is_null() {
                self.describe(answer.descriptor());
            }
            for row in 0..answer.len() {
                pg_sys::tuplestore_puttuple(self.store, answer.tuple(row));
            }
        }
    }
}

/// Rows of shape `T` that are too many for the memory: handed over while they are read.
pub struct Stream<T: Shape> {
    feed: Box<dyn FnOnce(&mut Sink)>,
    shape: PhantomData<T>,
}

impl<T: Shape> Stream<T> {
    /// `feed` must put at least one row.
    pub fn new(feed: impl FnOnce(&mut Sink) + 'static) -> Self {
        Self {
            feed: Box::new(feed),
            shape: PhantomData,
        }
    }
}

unsafe impl<T: Shape> SqlTranslatable for Stream<T> {
    const TYPE_IDENT: &'static str = T::NAME;
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Err(ArgumentError::Table);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
        Ok(ReturnsRef::One(SqlMappingRef::As(T::TABLE)));
}

unsafe impl<T: Shape> BoxRet for Stream<T> {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> pgrx::datum::Datum<'fcx> {
        raised::coded(|| unsafe {
            let mut sink = Sink::open(fcinfo);
            (self.feed)(&mut sink);
            fcinfo.return_null()
        })
    }
}

/// Declares shapes: `Name = "TABLE (...)";`
macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $table:expr;)*) => {
        $($(#[$doc])* pub struct $name;
        impl $crate::rows::Shape for $name {
            const NAME: &'static str = concat!("mosaic_backlog_ext::Rows<", stringify!($name), ">");
            const TABLE: &'static str = $table;
        })*
    };
}
pub(crate) use shapes;
