//! A step says what there is to do, and does it later. Until all of them have said so and somebody has agreed,
//! nothing is written.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::database::store::Address;
use crate::failure::Failure;
use crate::input::prompt;
use crate::output::error::whole;
use crate::output::hint::Words;
use crate::output::redact::redact;

/// Who decides what no flag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Somebody at a terminal.
    Asks,
    /// `--yes`: what a question would propose.
    Proposes,
    /// Nobody: what no flag names is left alone.
    Leaves,
}

impl Mode {
    pub fn of(yes: bool) -> Result<Mode, Failure> {
        let headless = prompt::is_headless()?;
        Ok(match (yes, headless) {
            (true, _) => Mode::Proposes,
            (false, true) => Mode::Leaves,
            (false, false) => Mode::Asks,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was so before.
    Done,
    Planned,
    /// It was done just now.
    Changed,
    /// It is not wanted, or was not asked for.
    Skipped,
    Failed,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Done => "done",
            State::Planned => "planned",
            State::Changed => "changed",
            State::Skipped => "skipped",
            State::Failed => "failed",
        }
    }
}

pub type Act = Box<dyn FnOnce() -> Result<(), Failure>>;

/// One thing that is set up.
pub struct Item {
    pub step: &'static str,
    /// In a few words, for people.
    pub what: String,
    pub state: State,
    pub file: Option<PathBuf>,
    pub diff: String,
    pub note: Option<String>,
    pub act: Option<Act>,
}

impl Item {
    pub fn new(step: &'static str, what: impl Into<String>, state: State) -> Self {
        Item {
            step,
            what: what.into(),
            state,
            file: None,
            diff: String::new(),
            note: None,
            act: None,
        }
    }

    pub fn planned(
        step: &'static str,
        what: impl Into<String>,
        act: impl FnOnce() -> Result<(), Failure> + 'static,
    ) -> Self {
        Item {
            act: Some(Box::new(act)),
            ..Item::new(step, what, State::Planned)
        }
    }

    pub fn within(mut self, file: &Path, diff: &str) -> Self {
        self.file = Some(file.to_owned());
        // What stands beside the change may hold the address of a database.
        self.diff = redact(diff);
        self
    }

    pub fn note(mut self, note: Option<String>) -> Self {
        self.note = note;
        self
    }

    pub fn to_json(&self) -> Value {
        json!({"step": self.step, "what": self.what, "state": self.state.word(),
            "file": self.file.as_ref().map(|file| file.to_string_lossy()),
            "diff": self.diff, "note": self.note})
    }
}

/// What the steps share.
pub struct Context {
    pub mode: Mode,
    pub address: Address,
    pub words: Words,
    /// The repository that the call is made in.
    pub repository: Option<PathBuf>,
    /// What keeps anything from being done: all of it is told at once.
    pub problems: Vec<Failure>,
    /// The variables that agents have to pass on to our server.
    pub forwards: Vec<&'static str>,
    /// Whether Claude Code has our hooks, or is to get them.
    pub has_hooks: bool,
    /// What the user has to put into the shell's profile.
    pub profile: Option<String>,
}

impl Context {
    pub fn new(mode: Mode, address: Address, words: Words) -> Self {
        Context {
            mode,
            address,
            words,
            repository: repository(),
            problems: Vec::new(),
            forwards: Vec::new(),
            has_hooks: false,
            profile: None,
        }
    }

    /// What no flag says: whether it is proposed without asking.
    pub fn proposes(&self) -> bool {
        self.mode == Mode::Proposes
    }

    pub fn asks(&self) -> bool {
        self.mode == Mode::Asks
    }

    /// Leaves of the planned items those that are wanted: all of them if they were `named`, or are proposed; else
    /// those that are chosen. `shown`: an item in a question; `left`: what is said of one that nobody was asked
    /// about.
    pub fn choose(
        &self,
        items: &mut [Item],
        named: bool,
        question: &str,
        shown: impl Fn(&Item) -> String,
        left: &str,
    ) -> Result<(), Failure> {
        let mut open: Vec<&mut Item> = items
            .iter_mut()
            .filter(|item| item.state == State::Planned)
            .collect();
        if named || self.proposes() || open.is_empty() {
            return Ok(());
        }
        let chosen = match self.asks() {
            true => {
                let names: Vec<String> = open.iter().map(|item| shown(item)).collect();
                let all: Vec<usize> = (0..names.len()).collect();
                prompt::choose_some(question, names, &all)?
            }
            false => Vec::new(),
        };
        for (at, item) in open.iter_mut().enumerate() {
            if !chosen.contains(&at) {
                item.state = State::Skipped;
                item.act = None;
                item.diff.clear();
                if !self.asks() {
                    item.note = Some(left.to_owned());
                }
            }
        }
        Ok(())
    }

    /// All that is wrong as one failure.
    pub fn refusal(&mut self) -> Option<Failure> {
        if self.problems.len() < 2 {
            return self.problems.pop();
        }
        let problems = std::mem::take(&mut self.problems);
        let lines: Vec<String> = problems
            .iter()
            .map(|problem| {
                let hint = self.words.hint(problem).map(|hint| format!(" {hint}"));
                format!("- {}{}", without_promise(problem), hint.unwrap_or_default())
            })
            .collect();
        Some(
            Failure::usage(format!("{} things are not as they should be", lines.len()))
                .detail(format!("{}\nNothing was changed.", lines.join("\n"))),
        )
    }
}

/// A problem as a sentence, where it is said elsewhere that nothing was changed.
pub fn without_promise(problem: &Failure) -> String {
    whole(problem).replace(" Nothing was changed.", "")
}

/// The repository that holds the working folder.
fn repository() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    let root = here
        .ancestors()
        .find(|folder| folder.join(".git").exists())?;
    Some(root.to_owned())
}
