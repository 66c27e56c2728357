//! A server of somebody else's: first use, and what is missing there.

use mosaic_backlog_tests::calls::together;
use mosaic_backlog_tests::cluster::Cluster;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder;
use mosaic_backlog_tests::installation::Installation;
use mosaic_backlog_tests::pooler::Pooler;
use mosaic_backlog_tests::program::{backlog, mosaic};

#[test]
fn the_first_use_installs_the_extension() {
    let db = Database::bare();
    let document = backlog(&["create", "t", "--id", "A"]).on(&db).json();
    assert_eq!(document["created"], true);
    assert_eq!(db.session().status("A"), "ready");
}

#[test]
fn first_uses_at_the_same_moment_all_succeed() {
    let db = Database::bare();
    let answers = together(&db, 10, |number, _| {
        backlog(&["create", "t", "--id", &format!("c{number}")])
            .on(&db)
            .run()
    });
    for answer in answers {
        answer.json(0);
    }
    assert_eq!(
        db.session().number("select count(*) from mosaic.backlog"),
        10
    );
}

#[test]
fn a_role_without_the_right_hears_what_an_administrator_has_to_do() {
    let db = Database::bare();
    let document = backlog(&["list"]).on_as(&db, "stranger").run().json(4);
    let error = &document["error"];
    assert_eq!(error["code"], "unauthorized");
    assert!(
        error["message"]
            .as_str()
            .expect("text")
            .contains("stranger"),
        "{error}"
    );
    assert!(
        error["hint"]
            .as_str()
            .expect("text")
            .contains("create extension"),
        "{error}"
    );
    assert_eq!(
        db.session()
            .number("select count(*) from pg_namespace where nspname = 'mosaic'"),
        0
    );
}

#[test]
fn a_server_without_the_extensions_files_is_told_apart_from_a_missing_right() {
    let installation = Installation::copy();
    installation.remove_extension();
    let cluster = Cluster::start_from(installation.bin(), &[]);
    let url = cluster.url("postgres", "postgres");
    for call in [&["list"][..], &["create", "t"], &["claim"]] {
        let document = backlog(call).env("DATABASE_URL", &url).run().json(4);
        let error = &document["error"];
        assert!(
            error["message"].as_str().expect("text").contains("files"),
            "{error}"
        );
        assert!(
            error["hint"]
                .as_str()
                .expect("text")
                .contains("install.sh --pg-config"),
            "{error}"
        );
        assert_eq!(error["retryable"], false);
    }
    let outcome = mosaic(&["db", "migrate", "--json"])
        .env("DATABASE_URL", &url)
        .run();
    assert_eq!(outcome.exit, 4, "{outcome:?}");
    assert_eq!(
        cluster
            .session("postgres")
            .number("select count(*) from pg_namespace where nspname = 'mosaic'"),
        0
    );
    drop(cluster);
}

#[test]
fn a_server_that_is_too_old_is_refused_and_left_alone() {
    let db = Database::bare();
    // The server says so to this role.
    db.session().run(&format!(
        "create schema old;
         create function old.current_setting(text) returns text language sql as
           $$ select case when $1 = 'server_version_num' then '140012' else '14.12' end $$;
         alter database {} set search_path = old, pg_catalog",
        db.name()
    ));
    let document = backlog(&["list"]).on(&db).run().json(4);
    assert!(
        document["error"]["message"]
            .as_str()
            .expect("text")
            .contains("14.12"),
        "{document}"
    );
    assert!(
        document["error"]["message"]
            .as_str()
            .expect("text")
            .contains("too old"),
        "{document}"
    );
    assert_eq!(
        db.session()
            .number("select count(*) from pg_catalog.pg_namespace where nspname = 'mosaic'"),
        0
    );
}

#[test]
fn migrate_installs_the_extension_and_is_repeatable() {
    let db = Database::bare();
    let first = mosaic(&["db", "migrate", "--json"]).on(&db).json();
    assert_eq!(first["from"], serde_json::Value::Null);
    assert_eq!(first["changed"], true);
    let second = mosaic(&["db", "migrate", "--json"]).on(&db).json();
    assert_eq!(second["from"], first["to"]);
    assert_eq!(second["changed"], false);
}

#[test]
fn the_flag_goes_before_the_variable() {
    let (flag, variable) = (Database::fresh(), Database::fresh());
    backlog(&[
        "create",
        "t",
        "--id",
        "A",
        "--database-url",
        &flag.url("postgres"),
    ])
    .on(&variable)
    .json();
    assert_eq!(
        flag.session().number("select count(*) from mosaic.backlog"),
        1
    );
    assert_eq!(
        variable
            .session()
            .number("select count(*) from mosaic.backlog"),
        0
    );
}

