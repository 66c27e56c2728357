//! Homes in odd places, and of ordinary users.

use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::{account, folder};
use serde_json::json;

fn assert_works(home: &Home) {
    let document = backlog(&["create", "t", "--id", "A"]).at(home).json();
    assert_eq!(document["created"], true);
    backlog(&["claim", "A"]).at(home).json();
    assert_eq!(
        mosaic(&["db", "status", "--json"]).at(home).json()["data"],
        json!(home.data())
    );
    assert_eq!(home.servers().len(), 1);
    // And again after a restart.
    mosaic(&["db", "stop", "--json"]).at(home).json();
    assert_eq!(backlog(&["list", "--count"]).at(home).json()["total"], 1);
    let url = mosaic(&["db", "url"]).at(home).run().stdout;
    backlog(&["show", "A"])
        .env("DATABASE_URL", url.trim())
        .json();
}

#[test]
fn a_home_with_a_long_path_works() {
    assert_works(&Home::named(&format!(
        "{}/{}",
        "long".repeat(30),
        "longer".repeat(25)
    )));
}

#[test]
fn a_home_with_spaces_and_quotes_works() {
    for name in [
        "with some spaces",
        "it's \"quoted\", \\ and $HOME",
        "ключ-世界",
    ] {
        assert_works(&Home::named(name));
    }
}

#[test]
fn two_homes_have_nothing_to_do_with_each_other() {
    let (one, two) = (Home::new(), Home::new());
    backlog(&["create", "t", "--id", "A"]).at(&one).json();
    assert_eq!(backlog(&["list"]).at(&two).json()["cards"], json!([]));
    assert_ne!(one.server(), two.server());
}

#[test]
fn a_home_may_be_a_link() {
    let home = Home::new();
    backlog(&["create", "t", "--id", "A"]).at(&home).json();
    let link = home.path().parent().expect("a parent").join("link");
    std::os::unix::fs::symlink(home.path(), &link).expect("a link");
    let total = |call: mosaic_backlog_tests::program::Mosaic| call.json()["total"].clone();
    assert_eq!(
        total(
            backlog(&["list", "--count"])
                .at(&home)
                .env("MOSAIC_HOME", &link)
        ),
        1
    );
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn a_tilde_that_no_shell_expanded_is_the_home_folder() {
    let home = Home::named("user/backlog");
    let user = home.path().parent().expect("a parent").to_owned();
    std::fs::create_dir(&user).expect("a folder");
    let elsewhere = folder::create();
    let call = |arguments: &[&str], value: &str| {
        backlog(arguments)
            .env("HOME", &user)
            .env("MOSAIC_HOME", value)
            .within(&elsewhere)
            .json()
    };
    call(&["create", "t", "--id", "A"], "~/backlog");
    backlog(&["show", "A"]).at(&home).json();
    let link = user.join("link");
    std::os::unix::fs::symlink(home.path(), &link).expect("a link");
    let listed = backlog(&["list", "--count"])
        .env("HOME", &link)
        .env("MOSAIC_HOME", "~")
        .within(&elsewhere);
    assert_eq!(listed.json()["total"], 1);
    assert_eq!(home.servers().len(), 1);
    assert_eq!(std::fs::read_dir(&*elsewhere).expect("a folder").count(), 0);
}

#[test]
fn a_path_that_means_another_folder_in_every_working_folder_is_refused() {
    let home = Home::new();
    let folder = folder::create();
    for variable in ["MOSAIC_HOME", "MOSAIC_POSTGRES"] {
        for value in [
            "~anna/backlog",
            "~anna",
            "backlog",
            "./backlog",
            "../backlog",
            ".",
        ] {
            for arguments in [
                &["backlog", "list", "--json"][..],
                &["db", "status", "--json"],
            ] {
                let call = mosaic(arguments)
                    .at(&home)
                    .env(variable, value)
                    .within(&folder);
                let document = call.run().json(2);
                let error = &document["error"];
                assert_eq!(error["code"], "usage", "{variable}={value}: {error}");
                let message = error["message"].as_str().expect("a message");
                assert!(
                    message.contains(variable) && message.contains(value),
                    "{error}"
                );
                let hint = error["hint"].as_str().expect("a hint");
                assert!(hint.contains("Write "), "{error}");
                if value == "backlog" {
                    let whole = folder.canonicalize().expect("a folder").join(value);
                    assert!(hint.contains(&*whole.to_string_lossy()), "{error}");
                }
            }
        }
    }
    assert!(!home.path().exists());
    assert_eq!(std::fs::read_dir(&*folder).expect("a folder").count(), 0);
}

#[test]
fn without_a_home_folder_a_tilde_is_refused() {
    // Where a folder of that name would lie.
    let home = Home::named("~/backlog");
    let above = home.path().ancestors().nth(2).expect("a folder");
    let call = backlog(&["list"])
        .env("HOME", "relative")
        .env("MOSAIC_HOME", "~/backlog")
        .within(above);
    assert_eq!(call.run().json(2)["error"]["code"], "usage");
    assert!(!home.path().exists());
}

#[test]
fn a_tilde_behind_the_equals_sign_of_a_flag_is_the_home_folder_too() {
    let (user, elsewhere) = (folder::create(), folder::create());
    for (arguments, made) in [
        (&["man", "--output=~/man", "--json"][..], "man/mosaic.1"),
        (
            &["backlog", "prime", "--write=~/AGENTS.md", "--json"],
            "AGENTS.md",
        ),
    ] {
        let call = mosaic(arguments).env("HOME", &*user).within(&elsewhere);
        call.run().json(0);
        assert!(user.join(made).is_file(), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(&*elsewhere).expect("a folder").count(), 0);
}

#[test]
fn an_ordinary_user_has_a_backlog_in_the_home_folder() {
    let home = Home::named("user/.config/mosaic");
    let folder = home.path().ancestors().nth(2).expect("the user's folder");
    std::fs::create_dir(folder).expect("a folder");
    account::give(folder);
    let call = |arguments: &[&str]| {
        backlog(arguments).env("HOME", folder).with(|command| {
            account::serve(command);
        })
    };
    let document = call(&["create", "t", "--id", "A"]).json();
    assert_eq!(document["created"], true);
    assert!(home.data().join("PG_VERSION").exists());
    call(&["show", "A"]).json();
    assert_eq!(home.servers().len(), 1);
}

#[test]
fn root_may_look_into_an_ordinary_users_backlog() {
    let home = Home::new();
    std::fs::create_dir_all(home.path()).expect("a folder");
    account::give(home.path());
    backlog(&["create", "t", "--id", "A"])
        .at(&home)
        .with(|command| {
            account::serve(command);
        })
        .json();
    backlog(&["claim", "A", "--worker", "w"]).at(&home).json();
    mosaic(&["db", "stop", "--json"]).at(&home).json();
    backlog(&["show", "A"]).at(&home).json();
    // What root's calls made does not lock the owner out.
    backlog(&["list"])
        .at(&home)
        .with(|command| {
            account::serve(command);
        })
        .json();
}
