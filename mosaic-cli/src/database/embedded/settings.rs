//! What is written into the data folder: the server's settings, and who may connect.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::home::Socket;

/// Written anew before every start. `postgresql.conf` includes it; settings of the operator's own
/// belong into `postgresql.auto.conf`, by ALTER SYSTEM.
const FILE: &str = "mosaic.conf";

/// The server has settings that must not be lost to any file; these stand on its command line.
/// The crate that starts the server puts `-F`, which is fsync off, in front of them.
pub const DURABLE: [(&str, &str); 2] = [("fsync", "on"), ("full_page_writes", "on")];

/// Nobody has a password: the kernel says who is at the other end of the socket.
const HBA: &str = "\
# Written by mosaic. Users of this machine are known by their names, nobody by a password.
# TYPE   DATABASE     USER  METHOD
local    all          all   peer map=mosaic
local    replication  all   peer map=mosaic
";

pub fn write_settings(data: &Path, socket: &Socket) -> io::Result<()> {
    let folder = socket.folder.to_string_lossy();
    let text = format!(
        "\
# Written by mosaic before every start; changes here are lost.

# Reachable on a Unix socket alone.
listen_addresses = ''
unix_socket_directories = '\"{folder}\"'
unix_socket_permissions = 0777

# What was acknowledged is on the disk.
synchronous_commit = on

# A fleet's calls are many, short and concurrent.
max_connections = 200
jit = off

# Seven files of a day each. Statements are not logged: they hold the text of cards.
logging_collector = on
log_destination = 'stderr'
log_directory = 'log'
log_filename = 'server-%u.log'
log_file_mode = 0600
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
log_line_prefix = '%m [%p] '
log_min_error_statement = panic
log_checkpoints = off
lc_messages = 'C'
cluster_name = 'mosaic'
"
    );
    replace(&data.join(FILE), &text)?;
    let main = data.join("postgresql.conf");
    let line = format!("include '{FILE}'");
    let before = fs::read_to_string(&main)?;
    if !before.lines().any(|have| have == line) {
        replace(&main, &format!("{}\n\n{line}\n", before.trim_end()))?;
    }
    Ok(())
}

pub fn write_access(data: &Path) -> io::Result<()> {
    replace(&data.join("pg_hba.conf"), HBA)?;
    replace(
        &data.join("pg_ident.conf"),
        "# Which user of the machine may be which role.\n# MAP  USER  ROLE\n",
    )
}

/// The owner and root may be the backlog's operator and, for repairs, the superuser. Lines that
/// an operator added for others stay.
pub fn admit(data: &Path, owner: &str) -> io::Result<()> {
    let file = data.join("pg_ident.conf");
    let mut text = fs::read_to_string(&file)?;
    let before = text.len();
    for user in [owner, "root"] {
        for role in ["mosaic", "postgres"] {
            let line = format!("mosaic \"{user}\" {role}");
            if !text.lines().any(|have| have == line) {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                text.push_str(&line);
                text.push('\n');
            }
        }
    }
    if text.len() == before {
        return Ok(());
    }
    replace(&file, &text)
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = file.with_file_name(name);
    let mut writer = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    writer.write_all(text.as_bytes())?;
    writer.sync_all()?;
    fs::rename(&beside, file)
}
