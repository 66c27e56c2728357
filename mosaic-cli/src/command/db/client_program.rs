//! PostgreSQL's own programs, where there is one that suits the server.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::database::embedded;
use crate::failure::passing;
use crate::failure::{Code, Failure};

/// The lines of a program's complaint that are shown.
const LINES: usize = 6;

#[derive(Debug)]
pub struct ClientProgram {
    path: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl ClientProgram {
    /// The program of the server's own version, else the next newer one. `own` is that of the
    /// installation that runs the server, if it is known.
    pub fn find(
        name: &str,
        server_major: u32,
        own: Option<PathBuf>,
        environment: Vec<(&'static str, OsString)>,
    ) -> Result<Self, Failure> {
        let candidates = own
            .into_iter()
            .chain(embedded::packaged(name))
            .chain([PathBuf::from(name)]);
        let mut found: Vec<(u32, PathBuf)> = Vec::new();
        for path in candidates {
            match major_of(&path) {
                Some(major) if major == server_major => {
                    return Ok(ClientProgram { path, environment });
                }
                Some(major) => found.push((major, path)),
                None => {}
            }
        }
        found.sort();
        let newest = found.last().map(|(major, _)| *major);
        match found.into_iter().find(|(major, _)| *major > server_major) {
            Some((_, path)) => Ok(ClientProgram { path, environment }),
            None => Err(missing(name, server_major, newest)),
        }
    }

    pub fn database(&self) -> Option<&OsStr> {
        self.environment
            .iter()
            .find(|(name, _)| *name == "PGDATABASE")
            .map(|(_, value)| value.as_os_str())
    }

    /// Runs it to its end; gives what it printed.
    pub fn run(&self, arguments: &[&OsStr]) -> Result<String, Failure> {
        self.print(arguments, Stdio::piped())
    }

    /// Runs it to its end; what it prints goes into the file. By a name, another file could be
    /// meant meanwhile.
    pub fn write(&self, arguments: &[&OsStr], file: File) -> Result<(), Failure> {
        self.print(arguments, file.into()).map(|_| ())
    }

    fn print(&self, arguments: &[&OsStr], stdout: Stdio) -> Result<String, Failure> {
        let mut command = Command::new(&self.path);
        // The caller's settings for other servers must not lead this one astray.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        let output = command
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(Child::wait_with_output)
            .map_err(|error| Failure::io(format!("cannot run {}", self.path.display()), &error))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            Err(failed(&name, &String::from_utf8_lossy(&output.stderr)))
        }
    }
}

fn major_of(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    parse_major(&String::from_utf8_lossy(&output.stdout))
}

/// Of `pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn parse_major(text: &str) -> Option<u32> {
    let version = text.split_once(") ")?.1;
    let digits = version.find(|c: char| !c.is_ascii_digit());
    version[..digits.unwrap_or(version.len())].parse().ok()
}

fn missing(name: &str, server: u32, newest: Option<u32>) -> Failure {
    let failure = match newest {
        None => Failure::new(Code::Resource, format!("{name} is not installed")),
        Some(found) => Failure::new(Code::Resource, format!("{name} is older than the server"))
            .detail(format!(
                "It is version {found}, the server is PostgreSQL {server}."
            )),
    };
    failure.lasts(true).hint(format!(
        "Install PostgreSQL's client of version {server} or newer (Debian: postgresql-client-{server})."
    ))
}

fn failed(name: &str, complaint: &str) -> Failure {
    let code = if complaint.contains("connection to server") {
        Code::Unreachable
    } else if complaint.contains("permission denied") || complaint.contains("must be owner") {
        Code::Unauthorized
    } else {
        Code::Resource
    };
    let lines: Vec<&str> = complaint
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Command was:"))
        .take(LINES)
        .collect();
    Failure::new(code, format!("{name} failed"))
        .detail(lines.join("\n"))
        .lasts(code == Code::Resource && !passing::complaint(complaint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(
            parse_major("pg_dump (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_major("pg_dump (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(parse_major("something else"), None);
    }

    #[test]
    fn a_missing_or_old_program_is_told_apart() {
        let failure = missing("pg_dump", 15, None);
        assert_eq!(failure.message, "pg_dump is not installed");
        let failure = missing("pg_dump", 15, Some(14));
        assert_eq!(failure.message, "pg_dump is older than the server");
    }

    #[test]
    fn a_complaint_becomes_a_failure() {
        let failure = failed(
            "pg_dump",
            "pg_dump: error: permission denied for table x\n\n",
        );
        assert_eq!(failure.code, Code::Unauthorized);
        let failure = failed("pg_dump", "pg_dump: error: connection to server failed: x");
        assert_eq!(failure.code, Code::Unreachable);
    }
}
