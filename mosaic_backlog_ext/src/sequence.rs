//! Numbers from sequences, drawn without a statement.

use std::ffi::CStr;

use pgrx::prelude::*;

/// The next number of a sequence in the schema `mosaic`.
pub fn next(name: &CStr) -> i64 {
    unsafe {
        let schema = pg_sys::get_namespace_oid(c"mosaic".as_ptr(), false);
        let sequence = pg_sys::get_relname_relid(name.as_ptr(), schema);
        pgrx::direct_function_call(pg_sys::nextval_oid, &[sequence.into_datum()])
    }
    .expect("a sequence gives a number")
}
