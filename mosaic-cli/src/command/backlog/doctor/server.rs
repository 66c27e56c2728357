//! What the server tells a caller with these rights, and what the extension finds.

use postgres::Client;
use postgres::types::{ToSql, Type};
use serde_json::Value;

use super::finding::{Finding, State};
use crate::database::call::Call;
use crate::database::embedded::Version;
use crate::database::extension::{self, OLDEST_SERVER};
use crate::database::store::{Record, record};
use crate::failure::{Code, Failure};

/// Every look is a transaction of its own, in which nothing can be changed, and which does not
/// wait long for anybody.
const BEGIN: &str = "begin read only; \
    set local search_path to pg_catalog, pg_temp; set local lock_timeout to '5s'; \
    set local timezone to 'UTC'";

const FACTS: &str = "\
    select current_setting('server_version') as server, \
      current_setting('server_version_num')::int as server_number, \
      pg_is_in_recovery() as standby, \
      quote_ident(current_user) as role, \
      (select extversion from pg_extension where extname = 'mosaic_backlog_ext') as installed, \
      (select default_version from pg_available_extensions where name = 'mosaic_backlog_ext') as available, \
      (select r.name from unnest(array['mosaic_operator', 'mosaic_worker', 'mosaic_reader']) \
         with ordinality as r(name, place) \
         where pg_has_role(to_regrole(r.name), 'USAGE') order by r.place limit 1) as rights, \
      exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace \
        where n.nspname = 'mosaic' and p.proname = 'backlog_doctor') as has_doctor, \
      current_setting('fsync') as fsync, \
      current_setting('full_page_writes') as full_page_writes, \
      current_setting('synchronous_commit') as synchronous_commit";

/// Transactions of this database that keep dead rows, and those of any that keep readers of the
/// history waiting.
const TRANSACTIONS: &str = "\
    select format('process %s (role %I, database %I%s), %s since %s', pid, usename, datname, \
        case when application_name = '' then '' else ', ' || application_name end, \
        state, to_char(xact_start, 'YYYY-MM-DD HH24:MI:SS UTC')) as who, \
      count(*) over () as count \
    from pg_stat_activity \
    where pid <> pg_backend_pid() and backend_type not in ('autovacuum worker', 'parallel worker') \
      and xact_start <= clock_timestamp() - make_interval(secs => $1) \
      and (backend_xid is not null or backend_xmin is not null and datname = current_database()) \
    order by xact_start limit 5";

/// Sessions of somebody's of which the server does not say what they do.
const HIDDEN: &str = "\
    select count(*) filter (where query = '<insufficient privilege>') as denied, \
      count(*) filter (where state = 'disabled') as untracked \
    from pg_stat_activity \
    where pid <> pg_backend_pid() and usename is not null and datname is not null";

const PREPARED: &str = "\
    select format('%s (role %I, database %I) since %s', quote_literal(gid), owner, database, \
        to_char(prepared, 'YYYY-MM-DD HH24:MI:SS UTC')) as who, \
      count(*) over () as count \
    from pg_prepared_xacts \
    where prepared <= clock_timestamp() - make_interval(secs => $1) \
    order by prepared limit 5";

const SLOTS: &str = "\
    select format('%s keeps %s of write-ahead log%s', quote_literal(slot_name), \
        pg_size_pretty(pg_wal_lsn_diff(case when pg_is_in_recovery() then pg_last_wal_replay_lsn() \
          else pg_current_wal_lsn() end, restart_lsn)), \
        case when xmin is not null then ' and dead rows' else '' end) as who, \
      count(*) over () as count \
    from pg_replication_slots \
    where not active and (restart_lsn is not null or xmin is not null) \
    order by slot_name limit 5";

struct Server<'a> {
    client: Client,
    embedded: bool,
    max_age: f64,
    findings: &'a mut Vec<Finding>,
}

/// Whether the backlog itself could be looked at.
pub fn examine(client: Client, embedded: bool, max_age: u64, findings: &mut Vec<Finding>) -> bool {
    let mut server = Server {
        client,
        embedded,
        max_age: max_age as f64,
        findings,
    };
    let facts = match server.row(FACTS) {
        Ok(facts) => facts,
        Err(failure) => {
            server.failed("server", State::Error, &failure);
            return false;
        }
    };
    server.version(&facts);
    server.extension(&facts);
    server.extension_files(&facts);
    server.durability(&facts);
    server.transactions(&facts);
    server.prepared_transactions();
    server.replication_slots();
    if facts["installed"].is_null() {
        return false;
    }
    server.privileges(&facts);
    server.backlog(&facts)
}

fn text<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_default()
}

