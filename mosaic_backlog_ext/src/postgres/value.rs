//! Values of PostgreSQL, by themselves.

use std::ffi::{CStr, CString};

use pgrx::prelude::*;

use crate::postgres::statement::Parameter;

/// A value as `T`, which has to be of its type.
pub fn read<T: FromDatum>(value: Parameter) -> Option<T> {
    // SAFETY: a value comes out of a column or an argument, and whoever reads it has found out that
    // this has the type of `T`.
    unsafe { T::from_datum(value.unwrap_or(pg_sys::Datum::null()), value.is_none()) }
}

/// The value of an enum that is written so.
pub fn of_enum(kind: pg_sys::Oid, name: &str) -> pg_sys::Oid {
    let name = CString::new(name).expect("no NUL in a name");
    // SAFETY: the arguments are those of `enum_in`, a text that ends with a NUL and a type; one that is
    // no enum, or has no such value, is an error.
    unsafe {
        pgrx::direct_function_call(
            pg_sys::enum_in,
            &[name.as_c_str().into_datum(), kind.into_datum()],
        )
    }
    .unwrap_or(pg_sys::InvalidOid)
}

/// Output functions that are fixed parts of PostgreSQL's catalogue.
const JSONB_OUT: u32 = 3804;
const ARRAY_OUT: u32 = 751;

/// A jsonb value as text. Measure it before, if it may be of any size.
pub fn text_of_jsonb(value: pg_sys::Datum) -> String {
    text(JSONB_OUT, value)
}

/// An array as text.
pub fn text_of_array(value: pg_sys::Datum) -> String {
    text(ARRAY_OUT, value)
}

fn text(function: u32, value: pg_sys::Datum) -> String {
    // SAFETY: the callers have a value of the function's type. It gives a text of its own, which ends
    // with a NUL.
    unsafe {
        let text = pg_sys::OidOutputFunctionCall(pg_sys::Oid::from(function), value);
        let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
        pg_sys::pfree(text.cast());
        owned
    }
}
