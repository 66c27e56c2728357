//! What agents do with the tools.

use std::sync::Barrier;
use std::thread;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::{backlog, mosaic};
use mosaic_backlog_tests::wait;
use rmcp::ClientLifecycleMode;
use rmcp::model::ProtocolVersion;
use serde_json::{Value, json};

use super::client::Client;

#[test]
fn cards_go_from_their_plan_to_their_end() {
    let db = Database::fresh();
    let planner = Client::on(&db, "planner");
    let plan = json!([
        {"title": "Decide", "id": "A1", "body": "Which format?", "acceptance": ["written down"]},
        {"title": "Parse", "id": "B1", "depends_on": ["A1"], "labels": ["parser"]},
    ]);
    assert_eq!(
        planner.call("create_many", json!({"cards": plan})),
        json!({"cards": [{"id": "A1", "created": true}, {"id": "B1", "created": true}]})
    );
    let extra = planner.call(
        "create",
        json!({"title": "Explain", "id": "B2", "priority": -1}),
    );
    assert_eq!(extra["created"], true);
    planner.call("link", json!({"id": "B2", "depends_on": ["B1"]}));

    let agent = Client::on(&db, "agent");
    let listed = agent.call("list", json!({"ready_only": true}));
    assert_eq!(listed["cards"].as_array().expect("cards").len(), 1);
    assert_eq!(listed["next"], Value::Null);
    let (card, token) = agent.claim();
    assert_eq!(card["id"], "A1");
    assert_eq!(card["claim_owner"], "agent");
    assert_eq!(card["body"], "Which format?");
    assert_eq!(card["acceptance"], json!(["written down"]));
    let held = json!({"id": "A1", "claim_token": token});
    let renewed = agent.call(
        "renew",
        json!({"id": "A1", "claim_token": token, "ttl": "2h"}),
    );
    assert_eq!(renewed["id"], "A1");
    assert!(renewed["claim_expires_at"].as_str() > card["claim_expires_at"].as_str());
    let why = agent.call("why", json!({"id": "B1"}));
    assert_eq!(why["claimable"], false);
    assert_eq!(why["reasons"][0]["owner"], "agent");
    assert_eq!(agent.call("claim", json!({})), json!({"cards": []}));

    let result = json!({"format": "TOML", "share": 0.1});
    let mut done = held.clone();
    done["result"] = result.clone();
    let completed = agent.call("complete", done.clone());
    assert_eq!(completed["card"]["status"], "done");
    assert_eq!(completed["unblocked"], json!(["B1"]));
    assert_eq!(agent.call("complete", done)["unblocked"], json!([]));
    assert_eq!(agent.code("renew", held), "claim_lost");

    let (card, token) = agent.claim();
    assert_eq!(
        card["dependencies"],
        json!([{"id": "A1", "title": "Decide", "result": result}])
    );
    let blocked = agent.call(
        "block",
        json!({"id": "B1", "claim_token": token, "reason": "which?", "kind": "input"}),
    );
    assert_eq!(blocked["card"]["block_reason"], "which?");
    planner.call("unblock", json!({"id": "B1"}));
    let (_, token) = agent.claim();
    agent.call(
        "fail",
        json!({"id": "B1", "claim_token": token, "reason": "the tests fail", "retry_in": "0s"}),
    );
    let (card, token) = agent.claim();
    assert_eq!(card["last_failure"], "the tests fail");
    let released = agent.call("release", json!({"id": "B1", "claim_token": token}));
    assert_eq!(released["card"]["attempts"], 1);
    assert_eq!(
        agent.call("show", json!({"id": "A1"}))["card"]["result"],
        result
    );
    let stats = agent.call("stats", json!({}));
    assert_eq!((&stats["done"], &stats["ready"]), (&json!(1), &json!(2)));
    assert_eq!(agent.close().exit, 0);
}

#[test]
fn history_names_the_session_and_each_of_its_workers() {
    let db = Database::fresh();
    db.session().create("A");
    db.session().create("B");
    let client = Client::on(&db, "lead");
    client.call("claim", json!({"id": "A", "worker": "sub"}));
    let (_, token) = client.claim();
    client.call("complete", json!({"id": "A", "claim_token": token - 1}));
    client.call("complete", json!({"id": "B", "claim_token": token}));
    // What happens is told once no older transaction of the server runs.
    let completed = wait::until("both completions are in the history", || {
        let events = backlog(&["events"]).on(&db).json();
        let completed: Vec<Value> = events["events"]
            .as_array()
            .expect("events")
            .iter()
            .filter(|event| event["kind"] == "completed")
            .map(|event| event["actor"].clone())
            .collect();
        (completed.len() == 2).then_some(completed)
    });
    assert_eq!(completed, ["sub", "lead"]);
}

