//! `watch` on a terminal, as a person sees it.

use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::{Home, signal};
use mosaic_backlog_tests::program::{Mosaic, mosaic};
use mosaic_backlog_tests::terminal::Terminal;

fn watch(more: &[&str]) -> Mosaic {
    let mut all = vec!["backlog", "watch"];
    all.extend(more);
    mosaic(&all)
}

/// What is left of the terminal is what a shell wants.
#[track_caller]
fn assert_given_back(terminal: &Terminal) {
    assert!(terminal.is_usual(), "keys are not shown any more");
    assert!(!terminal.is_taken(), "the alternate screen stays");
    assert!(!terminal.hides_the_cursor(), "the cursor stays hidden");
}

#[test]
fn it_shows_what_runs_what_is_blocked_and_what_happens() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('Parse the config', id => 'A1');
         select from mosaic.backlog_create('Write it up', id => 'A2', depends_on => '{A1}');
         select from mosaic.backlog_create('Choose', id => 'A3');
         select from mosaic.backlog_create('Free', id => 'A4');
         select from mosaic.backlog_block('A3', 'which of the two formats?', 'input')",
    );
    s.claim("A1", "worker-7");
    let mut terminal = watch(&[]).on(&db).on_terminal(24, 80);
    // What happens is told once no older transaction of the server runs.
    terminal.until("A1  claimed");
    // The last line of the screen is drawn last.
    let text = terminal.until("q quits");
    for part in [
        "2 ready   1 claimed   1 blocked   0 done",
        "1 claimable, 1 gated, 0 deferred",
        "LEASES 1",
        "A1  worker-7  ",
        "Parse the config",
        "BLOCKED 1",
        "A3  Choose  input: which of the two formats?",
        "NEWEST EVENTS",
        "q quits",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    assert!(terminal.is_taken() && terminal.hides_the_cursor() && !terminal.is_usual());
    // The newest event stands first.
    let newest = text.lines().position(|line| line.starts_with("NEWEST"));
    let first = text.lines().nth(newest.expect("the section") + 1);
    assert!(
        first.is_some_and(|line| line.contains("A1  claimed")),
        "{text}"
    );

    s.run("select from mosaic.backlog_complete('A1', force => true)");
    let text = terminal.until("A1  completed  claimed → done");
    assert!(text.contains("2 claimable, 0 gated"), "{text}");
    assert!(!text.contains("LEASES"), "{text}");
    assert!(text.contains("1 done"), "{text}");

    terminal.press("q");
    assert_eq!(terminal.exit(), 0);
    assert_given_back(&terminal);
}

#[test]
fn a_lease_that_ended_is_marked() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A1");
    s.run("select from mosaic.backlog_claim('w1', '1 second')");
    let terminal = watch(&[]).on(&db).on_terminal(24, 80);
    terminal.until("A1  w1  ░░░░░░░░░░  ended ");
}

#[test]
fn a_phase_alone_can_be_watched() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create('Mine', id => 'A1', phase => 'beta');
         select from mosaic.backlog_create('Other', id => 'A2', phase => 'gamma');
         select from mosaic.backlog_claim('w1', max_cards => 2)",
    );
    let terminal = watch(&["--phase", "beta"]).on(&db).on_terminal(24, 80);
    let text = terminal.until("q quits");
    assert!(
        text.contains("phase beta") && text.contains("Mine"),
        "{text}"
    );
    assert!(!text.contains("Other"), "{text}");
}

#[test]
fn it_follows_the_size_of_the_terminal() {
    let db = Database::fresh();
    db.session().create_numbered("c", 60);
    let mut s = db.session();
    s.run("select from mosaic.backlog_claim('w1', max_cards => 60)");
    let terminal = watch(&[]).on(&db).on_terminal(24, 80);
    let more = |text: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with("… "))
            .map(str::to_owned);
        line.unwrap_or_default()
    };
    let small = more(&terminal.until(" more"));
    terminal.resize(50, 120);
    let text = terminal.until_it("more leases on a larger screen", |text| {
        text.contains("q quits") && text.contains(" more") && more(text) != small
    });
    assert!(text.lines().count() >= 50, "{text}");
    terminal.resize(8, 30);
    let text = terminal.until_it("a small screen", |text| {
        text.lines().last() == Some("q quits") && text.lines().count() <= 8
    });
    assert!(
        text.lines().all(|line| line.chars().count() <= 30),
        "{text}"
    );
}

#[test]
fn every_way_out_gives_the_terminal_back() {
    let db = Database::fresh();
    for (keys, exit) in [("q", 0), ("\x1b", 0), ("\x03", 130)] {
        let mut terminal = watch(&[]).on(&db).on_terminal(24, 80);
        terminal.until("q quits");
        terminal.press(keys);
        assert_eq!(terminal.exit(), exit, "{keys:?}");
        assert_given_back(&terminal);
    }
    for (name, exit) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let mut terminal = watch(&[]).on(&db).on_terminal(24, 80);
        terminal.until("q quits");
        signal(name, terminal.pid());
        assert_eq!(terminal.exit(), exit, "{name}");
        assert_given_back(&terminal);
    }
}

