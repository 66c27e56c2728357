//! What was asked for, and how large it is to be.

/// Numbers of cards and seconds of one scale.
#[derive(Clone, Copy, PartialEq)]
pub struct Size {
    /// Cards that most runs start with.
    pub cards: u32,
    /// Cards of the runs that go on for long.
    pub many: u32,
    /// Seconds of one run.
    pub seconds: u32,
    /// How often each pair is run; the median counts.
    pub rounds: u32,
    /// How many of the other queues are measured beside ours, the fastest first.
    pub others: usize,
    /// Whether they are also measured beside a held snapshot.
    pub others_at_length: bool,
}

const FULL: Size = Size {
    cards: 300_000,
    many: 1_000_000,
    seconds: 10,
    rounds: 3,
    others: usize::MAX,
    others_at_length: true,
};
const QUICK: Size = Size {
    cards: 20_000,
    many: 50_000,
    seconds: 1,
    rounds: 1,
    others: 2,
    others_at_length: false,
};
const TOY: Size = Size {
    cards: 2_000,
    many: 2_000,
    seconds: 1,
    rounds: 1,
    others: usize::MAX,
    others_at_length: true,
};

pub struct Arguments {
    pub size: Size,
    pub peers: bool,
    /// Whether the report goes into the docs.
    pub write: bool,
    only: Vec<String>,
}

impl Arguments {
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    pub fn is_toy(&self) -> bool {
        self.size == TOY
    }
}

pub fn parse() -> Arguments {
    let mut parsed = Arguments {
        size: FULL,
        peers: true,
        write: false,
        only: Vec::new(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => parsed.size = QUICK,
            "--toy" => parsed.size = TOY,
            "--write" => parsed.write = true,
            "--no-peers" => parsed.peers = false,
            "--only" => parsed.only.extend(arguments.next()),
            other => {
                eprintln!(
                    "tests/bench/run: unknown argument '{other}'; --help shows what there is"
                );
                std::process::exit(2);
            }
        }
    }
    parsed
}
