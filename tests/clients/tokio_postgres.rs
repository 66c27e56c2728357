//! With tokio-postgres, by its blocking face `postgres`. It has no type for intervals: they are
//! given as text.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};
use postgres::types::{ToSql, Type};
use postgres::{Client, NoTls, Row};
use serde_json::{Value, json};
use uuid::Uuid;

type Argument<'a> = (&'a (dyn ToSql + Sync), Type);

const TEXT: &str = "It's \"quoted\", \\ slashed,\nin two lines, with ünïcode and 🃏";
const NAMES: [&str; 6] = [
    "a,b",
    "\"quoted\"",
    "{braced}",
    "back\\slash",
    "NULL",
    "ünï",
];

fn document() -> Value {
    json!({"text": TEXT, "list": [1, 2.5, null, true], "deep": {"empty": {}}, "big": 9_007_199_254_740_993_i64})
}

/// Says the types itself where a pooler may know nothing of prepared statements.
struct Connection {
    client: Client,
    pooled: bool,
}

impl Connection {
    fn open(url: &str, pooled: bool) -> Self {
        let client = Client::connect(url, NoTls).expect("a connection");
        Self { client, pooled }
    }

    fn rows(&mut self, query: &str, arguments: &[Argument]) -> Result<Vec<Row>, postgres::Error> {
        if self.pooled {
            return self.client.query_typed(query, arguments);
        }
        let (values, types): (Vec<_>, Vec<_>) = arguments.iter().cloned().unzip();
        let statement = self.client.prepare_typed(query, &types)?;
        self.client.query(&statement, &values)
    }

    fn one(&mut self, query: &str, arguments: &[Argument]) -> Row {
        let mut rows = self.rows(query, arguments).expect(query);
        assert_eq!(rows.len(), 1, "{query}");
        rows.remove(0)
    }

    fn create(&mut self, id: &str, more: &str) {
        let query = format!("select id from mosaic.backlog_create('t', id => '{id}'{more})");
        self.one(&query, &[]);
    }
}

pub fn conform(url: &str, pooled: bool) {
    let mut c = Connection::open(url, pooled);
    arguments(&mut c);
    nulls(&mut c);
    let token = claim(&mut c);
    renew(&mut c, token);
    stale(&mut c, token);
    complete(&mut c, token);
    events(&mut c);
    repeat(&mut c);
    transaction(&mut c);
    race(&mut c, url);
    prepared(&mut c);
}

fn arguments(c: &mut Connection) {
    c.create("Needed", "");
    let not_before: DateTime<Utc> = "2020-02-29T23:59:58.123456+05:30".parse().expect("a time");
    let (needs, requires, labels) = (vec!["Needed"], vec!["gpu"], NAMES.to_vec());
    let given = document();
    let arguments: [Argument; 13] = [
        (&"Every argument", Type::TEXT),
        (&"Every/1", Type::TEXT),
        (&TEXT, Type::TEXT),
        (&"build", Type::TEXT),
        (&-7_i32, Type::INT4),
        (&needs, Type::TEXT_ARRAY),
        (&labels, Type::TEXT_ARRAY),
        (&requires, Type::TEXT_ARRAY),
        (&given, Type::JSONB),
        (&"key 1", Type::TEXT),
        (&not_before, Type::TIMESTAMPTZ),
        (&3_i32, Type::INT4),
        (&"planner", Type::TEXT),
    ];
    let query = "select created, id, body, phase, priority, depends_on, labels, requires, acceptance, not_before,
                   max_attempts, open_dependencies, status::text as status
                 from mosaic.backlog_create($1, id => $2, body => $3, phase => $4, priority => $5, depends_on => $6,
                   labels => $7, requires => $8, acceptance => $9, idempotency_key => $10, not_before => $11,
                   max_attempts => $12, actor => $13)";
    let row = c.one(query, &arguments);
    assert!(row.get::<_, bool>("created"));
    assert_eq!(row.get::<_, &str>("id"), "Every/1");
    assert_eq!(row.get::<_, &str>("body"), TEXT);
    assert_eq!(row.get::<_, &str>("phase"), "build");
    assert_eq!(row.get::<_, i32>("priority"), -7);
    assert_eq!(row.get::<_, Vec<&str>>("depends_on"), needs);
    assert_eq!(
        BTreeSet::from_iter(row.get::<_, Vec<&str>>("labels")),
        BTreeSet::from(NAMES)
    );
    assert_eq!(row.get::<_, Vec<&str>>("requires"), requires);
    assert_eq!(row.get::<_, Value>("acceptance"), given);
    assert_eq!(row.get::<_, DateTime<Utc>>("not_before"), not_before);
    assert_eq!(row.get::<_, i32>("max_attempts"), 3);
    assert_eq!(row.get::<_, i32>("open_dependencies"), 1);
    assert_eq!(row.get::<_, &str>("status"), "ready");
    assert!(!c.one(query, &arguments).get::<_, bool>("created"));
}

