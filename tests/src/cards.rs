//! The steps that most tests take: cards are made, claimed, completed.

use serde_json::Value;

use crate::session::Session;

/// A text array of SQL.
pub fn array(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| quote(value)).collect();
    format!("array[{}]::text[]", quoted.join(", "))
}

/// A text of SQL.
pub fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

impl Session {
    /// A ready card; its title is its id.
    #[track_caller]
    pub fn create(&mut self, id: &str) {
        self.create_after(id, &[]);
    }

    #[track_caller]
    pub fn create_after(&mut self, id: &str, depends_on: &[&str]) {
        let (id, depends_on) = (quote(id), array(depends_on));
        self.run(&format!(
            "select from mosaic.backlog_create({id}, id => {id}, depends_on => {depends_on})"
        ));
    }

    /// Cards named `prefix` and a number from 1.
    #[track_caller]
    pub fn create_numbered(&mut self, prefix: &str, count: usize) {
        self.run(&format!(
            "select count(*) from mosaic.backlog_create_many((
               select jsonb_agg(jsonb_build_object('title', 't', 'id', '{prefix}' || n) order by n)
               from generate_series(1, {count}) n))"
        ));
    }

    #[track_caller]
    pub fn card(&mut self, id: &str) -> Value {
        self.row(&format!("select * from mosaic.backlog_get({})", quote(id)))
    }

    #[track_caller]
    pub fn status(&mut self, id: &str) -> String {
        self.card(id)["status"].as_str().expect("a status").into()
    }

    /// The same without reading the rest of the card.
    #[track_caller]
    pub fn status_in_table(&mut self, id: &str) -> String {
        self.text(&format!(
            "select status from mosaic.backlog where id = {}",
            quote(id)
        ))
    }

    #[track_caller]
    pub fn open_dependencies(&mut self, id: &str) -> i64 {
        self.card(id)["open_dependencies"]
            .as_i64()
            .expect("a number")
    }

    /// Claims the card and gives the token.
    #[track_caller]
    pub fn claim(&mut self, id: &str, worker: &str) -> i64 {
        self.number(&format!(
            "select claim_token from mosaic.backlog_claim({}, id => {})",
            quote(worker),
            quote(id)
        ))
    }

    /// The token under which the card is held, of which no call but the claim tells.
    #[track_caller]
    pub fn token(&mut self, id: &str) -> Option<i64> {
        self.value(&format!(
            "select claim_token from mosaic.backlog where id = {}",
            quote(id)
        ))
        .as_i64()
    }

    /// The id of the next card that a claim hands out, if any.
    #[track_caller]
    pub fn claim_next(&mut self, worker: &str) -> Option<String> {
        let rows = self.rows(&format!(
            "select id from mosaic.backlog_claim({})",
            quote(worker)
        ));
        rows.first()
            .map(|row| row["id"].as_str().expect("an id").to_owned())
    }

    /// Completes a card that nobody holds.
    #[track_caller]
    pub fn complete(&mut self, id: &str) {
        self.run(&format!(
            "select from mosaic.backlog_complete({})",
            quote(id)
        ));
    }

    #[track_caller]
    pub fn link(&mut self, id: &str, depends_on: &[&str]) {
        self.run(&format!(
            "select from mosaic.backlog_link({}, {})",
            quote(id),
            array(depends_on)
        ));
    }

    /// How many events there are, so that a test can tell that nothing happened.
    #[track_caller]
    pub fn events(&mut self) -> i64 {
        self.number("select count(*) from mosaic.backlog_event")
    }

    /// Asserts that every counter says what the edges say.
    #[track_caller]
    pub fn assert_counters_are_right(&mut self) {
        let wrong = self.rows(
            "select c.id, c.open_dependencies, count(x.id) as edges
             from mosaic.backlog c
             left join mosaic.backlog_dependency d on d.card_id = c.id
             left join mosaic.backlog x on x.id = d.depends_on and x.status <> 'done'
             group by c.id having c.open_dependencies <> count(x.id)",
        );
        assert!(wrong.is_empty(), "counters are wrong: {wrong:?}");
    }
}
