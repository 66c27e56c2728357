//! The shared memory of the frontier: nobody leaves any behind, and nobody fails for want of it. The
//! servers of these tests have theirs in files of their data folder, where it can be counted.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::faults::Disk;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::{account, programs, wait};

use crate::frontier::drain;

const NONE: [&str; 0] = [];

struct Server(Cluster);

impl Server {
    fn start() -> Self {
        Self(Cluster::start(&["dynamic_shared_memory_type = mmap"]))
    }

    fn with_the_extension() -> (Self, Session) {
        let server = Self::start();
        let mut s = server.session();
        s.run("create extension mosaic_backlog_ext");
        (server, s)
    }

    fn session(&self) -> Session {
        self.0.session("postgres")
    }

    /// Segments of shared memory, the server's own included.
    fn segments(&self) -> usize {
        let files = fs::read_dir(self.0.data().join("pg_dynshmem")).expect("a folder");
        files.count()
    }

    #[track_caller]
    fn assert_segments(&self, expected: usize) {
        wait::until("as many segments as there should be", || {
            (self.segments() == expected).then_some(())
        });
    }

    /// The server gets no more memory. What it has stays.
    fn refuse(&self) {
        self.set_mode(0o500);
    }

    fn allow(&self) {
        self.set_mode(0o700);
    }

    fn set_mode(&self, mode: u32) {
        let folder = self.0.data().join("pg_dynshmem");
        fs::set_permissions(folder, Permissions::from_mode(mode)).expect("permissions");
    }
}

fn state(s: &mut Session) -> (String, String) {
    let row = s.row("select state, detail from mosaic.backlog_doctor() where name = 'frontier'");
    let text = |key: &str| row[key].as_str().expect("text").to_owned();
    (text("state"), text("detail"))
}

#[test]
fn a_database_that_is_dropped_leaves_no_shared_memory() {
    let server = Server::start();
    let before = server.segments();
    let mut admin = server.session();
    for _ in 0..10 {
        admin.run("create database work");
        let mut s = server.0.session("work");
        s.run("create extension mosaic_backlog_ext");
        s.create("A");
        assert_eq!(s.claim_next("w").as_deref(), Some("A"));
        server.assert_segments(before + 1);
        drop(s);
        admin.run("drop database work with (force)");
    }
    server.assert_segments(before);
}

#[test]
fn an_extension_whose_creation_is_rolled_back_leaves_no_shared_memory() {
    let server = Server::start();
    let before = server.segments();
    let mut s = server.session();
    let create = "create extension mosaic_backlog_ext";
    for call in [
        "select from mosaic.backlog_create('t')",
        "select from mosaic.backlog_claim('w')",
        "insert into mosaic.backlog (id, title, created_at, updated_at, claimable_since) values ('A', 't', now(), now(), now())",
    ] {
        for _ in 0..10 {
            s.run(&format!("begin; {create}; {call}; rollback"));
            assert_eq!(server.segments(), before, "{call}");
            let within = format!("savepoint a; {create}; savepoint b; {call}");
            s.run(&format!("begin; {within}; rollback to a; commit"));
            assert_eq!(server.segments(), before, "{call}");
            s.run(&format!("begin; {within}; release b; release a; rollback"));
            assert_eq!(server.segments(), before, "{call}");
        }
    }
    // It has the memory that it makes in the end, and loses it when it is dropped.
    s.run(create);
    s.run("begin; select from mosaic.backlog_create('t', id => 'A'); commit");
    assert_eq!(server.segments(), before + 1);
    let mut other = server.session();
    assert_eq!(drain(&mut other), ["A"]);
    drop(other);
    for _ in 0..10 {
        s.run("set mosaic.allow_drop = on; drop extension mosaic_backlog_ext");
        server.assert_segments(before);
        s.run(create);
        s.create("A");
        server.assert_segments(before + 1);
    }
    s.run("begin; drop extension mosaic_backlog_ext; rollback");
    assert_eq!(drain(&mut server.session()), ["A"]);
    end(&server, s);
    // The one that is in use is kept.
    assert_eq!(server.segments(), before + 1);
}

/// How many audits there were in the memory that sessions share now.
fn audits(s: &mut Session) -> i64 {
    s.number("select audits from mosaic.backlog_frontier()")
}

/// The processes of the server that keep the memory; they are in no view.
fn keepers(server: &Server) -> Vec<String> {
    let pid_file = server.0.data().join("postmaster.pid");
    let postmaster = fs::read_to_string(pid_file).expect("a file");
    let postmaster = postmaster.lines().next().expect("a pid").to_owned();
    let is_keeper = |process: &std::path::Path| {
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        let parent = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.split(' ').nth(1));
        let title = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        parent == Some(&postmaster) && title.contains("mosaic_backlog frontier")
    };
    fs::read_dir("/proc")
        .expect("processes")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| is_keeper(process))
        .filter_map(|process| Some(process.file_name()?.to_str()?.to_owned()))
        .collect()
}

