//! What was measured, as a table for people and for docs/benchmarks.md.

use std::fs;

use mosaic_backlog_tests::programs;

use crate::arguments::{Arguments, Size};
use crate::plot::{self, Line};
use crate::server::Server;

const BEGIN: &str = "<!-- tests/bench/run writes from here -->";
const END: &str = "<!-- to here -->";

pub struct Report {
    method: String,
    rows: Vec<[String; 4]>,
    lines: Vec<Line>,
}

impl Report {
    pub fn new(server: &Server, arguments: &Arguments) -> Self {
        let mut session = server.session();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let row = session.row(
            "select to_char(now(), 'YYYY-MM-DD') as day, current_setting('server_version') as version",
        );
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let Size {
            cards,
            seconds,
            rounds,
            ..
        } = arguments.size;
        Self {
            method: format!(
                "Measured on {}, version {}, PostgreSQL {}, {cores} cores, load {} at the start. {cards} cards, runs of \
                 {seconds} s, the median of {rounds}; each ratio is taken from runs that followed one another.",
                text(&row["day"]),
                env!("CARGO_PKG_VERSION"),
                text(&row["version"]),
                load(),
            ),
            rows: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// One line of the table: what was measured, the goal, the result, and what it is made of.
    pub fn add(&mut self, what: &str, goal: &str, result: String, details: String) {
        eprintln!("  {what}: {result} ({goal}); {details}");
        self.rows
            .push([what.to_owned(), goal.to_owned(), result, details]);
    }

    pub fn draw(&mut self, line: Line) {
        self.lines.push(line);
    }

    fn table(&self) -> String {
        let mut out = format!(
            "{}\n\n| what | goal | measured | of what |\n|---|---|---|---|\n",
            self.method
        );
        for row in &self.rows {
            out.push_str(&format!("| {} |\n", row.join(" | ")));
        }
        out
    }

    pub fn print(&self) {
        println!("{}", self.table());
    }

    /// Puts the table into the page and the plot beside it.
    pub fn write(&self) {
        let docs = programs::sources().join("docs");
        let file = docs.join("benchmarks.md");
        let page = fs::read_to_string(&file).expect("docs/benchmarks.md");
        let (before, rest) = page.split_once(BEGIN).expect("the first mark");
        let (_, after) = rest.split_once(END).expect("the second mark");
        let page = format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.table());
        fs::write(file, page).expect("docs/benchmarks.md");
        if !self.lines.is_empty() {
            let svg = plot::svg("Claims a second while a snapshot is held", &self.lines);
            fs::write(docs.join("claims.svg"), svg).expect("docs/claims.svg");
        }
    }
}

fn load() -> String {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split(' ').next().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}