fn nulls(c: &mut Connection) {
    let row = c.one(
        "select body, phase, acceptance, not_before, max_attempts, claim_token, labels
         from mosaic.backlog_create('t', id => 'Null', body => $1, acceptance => $2, not_before => $3,
           max_attempts => $4)",
        &[
            (&None::<&str>, Type::TEXT),
            (&None::<Value>, Type::JSONB),
            (&None::<DateTime<Utc>>, Type::TIMESTAMPTZ),
            (&None::<i32>, Type::INT4),
        ],
    );
    assert_eq!(row.get::<_, Option<&str>>("body"), None);
    assert_eq!(row.get::<_, Option<&str>>("phase"), None);
    assert_eq!(row.get::<_, Option<Value>>("acceptance"), None);
    assert_eq!(row.get::<_, Option<DateTime<Utc>>>("not_before"), None);
    assert_eq!(row.get::<_, Option<i32>>("max_attempts"), None);
    assert_eq!(row.get::<_, Option<i64>>("claim_token"), None);
    assert!(row.get::<_, Vec<&str>>("labels").is_empty());
    let none = vec!["none"];
    let query = "select id from mosaic.backlog_claim('w', labels => $1)";
    let rows = c.rows(query, &[(&none, Type::TEXT_ARRAY)]).expect(query);
    assert!(rows.is_empty());
}

fn claim(c: &mut Connection) -> i64 {
    c.create("Claimed", ", requires => '{gpu,ssd}'");
    let offers = vec!["ssd", "gpu", "net"];
    let row = c.one(
        "select claim_token, claimed_at, claim_expires_at, dependencies
         from mosaic.backlog_claim($1, $2::text::interval, id => 'Claimed', offers => $3)",
        &[
            (&"w1", Type::TEXT),
            (&"90 seconds", Type::TEXT),
            (&offers, Type::TEXT_ARRAY),
        ],
    );
    let (from, to): (DateTime<Utc>, DateTime<Utc>) = (row.get(1), row.get(2));
    assert_eq!(to - from, TimeDelta::seconds(90));
    assert_eq!(row.get::<_, Value>("dependencies"), json!([]));
    row.get("claim_token")
}

fn renew(c: &mut Connection, token: i64) {
    let row = c.one(
        "select mosaic.backlog_renew('Claimed', $1, '2 hours')",
        &[(&token, Type::INT8)],
    );
    let minutes = (row.get::<_, DateTime<Utc>>(0) - Utc::now()).num_minutes();
    assert!((114..=126).contains(&minutes), "{minutes}");
}

fn stale(c: &mut Connection, token: i64) {
    let error = c
        .rows(
            "select id from mosaic.backlog_complete('Claimed', $1)",
            &[(&(token + 1000), Type::INT8)],
        )
        .expect_err("a stale token");
    let error = error.as_db_error().expect("an error of the database");
    assert_eq!(error.code().code(), "55000");
    assert!(
        error
            .detail()
            .is_some_and(|detail| detail.starts_with("claim_lost: "))
    );
    assert!(error.hint().is_some());
}

