//! The plans that hot calls run with, as `auto_explain` reports them from inside the functions.

use std::sync::{Arc, Mutex};

use mosaic_backlog_tests::cluster::SUPERUSER;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::session::Session;
use postgres::{Client, NoTls};
use serde_json::Value;

/// A session that reports the plan of each statement that it runs, also inside of functions.
struct Explained {
    client: Client,
    reported: Arc<Mutex<Vec<String>>>,
}

/// One statement with its plan.
struct Plan {
    sql: String,
    nodes: Vec<Value>,
}

impl Explained {
    fn on(db: &Database) -> Self {
        let reported = Arc::new(Mutex::new(Vec::new()));
        let mut config = db.config(SUPERUSER);
        let sink = Arc::clone(&reported);
        config.notice_callback(move |notice| {
            let text = notice.message();
            if let Some(at) = text.find('{').filter(|_| text.contains("plan:")) {
                sink.lock().expect("a lock").push(text[at..].to_owned());
            }
        });
        let mut client = config.connect(NoTls).expect("a connection");
        client
            .batch_execute(
                "load 'auto_explain'; set auto_explain.log_nested_statements = on;
                 set auto_explain.log_min_duration = 0; set auto_explain.log_format = json;
                 set auto_explain.log_analyze = on; set auto_explain.log_timing = off;
                 set auto_explain.log_buffers = on; set auto_explain.log_level = notice",
            )
            .expect("auto_explain");
        Explained { client, reported }
    }

    /// The plans of all statements of a call.
    fn call(&mut self, call: &str) -> Vec<Plan> {
        self.reported.lock().expect("a lock").clear();
        self.client
            .batch_execute(&format!("select * from mosaic.backlog_{call}"))
            .unwrap_or_else(|error| panic!("{call}: {error:?}"));
        let reported = self.reported.lock().expect("a lock");
        // The call itself, which ends last, is the sum of the others.
        let plans: Vec<Plan> = reported.iter().map(|text| Plan::read(text)).collect();
        assert!(!plans.is_empty(), "{call}: no plans");
        plans
    }
}

impl Plan {
    fn read(text: &str) -> Self {
        let report: Value = serde_json::from_str(text).expect("JSON");
        let mut nodes = Vec::new();
        gather(&report["Plan"], &mut nodes);
        Plan {
            sql: report["Query Text"].as_str().unwrap_or_default().to_owned(),
            nodes,
        }
    }

    /// Blocks that the whole statement touched.
    fn blocks(&self) -> i64 {
        ["Shared Hit Blocks", "Shared Read Blocks"]
            .iter()
            .map(|kind| self.nodes[0][*kind].as_i64().expect("a number of blocks"))
            .sum()
    }
}

fn gather(node: &Value, nodes: &mut Vec<Value>) {
    nodes.push(node.clone());
    for inner in node["Plans"].as_array().into_iter().flatten() {
        gather(inner, nodes);
    }
}

fn fill(s: &mut Session) {
    s.run(
        "set synchronous_commit = off;
         insert into mosaic.backlog (id, title, priority, phase, labels, created_at, updated_at, claimable_since)
         select 'c' || n, 't', n % 7, 'p' || n % 200, array['l' || n % 100], now(), now(), now()
         from generate_series(1, 50000) n;
         insert into mosaic.backlog_event (event_id, card_id, at, kind, actor, login_role, new_status, horizon)
         select nextval('mosaic.backlog_event_id_seq'), 'c' || n, now(), 'created', 'a', 'a', 'ready', '1'
         from generate_series(1, 50000) n",
    );
    for table in ["backlog", "backlog_dependency", "backlog_event"] {
        s.run(&format!("vacuum analyze mosaic.{table}"));
    }
}

/// Cards and events are written by statements, as somebody's triggers see to.
const BY_STATEMENT: &str = "create function pass() returns trigger language plpgsql as $$ begin return null; end $$;
     create trigger pass before insert or update on mosaic.backlog for each statement execute function pass();
     create trigger pass before insert on mosaic.backlog_event for each statement execute function pass()";

/// What a worker does with one card, and what an orchestrator adds.
fn hot_calls(explained: &mut Explained, id: &str) -> Vec<(String, Vec<Plan>)> {
    let mut seen = Vec::new();
    let mut call = |explained: &mut Explained, text: String| {
        let plans = explained.call(&text);
        seen.push((text, plans));
    };
    for filter in [
        "",
        ", phase => 'p7'",
        ", labels => '{l7}'",
        ", offers => '{gpu}'",
    ] {
        // The second finds what the first one's look gathered.
        for _ in 0..2 {
            call(explained, format!("claim('w'{filter})"));
        }
    }
    call(explained, format!("claim('w', id => '{id}')"));
    let token = format!("(select claim_token from mosaic.backlog where id = '{id}')");
    call(explained, format!("renew('{id}', {token})"));
    call(explained, format!("complete('{id}', {token})"));
    call(explained, "create('t')".into());
    call(explained, "reclaim()".into());
    seen
}