fn one_keeper(server: &Server) -> String {
    wait::until("one keeper", || {
        let mut keepers = keepers(server);
        (keepers.len() == 1).then(|| keepers.remove(0))
    })
}

/// The session is gone from the server, not only from here.
fn end(server: &Server, mut s: Session) {
    let pid = s.number("select pg_backend_pid()");
    drop(s);
    let mut watcher = server.session();
    wait::until("the session is gone", || {
        let left = format!("select count(*) from pg_stat_activity where pid = {pid}");
        (watcher.number(&left) == 0).then_some(())
    });
}

#[test]
fn what_claims_know_outlives_their_sessions() {
    let (server, mut s) = Server::with_the_extension();
    s.run("set mosaic.frontier_audit = 0");
    assert_eq!(s.claim_next("w"), None);
    let before = audits(&mut s);
    assert!(before > 0);
    // Nobody is there that has it, again and again.
    for _ in 0..5 {
        end(&server, s);
        s = server.session();
        assert_eq!(audits(&mut s), before);
        assert_eq!(s.claim_next("w"), None);
        one_keeper(&server);
    }
    // A keeper that is ended is replaced by the next that uses the memory.
    let first = one_keeper(&server);
    programs::run(Command::new("kill").arg(&first));
    wait::until("the keeper is gone", || {
        keepers(&server).is_empty().then_some(())
    });
    assert_eq!(s.claim_next("w"), None);
    assert_ne!(one_keeper(&server), first);
    end(&server, s);
    assert_eq!(audits(&mut server.session()), before);
}

#[test]
fn memory_that_nobody_uses_is_let_go_after_the_time_that_is_set() {
    let (server, mut s) = Server::with_the_extension();
    let before = server.segments();
    s.run("set mosaic.frontier_kept = 1");
    s.create("A");
    end(&server, s);
    server.assert_segments(before);
    let mut s = server.session();
    s.run("set mosaic.frontier_kept = 0");
    assert_eq!(drain(&mut s), ["A"]);
    assert_eq!(keepers(&server), NONE);
    end(&server, s);
    assert_eq!(server.segments(), before);
}

#[test]
fn a_server_without_workers_to_give_serves_all_calls() {
    let server = Server(Cluster::start(&[
        "dynamic_shared_memory_type = mmap",
        "max_worker_processes = 0",
    ]));
    let mut s = server.session();
    s.run("create extension mosaic_backlog_ext");
    let before = server.segments();
    s.create("A");
    assert_eq!(drain(&mut s), ["A"]);
    assert_eq!(keepers(&server), NONE);
    end(&server, s);
    assert_eq!(server.segments(), before);
}

#[test]
fn calls_that_fail_or_are_rolled_back_leave_no_shared_memory() {
    let (server, s) = Server::with_the_extension();
    let before = server.segments();
    for call in [
        "begin; select from mosaic.backlog_create('t'); rollback",
        "begin; savepoint a; select from mosaic.backlog_claim('w'); rollback to a; commit",
        "select from mosaic.backlog_complete('nobody')",
        "begin read only; select from mosaic.backlog_claim('w'); commit",
        "begin read only; select from mosaic.backlog_reclaim(); commit",
    ] {
        for _ in 0..10 {
            let mut s = server.session();
            if call.ends_with("rollback to a; commit") {
                // What commits has the memory kept.
                s.run("set mosaic.frontier_kept = 0");
            }
            let _ = s.attempt_run(call);
            assert!(server.segments() <= before + 1, "{call}");
            drop(s);
            server.assert_segments(before);
        }
    }
    drop(s);
}

/// What the sequence leads to, changed by hand, splits the sessions; no memory is left behind.
#[test]
fn sessions_that_do_not_share_are_found_and_mended_as_the_hint_says() {
    let (server, mut s) = Server::with_the_extension();
    let before = server.segments();
    s.create("A");
    assert_eq!(drain(&mut s), ["A"]);
    assert_eq!(state(&mut s).0, "ok");
    s.run("select setval('mosaic.backlog_frontier_seq', 1)");
    let mut other = server.session();
    other.create("B");
    assert_eq!(server.segments(), before + 2);
    assert_eq!(state(&mut other).0, "ok");
    let (state_of_s, detail) = state(&mut s);
    assert_eq!(state_of_s, "error", "{detail}");
    assert_eq!(drain(&mut s), NONE, "the damage does what it says");
    let hint = s.text("select hint from mosaic.backlog_doctor() where name = 'frontier'");
    for statement in hint.split('`').skip(1).step_by(2) {
        s.run(statement);
    }
    assert_eq!(state(&mut s).0, "ok");
    assert_eq!(drain(&mut s), ["B"]);
    assert_eq!(drain(&mut other), NONE);
    server.assert_segments(before + 1);
}

