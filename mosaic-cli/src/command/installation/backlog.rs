//! The embedded backlogs of this installation, and what becomes of their schema.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::database::embedded::{Cluster, Home, Version};
use crate::failure::Failure;

/// An embedded backlog that has data.
pub struct Backlog {
    pub home: Home,
    pub version: Option<String>,
    pub is_running: bool,
}

impl Backlog {
    /// Those that this caller has: that of its mosaicHome, if it was set up.
    pub fn all() -> Result<Vec<Backlog>, Failure> {
        let home = Home::locate()?;
        if home.data_major()?.is_none() {
            return Ok(Vec::new());
        }
        let cluster = Cluster::locate()?;
        Ok(vec![Backlog {
            version: cluster.schema_version()?,
            is_running: cluster.is_running(),
            home,
        }])
    }

    /// Whether a program of this version would migrate it.
    pub fn is_older_than(&self, version: &str) -> bool {
        let parsed = |text: &str| text.parse::<Version>().ok();
        match self.version.as_deref().map(parsed) {
            Some(Some(from)) => parsed(version).is_none_or(|to| from < to),
            _ => true,
        }
    }

    pub fn to_json(&self, to: &str) -> Value {
        json!({"home": self.home.root.to_string_lossy(), "from": self.version, "to": to})
    }
}

/// The scripts that lead from one version of the extension to another: as PostgreSQL chooses them, the fewest.
pub fn scripts(known: &[String], from: &str, to: &str) -> Vec<String> {
    let mut ways = VecDeque::from([(from.to_owned(), Vec::new())]);
    let mut seen = vec![from.to_owned()];
    while let Some((at, way)) = ways.pop_front() {
        if at == to {
            return way;
        }
        for script in known {
            let Some((source, target)) = versions(script) else {
                continue;
            };
            if source == at && !seen.iter().any(|version| version == target) {
                seen.push(target.to_owned());
                ways.push_back((
                    target.to_owned(),
                    [way.as_slice(), std::slice::from_ref(script)].concat(),
                ));
            }
        }
    }
    Vec::new()
}

/// `mosaic_backlog_ext--0.1.0--0.2.0.sql`
fn versions(script: &str) -> Option<(&str, &str)> {
    let name = script.strip_suffix(".sql")?;
    let (_, versions) = name.split_once("--")?;
    versions.split_once("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scripts_of_a_migration_are_those_that_postgresql_takes() {
        let known = [
            "mosaic_backlog_ext--0.1.0--0.2.0.sql",
            "mosaic_backlog_ext--0.1.0.sql",
            "mosaic_backlog_ext--0.2.0--0.3.0.sql",
            "mosaic_backlog_ext--0.3.0--0.2.0.sql",
            "mosaic_backlog_ext--0.3.0--0.4.0.sql",
            "mosaic_backlog_ext--0.2.0--0.4.0.sql",
        ]
        .map(str::to_owned);
        let names = |from, to| scripts(&known, from, to);
        assert_eq!(names("0.2.0", "0.2.0"), [""; 0]);
        assert_eq!(names("0.1.0", "0.4.0"), [&*known[0], &*known[5]]);
        assert_eq!(names("0.9.0", "0.4.0"), [""; 0]);
    }
}