#[test]
fn no_statement_of_a_hot_call_scans_a_table_or_sorts_one() {
    let db = Database::fresh();
    fill(&mut db.session());
    let mut explained = Explained::on(&db);
    let mut seen = hot_calls(&mut explained, "c49999");
    db.session().run(BY_STATEMENT);
    let by_statement = hot_calls(&mut explained, "c49992");
    for (call, plans) in &by_statement {
        assert!(plans.len() > 1, "{call}: only {} plans", plans.len());
    }
    seen.extend(by_statement);
    for (call, plans) in seen {
        for plan in plans {
            for node in &plan.nodes {
                let kind = node["Node Type"].as_str().expect("a kind");
                let rows = node["Actual Rows"].as_f64().unwrap_or_default();
                assert_ne!(kind, "Seq Scan", "{call}: {}", plan.sql);
                assert!(
                    !kind.ends_with("Sort") || rows <= 100.0,
                    "{call} sorts {rows} rows: {}",
                    plan.sql
                );
            }
        }
    }
}

#[test]
fn beside_a_snapshot_no_statement_walks_over_what_was_claimed_completed_and_swept_before() {
    let db = Database::fresh();
    let mut s = db.session();
    fill(&mut s);
    let mut holder = db.session();
    holder.run("begin isolation level repeatable read; select from mosaic.backlog limit 1");
    // 20,000 cards are claimed; half is completed, half of the leases end and are swept.
    s.run(
        "do $$ begin
           for n in 1 .. 40 loop
             perform mosaic.backlog_complete(id, claim_token)
             from mosaic.backlog_claim('w', '1 hour', 250);
             perform from mosaic.backlog_claim('w', '1 hour', 250);
           end loop;
         end $$;
         set mosaic.clock = '2100-01-01';
         select from mosaic.backlog_reclaim(max_cards => 10000);
         select from mosaic.backlog_reclaim(max_cards => 10000)",
    );
    let swept = "select count(*) from mosaic.backlog_event where kind = 'lapsed'";
    assert_eq!(s.number(swept), 10_000);
    let mut explained = Explained::on(&db);
    // A new session plans anew, and its first calls read catalogues.
    for (day, id) in ["c49994", "c49987", "c49980", "c49973", "c49966"]
        .into_iter()
        .enumerate()
    {
        if day == 3 {
            s.run(BY_STATEMENT);
        }
        // Some leases end before each round, so that there is something to sweep.
        s.run("select from mosaic.backlog_claim('w', '1 second', 5)");
        let tomorrow = format!("set mosaic.clock = '2100-01-0{}'", day + 2);
        s.run(&tomorrow);
        explained.client.batch_execute(&tomorrow).expect("a clock");
        for (call, plans) in hot_calls(&mut explained, id) {
            let (sum, inner) = plans.split_last().expect("a plan");
            // What runs without a statement is told of the call alone.
            let alone = inner.is_empty().then_some(sum);
            for plan in inner.iter().chain(alone) {
                let blocks = plan.blocks();
                assert!(
                    day % 3 == 0 || blocks <= 300,
                    "{call} touched {blocks} blocks: {}",
                    plan.sql
                );
            }
        }
    }
    assert!(s.number(swept) >= 10_015);
    holder.run("rollback");
}

#[test]
fn creation_claim_and_completion_run_statements_only_beside_somebodys_triggers() {
    let db = Database::fresh();
    let mut s = db.session();
    s.create_numbered("c", 6);
    // The first looks for cards, the second for the ends of leases.
    s.run("select from mosaic.backlog_claim('w')");
    s.run("select from mosaic.backlog_claim('w')");
    let mut explained = Explained::on(&db);
    let calls = ["create('t')", "claim('w')", "complete('c1', 1)"];
    for call in calls {
        let plans = explained.call(call);
        // With the first number that it draws, and once a second, a session reads which are known.
        let reads_known = |sql: &&str| {
            let ends = ["event_id", "claim_token"].map(|of| format!("order by {of} desc limit"));
            ends.iter().any(|end| sql.contains(end))
        };
        let mut statements: Vec<&str> = plans.iter().map(|plan| plan.sql.as_str()).collect();
        statements.retain(|sql| !reads_known(sql));
        let alone = format!("select * from mosaic.backlog_{call}");
        assert_eq!(statements, [alone]);
    }
    s.run(BY_STATEMENT);
    for call in ["create('t')", "claim('w')", "complete('c2', 2)"] {
        assert!(explained.call(call).len() > 2, "{call}");
    }
}
