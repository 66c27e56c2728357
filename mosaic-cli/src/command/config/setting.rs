//! The settings: their names, where they may stand, and what they may be.

use std::net::IpAddr;

use crate::database::dsn;
use crate::failure::Failure;
use crate::failure::suggest::{question, similar};
use crate::input;

pub struct Setting {
    /// The variable's name without its prefix, as it stands in the files.
    pub key: &'static str,
    pub variable: &'static str,
    pub stands: Stands,
    pub kind: Kind,
    pub default: Option<&'static str>,
}

/// Where a setting may stand beside the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// In `gateway.toml`.
    Gateway,
    /// In `secrets.toml`: it is shown to nobody.
    Secrets,
    /// In the environment alone, or in the file that `VARIABLE_FILE` names.
    Bootstrap,
    /// In the environment alone, and read by the command line.
    Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Tier,
    Port,
    Address,
    Origin,
    Origins,
    Proxies,
    Database,
    Valkey,
    Secret,
    Email,
    Password,
    Switch,
    Duration,
    /// Of an order or a program that checks it itself.
    Other,
}

const fn setting(
    key: &'static str,
    variable: &'static str,
    stands: Stands,
    kind: Kind,
    default: Option<&'static str>,
) -> Setting {
    Setting {
        key,
        variable,
        stands,
        kind,
        default,
    }
}

use Stands::{Bootstrap, Gateway, Program, Secrets};

pub const SETTINGS: &[Setting] = &[
    setting("home", "MOSAIC_HOME", Program, Kind::Other, None),
    setting(
        "cli.database_url",
        "DATABASE_URL",
        Program,
        Kind::Database,
        None,
    ),
    setting("cli.agent", "MOSAIC_AGENT", Program, Kind::Text, None),
    setting(
        "cli.connect_timeout",
        "MOSAIC_CONNECT_TIMEOUT",
        Program,
        Kind::Duration,
        Some("10s"),
    ),
    setting(
        "cli.auto_migrate",
        "MOSAIC_AUTO_MIGRATE",
        Program,
        Kind::Switch,
        None,
    ),
    setting(
        "cli.postgres",
        "MOSAIC_POSTGRES",
        Program,
        Kind::Other,
        None,
    ),
    setting(
        "cli.assume_yes",
        "MOSAIC_ASSUME_YES",
        Program,
        Kind::Switch,
        Some("0"),
    ),
    setting("claude_home", "CLAUDE_HOME", Program, Kind::Other, None),
    setting(
        "storage_tier",
        "MOSAIC_STORAGE_TIER",
        Gateway,
        Kind::Tier,
        Some("local"),
    ),
    setting(
        "gateway_port",
        "MOSAIC_GATEWAY_PORT",
        Gateway,
        Kind::Port,
        Some("14242"),
    ),
    setting(
        "gateway_bind",
        "MOSAIC_GATEWAY_BIND",
        Gateway,
        Kind::Address,
        Some("127.0.0.1"),
    ),
    setting(
        "public_url",
        "MOSAIC_PUBLIC_URL",
        Gateway,
        Kind::Origin,
        None,
    ),
    setting(
        "trusted_proxies",
        "MOSAIC_TRUSTED_PROXIES",
        Gateway,
        Kind::Proxies,
        None,
    ),
    setting(
        "cors_origin",
        "MOSAIC_CORS_ORIGIN",
        Gateway,
        Kind::Origins,
        Some("http://localhost:3000"),
    ),
    setting(
        "database_url",
        "MOSAIC_DATABASE_URL",
        Secrets,
        Kind::Database,
        None,
    ),
    setting(
        "valkey_url",
        "MOSAIC_VALKEY_URL",
        Secrets,
        Kind::Valkey,
        None,
    ),
    setting(
        "anthropic_api_key",
        "MOSAIC_ANTHROPIC_API_KEY",
        Secrets,
        Kind::Secret,
        None,
    ),
    setting(
        "admin_name",
        "MOSAIC_ADMIN_NAME",
        Bootstrap,
        Kind::Text,
        None,
    ),
    setting(
        "admin_email",
        "MOSAIC_ADMIN_EMAIL",
        Bootstrap,
        Kind::Email,
        None,
    ),
    setting(
        "admin_password",
        "MOSAIC_ADMIN_PASSWORD",
        Bootstrap,
        Kind::Password,
        None,
    ),
];

/// What `gateway.toml` may hold beside settings of one value.
pub const TABLES: [&str; 1] = ["worker"];

/// The variables of all settings, and those that name a file with the value.
pub fn variables() -> impl Iterator<Item = String> {
    SETTINGS.iter().flat_map(|setting| {
        let file = match setting.stands {
            Program => None,
            _ => Some(format!("{}_FILE", setting.variable)),
        };
        [setting.variable.to_owned()].into_iter().chain(file)
    })
}

impl Setting {
    pub fn named(key: &str) -> Result<&'static Setting, Failure> {
        SETTINGS
            .iter()
            .find(|setting| setting.key == key)
            .ok_or_else(|| {
                let failure = Failure::usage(format!("there is no setting {key:?}"));
                failure.hint(
                    near(key).unwrap_or_else(|| "`mosaic config show` lists them.".to_owned()),
                )
            })
    }

    pub fn is_secret(&self) -> bool {
        self.stands == Secrets || matches!(self.kind, Kind::Password | Kind::Database)
    }

    pub fn is_list(&self) -> bool {
        matches!(self.kind, Kind::Origins | Kind::Proxies)
    }

    /// The values that a text holds; more than one only of a list.
    pub fn split(&self, text: &str) -> Vec<String> {
        match self.is_list() {
            true => text.split(',').map(|item| item.trim().to_owned()).collect(),
            false => vec![text.to_owned()],
        }
    }

    /// What is wrong with a value, as the end of a sentence that begins with the key.
    pub fn check(&self, values: &[String]) -> Result<(), String> {
        values.iter().try_for_each(|value| self.kind.check(value))
    }
}

