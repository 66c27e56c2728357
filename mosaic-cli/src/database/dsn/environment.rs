//! The same place for PostgreSQL's own programs. They are told by their environment: the
//! arguments of a program are for everybody to read.

use std::ffi::OsString;

use postgres::config::{Host, SslMode};

use super::Dsn;
use crate::database::tls::Trust;

impl Dsn {
    /// libpq's variables.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let config = &self.config;
        let listed = |items: Vec<String>| -> OsString { items.join(",").into() };
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.to_string_lossy().into_owned(),
        });
        let addresses = config.get_hostaddrs().iter().map(ToString::to_string);
        let ports = config.get_ports().iter().map(ToString::to_string);
        let mut variables = vec![
            ("PGHOST", listed(hosts.collect())),
            ("PGHOSTADDR", listed(addresses.collect())),
            ("PGPORT", listed(ports.collect())),
            ("PGSSLMODE", self.ssl_mode().into()),
        ];
        for (name, value) in [
            ("PGUSER", config.get_user()),
            ("PGDATABASE", config.get_dbname().or(config.get_user())),
            ("PGOPTIONS", config.get_options()),
            ("PGAPPNAME", config.get_application_name()),
        ] {
            variables.extend(value.map(|value| (name, value.into())));
        }
        if let Some(password) = config.get_password() {
            use std::os::unix::ffi::OsStringExt;
            variables.push(("PGPASSWORD", OsString::from_vec(password.to_vec())));
        }
        if let Some(limit) = config.get_connect_timeout() {
            variables.push((
                "PGCONNECT_TIMEOUT",
                limit.as_secs().max(1).to_string().into(),
            ));
        }
        if let Some(tls) = &self.tls {
            variables.extend(
                tls.roots
                    .as_ref()
                    .map(|file| ("PGSSLROOTCERT", file.into())),
            );
            if let Some((certificate, key)) = &tls.client {
                variables.push(("PGSSLCERT", certificate.into()));
                variables.push(("PGSSLKEY", key.into()));
            }
        }
        variables.retain(|(_, value)| !value.is_empty());
        variables
    }

    fn ssl_mode(&self) -> &'static str {
        match (&self.tls, self.config.get_ssl_mode()) {
            (None, _) | (_, SslMode::Disable) => "disable",
            (Some(tls), mode) => match (tls.trust, mode) {
                (Trust::Host, _) => "verify-full",
                (Trust::Authority, _) => "verify-ca",
                (Trust::Anyone, SslMode::Require) => "require",
                (Trust::Anyone, _) => "prefer",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn programs_connect_as_we_do() {
        let dsn = parse("host=h,i port=5433,5434 dbname=d user=u password=p sslmode=verify-full")
            .unwrap();
        let variables = dsn.environment();
        let get = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .and_then(|(_, value)| value.to_str())
        };
        assert_eq!(get("PGHOST"), Some("h,i"));
        assert_eq!(get("PGPORT"), Some("5433,5434"));
        assert_eq!(get("PGDATABASE"), Some("d"));
        assert_eq!(get("PGPASSWORD"), Some("p"));
        assert_eq!(get("PGSSLMODE"), Some("verify-full"));
        assert_eq!(get("PGHOSTADDR"), None);
    }
}
