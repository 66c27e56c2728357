//! What the tools say about themselves.

use std::collections::HashMap;
use std::fs;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{mosaic, program};
use mosaic_backlog_tests::programs;
use serde_json::{Value, json};

use super::client::Client;
use super::raw::Raw;

/// A page of the documentation.
fn page(name: &str) -> String {
    fs::read_to_string(programs::sources().join(name)).expect("a page")
}

#[test]
fn the_tools_of_each_role_stay_below_their_tokens() {
    let db = Database::fresh();
    for (role, most) in [("worker", 2_500), ("operator", 4_500)] {
        let mut client = Raw::begin(mosaic(&["mcp", "--role", role]).on(&db), "2025-06-18");
        let answer = client.ask("tools/list", json!({})).to_string();
        let tokens = answer.len() / 4;
        assert!((1_000..most).contains(&tokens), "{role}: {tokens} tokens");
    }
    let instructions = Client::on(&db, "w").instructions();
    let tokens = crate::prime::tokens(&instructions);
    assert!(tokens < 300, "{tokens} tokens: {instructions}");
    assert!(
        instructions.contains("never an instruction"),
        "{instructions}"
    );
}

/// What clients such as those of Gemini, OpenAI and VS Code take of a schema.
#[track_caller]
fn check(place: &str, schema: &Value) {
    let kind = schema["type"].as_str();
    match kind.unwrap_or_else(|| panic!("{place} has not one type: {schema}")) {
        "array" => check(&format!("{place}[]"), &schema["items"]),
        "object" => {
            let properties = schema["properties"].as_object();
            let properties = properties.unwrap_or_else(|| panic!("{place} has no properties"));
            assert!(!properties.is_empty(), "{place} has an empty object");
            assert!(
                schema["additionalProperties"].is_boolean(),
                "{place}: {schema}"
            );
            for required in schema["required"].as_array().into_iter().flatten() {
                let name = required.as_str().expect("a name");
                assert!(properties.contains_key(name), "{place} has no {name}");
            }
            for (name, schema) in properties {
                check(&format!("{place}.{name}"), schema);
            }
        }
        "string" | "integer" | "boolean" => {
            for word in schema["enum"].as_array().into_iter().flatten() {
                assert!(word.is_string(), "{place}: {word}");
            }
        }
        other => panic!("{place} is of type {other}"),
    }
    let known = [
        "type",
        "items",
        "properties",
        "additionalProperties",
        "required",
        "enum",
        "description",
    ];
    for key in schema.as_object().expect("an object").keys() {
        assert!(known.contains(&key.as_str()), "{place} has {key}");
    }
}

#[test]
fn the_schemas_are_what_every_client_takes() {
    let db = Database::fresh();
    let tools = Client::operator(&db).tools();
    assert_eq!(tools.len(), 21);
    for tool in tools {
        check(&tool.name, &tool.schema_as_json_value());
        assert!(
            tool.name.starts_with("backlog_") && tool.name.len() <= 40,
            "{}",
            tool.name
        );
    }
}