fn complete(c: &mut Connection, token: i64) {
    c.create("After", ", depends_on => '{Claimed}'");
    let given = document();
    let arguments: [Argument; 2] = [(&token, Type::INT8), (&given, Type::JSONB)];
    let query =
        "select status::text, result, unblocked from mosaic.backlog_complete('Claimed', $1, $2)";
    let row = c.one(query, &arguments);
    assert_eq!(row.get::<_, &str>("status"), "done");
    assert_eq!(row.get::<_, Value>("result"), given);
    assert_eq!(row.get::<_, Vec<&str>>("unblocked"), ["After"]);
    assert_eq!(c.one(query, &arguments).get::<_, &str>("status"), "done");
    let row = c.one(
        "select dependencies from mosaic.backlog_claim('w', id => 'After')",
        &[],
    );
    assert_eq!(
        row.get::<_, Value>(0),
        json!([{"id": "Claimed", "title": "t", "result": given}])
    );
}

fn events(c: &mut Connection) {
    let (mut seen, mut kinds) = (BTreeSet::new(), Vec::new());
    let mut cursor = None::<String>;
    let query = "select event_id, kind, detail, cursor
                 from mosaic.backlog_events('Claimed', after => $1, max_events => 2)";
    loop {
        let rows = c.rows(query, &[(&cursor, Type::TEXT)]).expect(query);
        assert!(rows.len() <= 2);
        let Some(last) = rows.last() else { break };
        cursor = Some(last.get("cursor"));
        for row in rows {
            assert!(row.get::<_, Value>("detail").is_object());
            seen.insert(row.get::<_, i64>("event_id"));
            kinds.push(row.get::<_, String>("kind"));
        }
    }
    assert_eq!(kinds, ["created", "claimed", "renewed", "completed"]);
    assert_eq!(seen.len(), 4);
}

fn repeat(c: &mut Connection) {
    c.create("Repeated", "");
    let request = Uuid::new_v4();
    let mut claim = || -> i64 {
        c.one(
            "select claim_token from mosaic.backlog_claim('w', id => 'Repeated', request_id => $1)",
            &[(&request, Type::UUID)],
        )
        .get(0)
    };
    assert_eq!(claim(), claim());
}

fn transaction(c: &mut Connection) {
    c.create("Undone", "");
    c.client.batch_execute("begin").expect("begin");
    let token: i64 = c
        .one(
            "select claim_token from mosaic.backlog_claim('w', id => 'Undone')",
            &[],
        )
        .get(0);
    c.one(
        "select mosaic.backlog_assert_held('Undone', $1)::text",
        &[(&token, Type::INT8)],
    );
    c.client.batch_execute("rollback").expect("rollback");
    let row = c.one("select status::text from mosaic.backlog_get('Undone')", &[]);
    assert_eq!(row.get::<_, &str>(0), "ready");
}

fn race(c: &mut Connection, url: &str) {
    let cards = Value::Array(vec![json!({"title": "t", "labels": ["race"]}); 40]);
    let query = "select id from mosaic.backlog_create_many($1)";
    c.rows(query, &[(&cards, Type::JSONB)]).expect(query);
    let (pooled, barrier) = (c.pooled, Barrier::new(2));
    let work = |worker: &str| -> Vec<String> {
        let mut own = Connection::open(url, pooled);
        barrier.wait();
        let query = "select id from mosaic.backlog_claim($1, labels => '{race}')";
        std::iter::from_fn(|| {
            let rows = own.rows(query, &[(&worker, Type::TEXT)]).expect(query);
            rows.first().map(|row| row.get(0))
        })
        .collect()
    };
    let claimed = thread::scope(|scope| {
        let other = scope.spawn(|| work("w1"));
        let mut claimed = work("w2");
        claimed.extend(other.join().expect("the other worker"));
        claimed
    });
    assert_eq!(claimed.len(), 40);
    assert_eq!(claimed.iter().collect::<BTreeSet<_>>().len(), 40);
}

fn prepared(c: &mut Connection) {
    let query = "select id, priority from mosaic.backlog_create('t', id => $1, priority => $2)";
    let statement = (!c.pooled).then(|| c.client.prepare(query).expect(query));
    for number in 0..20_i32 {
        let id = format!("P{number}");
        let row = match &statement {
            Some(statement) => c.client.query_one(statement, &[&id, &number]).expect(query),
            None => c.one(query, &[(&id, Type::TEXT), (&number, Type::INT4)]),
        };
        assert_eq!(row.get::<_, &str>("id"), id);
        assert_eq!(row.get::<_, i32>("priority"), number);
    }
}
