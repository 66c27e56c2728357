//! The lease is kept while the command runs; without it, the command is ended.

use mosaic_backlog_tests::cluster::{Cluster, SUPERUSER};
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use super::{is_alive, process, run, the_end_of, until_gone, written};

/// Says who it is, and ends when the file `end` appears.
const UNTIL_TOLD: &str = "echo $$ > pid; until test -e end; do sleep 0.05; done";
/// Leaves the work to another process, which goes on after the shell was told to end.
const WITH_A_CHILD: &str = "sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 0.05; done' &
    trap 'echo told > told; exit 0' TERM; echo $MOSAIC_CARD_FILE > card; echo $$ > pid; while :; do sleep 0.05; done";

fn renewals(s: &mut Session, id: &str) -> i64 {
    s.number(&format!(
        "select count(*) from mosaic.backlog_event where kind = 'renewed' and card_id = '{id}'"
    ))
}

#[test]
fn the_lease_is_renewed_while_the_command_runs() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let call = run(&["--ttl", "2s", "--json"], UNTIL_TOLD)
        .on(&db)
        .within(&folder)
        .spawn();
    process(&folder.join("pid"));
    wait::until("the lease was renewed for longer than it lasts", || {
        assert_eq!(s.claim_next("other"), None);
        (renewals(&mut s, "A") >= 4).then_some(())
    });
    std::fs::write(folder.join("end"), "").expect("write");
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (0, &json!("completed")));
    assert_eq!(s.card("A")["attempts"], 1);
}

#[test]
fn a_lost_lease_ends_the_whole_group_and_completes_nothing() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let call = run(
        &["--ttl", "1s", "--grace", "1s", "--loop", "--json"],
        WITH_A_CHILD,
    )
    .on(&db)
    .within(&folder)
    .spawn();
    let child = process(&folder.join("child"));
    process(&folder.join("pid"));
    s.run(
        "begin; select from mosaic.backlog_reclaim('A', force => true);
           select from mosaic.backlog_claim('other', '1 hour'); commit",
    );
    // Told at first, and killed where that was not enough.
    assert_eq!(written(&folder.join("told")), "told");
    assert!(is_alive(child));
    let (exit, cards) = the_end_of(call);
    assert!(!is_alive(child));
    assert_eq!((exit, &cards[0]["outcome"]), (6, &json!("lost")));
    assert_eq!(cards[0]["exit"], 0);
    let card = s.card("A");
    assert_eq!(
        (&card["status"], &card["claim_owner"]),
        (&json!("claimed"), &json!("other"))
    );
}

#[test]
fn a_command_that_finished_its_card_itself_may_go_on() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let script = format!(
        "{} backlog complete A --token $MOSAIC_CLAIM_TOKEN >&2; {UNTIL_TOLD}",
        mosaic_backlog_tests::programs::mosaic().display()
    );
    let call = run(&["--ttl", "1s", "--json"], &script)
        .on(&db)
        .within(&folder)
        .spawn();
    let process = process(&folder.join("pid"));
    // Longer than the lease would have lasted: by the server's clock.
    wait::until("the lease would have ended", || {
        s.truth("select completed_at < clock_timestamp() - interval '1500 milliseconds' from mosaic.backlog where id = 'A'")
            .then_some(())
    });
    assert!(is_alive(process));
    std::fs::write(folder.join("end"), "").expect("write");
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (0, &json!("completed")));
}

/// A server that can be crashed, with a card.
fn server() -> (Cluster, String) {
    let cluster = Cluster::start(&[]);
    let mut s = cluster.session("postgres");
    s.run("create extension mosaic_backlog_ext");
    s.create("A");
    let url = cluster.url("postgres", SUPERUSER);
    (cluster, url)
}

#[test]
fn a_lease_that_ends_while_the_database_is_away_ends_the_command() {
    let (cluster, url) = server();
    let folder = folder::create();
    let call = run(&["--ttl", "2s", "--grace", "1s", "--json"], WITH_A_CHILD)
        .env("DATABASE_URL", &url)
        .within(&folder)
        .spawn();
    let child = process(&folder.join("child"));
    cluster.crash();
    let (exit, cards) = the_end_of(call);
    assert!(!is_alive(child));
    assert_eq!((exit, &cards[0]["outcome"]), (6, &json!("lost")));
    cluster.resume();
    let mut s = cluster.session("postgres");
    assert_eq!(s.status("A"), "claimed");
    wait::until("the card comes back by its lease", || s.claim_next("other"));
}

