//! Signals pass through `run` to its commands, and the cards go back without blame.

use std::process::{Command, Stdio};

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::home::signal;
use mosaic_backlog_tests::wait;
use serde_json::json;

use super::{process, run, the_end_of, until_gone, written};

#[test]
fn a_signal_reaches_the_command_and_the_card_is_released() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 2);
    for (name, exit) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let folder = folder::create();
        // Exit code 0 after a signal is no sign of work that was done.
        let script = format!(
            "trap 'echo {name} > told; exit 0' {name}; echo $$ > pid; while :; do sleep 0.05; done"
        );
        let call = run(&["--loop", "--wait", "--json"], &script)
            .on(&db)
            .within(&folder)
            .spawn();
        process(&folder.join("pid"));
        signal(name, call.id());
        let (real, cards) = the_end_of(call);
        assert_eq!(real, exit);
        assert_eq!(written(&folder.join("told")), name);
        assert_eq!(cards.len(), 1, "{cards:?}");
        assert_eq!(cards[0]["outcome"], "released");
        assert_eq!(cards[0]["reason"], format!("stopped by SIG{name}"));
        let card = s.card("c1");
        assert_eq!(
            (&card["status"], &card["attempts"]),
            (&json!("ready"), &json!(0))
        );
    }
}

#[test]
fn under_nohup_a_worker_outlives_its_terminal() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let script = "echo $$ > pid; until test -e on; do sleep 0.02; done";
    let call = run(&["--json"], script)
        .on(&db)
        .within(&folder)
        .with(|command| {
            let mut nohup = Command::new("sh");
            nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
            nohup.arg(command.get_program()).args(command.get_args());
            let envs = command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?)));
            nohup.env_clear().envs(envs).current_dir(&folder);
            nohup.stdout(Stdio::piped()).stderr(Stdio::piped());
            *command = nohup;
        });
    let call = call.spawn();
    process(&folder.join("pid"));
    signal("HUP", call.id());
    std::fs::write(folder.join("on"), "").expect("write");
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (0, &json!("completed")));
}

#[test]
fn a_command_that_does_not_heed_the_signal_is_killed_after_the_grace() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done";
    let call = run(&["--grace", "1s", "--json"], script)
        .on(&db)
        .within(&folder)
        .spawn();
    let command = process(&folder.join("pid"));
    signal("TERM", call.id());
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (143, &json!("released")));
    assert_eq!(cards[0]["signal"], "SIGKILL");
    until_gone(command);
    assert_eq!(s.status("A"), "ready");
}

#[test]
fn a_command_that_still_finishes_its_card_after_the_signal_has_done_so() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A");
    let folder = folder::create();
    let script = format!(
        "trap '{} backlog complete A --token $MOSAIC_CLAIM_TOKEN >&2; exit 0' TERM
         echo $$ > pid; while :; do sleep 0.05; done",
        mosaic_backlog_tests::programs::mosaic().display()
    );
    let call = run(&["--json"], &script).on(&db).within(&folder).spawn();
    process(&folder.join("pid"));
    signal("TERM", call.id());
    let (exit, cards) = the_end_of(call);
    assert_eq!((exit, &cards[0]["outcome"]), (143, &json!("completed")));
    assert_eq!(s.status("A"), "done");
}

#[test]
fn a_signal_ends_a_run_that_waits() {
    let db = Database::fresh();
    let mut s = db.session();
    for (name, exit) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let call = run(&["--wait", "--json"], "true").on(&db).spawn();
        wait::until("it waits", || {
            let query = "select from pg_stat_activity where datname = current_database()
                and query like '%backlog_claim%' and pid <> pg_backend_pid() and state = 'idle'";
            (!s.rows(query).is_empty()).then_some(())
        });
        signal(name, call.id());
        let (real, cards) = the_end_of(call);
        assert_eq!((real, cards.len()), (exit, 0));
    }
}