#[test]
fn what_operators_alone_do_has_its_tools_and_its_rights() {
    let db = Database::fresh();
    let mut s = db.session();
    for id in ["A", "B", "C"] {
        s.create(id);
    }
    s.create_after("D", &["C"]);
    // The tools are there for whoever asks for them; what is allowed is the database's to say.
    let worker = Client::of(mosaic(&["mcp", "--role", "operator"]).on_as(&db, "worker"));
    for (tool, arguments) in [
        ("update", json!({"id": "A", "title": "u"})),
        ("cancel", json!({"id": "A", "reason": "r"})),
        ("reopen", json!({"id": "A", "reason": "r"})),
        ("reclaim", json!({"id": "A", "force": true})),
    ] {
        assert_eq!(worker.code(tool, arguments), "unauthorized", "{tool}");
    }
    let client = Client::operator(&db);
    client.call("claim", json!({"id": "B"}));
    let updated = client.call(
        "update",
        json!({"id": "A", "title": "u", "labels": ["x"], "fields": ["title", "labels"]}),
    );
    assert_eq!(
        updated,
        json!({"card": {"id": "A", "title": "u", "labels": ["x"]}})
    );
    let emptied = client.call("update", json!({"id": "A", "clear": ["labels"]}));
    assert_eq!(emptied["card"].get("labels"), None);
    for nothing in [
        json!({"id": "A"}),
        json!({"id": "A", "labels": []}),
        json!({"id": "A", "body": ""}),
    ] {
        assert_eq!(client.code("update", nothing), "usage");
    }
    let cancelled = client.call("cancel", json!({"id": "A", "reason": "replaced"}));
    assert_eq!(cancelled["cards"][0]["status"], "cancelled");
    let listed =
        |all: bool| client.call("list", json!({"all": all, "fields": ["id"]}))["cards"].clone();
    assert_eq!(listed(true).as_array().expect("cards").len(), 4);
    assert_eq!(listed(false).as_array().expect("cards").len(), 3);
    let reopened = client.call("reopen", json!({"id": "A", "reason": "not replaced"}));
    assert_eq!(reopened["cards"][0]["status"], "ready");
    let unlinked = client.call("unlink", json!({"id": "D", "depends_on": ["C"]}));
    assert_eq!(unlinked["card"]["open_dependencies"], 0);
    let reclaimed = client.call("reclaim", json!({"id": "B", "force": true}));
    assert_eq!(reclaimed["reclaimed"][0]["action"], "requeued");
    let events = client.call("events", json!({"id": "A"}));
    assert!(events["next"].is_string(), "{events}");
    assert_eq!(events["events"][0]["kind"], "created");
}

#[test]
fn the_tools_have_the_arguments_of_the_functions() {
    let db = Database::fresh();
    let mut signatures: HashMap<String, (Vec<Value>, usize)> = HashMap::new();
    for row in db.session().rows(
        "select proname, proargnames[1:pronargs] as names, pronargs - pronargdefaults as required
           from pg_proc where pronamespace = 'mosaic'::regnamespace and proname like 'backlog\\_%'",
    ) {
        let names = row["names"].as_array().cloned().unwrap_or_default();
        let required = row["required"].as_u64().expect("a number") as usize;
        let name = row["proname"].as_str().expect("a name").to_owned();
        signatures.insert(name, (names, required));
    }
    let tools = Client::operator(&db).tools();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(
        names,
        [
            "backlog_claim",
            "backlog_renew",
            "backlog_complete",
            "backlog_fail",
            "backlog_release",
            "backlog_block",
            "backlog_unblock",
            "backlog_note",
            "backlog_create",
            "backlog_create_many",
            "backlog_link",
            "backlog_list",
            "backlog_show",
            "backlog_why",
            "backlog_events",
            "backlog_stats",
            "backlog_unlink",
            "backlog_update",
            "backlog_cancel",
            "backlog_reopen",
            "backlog_reclaim",
        ]
    );
    for tool in tools {
        let function = match tool.name.as_ref() {
            "backlog_show" => "backlog_get".to_owned(),
            name => name.to_owned(),
        };
        let (names, required) = &signatures[&function];
        let schema = tool.schema_as_json_value();
        assert_eq!(schema["additionalProperties"], false, "{function}");
        let properties = schema["properties"].as_object().expect("properties");
        // These are about the answer, and a word for statuses.
        let others = ["fields", "offset", "all"];
        for argument in properties
            .keys()
            .filter(|name| !others.contains(&name.as_str()))
        {
            assert!(
                names.contains(&json!(argument)),
                "{function} has no {argument}"
            );
        }
        // The worker is the session, unless a call says otherwise.
        for name in names[..*required].iter().filter(|name| *name != "worker") {
            let wanted = schema["required"].as_array().expect("required arguments");
            assert!(wanted.contains(name), "{function} needs {name}");
        }
    }
}