#[test]
fn it_goes_on_when_the_server_comes_back() {
    let cluster = Cluster::start(&[]);
    let mut s = cluster.session("postgres");
    s.run("create extension mosaic_backlog_ext");
    s.create("A1");
    let mut terminal = watch(&[])
        .env("DATABASE_URL", cluster.url("postgres", "postgres"))
        .on_terminal(24, 100);
    terminal.until("1 ready");
    cluster.crash();
    let text = terminal.until("trying again");
    // What was known last stays on the screen.
    assert!(
        text.contains("no news for") && text.contains("1 ready"),
        "{text}"
    );
    cluster.resume();
    cluster.session("postgres").create("A2");
    let text = terminal.until("2 ready");
    assert!(!text.contains("trying again"), "{text}");
    // The keys work while the server is away.
    cluster.crash();
    terminal.until("trying again");
    terminal.press("q");
    assert_eq!(terminal.exit(), 0);
    assert_given_back(&terminal);
}

#[test]
fn watching_does_not_start_an_embedded_server_that_was_stopped() {
    let home = Home::new();
    let stop = |home: &Home| mosaic(&["db", "stop"]).at(home).run();
    let mut terminal = watch(&[]).at(&home).on_terminal(24, 100);
    terminal.until("0 ready");
    assert_eq!(stop(&home).exit, 0);
    terminal.until("the embedded server does not run");
    assert_eq!(home.server(), None);
    let made = mosaic(&["backlog", "create", "First"]).at(&home).run();
    assert_eq!(made.exit, 0, "{made:?}");
    terminal.until("1 ready");
    terminal.press("q");
    assert_eq!(terminal.exit(), 0);
}

#[test]
fn what_others_wrote_does_not_drive_the_terminal() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select from mosaic.backlog_create(E'evil \\x1b]0;owned\\x07 title', id => 'A1');
         select from mosaic.backlog_create('t', id => 'A2');
         select from mosaic.backlog_block('A2', E'why \\x1b[2J \\u009b31m');
         select from mosaic.backlog_claim('w1')",
    );
    let terminal = watch(&[]).on(&db).on_terminal(24, 120);
    let text = terminal.until("q quits");
    assert!(text.contains("evil ]0;owned title"), "{text}");
    let written = String::from_utf8_lossy(&terminal.written()).into_owned();
    for part in ["\x1b]0;", "\x1b[5m", "\u{9b}31m"] {
        assert!(!written.contains(part), "{part:?}");
    }
}

#[test]
fn without_colour_there_is_none() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create("A1");
    s.claim("A1", "w1");
    let colours = |name: &str| {
        let terminal = watch(&[]).on(&db).env(name, "1").on_terminal(24, 80);
        terminal.until("LEASES 1");
        let written = String::from_utf8_lossy(&terminal.written()).into_owned();
        ["\x1b[3", "\x1b[38;", "\x1b[1m", "\x1b[2m"]
            .iter()
            .any(|begin| written.contains(begin) && begin.ends_with('m') || has_colour(&written))
    };
    assert!(colours("OTHER"));
    assert!(!colours("NO_COLOR"));
}

/// A foreground colour other than the usual one.
fn has_colour(written: &str) -> bool {
    written.split("\x1b[").skip(1).any(|rest| {
        let code = rest.split('m').next().unwrap_or_default();
        code.starts_with("38;") || (code.len() == 2 && code.starts_with('3') && code != "39")
    })
}

#[test]
fn without_a_terminal_it_names_the_stream() {
    let db = Database::fresh();
    let outcome = watch(&[]).on(&db).run();
    assert_eq!(outcome.exit, 2, "{outcome:?}");
    assert!(
        outcome.stderr.contains("mosaic backlog watch --json"),
        "{outcome:?}"
    );
    for (more, exit) in [
        (&["A1"][..], 2),
        (&["--after", "1"], 2),
        (&["--from-start"], 2),
    ] {
        let mut terminal = watch(more).on(&db).on_terminal(24, 80);
        terminal.until("--json");
        assert_eq!(terminal.exit(), exit, "{more:?}");
        assert_given_back(&terminal);
    }
}

#[test]
fn a_database_that_was_never_there_is_an_error_as_usual() {
    let mut terminal = watch(&[])
        .env("DATABASE_URL", "postgresql://postgres@127.0.0.1:1/postgres")
        .on_terminal(24, 80);
    terminal.until("error: ");
    assert_eq!(terminal.exit(), 4);
    assert_given_back(&terminal);
}
