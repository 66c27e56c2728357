//! The user that servers run as: PostgreSQL refuses to run as root.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

const SERVICE_USER: &str = "postgres";

#[derive(Clone, Copy)]
struct Ids {
    uid: u32,
    gid: u32,
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().expect("id");
    assert!(
        output.status.success(),
        "id {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("a number")
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| id(&["-u"]) == 0)
}

/// The service user, where the tests run as root.
fn service() -> Option<Ids> {
    static SERVICE: OnceLock<Option<Ids>> = OnceLock::new();
    *SERVICE.get_or_init(|| {
        is_root().then(|| Ids {
            uid: id(&["-u", SERVICE_USER]),
            gid: id(&["-g", SERVICE_USER]),
        })
    })
}

/// Makes `command` run as the user of servers.
pub fn serve(command: &mut Command) -> &mut Command {
    if let Some(Ids { uid, gid }) = service() {
        command.uid(uid).gid(gid);
    }
    command
}

/// Gives a folder to the user of servers.
pub fn give(folder: &Path) {
    if let Some(Ids { uid, gid }) = service() {
        std::os::unix::fs::chown(folder, Some(uid), Some(gid)).expect("chown");
    }
}
