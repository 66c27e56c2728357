//! Arguments that are passed on as they came, or as text.

use std::marker::PhantomData;

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

use crate::postgres::document::{Extent, extent};
use crate::postgres::value;

/// A jsonb value, as it came.
pub struct Jsonb(pg_sys::Datum);

impl Jsonb {
    pub fn value(&self) -> pg_sys::Datum {
        self.0
    }

    pub fn extent(&self) -> Extent {
        extent(self.0)
    }

    pub fn text(&self) -> String {
        value::text_of_jsonb(self.0)
    }
}

// SAFETY: what is told of the type in SQL is so.
unsafe impl SqlTranslatable for Jsonb {
    const TYPE_IDENT: &'static str = "mosaic_backlog_ext::Jsonb";
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::As("jsonb"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Err(ReturnsError::Datum);
}

// SAFETY: it takes one argument, whose type in SQL is the one above.
unsafe impl<'fcx> ArgAbi<'fcx> for Jsonb {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        Self(datum(arg))
    }
}

/// An array type of our own.
pub trait Array: 'static {
    const NAME: &'static str;
    const SQL: &'static str;
}

/// An array of type `T`, as text.
pub struct ArrayText<T: Array>(pub String, PhantomData<T>);

// SAFETY: what is told of the type in SQL is so.
unsafe impl<T: Array> SqlTranslatable for ArrayText<T> {
    const TYPE_IDENT: &'static str = T::NAME;
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::As(T::SQL));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Err(ReturnsError::Datum);
}

// SAFETY: it takes one argument, whose type in SQL is an array.
unsafe impl<'fcx, T: Array> ArgAbi<'fcx> for ArrayText<T> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        Self(value::text_of_array(datum(arg)), PhantomData)
    }
}

fn datum(arg: Arg) -> pg_sys::Datum {
    // SAFETY: every value is a `Datum`.
    unsafe { arg.unbox_arg_using_from_datum::<pg_sys::Datum>() }
        .expect("an argument that is not null")
}