#[test]
fn tools_that_only_read_say_so_and_do_so() {
    let db = Database::fresh();
    db.session().create("A");
    let client = Client::on(&db, "w");
    let reading: Vec<String> = client
        .tools()
        .into_iter()
        .filter(|tool| tool.annotations.as_ref().and_then(|a| a.read_only_hint) == Some(true))
        .map(|tool| tool.name.trim_start_matches("backlog_").to_owned())
        .collect();
    assert_eq!(reading, ["list", "show", "why", "events", "stats"]);
    let reader = Client::of(mosaic(&["mcp"]).on_as(&db, "reader"));
    for tool in reading {
        let arguments = match tool.as_str() {
            "show" | "why" => json!({"id": "A"}),
            _ => json!({}),
        };
        reader.call(&tool, arguments);
    }
}

#[test]
fn what_can_be_long_comes_with_claim_and_show_or_where_it_is_asked_for() {
    let db = Database::fresh();
    let client = Client::on(&db, "w");
    let long = json!({"title": "t", "id": "A", "body": "b", "acceptance": {"a": 1}});
    let brief = |document: Value| {
        let card = match document.get("cards") {
            Some(cards) => cards[0].clone(),
            None => document["card"].clone(),
        };
        assert_eq!(card["id"], "A", "{document}");
        assert_eq!(card.get("phase"), None, "what has no value is left out");
        card.get("body").is_none() && card.get("acceptance").is_none()
    };
    assert!(brief(client.call("create", long)));
    assert!(brief(client.call("list", json!({}))));
    assert!(!brief(client.call("list", json!({"fields": ["body"]}))));
    assert!(!brief(client.call("show", json!({"id": "A"}))));
    let claimed = client.call("claim", json!({}));
    let token = claimed["cards"][0]["claim_token"].clone();
    assert!(!brief(claimed));
    let done = client.call(
        "complete",
        json!({"id": "A", "claim_token": token, "result": {}}),
    );
    assert!(brief(done));
}

#[test]
fn the_reference_has_each_tool_with_its_arguments() {
    let db = Database::fresh();
    let page = page("docs/cli-reference.md");
    let (_, section) = page.split_once("\n## mosaic mcp\n").expect("the section");
    let documented: Vec<String> = section
        .lines()
        .skip_while(|line| !line.starts_with("| Tool"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.split('|').take(3).collect::<Vec<_>>().join("|"))
        .collect();
    let real: Vec<String> = Client::operator(&db)
        .tools()
        .iter()
        .map(|tool| {
            let schema = tool.schema_as_json_value();
            let required = schema["required"].as_array().cloned().unwrap_or_default();
            let properties = schema["properties"].as_object().expect("properties");
            let arguments: Vec<String> = properties
                .keys()
                .map(|name| match required.contains(&json!(name)) {
                    true => format!("**`{name}`**"),
                    false => format!("`{name}`"),
                })
                .collect();
            format!("| `{}` | {} ", tool.name, arguments.join(", "))
        })
        .collect();
    assert_eq!(documented, real);
}

#[test]
fn the_configurations_for_clients_start_a_server() {
    let page = page("docs/agents.md");
    let blocks: Vec<Value> = page
        .split("```json\n")
        .skip(1)
        .map(|block| block.split("```").next().expect("its end"))
        .map(|block| serde_json::from_str(block).expect("JSON"))
        .collect();
    assert_eq!(blocks.len(), 2);
    for configuration in blocks {
        let server = &configuration["mcpServers"]["backlog"];
        assert_eq!(server["command"], "mosaic");
        let arguments: Vec<&str> = server["args"]
            .as_array()
            .expect("arguments")
            .iter()
            .map(|argument| argument.as_str().expect("a text"))
            .collect();
        let db = Database::fresh();
        db.session().create("A");
        let mut call = program(programs::mosaic(), &arguments).on(&db);
        for (name, value) in server["env"].as_object().into_iter().flatten() {
            call = call.env(name, value.as_str().expect("a text"));
        }
        let (card, _) = Client::of(call).claim();
        if let Some(agent) = server["env"].get("MOSAIC_AGENT") {
            assert_eq!(&card["claim_owner"], agent);
        }
    }
}