/// The frontier is not shared, and everything works.
#[track_caller]
fn assert_works_without(server: &Server, why: &str) {
    let mut s = server.session();
    let mut other = server.session();
    for s in [&mut s, &mut other] {
        let (state, detail) = state(s);
        assert_eq!(state, "warning", "{detail}");
        assert!(detail.contains(why), "no {why:?} in {detail:?}");
    }
    s.create_numbered("c", 100);
    assert_eq!(other.claim_next("w").as_deref(), Some("c1"));
    s.run("select count(*) from mosaic.backlog_create_many('[{\"title\": \"t\", \"id\": \"first\", \"priority\": 5}]')");
    assert_eq!(other.claim_next("w").as_deref(), Some("first"));
    s.run("begin; select from mosaic.backlog_claim('w'); rollback");
    assert_eq!(drain(&mut other).len(), 99);
    other.create("last");
    assert_eq!(drain(&mut s), ["last"]);
    assert_eq!(
        s.number("select count(*) from mosaic.backlog_doctor() where state <> 'ok'"),
        1
    );
    s.run("select from mosaic.backlog_stats(); select from mosaic.backlog_list(); select from mosaic.backlog_reclaim()");
}

#[test]
fn a_server_that_gives_no_memory_serves_all_calls_and_the_doctor_says_so() {
    let (server, mut s) = Server::with_the_extension();
    server.refuse();
    assert_works_without(&server, "Permission denied");
    // A session that began without it has it once there is room.
    s.create("A");
    server.allow();
    wait::until("the session has shared memory", || {
        let _ = s.attempt_run("select from mosaic.backlog_reclaim()");
        (state(&mut s).1.contains("fast")).then_some(())
    });
    assert_eq!(drain(&mut server.session()), ["A"]);
    let mut other = server.session();
    assert_eq!(drain(&mut other), NONE);
    s.create("B");
    assert_eq!(drain(&mut other), ["B"]);
}

#[test]
fn a_file_system_that_is_full_is_no_reason_to_fail() {
    let disk = match Disk::mount() {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("left out: {why}");
            return;
        }
    };
    let (server, s) = Server::with_the_extension();
    drop(s);
    server.0.crash();
    let (folder, lies) = (server.0.data().join("pg_dynshmem"), disk.folder());
    fs::remove_dir_all(&folder).expect("remove");
    account::give(lies);
    std::os::unix::fs::symlink(lies, &folder).expect("a link");
    server.0.resume();
    disk.fill();
    assert_works_without(&server, "No space left on device");
    disk.free();
    let mut s = server.session();
    s.create("A");
    assert!(state(&mut s).1.contains("fast"));
    drop(s);
    server.0.crash();
    fs::remove_file(&folder).expect("remove");
}

#[test]
fn what_a_session_without_shared_memory_commits_is_found_by_those_that_have_it_by_then() {
    let (server, mut s) = Server::with_the_extension();
    server.refuse();
    s.run("begin; select from mosaic.backlog_create('t', id => 'A')");
    server.allow();
    let mut other = server.session();
    assert_eq!(drain(&mut other), NONE);
    assert!(state(&mut other).1.contains("fast"));
    s.run("commit");
    assert_eq!(drain(&mut other), ["A"]);
}

#[test]
fn what_it_was_committing_when_another_got_shared_memory_is_found_when_it_is_there() {
    let (server, mut admin) = Server::with_the_extension();
    // Its commit waits for a standby that there is not, past the point of no return.
    admin.run("alter system set synchronous_standby_names = 'nobody'");
    admin.run("select pg_reload_conf()");
    wait::until("the setting is known", || {
        let mut s = server.session();
        (s.text("select current_setting('synchronous_standby_names')") == "nobody").then_some(())
    });
    server.refuse();
    let committing = server
        .session()
        .begin_call("select id from mosaic.backlog_create('t', id => 'A')");
    wait::until("the commit waits", || {
        admin
            .truth("select exists (select from pg_stat_activity where wait_event = 'SyncRep')")
            .then_some(())
    });
    server.allow();
    let mut other = server.session();
    other.run("set mosaic.durability = 'inherit'; set synchronous_commit = local");
    assert_eq!(drain(&mut other), NONE);
    assert!(state(&mut other).1.contains("fast"));
    admin.run("alter system reset synchronous_standby_names");
    admin.run("select pg_reload_conf()");
    drop(committing.rows());
    assert_eq!(drain(&mut other), ["A"]);
}

#[test]
fn who_may_write_the_table_alone_needs_no_right_to_the_frontier() {
    let (server, mut s) = Server::with_the_extension();
    s.run(
        "create role hand login; grant usage on schema mosaic to hand;
         grant execute on function mosaic.card_fits to hand;
         grant select, insert, update on mosaic.backlog to hand;
         grant usage on sequence mosaic.backlog_creation_seq to hand",
    );
    let mut hand = Session::open(&server.0.config("postgres", "hand"));
    hand.run("insert into mosaic.backlog (id, title, created_at, updated_at, claimable_since) values ('A', 't', now(), now(), now())");
    assert_eq!(drain(&mut s), ["A"]);
}
