//! The file that this program was started from.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::failure::{Failure, sentence};

/// What the kernel puts behind the name of a file that is gone.
const GONE: &[u8] = b" (deleted)";

/// Where it lies, also if an update has put another one there since.
pub fn file() -> io::Result<PathBuf> {
    let file = std::env::current_exe()?;
    if file.exists() {
        return Ok(file);
    }
    let bytes = file.into_os_string().into_vec();
    let name = bytes.strip_suffix(GONE).unwrap_or(&bytes);
    Ok(OsStr::from_bytes(name).into())
}

/// The same for those who are to call it.
pub fn path() -> Result<PathBuf, Failure> {
    file().map_err(|error| {
        Failure::internal("the program cannot find its own file").detail(sentence(&error))
    })
}
