//! What the tools say about themselves.

use std::collections::HashMap;
use std::fs;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{mosaic, program};
use mosaic_backlog_tests::programs;
use serde_json::{Value, json};

use super::client::Client;

/// A page of the documentation.
fn page(name: &str) -> String {
    fs::read_to_string(programs::sources().join(name)).expect("a page")
}

#[test]
fn all_tools_together_take_fewer_than_2500_tokens() {
    let db = Database::fresh();
    let client = Client::on(&db, "w");
    let text = json!({"tools": client.tools()}).to_string();
    let tokens = crate::prime::tokens(&text);
    assert!((1..2_500).contains(&tokens), "{tokens} tokens: {text}");
    let instructions = client.instructions();
    let tokens = crate::prime::tokens(&instructions);
    assert!(tokens < 250, "{tokens} tokens: {instructions}");
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
    let tools = Client::on(&db, "w").tools();
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
    assert_eq!(
        names,
        [
            "claim",
            "renew",
            "complete",
            "fail",
            "release",
            "block",
            "unblock",
            "create",
            "create_many",
            "link",
            "list",
            "show",
            "why",
            "stats"
        ]
    );
    for tool in tools {
        let function = match tool.name.as_ref() {
            "show" => "backlog_get".to_owned(),
            name => format!("backlog_{name}"),
        };
        let (names, required) = &signatures[&function];
        let schema = tool.schema_as_json_value();
        assert_eq!(schema["additionalProperties"], false, "{function}");
        let properties = schema["properties"].as_object().expect("properties");
        for argument in properties.keys() {
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
        .map(|tool| tool.name.into_owned())
        .collect();
    assert_eq!(reading, ["list", "show", "why", "stats"]);
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
fn what_can_be_long_comes_with_claim_and_show_alone() {
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
    let real: Vec<String> = Client::on(&db, "w")
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
fn the_configuration_for_clients_starts_a_server() {
    let page = page("docs/agents.md");
    let (_, block) = page.split_once("```json\n").expect("a configuration");
    let (block, _) = block.split_once("```").expect("its end");
    let configuration: Value = serde_json::from_str(block).expect("JSON");
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
    for (name, value) in server["env"].as_object().expect("variables") {
        call = call.env(name, value.as_str().expect("a text"));
    }
    let (card, _) = Client::of(call).claim();
    assert_eq!(card["claim_owner"], server["env"]["MOSAIC_AGENT"]);
}
