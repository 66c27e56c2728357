//! Folders of their own for clusters, homes and files, gone when the tests are over.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// The path of a folder that does not exist yet. It is short: a socket has to fit in it.
fn unused() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("mosaic-test-{}-{number}", std::process::id()))
}

/// A new folder that everybody can enter.
pub fn create() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let folder = unused();
    fs::create_dir_all(&folder).expect("a temporary folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("chmod");
    folder
}
