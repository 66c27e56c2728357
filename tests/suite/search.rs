//! A list that keeps cards with all words of a search.

use mosaic_backlog_tests::cards::quote;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use serde_json::json;

fn create(s: &mut Session, id: &str, title: &str, body: &str) {
    s.run(&format!(
        "select from mosaic.backlog_create({}, id => {}, body => {})",
        quote(title),
        quote(id),
        quote(body)
    ));
}

/// The ids of what a search finds, in their order.
fn found(s: &mut Session, words: &str) -> Vec<String> {
    found_with(s, words, "")
}

fn found_with(s: &mut Session, words: &str, more: &str) -> Vec<String> {
    let ids = s.column(&format!(
        "select id from mosaic.backlog_list(search => {}{more})",
        quote(words)
    ));
    ids.iter()
        .map(|id| id.as_str().expect("an id").to_owned())
        .collect()
}

#[test]
fn all_words_are_looked_for_in_id_title_body_and_notes() {
    let db = Database::fresh();
    let mut s = db.session();
    create(&mut s, "parse-1", "Read the config", "It is TOML.");
    create(&mut s, "B2", "Write the config", "It is YAML.");
    create(&mut s, "C3", "Ship it", "");
    s.run(
        "select from mosaic.backlog_note('B2', 'The quoting is odd');
         select from mosaic.backlog_note('B2', 'See issue 4711')",
    );
    for (words, ids) in [
        ("config", &["parse-1", "B2"][..]),
        ("PARSE", &["parse-1"]),
        ("config toml", &["parse-1"]),
        (" \n toml\tCONFIG ", &["parse-1"]),
        ("yaml quoting 4711", &["B2"]),
        ("b2 odd", &["B2"]),
        ("toml quoting", &[]),
        ("it", &["parse-1", "B2", "C3"]),
        ("read config it", &["parse-1"]),
        ("nothing", &[]),
        // Words are no sentence, and are not joined over the end of a text.
        ("configIt", &[]),
        ("the read", &["parse-1"]),
    ] {
        assert_eq!(found(&mut s, words), ids, "{words:?}");
    }
}

#[test]
fn no_character_of_a_search_is_special() {
    let db = Database::fresh();
    let mut s = db.session();
    for (id, title) in [
        ("percent", "done by 50%"),
        ("under", "snake_case"),
        ("slash", "C:\\temp"),
        ("quote", "it's \"quoted\""),
        ("regex", "a.*b [x] (y)"),
        ("plain", "nothing of it, 500 snakeXcase C:temp aXb"),
    ] {
        create(&mut s, id, title, "");
    }
    for (words, id) in [
        ("50%", "percent"),
        ("%", "percent"),
        ("e_c", "under"),
        ("_", "under"),
        ("\\", "slash"),
        (":\\t", "slash"),
        ("'", "quote"),
        ("\"quoted\"", "quote"),
        ("a.*b", "regex"),
        ("[x] (y)", "regex"),
    ] {
        assert_eq!(found(&mut s, words), [id], "{words}");
    }
}

#[test]
fn upper_and_lower_case_are_the_same_in_every_script_and_locale() {
    let db = Database::fresh();
    let mut s = db.session();
    for (id, title) in [
        ("turkish", "İstanbul kapısı"),
        ("german", "Große Straße"),
        ("greek", "ΟΔΟΣ Ὀδυσσεύς"),
        ("french", "Éléphant ÇA"),
        ("cyrillic", "Привет МИР"),
    ] {
        create(&mut s, id, title, "");
        s.run(&format!(
            "select from mosaic.backlog_note('{id}', {})",
            quote(&format!("<{title}>"))
        ));
    }
    for (words, id) in [
        ("istanbul", "turkish"),
        ("İSTANBUL", "turkish"),
        ("straße", "german"),
        ("STRASSE", "german"),
        ("GROSSE", "german"),
        ("οδος", "greek"),
        ("οδοσ", "greek"),
        ("éléphant ça", "french"),
        ("ÉLÉPHANT", "french"),
        ("привет мир", "cyrillic"),
        ("<ΠΡИ", ""),
        ("<ПРИВЕТ", "cyrillic"),
    ] {
        let ids: Vec<&str> = if id.is_empty() { vec![] } else { vec![id] };
        assert_eq!(found(&mut s, words), ids, "{words}");
    }
}

