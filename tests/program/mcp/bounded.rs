//! Answers that a client can take, and the rest of what was cut.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::mosaic;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use super::client::Client;
use super::raw::Raw;

/// The call in the mark of a text that was cut: its tool and its arguments.
#[track_caller]
fn rest(text: &Value) -> (String, Value) {
    let text = text.as_str().expect("a text");
    let (_, mark) = text.rsplit_once("[cut: ").expect("a mark");
    let (_, call) = mark.split_once("; backlog_").expect("a call");
    let (tool, arguments) = call.split_once(' ').expect("arguments");
    let end = arguments.rfind('}').expect("an end");
    let arguments = serde_json::from_str(&arguments[..=end]).expect("JSON");
    (tool.to_owned(), arguments)
}

/// What stands before the mark, and what the calls give that it names.
fn whole(client: &Client, cut: &Value) -> String {
    let (tool, mut arguments) = rest(cut);
    let text = cut.as_str().expect("a text");
    let at = arguments["offset"].as_u64().expect("an offset") as usize;
    let mut whole: String = text.chars().take(at).collect();
    loop {
        let part = client.call(&tool, arguments.clone());
        whole += part["text"].as_str().expect("a text");
        match part["next_offset"].as_u64() {
            Some(next) => arguments["offset"] = json!(next),
            None => return whole,
        }
    }
}

#[test]
fn answers_stay_below_20000_tokens_with_the_token_in_the_first_kilobyte() {
    let db = Database::fresh();
    let body = "\"é\\\n".repeat(200_000);
    let mut s = db.session();
    for n in 0..30 {
        let create = "select from mosaic.backlog_create('t', body => repeat(E'\"é\\\\\\n', 200000),
            acceptance => jsonb_build_array(repeat('a', 100000)), id => 'A' || ";
        s.run(&format!("{create} {n})"));
    }
    let mut raw = Raw::begin(
        mosaic(&["mcp", "--worker", "w"]).on_as(&db, "worker"),
        "2025-06-18",
    );
    let client = Client::on(&db, "w");
    for (tool, arguments) in [
        ("backlog_claim", json!({})),
        ("backlog_claim", json!({"max_cards": 20})),
        ("backlog_show", json!({"id": "A0"})),
        (
            "backlog_show",
            json!({"id": "A0", "fields": ["body"], "offset": 0}),
        ),
        (
            "backlog_list",
            json!({"fields": ["id", "body", "acceptance"]}),
        ),
    ] {
        let answer = raw.call(tool, arguments.clone());
        let result = &answer["result"];
        assert_eq!(result["isError"], false, "{tool}");
        let length = answer.to_string().len();
        assert!(length / 4 <= 20_000, "{tool} {arguments}: {length} bytes");
        let text = result["content"][0]["text"].as_str().expect("a text");
        if tool == "backlog_claim" {
            for card in result["structuredContent"]["cards"]
                .as_array()
                .expect("cards")
            {
                let tokens = format!(
                    "\"{}\":{}",
                    card["id"].as_str().expect("an id"),
                    card["claim_token"]
                );
                let token = format!("\"claim_token\":{}", card["claim_token"]);
                let first = &text[..text.floor_char_boundary(1024)];
                assert!(first.contains(&tokens) || first.contains(&token), "{first}");
                let cut = &card["body"];
                assert_eq!(rest(cut).0, "show");
            }
        }
    }
    let shown = client.call("show", json!({"id": "A0"}));
    assert!(whole(&client, &shown["card"]["body"]) == body);
    let acceptance = whole(
        &client,
        &client.call(
            "show",
            json!({"id": "A0", "fields": ["acceptance", "body"]}),
        )["card"]["acceptance"],
    );
    assert_eq!(acceptance, format!("[\"{}\"]", "a".repeat(100_000)));
}

#[test]
fn a_page_that_was_cut_goes_on_with_its_next_one() {
    let db = Database::fresh();
    db.session().run(
        "select from generate_series(1, 300) n,
        lateral mosaic.backlog_create(repeat('t', 400), id => 'A' || n)",
    );
    let client = Client::on(&db, "w");
    let mut ids = 0;
    let mut after = Value::Null;
    loop {
        let page = client.call("list", json!({"max_cards": 300, "after": after}));
        ids += page["cards"].as_array().expect("cards").len();
        match &page["next"] {
            Value::Null => break,
            next => after = next.clone(),
        }
    }
    assert_eq!(ids, 300);
}

#[test]
fn a_long_reason_is_read_to_its_end() {
    let db = Database::fresh();
    let client = Client::on(&db, "w");
    let reason = "\u{1F4A5}\"".repeat(5_000);
    for id in ["A", "B"] {
        db.session().create(id);
        let claimed = client.call("claim", json!({"id": id}));
        let token = claimed["cards"][0]["claim_token"].clone();
        client.call(
            "fail",
            json!({"id": id, "claim_token": token, "reason": reason, "retry_in": "0s"}),
        );
    }
    // What happens is told once no older transaction of the server runs.
    let failed: Vec<Value> = wait::until("both failures are in the history", || {
        let events = client.call("events", json!({}));
        let events = events["events"].as_array().expect("events");
        let failed = events.iter().filter(|event| event["kind"] == "failed");
        let failed: Vec<Value> = failed.cloned().collect();
        (failed.len() == 2).then_some(failed)
    });
    for event in failed {
        let detail = whole(&client, &event["detail"]);
        let detail: Value = serde_json::from_str(&detail).expect("JSON");
        assert!(detail["reason"] == json!(reason));
    }
}
