//! Homes in odd places, and of ordinary users.

use mosaic_backlog_tests::account;
use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::{backlog, mosaic};
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
fn a_home_may_be_a_link_or_a_relative_path() {
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
    let above = home.path().parent().expect("a parent").to_owned();
    let relative = backlog(&["list", "--count"])
        .at(&home)
        .env("MOSAIC_HOME", "home")
        .within(&above);
    assert_eq!(total(relative), 1);
    assert_eq!(home.servers().len(), 1);
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
