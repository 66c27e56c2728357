//! The files that hold what a connection string need not: services and passwords.

use std::path::{Path, PathBuf};

use postgres::Config;
use postgres::config::Host;

use super::settings::Settings;
use crate::failure::Failure;
use crate::files::ordinary;

/// The section of that name in a service file.
pub fn from_service(service: &str, file: Option<&Path>) -> Result<Settings, Failure> {
    let text = file
        .and_then(|file| ordinary::read_text(file).ok())
        .ok_or_else(|| {
            Failure::usage(format!("no service file for the service {service:?}"))
                .hint("PGSERVICEFILE names it; the default is ~/.pg_service.conf.")
        })?;
    let mut settings = Settings::new();
    let mut inside = false;
    let mut found = false;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            inside = name == service;
            found |= inside;
        } else if inside
            && !line.starts_with('#')
            && let Some((key, value)) = line.split_once('=')
        {
            settings.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    if !found {
        return Err(Failure::usage(format!(
            "the service file does not define the service {service:?}"
        )));
    }
    Ok(settings)
}

/// The first line `host:port:database:user:password` that fits, where `*` fits everything.
pub fn from_passfile(file: &Path, config: &Config) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(file).ok()?;
    // libpq ignores a password file that others can read, and so must we.
    if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
        return None;
    }
    let host = match config.get_hosts().first()? {
        Host::Tcp(host) => host.clone(),
        Host::Unix(_) => "localhost".to_owned(),
    };
    let port = config.get_ports().first().unwrap_or(&5432).to_string();
    let user = match config.get_user() {
        Some(user) => user.to_owned(),
        None => whoami::username().ok()?,
    };
    let database = config.get_dbname().unwrap_or(&user).to_owned();
    let wanted = [host, port, database, user];
    let text = ordinary::read_text(file).ok()?;
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(passfile_fields)
        .find(|fields| {
            fields.len() == 5
                && fields
                    .iter()
                    .zip(&wanted)
                    .all(|(field, wanted)| field == "*" || field == wanted)
        })
        .and_then(|mut fields| fields.pop())
}

/// Split at colons, but not at escaped ones.
fn passfile_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        let last = fields.len() - 1;
        match letter {
            '\\' => fields[last].extend(letters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            letter => fields[last].push(letter),
        }
    }
    fields
}

pub fn in_home(name: &str) -> Option<PathBuf> {
    Some(std::env::home_dir()?.join(name))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A file of this test process, gone when the test ends.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, text: &str, mode: u32) -> Self {
            let path = std::env::temp_dir().join(format!("mosaic-{}-{name}", std::process::id()));
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    #[test]
    fn the_first_fitting_line_gives_the_password() {
        let text = "# comment\nother:5432:*:*:wrong\nh:*:d\\:b:u:s3\\:cret\n*:*:*:*:last\n";
        let file = Scratch::new("pass", text, 0o600);
        let config: Config = "host=h dbname=d:b user=u".parse().unwrap();
        assert_eq!(from_passfile(&file.0, &config).as_deref(), Some("s3:cret"));
        let config: Config = "host=/run/pg dbname=d user=u".parse().unwrap();
        assert_eq!(from_passfile(&file.0, &config).as_deref(), Some("last"));
    }

    #[test]
    fn a_password_file_that_others_can_read_is_ignored() {
        let file = Scratch::new("open", "*:*:*:*:x\n", 0o644);
        let config: Config = "host=h user=u".parse().unwrap();
        assert_eq!(from_passfile(&file.0, &config), None);
    }

    #[test]
    fn a_service_is_one_section() {
        let text = "[a]\nhost=ha\n\n[b]\n# host=x\nhost = hb\nport=5433\n[c]\nhost=hc\n";
        let file = Scratch::new("service", text, 0o644);
        let settings = from_service("b", Some(&file.0)).unwrap();
        assert_eq!(
            settings,
            [
                ("host".to_owned(), "hb".to_owned()),
                ("port".to_owned(), "5433".to_owned())
            ]
        );
        assert!(from_service("d", Some(&file.0)).is_err());
        assert!(from_service("b", None).is_err());
    }
}
