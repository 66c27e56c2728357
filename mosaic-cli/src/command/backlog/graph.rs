//! `graph`: which card waits for which, as a tree for people or as a drawing for other programs.

mod critical_path;
mod dag;
mod dot;
mod drawing;
mod layout;
mod load;
mod mermaid;
mod picture;
mod state;
mod svg;
mod tree;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::database::store::{Address, Store};
use crate::failure::{Code, Failure};
use crate::input::{filled, item};
use crate::output::reply::Reply;
use crate::output::screen::Screen;
use crate::output::selection::Selection;

use dag::Dag;
use drawing::Drawing;
use picture::{Picture, Subgraph};

/// Show which card waits for which: as a tree, or as a drawing
#[derive(Args)]
#[command(after_help = "\
Examples:
  mosaic backlog graph --phase beta
  mosaic backlog graph A4
  mosaic backlog graph --format svg > backlog.svg
  mosaic backlog graph --format dot | dot -Tpng > backlog.png

In the tree, a card's line stands above the cards that it needs. ↑ A4 says that A4 stands
further up, ↓ that the tree goes on further down. The critical path is the longest chain of open
cards: the work is not over before all of them are done, one after the other.")]
pub struct Graph {
    /// Only this card, what it needs and what needs it
    #[arg(value_parser = filled, conflicts_with_all = ["phase", "labels"])]
    id: Option<String>,

    /// Only cards of this phase, and what they wait for elsewhere
    #[arg(long, value_parser = filled)]
    phase: Option<String>,

    /// Only cards that carry this label (repeatable: all of them)
    #[arg(long = "label", value_name = "LABEL", value_parser = item, value_delimiter = ',')]
    labels: Vec<String>,

    /// Show every card, even the finished ones that nothing waits for any more
    #[arg(long)]
    all: bool,

    /// The format of the output [default: tree]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Tree,
    Dot,
    Mermaid,
    Svg,
    Json,
}

impl Graph {
    pub fn run(self, address: &Address, selection: &Selection) -> Result<Reply, Failure> {
        let format = match (selection.is_json(), self.format) {
            (true, None | Some(Format::Json)) => Format::Json,
            (true, Some(_)) => {
                return Err(Failure::usage("--json and --format contradict each other")
                    .hint("Leave one of the two out."));
            }
            (false, format) => format.unwrap_or(Format::Tree),
        };
        let dag = Dag::new(load::cards(&mut Store::open(address)?)?);
        let subgraph = self.subgraph(&dag)?;
        if format == Format::Json {
            return Ok(Reply::new(document(&dag, &subgraph), |document, _| {
                document.to_string()
            }));
        }
        let picture = Picture::new(&dag, subgraph, self.all);
        let drawing = || Drawing::of(&picture);
        let text = match format {
            Format::Tree => tree::render(&picture, &Screen::stdout()),
            Format::Dot => dot::render(&drawing()),
            Format::Mermaid => mermaid::render(&drawing()),
            Format::Svg | Format::Json => svg::render(&drawing()),
        };
        Ok(Reply::new(Value::String(text), |text, _| {
            text.as_str().unwrap_or_default().to_owned()
        }))
    }

    fn subgraph(&self, dag: &Dag) -> Result<Subgraph, Failure> {
        if let Some(id) = &self.id {
            let card = dag.find(id).ok_or_else(|| {
                Failure::new(Code::NotFound, format!("card {id:?} does not exist"))
                    .detail("No card has this id.")
                    .hint("`mosaic backlog list` shows the cards that exist.")
            })?;
            return Ok(Subgraph::around(dag, card));
        }
        if self.phase.is_none() && self.labels.is_empty() {
            return Ok(Subgraph::everything(dag));
        }
        Ok(Subgraph::of(dag, |card| {
            let labels = super::card::items(&card["labels"]);
            self.phase
                .as_deref()
                .is_none_or(|phase| card["phase"] == phase)
                && self
                    .labels
                    .iter()
                    .all(|label| labels.iter().any(|own| own == label.as_str()))
        }))
    }
}

/// Every card of the subgraph, finished or not.
fn document(dag: &Dag, subgraph: &Subgraph) -> Value {
    let critical = critical_path::find(dag, &subgraph.inside);
    let cards: Vec<&Value> = (0..dag.len())
        .filter(|card| subgraph.inside[*card])
        .map(|card| dag.card(card))
        .collect();
    let critical: Vec<&Value> = critical.iter().map(|card| &dag.card(*card)["id"]).collect();
    json!({"cards": cards, "critical_path": critical})
}