/// "Did you mean …?"
pub fn near(key: &str) -> Option<String> {
    question(&similar(
        &key.replace('-', "_"),
        SETTINGS.iter().map(|setting| setting.key),
    ))
}

impl Kind {
    fn check(self, value: &str) -> Result<(), String> {
        let fits =
            |fits: bool, expected: &str| fits.then_some(()).ok_or_else(|| expected.to_owned());
        input::filled(value).map_err(|_| "must not be empty".to_owned())?;
        if value.chars().any(char::is_control) {
            return Err("holds a character that cannot be typed".into());
        }
        match self {
            Kind::Text | Kind::Other => Ok(()),
            Kind::Tier => fits(["local", "team"].contains(&value), "is local or team"),
            Kind::Port => fits(
                value.bytes().all(|byte| byte.is_ascii_digit()) && value.parse::<u16>().is_ok(),
                "is a number from 0 to 65535",
            ),
            Kind::Address => fits(
                value.parse::<IpAddr>().is_ok(),
                "is an address such as 127.0.0.1 or ::1",
            ),
            Kind::Origin | Kind::Origins if value == "*" => {
                Err("names each origin; * would be any origin".into())
            }
            Kind::Origin | Kind::Origins => fits(
                is_origin(value),
                "is http:// or https://, a host and perhaps a port, and nothing after it",
            ),
            Kind::Proxies => fits(
                is_network(value),
                "is a list of addresses and networks such as 10.0.0.0/8",
            ),
            Kind::Database => dsn::parse(value).map(|_| ()).map_err(|failure| {
                let detail = failure.detail.unwrap_or(failure.message);
                format!("is not a connection string: {detail}")
                    .trim_end_matches('.')
                    .to_owned()
            }),
            Kind::Valkey => fits(
                ["redis://", "rediss://", "valkey://", "valkeys://"]
                    .iter()
                    .find_map(|scheme| value.strip_prefix(scheme))
                    .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace)),
                "looks like redis://host:6379 or rediss://host:6379",
            ),
            Kind::Secret => fits(!value.contains(char::is_whitespace), "holds no blanks"),
            Kind::Email => fits(
                value
                    .split_once('@')
                    .is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
                    && !value.contains(char::is_whitespace),
                "looks like ann@example.com",
            ),
            Kind::Password => fits(
                (8..=1024).contains(&value.chars().count()),
                "has 8 to 1,024 characters",
            ),
            Kind::Switch => fits(["0", "1"].contains(&value), "is 0 or 1"),
            Kind::Duration => input::connect_timeout(value).map(|_| ()),
        }
    }
}

/// `http://host:port`, as browsers send it.
fn is_origin(text: &str) -> bool {
    let Some(rest) = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
    else {
        return false;
    };
    let (host, port) = match rest.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let host_fits = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    let port_fits = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok());
    host_fits && port_fits
}

/// An address, or a network with the length of its prefix.
fn is_network(text: &str) -> bool {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    length.is_none_or(|length| length.parse::<u8>().is_ok_and(|length| length <= most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_variable_s_name() {
        for setting in SETTINGS {
            let key = setting.key.trim_start_matches("cli.");
            let variable = setting.variable.trim_start_matches("MOSAIC_");
            assert_eq!(key.to_uppercase(), variable);
            if let Some(default) = setting.default {
                assert_eq!(setting.check(&[default.to_owned()]), Ok(()));
            }
        }
    }

    #[test]
    fn values_are_taken_as_the_gateway_would_take_them() {
        let check = |key: &str, value: &str| {
            let setting = Setting::named(key).unwrap();
            setting.check(&setting.split(value)).is_ok()
        };
        for (key, good, bad) in [
            (
                "storage_tier",
                &["local", "team"][..],
                &["Local", "", "cloud"][..],
            ),
            (
                "gateway_port",
                &["0", "65535"],
                &["-1", "65536", "http", "1.5", "+1"],
            ),
            (
                "gateway_bind",
                &["0.0.0.0", "::1"],
                &["localhost", "127.0.0.1:80"],
            ),
            (
                "public_url",
                &["https://b.example.com", "http://[::1]:8080", "http://h:1"],
                &[
                    "b.example.com",
                    "https://b/x",
                    "https://u@b",
                    "*",
                    "https://",
                    "https://b:x",
                    "https://b/",
                ],
            ),
            (
                "cors_origin",
                &["http://a, https://b:2"],
                &["*", "http://a,*", "http://a,,http://b"],
            ),
            (
                "trusted_proxies",
                &["10.0.0.0/8,::1"],
                &["10.0.0.0/33", "proxy", "10.0.0.1/"],
            ),
            (
                "database_url",
                &["postgresql://u@h/d", "host=h"],
                &["host=h nonsense=1"],
            ),
            (
                "valkey_url",
                &["redis://h:6379", "rediss://:p@h"],
                &["h:6379", "redis://"],
            ),
            ("admin_password", &["8 letter"], &["7 lette"]),
            ("admin_email", &["a@b"], &["a", "@b"]),
        ] {
            for value in good {
                assert!(check(key, value), "{key} {value}");
            }
            for value in bad {
                assert!(!check(key, value), "{key} {value}");
            }
        }
    }

    #[test]
    fn an_unknown_key_brings_the_nearest() {
        let hint = |key: &str| Setting::named(key).err().unwrap().hint.unwrap();
        assert_eq!(hint("gateway-prot"), "Did you mean \"gateway_port\"?");
        assert_eq!(hint("nonsense"), "`mosaic config show` lists them.");
    }
}
