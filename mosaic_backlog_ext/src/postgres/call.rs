//! The call of a function, where its arguments are not all that it needs to know.

use std::marker::PhantomData;

use pgrx::callconv::{Arg, ArgAbi};
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::prelude::*;

/// The call that is under way. Nobody but PostgreSQL makes one.
pub struct Call<'a> {
    info: pg_sys::FunctionCallInfo,
    call: PhantomData<&'a pg_sys::FunctionCallInfoBaseData>,
}

// SAFETY: it is no argument in SQL.
unsafe impl SqlTranslatable for Call<'_> {
    const TYPE_IDENT: &'static str = "mosaic_backlog_ext::Call";
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> = Ok(SqlMappingRef::Skip);
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Err(ReturnsError::Datum);
}

// SAFETY: it takes what pgrx has of every call, and no argument.
unsafe impl<'fcx> ArgAbi<'fcx> for Call<'fcx> {
    unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
        Self {
            // SAFETY: the caller's promises are handed on.
            info: unsafe { pg_sys::FunctionCallInfo::unbox_arg_unchecked(arg) },
            call: PhantomData,
        }
    }

    fn is_virtual_arg() -> bool {
        true
    }
}

impl<'a> Call<'a> {
    /// What calls the function in place of an expression, if it is a node of this kind.
    pub(super) fn context<T>(&self, tag: pg_sys::NodeTag) -> Option<&'a T> {
        // SAFETY: PostgreSQL keeps what it calls a function with to the end of the call.
        let context = unsafe { (*self.info).context };
        // SAFETY: a node begins with its tag, by which it is told that it is a `T`: the callers name
        // the tag of theirs.
        (!context.is_null() && unsafe { pgrx::is_a(context, tag) })
            .then(|| unsafe { &*context.cast::<T>() })
    }

    /// The arguments, with NULL as `None`. There have to be as many.
    pub fn arguments<const N: usize>(&self) -> [Option<pg_sys::Datum>; N] {
        // SAFETY: PostgreSQL gives as many values as it says, right behind the call.
        let arguments = unsafe { (*self.info).args.as_slice((*self.info).nargs as usize) };
        assert_eq!(arguments.len(), N);
        std::array::from_fn(|at| (!arguments[at].isnull).then_some(arguments[at].value))
    }

    /// The type of an argument, from 0, as the calling expression has it.
    pub fn kind_of(&self, argument: i32) -> pg_sys::Oid {
        // SAFETY: a call has the description of its function; what it does not know of the argument is
        // no type.
        unsafe { pg_sys::get_fn_expr_argtype((*self.info).flinfo, argument) }
    }
}