#[test]
fn a_crash_of_the_server_that_is_over_before_the_lease_costs_nothing() {
    let (cluster, url) = server();
    let folder = folder::create();
    let call = run(&["--ttl", "30s", "--json"], UNTIL_TOLD)
        .env("DATABASE_URL", &url)
        .within(&folder)
        .spawn();
    process(&folder.join("pid"));
    let mut s = cluster.session("postgres");
    wait::until("a renewal", || (renewals(&mut s, "A") == 1).then_some(()));
    cluster.crash();
    // The command ends while nobody can be told.
    std::fs::write(folder.join("end"), "").expect("write");
    cluster.resume();
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (0, &json!("completed")));
    assert_eq!(cluster.session("postgres").status("A"), "done");
}

/// Lets every commit wait for a standby that does not exist, or no longer.
fn hold_commits(s: &mut Session, on: bool) {
    let standby = if on { "nobody" } else { "" };
    s.run(&format!(
        "alter system set synchronous_standby_names = '{standby}'"
    ));
    s.run("select pg_reload_conf()");
}

/// Ends the session that has committed and waits before it answers.
fn lose_an_answer(s: &mut Session) {
    let pid = wait::until("a commit waits", || {
        let waiting = "select pid from pg_stat_activity where wait_event = 'SyncRep'";
        s.column(waiting).first().and_then(Value::as_i64)
    });
    s.run(&format!("select pg_terminate_backend({pid}, 10000)"));
}

#[test]
fn a_report_whose_answer_got_lost_is_made_once() {
    let (cluster, url) = server();
    let folder = folder::create();
    let script = format!("{UNTIL_TOLD}; exit 3");
    let call = run(&["--json"], &script)
        .env("DATABASE_URL", &url)
        .within(&folder)
        .spawn();
    process(&folder.join("pid"));
    let mut s = cluster.session("postgres");
    hold_commits(&mut s, true);
    std::fs::write(folder.join("end"), "").expect("write");
    lose_an_answer(&mut s);
    hold_commits(&mut s, false);
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (10, &json!("failed")));
    assert_eq!(s.card("A")["attempts"], 1);
    let kinds = s.column("select kind from mosaic.backlog_event order by event_id");
    assert_eq!(kinds, [json!("created"), json!("claimed"), json!("failed")]);
}

#[test]
fn a_claim_whose_answer_got_lost_is_given_again() {
    let (cluster, url) = server();
    let mut s = cluster.session("postgres");
    hold_commits(&mut s, true);
    let call = run(&["--wait", "1m", "--json"], "true")
        .env("DATABASE_URL", &url)
        .spawn();
    lose_an_answer(&mut s);
    hold_commits(&mut s, false);
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (0, &json!("completed")));
    let claims = "select count(*) from mosaic.backlog_event where kind = 'claimed'";
    assert_eq!(s.number(claims), 1);
}

#[test]
fn a_run_that_stood_still_beyond_its_lease_has_lost_it() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let call = run(&["--ttl", "1s", "--json"], UNTIL_TOLD)
        .on(&db)
        .within(&folder)
        .spawn();
    let process = process(&folder.join("pid"));
    signal("STOP", call.id());
    wait::until("another worker gets the card", || s.claim_next("other"));
    signal("CONT", call.id());
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (6, &json!("lost")));
    until_gone(process);
}

#[test]
fn when_run_is_killed_its_commands_die_and_the_card_comes_back() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let mut call = run(&["--ttl", "1s"], WITH_A_CHILD)
        .on(&db)
        .within(&folder)
        .spawn();
    let child = process(&folder.join("child"));
    let shell = process(&folder.join("pid"));
    let card_file = written(&folder.join("card"));
    signal("KILL", call.id());
    call.wait().expect("its end");
    until_gone(shell);
    until_gone(child);
    assert!(!std::fs::exists(card_file).expect("a look"));
    assert_eq!(wait::until("the card", || s.claim_next("other")), "A");
    assert_eq!(s.card("A")["attempts"], 2);
}
