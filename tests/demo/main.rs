//! Makes `docs/demo.svg`: runs the real program on a terminal, and draws what it printed as a recording.
//! `tests/demo/run` calls it.

mod recording;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::program::mosaic;
use recording::{COLUMNS, Recording};

/// What is typed, scene by scene.
const SCENES: [&[&str]; 3] = [
    &[
        "create 'Decide the config format' --id A1",
        "create 'Parse the config' --id B1 --needs A1",
        "create 'Document the config' --id B2 --needs A1",
        "create 'Release it' --id C1 --needs B1 --needs B2",
        "create 'Order the stickers' --id D1",
        "claim --worker agent-1",
        "claim --worker agent-2",
        "claim --worker agent-3",
    ],
    &[
        "why C1",
        "complete A1 --token 1 --result '{\"format\": \"toml\"}'",
        "block D1 --token 2 --kind input --reason 'round or square ones?'",
        "claim --worker agent-1",
    ],
    &["graph"],
];

fn main() {
    let database = Database::fresh();
    let on_terminal = |words: &[String], rows| {
        mosaic(words)
            .on(&database)
            .env("TZ", "UTC")
            .env("MOSAIC_AGENT", "planner")
            .on_terminal(rows, COLUMNS)
    };
    let mut recording = Recording::default();
    for scene in SCENES {
        for line in scene {
            let typed = format!("mosaic backlog {line}");
            let mut terminal = on_terminal(&words(&typed)[1..], 40);
            terminal.exit();
            recording.print(&typed, &terminal.screen());
        }
        recording.clear();
    }
    let typed = "mosaic backlog watch";
    let terminal = on_terminal(&words(typed)[1..], 22);
    terminal.until("q quits");
    recording.print(typed, &terminal.screen());
    recording.clear();
    println!("{}", recording.to_svg());
}

/// The words of a line of shell, with single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
