//! Two servers: a primary, and a standby that follows it by streaming replication.

use postgres::Config;
use postgres::config::TargetSessionAttrs;

use crate::cluster::{Cluster, PORT, SUPERUSER};
use crate::home::signal;
use crate::session::Session;
use crate::{folder, programs, wait};

/// A place with a base backup of a server that runs; it is not started.
#[track_caller]
pub fn base_backup(primary: &Cluster, more: &[&str]) -> Cluster {
    let copy = Cluster::placed(folder::kept(), primary.bin());
    programs::run(
        copy.program("pg_basebackup")
            .args(["--no-sync", "--checkpoint", "fast"])
            .args(more)
            .args(["-U", SUPERUSER, "-p", &PORT.to_string()])
            .arg("-h")
            .arg(primary.folder())
            .arg("-D")
            .arg(copy.data()),
    );
    copy.listen_here();
    copy
}

pub struct Pair {
    pub primary: Cluster,
    pub standby: Cluster,
}

impl Pair {
    /// Both run, and the standby streams. Nothing waits for it yet.
    #[track_caller]
    pub fn start(settings: &[&str]) -> Self {
        let primary = Cluster::start(settings);
        let standby = base_backup(&primary, &["--write-recovery-conf"]);
        standby.resume();
        let pair = Self { primary, standby };
        pair.until("the standby streams", |primary| {
            primary
                .truth("select exists (select from pg_stat_replication where state = 'streaming')")
        });
        pair
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&mut Session) -> bool) {
        let mut primary = self.primary.session("postgres");
        wait::until(what, || holds(&mut primary).then_some(()));
    }

    /// From now on nothing is committed before the standby has it on its disk.
    #[track_caller]
    pub fn synchronise(&self) {
        self.set(&self.primary, "synchronous_standby_names = '*'");
        self.until("the standby is synchronous", |primary| {
            primary
                .truth("select exists (select from pg_stat_replication where sync_state = 'sync')")
        });
    }

    /// The standby hears of nothing any more.
    #[track_caller]
    pub fn disconnect(&self) {
        self.set(&self.standby, "primary_conninfo = ''");
        self.until("the standby is gone", |primary| {
            primary.truth("select not exists (select from pg_stat_replication)")
        });
    }

    #[track_caller]
    fn set(&self, cluster: &Cluster, setting: &str) {
        let mut session = cluster.session("postgres");
        session.run(&format!("alter system set {setting}"));
        session.run("select pg_reload_conf()");
    }

    /// The primary's machine is lost.
    #[track_caller]
    pub fn kill_the_primary(&self) {
        let pid = self.primary.postmaster().expect("a running primary");
        signal("KILL", pid);
    }

    #[track_caller]
    pub fn promote(&self) {
        self.standby.pg_ctl(&["promote"]);
    }

    /// How to connect to whichever of the two takes writes.
    pub fn config(&self, database: &str, user: &str) -> Config {
        let mut config = self.primary.config(database, user);
        config
            .host_path(self.standby.folder())
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        config
    }

    /// The same as a URL for programs.
    pub fn url(&self, database: &str, user: &str) -> String {
        let hosts: Vec<String> = [&self.primary, &self.standby]
            .map(|cluster| cluster.folder().to_string_lossy().replace('/', "%2F"))
            .into();
        format!(
            "postgresql://{user}@/{database}?host={}&port={PORT}&target_session_attrs=read-write",
            hosts.join(",")
        )
    }
}