#[test]
fn the_name_is_the_agents_or_one_of_the_sessions_own() {
    let db = Database::fresh();
    let owner = |client: &Client| client.claim().0["claim_owner"].as_str().unwrap().to_owned();
    for id in ["A", "B", "C"] {
        db.session().create(id);
    }
    let server = || mosaic(&["mcp"]).on_as(&db, "worker");
    assert_eq!(owner(&Client::of(server().env("MOSAIC_AGENT", "w7"))), "w7");
    let own = [owner(&Client::of(server())), owner(&Client::of(server()))];
    assert_ne!(own[0], own[1]);
    for name in own {
        assert!(name.contains('@') && name.contains("/mcp-"), "{name}");
    }
}

#[test]
fn of_clients_that_claim_one_card_at_the_same_moment_one_gets_it() {
    let db = Database::fresh();
    let mut s = db.session();
    let clients: Vec<Client> = (0..4).map(|n| Client::on(&db, &format!("w{n}"))).collect();
    for round in 0..10 {
        s.create(&format!("c{round}"));
        let start = Barrier::new(clients.len());
        let won: usize = thread::scope(|scope| {
            let claims: Vec<_> = clients
                .iter()
                .map(|client| {
                    scope.spawn(|| {
                        start.wait();
                        client.call("claim", json!({}))["cards"]
                            .as_array()
                            .unwrap()
                            .len()
                    })
                })
                .collect();
            claims.into_iter().map(|claim| claim.join().unwrap()).sum()
        });
        assert_eq!(won, 1, "round {round}");
    }
}

#[test]
fn calls_that_are_sent_at_once_run_in_their_order() {
    let db = Database::fresh();
    let lines: String = (1..=20)
        .map(|n| {
            let mut card = json!({"title": "t", "id": format!("c{n}")});
            if n > 1 {
                card["depends_on"] = json!([format!("c{}", n - 1)]);
            }
            let call = json!({"jsonrpc": "2.0", "id": n, "method": "tools/call",
                "params": {"name": "backlog_create", "arguments": card}});
            format!("{call}\n")
        })
        .collect();
    let begin = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"}}});
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let outcome = mosaic(&["mcp"])
        .on(&db)
        .input(&format!("{begin}\n{ready}\n{lines}"))
        .run();
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
    let answers: Vec<Value> = outcome
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("nothing but the protocol"))
        .collect();
    assert_eq!(answers.len(), 21);
    for answer in &answers[1..] {
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
}

#[test]
fn clients_of_the_newest_protocol_are_served_without_a_handshake() {
    let db = Database::fresh();
    db.session().create("A");
    let newest = ClientLifecycleMode::Discover {
        preferred_versions: vec![ProtocolVersion::V_2026_07_28],
    };
    let client = Client::begin(mosaic(&["mcp"]).on(&db), newest);
    assert_eq!(client.claim().0["id"], "A");
}

#[test]
fn what_is_noted_and_answered_reaches_the_next_agent_and_can_be_searched() {
    let db = Database::fresh();
    let (boss, first) = (Client::on(&db, "boss"), Client::on(&db, "first"));
    boss.call("create", json!({"title": "Parse", "id": "A"}));
    boss.call(
        "create",
        json!({"title": "Ship", "id": "B", "priority": -1}),
    );
    let (_, token) = first.claim();
    let noted = boss.call("note", json!({"id": "A", "note": "the old one is in git"}));
    let event = &noted["event"];
    assert_eq!(
        (&event["card_id"], &event["actor"]),
        (&json!("A"), &json!("boss"))
    );
    assert!(
        event["event_id"].is_i64() && event.get("detail").is_none(),
        "{event}"
    );
    let stale = json!({"id": "A", "note": "mine", "claim_token": token + 1});
    assert_eq!(boss.code("note", stale), "claim_lost");
    first.call(
        "renew",
        json!({"id": "A", "claim_token": token, "note": "half of it"}),
    );
    first.call(
        "block",
        json!({"id": "A", "claim_token": token, "reason": "tabs?", "kind": "input"}),
    );
    boss.call("unblock", json!({"id": "A", "answer": "spaces"}));
    let (card, _) = Client::on(&db, "second").claim();
    let texts: Vec<&Value> = card["notes"]
        .as_array()
        .expect("notes")
        .iter()
        .map(|note| &note["note"])
        .collect();
    assert_eq!(texts, ["the old one is in git", "half of it"]);
    assert_eq!(card["last_answer"], "spaces");
    let shown = boss.call("show", json!({"id": "A", "fields": ["notes_total"]}));
    assert_eq!(shown["card"]["notes_total"], 2);
    let found = boss.call("list", json!({"search": "GIT parse"}));
    assert_eq!(found["cards"][0]["id"], "A");
    assert_eq!(found["cards"].as_array().map(Vec::len), Some(1));
}