impl Server<'_> {
    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn failed(&mut self, name: &str, state: State, failure: &Failure) {
        let hint = "Ask again; if it stays, look at the server's log.";
        self.add(Finding::failed(name, state, failure, hint));
    }

    fn ask(
        &mut self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Record>, Failure> {
        self.client.batch_execute(BEGIN)?;
        let rows = self.client.query_typed(sql, parameters);
        self.client.batch_execute("rollback")?;
        rows?.iter().map(record).collect()
    }

    fn rows(
        &mut self,
        sql: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Value>, Failure> {
        let sql = format!("select row_to_json(answer)::text from ({sql}) answer");
        let rows = self.ask(&sql, parameters)?;
        Ok(rows.into_iter().map(Value::Object).collect())
    }

    fn row(&mut self, sql: &str) -> Result<Value, Failure> {
        let row = self.rows(sql, &[])?.into_iter().next();
        row.ok_or_else(|| Failure::internal("the server does not describe itself"))
    }

    fn version(&mut self, facts: &Value) {
        const NAME: &str = "server";
        let server = text(facts, "server");
        self.add(if facts["server_number"].as_i64() < Some(OLDEST_SERVER.into()) {
            Finding::not_ok(
                NAME,
                State::Error,
                format!("PostgreSQL {server} is too old."),
                "The backlog needs PostgreSQL 15 or newer.",
            )
        } else if facts["standby"] == true {
            Finding::not_ok(
                NAME,
                State::Warning,
                format!("PostgreSQL {server} is a standby: cards can be read and not changed."),
                "Add target_session_attrs=read-write to the address, so that it connects to the primary.",
            )
        } else {
            Finding::ok(NAME, format!("PostgreSQL {server}."))
        });
    }

    fn extension(&mut self, facts: &Value) {
        const NAME: &str = "extension";
        let own = extension::version();
        self.add(match facts["installed"].as_str() {
            None => Finding::not_ok(
                NAME,
                State::Error,
                "The extension mosaic_backlog_ext is not in this database.",
                "Any verb creates it if its role may; else an administrator runs \
                 `create extension mosaic_backlog_ext` here.",
            ),
            Some(installed) if is_older(installed, own) => Finding::not_ok(
                NAME,
                State::Warning,
                format!("Version {installed} is older than this program's {own}."),
                "Run `mosaic db migrate` with the rights of the database's owner.",
            ),
            Some(installed) => Finding::ok(
                NAME,
                format!("Version {installed}; this program is version {own}."),
            ),
        });
    }

    fn extension_files(&mut self, facts: &Value) {
        const NAME: &str = "extension_files";
        let hint = "An administrator runs `install.sh --pg-config PATH` on the server's machine, \
                    with the path of that server's pg_config.";
        let installed = facts["installed"].as_str();
        self.add(match (facts["available"].as_str(), installed) {
            (None, _) => Finding::not_ok(
                NAME,
                State::Error,
                "The extension's files are not on the server.",
                hint,
            ),
            (Some(files), Some(installed)) if is_older(files, installed) => Finding::not_ok(
                NAME,
                State::Error,
                format!(
                    "The server's files are of version {files}, older than the database's {installed}."
                ),
                hint,
            ),
            (Some(files), Some(installed)) if is_older(installed, files) => Finding::not_ok(
                NAME,
                State::Warning,
                format!("The server has files of version {files}, newer than the database's {installed}."),
                "Run `mosaic db migrate` with the rights of the database's owner.",
            ),
            (Some(files), _) => Finding::ok(NAME, format!("The server has those of version {files}.")),
        });
    }

    fn privileges(&mut self, facts: &Value) {
        const NAME: &str = "privileges";
        let role = text(facts, "role");
        self.add(match facts["rights"].as_str() {
            Some(rights) => Finding::ok(NAME, format!("The role {role} has the rights of {rights}.")),
            None => Finding::not_ok(
                NAME,
                State::Error,
                format!("The role {role} may not use the backlog."),
                format!(
                    "An administrator runs `grant mosaic_worker to {role}`, or mosaic_reader, or mosaic_operator."
                ),
            ),
        });
    }

    fn durability(&mut self, facts: &Value) {
        const NAME: &str = "durability";
        let off: Vec<&str> = ["fsync", "full_page_writes"]
            .into_iter()
            .filter(|setting| text(facts, setting) == "off")
            .collect();
        if !off.is_empty() {
            return self.add(Finding::not_ok(
                NAME,
                State::Error,
                format!(
                    "Off: {}. A crash of the machine can ruin the whole database.",
                    off.join(" and ")
                ),
                "Set them to on in the server's configuration, and reload it.",
            ));
        }
        let mut detail = "fsync and full_page_writes are on.".to_owned();
        if text(facts, "synchronous_commit") == "off" {
            detail.push_str(
                " synchronous_commit is off, which the backlog's own calls raise for themselves.",
            );
        }
        self.add(Finding::ok(NAME, detail));
    }

    /// Up to five of something old, and how many there are.
    fn old(&mut self, sql: &str) -> Result<Option<(i64, String)>, Failure> {
        let max_age = self.max_age;
        let rows = self.rows(sql, &[(&max_age, Type::FLOAT8)])?;
        Ok(listed(&rows))
    }

    fn transactions(&mut self, facts: &Value) {
        const NAME: &str = "transactions";
        let looked = self
            .old(TRANSACTIONS)
            .and_then(|old| Ok((old, self.row(HIDDEN)?)));
        let (old, hidden) = match looked {
            Ok(looked) => looked,
            Err(failure) => return self.failed(NAME, State::Unknown, &failure),
        };
        let denied = hidden["denied"].as_i64().unwrap_or_default();
        let untracked = hidden["untracked"].as_i64().unwrap_or_default();
        self.add(if let Some((count, who)) = old {
            Finding::not_ok(
                NAME,
                State::Warning,
                format!(
                    "{count} open for a long time, which keeps dead rows, or readers of the history waiting: {who}."
                ),
                "End it in the program that opened it. idle_in_transaction_session_timeout ends forgotten ones.",
            )
        } else if denied > 0 {
            let role = text(facts, "role");
            let grant = format!("grant pg_read_all_stats to {role}");
            Finding::not_ok(
                NAME,
                State::Unknown,
                format!("The role {role} may not see what {denied} other sessions do."),
                if self.embedded {
                    format!("Run `mosaic db psql --admin -- -c '{grant}'`.")
                } else {
                    format!("An administrator runs `{grant}`.")
                },
            )
        } else if untracked > 0 {
            Finding::not_ok(
                NAME,
                State::Unknown,
                format!("track_activities is off in {untracked} sessions."),
                "Set track_activities to on, so that the server says what its sessions do.",
            )
        } else {
            Finding::ok(NAME, "None is open for a long time.")
        });
    }

    fn prepared_transactions(&mut self) {
        const NAME: &str = "prepared_transactions";
        match self.old(PREPARED) {
            Ok(Some((count, who))) => self.add(Finding::not_ok(
                NAME,
                State::Warning,
                format!("{count} prepared a long time ago and not ended, which keeps locks and dead rows: {who}."),
                "The program that prepared it, or its transaction manager, has to commit it or roll it back.",
            )),
            Ok(None) => self.add(Finding::ok(NAME, "None has waited for its end for a long time.")),
            Err(failure) => self.failed(NAME, State::Unknown, &failure),
        }
    }

    fn replication_slots(&mut self) {
        const NAME: &str = "replication_slots";
        match self.rows(SLOTS, &[]).map(|rows| listed(&rows)) {
            Ok(Some((count, who))) => self.add(Finding::not_ok(
                NAME,
                State::Warning,
                format!("{count} that no consumer reads: {who}."),
                "Bring its reader back. If that is gone for good, an administrator removes the slot; \
                 max_slot_wal_keep_size bounds what slots keep.",
            )),
            Ok(None) => self.add(Finding::ok(NAME, "Each has a consumer.")),
            Err(failure) => self.failed(NAME, State::Unknown, &failure),
        }
    }

    /// What the extension finds; whether it could be asked.
    fn backlog(&mut self, facts: &Value) -> bool {
        const NAME: &str = "backlog";
        if facts["has_doctor"] != true {
            let failure = extension::too_old(facts["installed"].as_str());
            self.failed(NAME, State::Unknown, &failure);
            return false;
        }
        let failure = match self.ask(&Call::new("backlog_doctor").sql(), &[]) {
            Ok(rows) => {
                let findings = rows.into_iter().map(Value::Object);
                self.findings
                    .extend(findings.map(|row| of_the_extension(&row)));
                return true;
            }
            Err(failure) => failure,
        };
        match failure.code {
            Code::Unauthorized => self.add(Finding::not_ok(
                NAME,
                State::Unknown,
                "This role may not look at the cards.",
                format!(
                    "An administrator runs `grant mosaic_reader to {}`.",
                    text(facts, "role")
                ),
            )),
            _ => self.failed(NAME, State::Unknown, &failure),
        }
        false
    }
}

/// The column `who` of the rows, and the number of all that there are.
fn listed(rows: &[Value]) -> Option<(i64, String)> {
    let count = rows.first()?["count"].as_i64()?;
    let mut who: Vec<&str> = rows.iter().map(|row| text(row, "who")).collect();
    if count > rows.len() as i64 {
        who.push("…");
    }
    Some((count, who.join("; ")))
}

fn of_the_extension(row: &Value) -> Finding {
    Finding {
        name: text(row, "name").to_owned(),
        state: match text(row, "state") {
            "ok" => State::Ok,
            "warning" => State::Warning,
            "error" => State::Error,
            _ => State::Unknown,
        },
        detail: text(row, "detail").to_owned(),
        hint: row["hint"].as_str().map(str::to_owned),
    }
}

/// Versions that cannot be compared are not called older.
fn is_older(version: &str, than: &str) -> bool {
    let parsed = |text: &str| text.parse::<Version>().ok();
    matches!((parsed(version), parsed(than)), (Some(version), Some(than)) if version < than)
}
