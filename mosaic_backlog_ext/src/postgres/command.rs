//! The command for which an event trigger calls.

use std::ffi::CStr;

use pgrx::list::List;
use pgrx::prelude::*;

use crate::postgres::call::Call;
use crate::postgres::trigger::refuse;

/// A command that is about to run.
pub struct Command<'a>(&'a pg_sys::EventTriggerData);

impl<'a> Command<'a> {
    /// That for which an event trigger calls `function`, which it must do at `event`.
    pub fn of(call: &Call<'a>, function: &str, event: &CStr) -> Self {
        let data: Option<&'a pg_sys::EventTriggerData> =
            call.context(pg_sys::NodeTag::T_EventTriggerData);
        // SAFETY: the name of an event ends with a NUL.
        match data.filter(|data| unsafe { CStr::from_ptr(data.event) } == event) {
            Some(data) => Self(data),
            None => refuse(function),
        }
    }

    /// The command, if it is of this kind.
    fn node<T>(&self, tag: pg_sys::NodeTag) -> Option<&'a T> {
        let node = self.0.parsetree;
        // SAFETY: the command stays while its triggers run. A node begins with its tag, by which it is
        // told that it is a `T`: the callers name the tag of theirs.
        unsafe { pgrx::is_a(node, tag).then(|| &*node.cast::<T>()) }
    }

    /// Whether it is a DROP EXTENSION that names this one.
    pub fn drops_extension(&self, extension: &CStr) -> bool {
        let Some(drop) = self.node::<pg_sys::DropStmt>(pg_sys::NodeTag::T_DropStmt) else {
            return false;
        };
        if drop.removeType != pg_sys::ObjectType::OBJECT_EXTENSION {
            return false;
        }
        pgrx::memcx::current_context(|context| {
            // SAFETY: the objects of a command are a list, which stays while its triggers run.
            let names = unsafe {
                List::<*mut std::ffi::c_void>::downcast_ptr_in_memcx(drop.objects, context)
            };
            names.is_some_and(|names| {
                names.iter().any(|name| {
                    // SAFETY: the grammar names each extension by a string, which ends with a NUL.
                    let name = unsafe { CStr::from_ptr((*name.cast::<pg_sys::String>()).sval) };
                    name == extension
                })
            })
        })
    }

    /// The roles of a DROP OWNED.
    pub fn drops_owned_by(&self) -> Option<Vec<pg_sys::Oid>> {
        let drop = self.node::<pg_sys::DropOwnedStmt>(pg_sys::NodeTag::T_DropOwnedStmt)?;
        Some(pgrx::memcx::current_context(|context| {
            // SAFETY: the roles of the command are a list of what this function takes. It gives a list of
            // their numbers in the current memory.
            let roles = unsafe {
                List::<pg_sys::Oid>::downcast_ptr_in_memcx(
                    pg_sys::roleSpecsToIds(drop.roles),
                    context,
                )
            };
            roles.map_or_else(Vec::new, |roles| roles.iter().copied().collect())
        }))
    }
}