#[test]
fn a_search_goes_with_all_other_filters_pages_and_totals() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "select count(*) from mosaic.backlog_create_many((
           select jsonb_agg(jsonb_build_object('id', 'c' || n, 'title', case when n % 2 = 0 then 'even' else 'odd' end,
             'phase', case when n <= 50 then 'first' else 'second' end, 'labels', jsonb_build_array('l' || n % 5),
             'priority', n % 3) order by n) from generate_series(1, 100) n))",
    );
    s.run("select from mosaic.backlog_note('c1', 'even so')");
    assert_eq!(found_with(&mut s, "EVEN", ", max_cards => 1000").len(), 51);
    let expected: Vec<String> = (1..=50)
        .filter(|n| n % 10 == 0)
        .map(|n| format!("c{n}"))
        .collect();
    let mut ids = found_with(&mut s, "even", ", phase => 'first', labels => '{l0}'");
    ids.sort();
    let mut sorted = expected;
    sorted.sort();
    assert_eq!(ids, sorted);
    // Pages, one after the other, are the whole in the order of claims.
    let whole = found_with(&mut s, "even", ", max_cards => 1000");
    let mut paged = Vec::new();
    let mut after = "null".to_owned();
    loop {
        let page = s.rows(&format!(
            "select id, cursor, total from mosaic.backlog_list(search => 'even', max_cards => 7, after => {after}, with_total => true)"
        ));
        assert!(page.iter().all(|card| card["total"] == 51));
        paged.extend(
            page.iter()
                .map(|card| card["id"].as_str().expect("an id").to_owned()),
        );
        match page.last().and_then(|card| card["cursor"].as_str()) {
            Some(cursor) => after = quote(cursor),
            None => break,
        }
    }
    assert_eq!(paged, whole);
    let token = s.claim("c2", "w");
    assert_eq!(found_with(&mut s, "even", ", owner => 'w'"), ["c2"]);
    s.run(&format!(
        "select from mosaic.backlog_complete('c2', {token})"
    ));
    assert_eq!(
        found_with(&mut s, "c2 even", ", statuses => '{done}'"),
        ["c2"]
    );
    assert!(
        found_with(&mut s, "c2 even", "")
            .iter()
            .all(|id| id != "c2")
    );
    assert_eq!(
        found_with(&mut s, "even", ", ready_only => true, max_cards => 1000").len(),
        50
    );
}

#[test]
fn a_search_has_bounds() {
    let db = Database::fresh();
    let mut s = db.session();
    let twenty: Vec<String> = (1..=20).map(|n| format!("w{n}")).collect();
    create(&mut s, "A", &twenty.join(" "), "");
    assert_eq!(found(&mut s, &twenty.join(" ")), ["A"]);
    assert_eq!(found(&mut s, &"x".repeat(1024)), [""; 0]);
    for (words, says) in [
        (format!("{} w21", twenty.join(" ")), "21 words"),
        ("x".repeat(1025), "1025 bytes"),
        (String::new(), "empty"),
        (" \t\n".to_owned(), "empty"),
    ] {
        let refused = s.refusal(&format!(
            "select * from mosaic.backlog_list(search => {})",
            quote(&words)
        ));
        assert_eq!(refused.code, "invalid_argument");
        assert!(refused.message.contains(says), "{}", refused.message);
    }
    let all = s.row("select count(*) as n from mosaic.backlog_list(search => null)");
    assert_eq!(all, json!({"n": 1}));
}

#[test]
fn readers_may_search_and_nobody_may_call_what_compares() {
    let db = Database::fresh();
    let mut s = db.session();
    create(&mut s, "A", "title", "");
    assert_eq!(found(&mut db.session_as("reader"), "TITLE"), ["A"]);
    let refused = db
        .session_as("operator")
        .refusal("select mosaic.card_has_words('a', 'a', 'a', 'a')");
    assert_eq!(refused.sqlstate, "42501");
}
