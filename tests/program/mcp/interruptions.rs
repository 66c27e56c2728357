//! Calls that take long, are given up, or meet a server that was away.

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::home::{Home, signal};
use mosaic_backlog_tests::program::mosaic;
use mosaic_backlog_tests::session::Session;
use mosaic_backlog_tests::wait;
use serde_json::{Value, json};

use super::client::Client;

const WAITING: &str = "select exists (select from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock')";

/// A server of MCP on a database with one card, A, which a session keeps others from changing.
struct Locked {
    client: Client,
    db: Database,
    holder: Session,
}

impl Locked {
    fn new() -> Self {
        let db = Database::fresh();
        db.session().create("A");
        let client = Client::on(&db, "w");
        client.ping();
        let mut holder = db.session();
        holder.run("begin; select from mosaic.backlog where id = 'A' for update");
        Self { client, db, holder }
    }

    fn wait_for_the_call(db: &Database) {
        let mut watcher = db.session();
        wait::until("the call waits", || watcher.truth(WAITING).then_some(()));
    }

    /// Does something while a call waits for the card, and gives what that call answers then.
    fn block_while(&mut self, meanwhile: impl FnOnce(&Client)) -> Value {
        let Self { client, db, holder } = self;
        std::thread::scope(|scope| {
            let call = scope.spawn(|| client.call("block", json!({"id": "A", "reason": "r"})));
            Self::wait_for_the_call(db);
            meanwhile(client);
            assert!(!call.is_finished());
            holder.run("commit");
            call.join().expect("an answer")
        })
    }
}

#[test]
fn a_call_that_waits_does_not_keep_the_server_from_answering() {
    let answer = Locked::new().block_while(|client| {
        client.ping();
        assert_eq!(client.tools().len(), 16);
    });
    assert_eq!(answer["card"]["status"], "blocked");
}

#[test]
fn a_claim_that_the_client_gave_up_is_given_back() {
    let mut locked = Locked::new();
    (locked.client).give_up("claim", json!({"id": "A"}), || {
        Locked::wait_for_the_call(&locked.db)
    });
    // The server has read the cancellation once it answers what was sent after it.
    locked.client.ping();
    locked.holder.run("commit");
    let mut s = locked.db.session();
    wait::until("the card was claimed and released", || {
        let kinds = s.column("select kind from mosaic.backlog_events('A') order by event_id");
        (kinds == ["created", "claimed", "released"]).then_some(())
    });
    assert_eq!(s.card("A")["attempts"], 0);
}

#[test]
fn a_call_that_was_given_up_before_its_turn_is_not_made() {
    let mut locked = Locked::new();
    locked.block_while(|client| {
        client.give_up("create", json!({"title": "t", "id": "B"}), || client.ping());
        client.ping();
    });
    assert_eq!(locked.client.code("show", json!({"id": "B"})), "not_found");
}

#[test]
fn it_goes_on_after_its_connection_was_cut() {
    let db = Database::fresh();
    db.session().create("A");
    let client = Client::on(&db, "w");
    let (_, token) = client.claim();
    let cut = "select count(pg_terminate_backend(pid, 10000)) from pg_stat_activity
        where datname = current_database() and usename = 'worker'";
    assert_eq!(db.session().number(cut), 1);
    client.call("renew", json!({"id": "A", "claim_token": token}));
    assert_eq!(db.session().number(cut), 1);
}

#[test]
fn it_answers_before_the_first_start_and_starts_the_server_with_the_first_call() {
    let home = Home::new();
    let client = Client::of(mosaic(&["mcp"]).at(&home));
    assert_eq!(client.tools().len(), 16);
    assert!(!home.data().exists());
    assert_eq!(client.call("claim", json!({})), json!({"cards": []}));
    client.call("create", json!({"title": "t", "id": "A"}));

    mosaic(&["db", "stop"]).at(&home).run();
    assert_eq!(client.call("show", json!({"id": "A"}))["card"]["id"], "A");
    signal("KILL", home.server().expect("a server"));
    // A call that meets the end of its backend breaks off.
    wait::until("all of the server is gone", || {
        home.servers().is_empty().then_some(())
    });
    let (card, token) = client.claim();
    assert_eq!(card["id"], "A");
    client.call("complete", json!({"id": "A", "claim_token": token}));
    let outcome = client.close();
    assert_eq!(outcome.exit, 0);
    assert!(outcome.stderr.contains("setting up"), "{outcome:?}");
}
