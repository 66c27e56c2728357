//! `list`: the cards in claim order, page by page.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::card::{self, items, text};
use crate::database::call::Call;
use crate::database::store::{Address, Store};
use crate::failure::Failure;
use crate::input::{filled, item, prose};
use crate::output::document;
use crate::output::reply::Reply;
use crate::output::screen::{Paint, Screen, one_line};
use crate::output::selection::Selection;

/// List cards in the order in which they are claimed
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog list --ready --label parser
  mosaic backlog list --status blocked --status claimed --json
  mosaic backlog list --search \"parser config\"
  mosaic backlog list --all
  mosaic backlog list --limit 100 --after CURSOR

Without --status, --ready and --all the cards are those that are open: ready, claimed and blocked.
With --json the answer is {\"cards\":[…],\"next\":CURSOR}; next is null on the last page.")]
pub struct List {
    /// Only cards that can be claimed now
    #[arg(long)]
    ready: bool,

    /// Only cards of this status (repeatable)
    #[arg(long = "status", value_name = "STATUS", value_delimiter = ',')]
    statuses: Vec<Status>,

    /// Also cards that are done or cancelled
    #[arg(long, conflicts_with_all = ["ready", "statuses"])]
    all: bool,

    /// Only cards of this phase
    #[arg(long, value_parser = filled)]
    phase: Option<String>,

    /// Only cards that carry this label (repeatable: all of them)
    #[arg(long = "label", value_name = "LABEL", value_parser = item, value_delimiter = ',')]
    labels: Vec<String>,

    /// Only cards that this worker holds
    #[arg(long, value_name = "WORKER", value_parser = filled)]
    owner: Option<String>,

    /// Only cards that have all of these words, in id, title, body or notes
    #[arg(long, value_name = "WORDS", value_parser = prose, allow_hyphen_values = true)]
    search: Option<String>,

    /// Cards on a page
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: i32,

    /// The page after this cursor
    #[arg(long, value_name = "CURSOR", value_parser = filled)]
    after: Option<String>,

    /// Also count all cards that match
    #[arg(long)]
    count: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Status {
    Ready,
    Claimed,
    Blocked,
    Done,
    Cancelled,
}

pub fn every_status() -> Vec<String> {
    let all = Status::value_variants().iter();
    all.map(|status| status.word()).collect()
}

const OPEN: [Status; 3] = [Status::Ready, Status::Claimed, Status::Blocked];
const CLOSED: [Status; 2] = [Status::Done, Status::Cancelled];
/// How many cards the default leaves out.
const LEFT_OUT: &str = "done_or_cancelled";

impl Status {
    fn word(self) -> String {
        match self {
            Status::Ready => "ready",
            Status::Claimed => "claimed",
            Status::Blocked => "blocked",
            Status::Done => "done",
            Status::Cancelled => "cancelled",
        }
        .to_owned()
    }
}

impl List {
    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        if selection.is_quiet() && self.count {
            return Err(Failure::usage("--quiet does not go with --count")
                .hint("--quiet prints only ids, one per line."));
        }
        let first_page = self.after.is_none();
        // People are told how many there are wherever a list is cut.
        let with_total = self.count || !(selection.is_json() || selection.is_quiet());
        let is_default = self.statuses.is_empty() && !self.all && !self.ready;
        let statuses = match (self.all, is_default) {
            (true, _) => Status::value_variants().to_vec(),
            // Said, as an older extension has another default.
            (false, true) => OPEN.to_vec(),
            (false, false) => self.statuses,
        };
        let (phase, labels, owner) = (self.phase, self.labels, self.owner);
        let search = self.search;
        let filtered = |statuses: &[Status]| {
            let statuses = statuses.iter().map(|status| status.word()).collect();
            Call::new("backlog_list")
                .statuses("statuses", statuses)
                .text("phase", phase.clone())
                .texts("labels", labels.clone())
                .text("owner", owner.clone())
                .text("search", search.clone())
        };
        let call = filtered(&statuses)
            .switch("ready_only", self.ready)
            .int("max_cards", self.limit)
            .text("after", self.after)
            .switch("with_total", with_total);
        let mut store = Store::open(address)?;
        let cards = store.rows(&call)?;
        // Nobody holds a card that is closed.
        let closed =
            match is_default && owner.is_none() && !(selection.is_json() || selection.is_quiet()) {
                true => count(&mut store, filtered(&CLOSED))?,
                false => 0,
            };
        // The total comes with the cards. Without any it is none, unless they ended before this page.
        let total = match cards.last() {
            Some(card) => card.get("total").cloned().unwrap_or_default(),
            None if first_page => json!(0),
            None => Value::Null,
        };
        let mut document = document::page(cards);
        if with_total {
            document["total"] = total;
        }
        // For people alone: `--json` prints no footer.
        if closed > 0 {
            document[LEFT_OUT] = closed.into();
        }
        Ok(Reply::new(document, view))
    }
}

/// How many cards a list has.
fn count(store: &mut Store, list: Call) -> Result<i64, Failure> {
    let call = list
        .columns("total")
        .int("max_cards", 1)
        .switch("with_total", true);
    let row = store.rows(&call)?.into_iter().next();
    Ok(row.and_then(|row| row["total"].as_i64()).unwrap_or(0))
}

fn view(document: &Value, screen: &Screen) -> String {
    let cards = items(&document["cards"]);
    let left_out = match document[LEFT_OUT].as_i64() {
        Some(1) => "1 card is done or cancelled, --all shows it".to_owned(),
        Some(closed) => format!("{closed} cards are done or cancelled, --all shows them"),
        None => String::new(),
    };
    if cards.is_empty() {
        return match left_out.as_str() {
            "" => "no cards\n".into(),
            left_out => format!("no open cards; {left_out}\n"),
        };
    }
    let footer = match text(document, "next") {
        "" => format!("{} of {}", cards.len(), document["total"]),
        next => format!(
            "{} of {}, next: --after {}",
            cards.len(),
            document["total"],
            one_line(next)
        ),
    };
    let footer = match left_out.as_str() {
        "" => footer,
        left_out => format!("{footer}; {left_out}"),
    };
    format!(
        "{}{}\n",
        card::table(cards, screen),
        screen.paint(Paint::Dim, &footer)
    )
}
