//! What is measured, by subject.

mod claims;
mod direct;
mod long;
mod others;
mod verbs;

use crate::arguments::Arguments;
use crate::report::Report;
use crate::server::Server;

type Measure = fn(&Server, &Arguments, &mut Report);

pub const ALL: [(&str, Measure); 14] = [
    ("w1", claims::one_at_a_time),
    ("w2", long::under_a_snapshot),
    ("w3", claims::many_clients),
    ("w4", long::nothing_to_claim),
    ("others", others::with_plenty),
    ("w5", claims::among_cards_that_cannot_be_claimed),
    ("w6", long::the_whole_life),
    ("w7", claims::filtered),
    ("batch", claims::several_at_once),
    ("verbs", verbs::create_and_complete),
    ("direct", direct::beside_statements),
    ("graph", verbs::the_graph),
    ("reads", verbs::reads),
    ("volume", verbs::volume),
];

/// Claims that one run has cards for; above it a fast run would measure empty claims.
pub fn enough(arguments: &Arguments) -> u32 {
    arguments.size.cards.max(arguments.size.seconds * 12_000)
}

/// Replaces all cards by `cards` claimable ones, `c0` and up.
pub fn fill(server: &Server, cards: u32) {
    fill_with(server, cards, "", "");
}

/// The same with more columns.
pub fn fill_with(server: &Server, cards: u32, columns: &str, values: &str) {
    let mut session = server.session();
    session.run(&format!(
        "truncate mosaic.backlog, mosaic.backlog_dependency, mosaic.backlog_event;
         insert into mosaic.backlog (id, title, created_at, updated_at, claimable_since {columns})
         select 'c' || n, 'card ' || n, now(), now(), now() {values} from generate_series(0, {cards} - 1) n"
    ));
    session.run("vacuum analyze mosaic.backlog");
    session.run("checkpoint");
}

/// The queue that everybody would write.
pub fn fill_textbook(server: &Server, cards: u32) {
    let mut session = server.session();
    session.run(&format!(
        "drop table if exists textbook;
         create table textbook (id bigint generated always as identity primary key, title text not null,
           priority integer not null default 0, created timestamptz not null default now(),
           status text not null default 'ready', owner text, claimed_at timestamptz);
         insert into textbook (title) select 'card ' || n from generate_series(1, {cards}) n;
         create index on textbook (priority desc, created) where status = 'ready'"
    ));
    session.run("vacuum analyze textbook");
    session.run("checkpoint");
}

pub const CLAIM: &str = "select * from mosaic.backlog_claim('bench', '1 hour');\n";
pub const FLOOR: &str = "\\set n :n + 1\n\\set k :n * :clients + :client_id\n\
     select * from mosaic.floor_claim(array['c' || :k], 'bench', '1 hour');\n";
pub const TEXTBOOK: &str = "update textbook set status = 'claimed', owner = 'bench', claimed_at = now() where id = (\
     select id from textbook where status = 'ready' order by priority desc, created \
     for update skip locked limit 1) returning *;\n";