#[test]
fn key_value_strings_and_a_service_are_understood() {
    let db = Database::fresh();
    let host = db.cluster().folder().display().to_string();
    let text = format!("host={host} port=5432 user=postgres dbname={}", db.name());
    backlog(&["list"]).env("DATABASE_URL", &text).json();
    let folder = folder::create();
    let file = folder.join("services");
    std::fs::write(
        &file,
        format!(
            "[backlog]\nhost={host}\nport=5432\nuser=postgres\ndbname={}\n",
            db.name()
        ),
    )
    .expect("write");
    backlog(&["list"])
        .env("DATABASE_URL", "service=backlog")
        .env("PGSERVICEFILE", &file)
        .json();
}

#[test]
fn the_gateways_variable_is_warned_about_and_not_used() {
    let db = Database::fresh();
    let home = mosaic_backlog_tests::home::Home::new();
    let outcome = backlog(&["stats"])
        .at(&home)
        .env("MOSAIC_DATABASE_URL", db.url("postgres"))
        .run();
    assert!(
        outcome.stderr.contains("MOSAIC_DATABASE_URL"),
        "{outcome:?}"
    );
    outcome.json(0);
    let outcome = backlog(&["stats"])
        .on(&db)
        .env("MOSAIC_DATABASE_URL", "postgresql://nowhere")
        .run();
    assert_eq!(outcome.stderr, "");
    outcome.json(0);
}

#[test]
fn a_password_is_warned_about_on_the_command_line_and_never_shown() {
    let secret = "s3cr3t-w0rd";
    for address in [
        format!("postgresql://postgres:{secret}@127.0.0.1:1/db"),
        format!("host=127.0.0.1 port=1 user=postgres password={secret}"),
        format!("postgresql://postgres:{secret}@127.0.0.1:port/db"),
        format!("postgresql://postgres@127.0.0.1:1/db?password={secret}"),
    ] {
        for json in [&["--json"][..], &[]] {
            let mut flag = vec!["backlog", "list", "--database-url", &address];
            flag.extend(json);
            let outcome = mosaic(&flag).run();
            assert!([2, 4].contains(&outcome.exit), "{outcome:?}");
            assert!(
                !outcome.stdout.contains(secret) && !outcome.stderr.contains(secret),
                "{outcome:?}"
            );
            let mut variable = vec!["backlog", "list"];
            variable.extend(json);
            let outcome = mosaic(&variable).env("DATABASE_URL", &address).run();
            assert!(
                !outcome.stdout.contains(secret) && !outcome.stderr.contains(secret),
                "{outcome:?}"
            );
            assert!(!outcome.stderr.contains("visible"), "{outcome:?}");
        }
    }
    let address = format!("postgresql://postgres:{secret}@127.0.0.1:1/db");
    let outcome = mosaic(&["backlog", "list", "--database-url", &address]).run();
    assert!(outcome.stderr.contains("warning"), "{outcome:?}");
}

#[test]
fn a_password_with_quotes_blanks_or_backslashes_is_not_shown_either() {
    for address in [
        "postgresql://u:first'second@127.0.0.1:1/db",
        "postgresql://u:first\"second@127.0.0.1:1/db",
        "postgresql://u:first`second@127.0.0.1:1/db",
        "postgresql://u:first second@127.0.0.1:1/db",
        "postgresql://u@127.0.0.1:1/db?password=first'second",
        r"host=127.0.0.1 port=1 password='first\'second'",
        r"host=127.0.0.1 port=1 password='first\'second",
        r"host=127.0.0.1 port=1 password=first\ second",
        "host=127.0.0.1 port=1 password=first'second",
        "host=127.0.0.1 port=1 password = 'first second'",
    ] {
        // As an address, and in a place where it is only quoted back.
        for call in [
            &["backlog", "list", "--database-url", address][..],
            &["backlog", "list", address],
            &["backlog", "show", address, address],
            &[address],
            &["backlog", "list", "--status", address],
            &["db", "stop", "--database-url", address],
        ] {
            for flag in ["--json", "--verbose"] {
                let mut call = call.to_vec();
                call.push(flag);
                let outcome = mosaic(&call).run();
                assert!([2, 4].contains(&outcome.exit), "{call:?}: {outcome:?}");
                for part in ["first", "second"] {
                    assert!(
                        !outcome.stdout.contains(part) && !outcome.stderr.contains(part),
                        "{call:?}: {outcome:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_program_works_through_a_transaction_pooler() {
    let db = Database::fresh();
    let pooler = Pooler::start(&db, 2);
    let call = |arguments: &[&str]| backlog(arguments).env("DATABASE_URL", pooler.url("operator"));
    call(&["create", "t", "--id", "A"]).json();
    let claimed = call(&["claim", "--worker", "w"]).json();
    let token = claimed["cards"][0]["claim_token"].to_string();
    call(&["renew", "A", "--token", &token]).json();
    call(&["complete", "A", "--token", &token]).json();
    assert_eq!(
        call(&["claim"]).run().json(3)["cards"],
        serde_json::json!([])
    );
    for verb in ["list", "stats", "events"] {
        call(&[verb]).json();
    }
}
