//! `list` as people and programs see it: what is open, and a word about the rest.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};

fn db() -> Database {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 60);
    for number in 1..=54 {
        s.complete(&format!("c{number}"));
    }
    s.run("select from mosaic.backlog_cancel('c55', 'why')");
    s.run("select from mosaic.backlog_block('c56', 'why')");
    s.claim("c57", "w");
    db
}

fn ids(db: &Database, flags: &[&str]) -> Vec<String> {
    let call = [&["backlog", "list", "--quiet"], flags].concat();
    let outcome = mosaic(&call).on_as(db, "reader").run();
    assert_eq!(outcome.exit, 0, "{outcome:?}");
    outcome.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn what_is_done_does_not_hide_what_is_open() {
    let db = db();
    let open = ["c56", "c57", "c58", "c59", "c60"];
    assert_eq!(ids(&db, &[]), open);
    let document = backlog(&["list", "--count"]).on(&db).json();
    assert_eq!(document["total"], 5);
    assert_eq!(
        document.as_object().expect("an object").len(),
        3,
        "{document}"
    );
    assert_eq!(ids(&db, &["--all", "--limit", "100"]).len(), 60);
    assert_eq!(
        ids(&db, &["--status", "done,cancelled", "--limit", "100"]).len(),
        55
    );
    assert_eq!(ids(&db, &["--owner", "w"]), ["c57"]);
    for call in [
        &["list", "--all", "--ready"][..],
        &["list", "--all", "--status", "done"],
    ] {
        assert_eq!(backlog(call).on(&db).code(2), "usage");
    }
}

#[test]
fn the_footer_says_what_is_left_out() {
    let db = db();
    let footer = |flags: &[&str]| {
        let call = [&["backlog", "list"], flags].concat();
        let stdout = mosaic(&call).on_as(&db, "reader").run().stdout;
        stdout.lines().last().expect("a footer").to_owned()
    };
    assert_eq!(
        footer(&[]),
        "5 of 5; 55 cards are done or cancelled, --all shows them"
    );
    assert!(
        footer(&["--limit", "2"]).ends_with("; 55 cards are done or cancelled, --all shows them")
    );
    assert_eq!(footer(&["--status", "blocked"]), "1 of 1");
    assert_eq!(footer(&["--ready"]), "3 of 3");
    assert_eq!(footer(&["--owner", "w"]), "1 of 1");
    assert_eq!(footer(&["--label", "none"]), "no cards");
    assert_eq!(footer(&["--all", "--limit", "60"]), "60 of 60");
    db.session().run(
        "select from mosaic.backlog c cross join lateral mosaic.backlog_cancel(c.id, 'why', force => true)
         where c.status not in ('done', 'cancelled')",
    );
    assert_eq!(
        footer(&[]),
        "no open cards; 60 cards are done or cancelled, --all shows them"
    );
}

#[test]
fn a_comma_parts_two_labels() {
    let db = Database::fresh();
    let card = &backlog(&[
        "create",
        "t",
        "--id",
        "A",
        "--label",
        "a,b",
        "--requires",
        "gpu, net",
    ])
    .on(&db)
    .json()["card"];
    assert_eq!(card["labels"], serde_json::json!(["a", "b"]));
    assert_eq!(card["requires"], serde_json::json!(["gpu", "net"]));
    let card = &backlog(&["create", "t", "--id", "B"]).on(&db).json()["card"];
    assert_eq!(card["labels"], serde_json::json!([]));
    let card = &backlog(&["create", "t", "--id", "C", "--needs", "A,B"])
        .on(&db)
        .json()["card"];
    assert_eq!(card["depends_on"], serde_json::json!(["A", "B"]));
    backlog(&["link", "B", "--needs", "A"]).on(&db).json();
    assert_eq!(
        backlog(&["list", "--label", "b,a"]).on(&db).json()["cards"][0]["id"],
        "A"
    );
    let card = &backlog(&["update", "B", "--label", "x,y"]).on(&db).json()["card"];
    assert_eq!(card["labels"], serde_json::json!(["x", "y"]));
    let claimed = backlog(&[
        "claim", "--worker", "w", "--offers", "net,gpu", "--label", "a,b",
    ])
    .on(&db)
    .json();
    assert_eq!(claimed["cards"][0]["id"], "A");
    for call in [
        &["create", "t", "--label", "a,"][..],
        &["list", "--label", ",a"],
        &["create", "t", "--needs", "A,,B"],
    ] {
        assert_eq!(backlog(call).on(&db).code(2), "usage", "{call:?}");
    }
}
