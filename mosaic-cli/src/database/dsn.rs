//! Connection strings as libpq reads them: URL or `key=value`, service and password files, environment.

mod environment;
mod files;
mod settings;
mod syntax;

use std::path::{Path, PathBuf};
use std::time::Duration;

use postgres::Config;
use postgres::config::{Host, SslMode};

use crate::database::limit;
use crate::database::tls::{Tls, Trust, usual_root_file};
use crate::failure::{Failure, causes};
use files::{from_passfile, from_service, in_home};
use settings::{Settings, fill_in, find, malformed, take};
use syntax::{from_key_values, from_url, quote};

/// Where to connect, and how.
#[derive(Clone, Debug)]
pub struct Dsn {
    pub config: Config,
    /// `None`: never encrypted.
    pub tls: Option<Tls>,
    /// Whether the string itself carried a password.
    pub shows_password: bool,
}

/// libpq's environment, for what the string leaves open.
const ENVIRONMENT: [(&str, &str); 15] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
];

/// What was sent and nobody acknowledged for so long was sent into the void.
const SILENCE: Duration = Duration::from_secs(10);

pub fn parse(text: &str) -> Result<Dsn, Failure> {
    read(text, |name| {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    })
}

fn read(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Dsn, Failure> {
    let url = ["postgresql://", "postgres://"]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let mut settings = match url {
        Some(rest) => from_url(rest)?,
        None => from_key_values(text)?,
    };
    let shows_password = find(&settings, "password").is_some();

    let service = take(&mut settings, "service").or_else(|| environment("PGSERVICE"));
    if let Some(service) = service {
        let file = environment("PGSERVICEFILE")
            .map(PathBuf::from)
            .or_else(|| in_home(".pg_service.conf"));
        fill_in(&mut settings, from_service(&service, file.as_deref())?);
    }
    let open = ENVIRONMENT
        .into_iter()
        .filter_map(|(key, variable)| environment(variable).map(|value| (key.to_owned(), value)));
    fill_in(&mut settings, open.collect());
    if find(&settings, "host").is_none() && find(&settings, "hostaddr").is_none() {
        settings.push(("host".into(), default_host().into()));
    }

    let passfile = take(&mut settings, "passfile")
        .map(PathBuf::from)
        .or_else(|| in_home(".pgpass"));
    let (ssl_mode, tls) = take_tls(&mut settings)?;
    take(&mut settings, "fallback_application_name");
    for (key, known) in [
        ("gssencmode", ["disable", "prefer", ""]),
        ("client_encoding", ["utf8", "utf-8", "auto"]),
    ] {
        // What we do anyway may be asked for; anything else would be ignored.
        let value = take(&mut settings, key).map(|value| value.to_lowercase());
        if value.is_some_and(|value| !known.contains(&value.as_str())) {
            return Err(malformed(&format!("this value of {key} is not supported")));
        }
    }

    let mut config: Config = quote(&settings)
        .parse()
        .map_err(|error| malformed(&causes(&error)))?;
    let is_told = find(&settings, "connect_timeout").is_some();
    if let Some(limit) = limit::chosen().or((!is_told).then(limit::connect)) {
        config.connect_timeout(limit);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    if config.get_application_name().is_none() {
        config.application_name("mosaic");
    }
    if config.get_password().is_none() {
        let password = passfile.and_then(|file| from_passfile(&file, &config));
        if let Some(password) = password {
            config.password(password);
        }
    }
    // PostgreSQL encrypts no Unix socket, and asking it to would cost a round trip.
    let sockets_only = !config.get_hosts().is_empty()
        && config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
    let tls = if sockets_only { None } else { tls };
    config.ssl_mode(if tls.is_some() {
        ssl_mode
    } else {
        SslMode::Disable
    });
    Ok(Dsn {
        config,
        tls,
        shows_password,
    })
}

fn take_tls(settings: &mut Settings) -> Result<(SslMode, Option<Tls>), Failure> {
    let mode = take(settings, "sslmode");
    let roots = take(settings, "sslrootcert");
    let client = match (take(settings, "sslcert"), take(settings, "sslkey")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(malformed("sslcert and sslkey go together")),
    };
    let (ssl_mode, trust) = match mode.as_deref().unwrap_or("prefer") {
        "disable" => return Ok((SslMode::Disable, None)),
        // "allow" asks for less than "prefer" gives.
        "allow" | "prefer" => (SslMode::Prefer, Trust::Anyone),
        // With a root certificate at hand, libpq checks against it.
        "require" if roots.is_some() || usual_root_file().is_some() => {
            (SslMode::Require, Trust::Authority)
        }
        "require" => (SslMode::Require, Trust::Anyone),
        "verify-ca" => (SslMode::Require, Trust::Authority),
        "verify-full" => (SslMode::Require, Trust::Host),
        _ => {
            return Err(malformed(
                "sslmode is one of disable, allow, prefer, require, verify-ca, verify-full",
            ));
        }
    };
    let client = client.map(|(certificate, key)| (certificate.into(), key.into()));
    Ok((
        ssl_mode,
        Some(Tls {
            trust,
            roots,
            client,
        }),
    ))
}

fn default_host() -> &'static str {
    // Debian's place first, then PostgreSQL's own.
    if Path::new("/var/run/postgresql").is_dir() {
        "/var/run/postgresql"
    } else {
        "/tmp"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dsn(text: &str, environment: &[(&str, &str)]) -> Dsn {
        read(text, |name| {
            environment
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
        .unwrap()
    }

    #[test]
    fn the_environment_fills_in_what_the_string_leaves_open() {
        let dsn = dsn(
            "postgres://u@/d",
            &[("PGHOST", "h"), ("PGPORT", "5433"), ("PGUSER", "other")],
        );
        assert_eq!(dsn.config.get_hosts(), [Host::Tcp("h".into())]);
        assert_eq!(dsn.config.get_ports(), [5433]);
        assert_eq!(dsn.config.get_user(), Some("u"));
        assert_eq!(dsn.config.get_connect_timeout(), Some(&limit::connect()));
    }

    #[test]
    fn only_the_string_itself_shows_a_password() {
        assert!(dsn("postgres://u:p@h/d", &[]).shows_password);
        assert!(dsn("host=h password=p", &[]).shows_password);
        let hidden = dsn("host=h", &[("PGPASSWORD", "p")]);
        assert!(!hidden.shows_password);
        assert_eq!(hidden.config.get_password(), Some(&b"p"[..]));
    }

    #[test]
    fn sslmode_means_what_it_means_to_libpq() {
        let tls = |mode: &str| {
            let dsn = dsn(&format!("host=h sslrootcert=/r sslmode={mode}"), &[]);
            (dsn.config.get_ssl_mode(), dsn.tls.map(|tls| tls.trust))
        };
        assert_eq!(tls("disable"), (SslMode::Disable, None));
        assert_eq!(tls("prefer"), (SslMode::Prefer, Some(Trust::Anyone)));
        assert_eq!(tls("require"), (SslMode::Require, Some(Trust::Authority)));
        assert_eq!(tls("verify-ca"), (SslMode::Require, Some(Trust::Authority)));
        assert_eq!(tls("verify-full"), (SslMode::Require, Some(Trust::Host)));
        assert!(read("host=h sslmode=maybe", |_| None).is_err());
    }

    #[test]
    fn a_unix_socket_is_never_encrypted() {
        let dsn = dsn("host=/run/pg sslmode=require", &[]);
        assert_eq!(dsn.tls, None);
        assert_eq!(dsn.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn no_setting_is_taken_and_then_ignored() {
        for text in [
            "host=h nonsense=1",
            "host=h gssencmode=require",
            "host=h client_encoding=LATIN1",
            "host=h sslcert=/c",
            "host=h sslkey=/k",
            "postgresql://h/d?nonsense=1",
        ] {
            assert!(read(text, |_| None).is_err(), "{text}");
        }
        for text in ["host=h gssencmode=prefer", "host=h client_encoding=UTF8"] {
            assert!(read(text, |_| None).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_malformed_string_is_not_shown() {
        let failure = read("host=h password=s3cret port=x", |_| None).unwrap_err();
        assert_eq!(failure.code, crate::failure::Code::Usage);
        assert!(!format!("{failure:?}").contains("s3cret"));
    }
}
