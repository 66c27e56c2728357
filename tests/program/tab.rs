//! TAB in real shells: what is put into the line means itself, whatever others named their cards.

use std::path::Path;

use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::program::program;
use mosaic_backlog_tests::terminal::Terminal;
use mosaic_backlog_tests::{programs, wait};

/// What stands between two words of the tests' own.
const TAIL: &str = "touch";

struct Shell {
    terminal: Terminal,
    /// Appears if a name is run.
    mark: std::path::PathBuf,
    count: usize,
    _folder: Folder,
}

impl Shell {
    /// `None` where this machine has no such shell.
    fn start(db: &Database, words: &[&str], setup: &str) -> Option<Shell> {
        let exists = std::process::Command::new(words[0])
            .arg("--version")
            .output()
            .is_ok();
        if !exists {
            eprintln!("skipped: there is no {} on this machine", words[0]);
            return None;
        }
        let folder = folder::create();
        let mosaic = programs::mosaic().parent().expect("a folder").display();
        let path = format!("{mosaic}:{}", std::env::var("PATH").unwrap_or_default());
        let terminal = program(Path::new(words[0]), &words[1..])
            .env("PATH", path)
            .env("HOME", &*folder)
            .env("DATABASE_URL", db.url("postgres"))
            .within(&folder)
            .on_terminal(50, 220);
        let shell = Shell {
            terminal,
            mark: folder.join("mark"),
            count: 0,
            _folder: folder,
        };
        // Its own answer tells that the shell has read it; the echo of the line does not hold it.
        shell.terminal.press(&format!("{setup}\necho set''up\n"));
        shell.terminal.until("setup");
        Some(shell)
    }

    /// Types so far, presses TAB, and sends the line once the rest of the name stands there.
    fn complete(&mut self, begun: &str, title: &str) {
        self.terminal.press("clear\n");
        wait::until("a clear screen", || {
            (!self.terminal.text().contains("title of")).then_some(())
        });
        self.terminal
            .press(&format!("mosaic backlog show {begun}\t"));
        self.terminal.until_it("the rest of the id", |text| {
            text.contains(TAIL) && text.contains(begun.trim_start_matches(['\'', '"']))
        });
        self.terminal.press("\n");
        self.terminal.until(title);
        self.count += 1;
        assert!(!self.mark.exists(), "{begun} was run");
    }
}

/// Cards whose ids are commands, in so many ways; how each begins.
fn traps() -> (Database, Vec<(String, String)>) {
    let db = Database::fresh();
    let mut s = db.session();
    let ids = [
        "AA1;touch${IFS}mark;#",
        "BB1$(touch mark)",
        "CC1`touch mark`",
        "DD1' ; touch mark; '",
        "EE1\" | touch mark #",
        "FF1 && touch mark",
        "GG1\\; touch mark",
        "HH1*?[a]{b,c}~!1 touch",
        "II1<(touch mark)",
    ];
    let traps = ids
        .into_iter()
        .map(|id| {
            let title = format!("title of {}", &id[..3]);
            let quoted = id.replace('\'', "''");
            s.run(&format!(
                "select from mosaic.backlog_create('{title}', id => '{quoted}')"
            ));
            (id[..3].to_owned(), title)
        })
        .collect();
    (db, traps)
}

/// In the three ways to begin a word.
fn walk(words: &[&str], setup: &str) {
    let (db, traps) = traps();
    for quote in ["", "'", "\""] {
        let Some(mut shell) = Shell::start(&db, words, setup) else {
            return;
        };
        for (begun, title) in &traps {
            shell.complete(&format!("{quote}{begun}"), title);
        }
        assert_eq!(shell.count, traps.len());
    }
}

#[test]
fn bash_puts_no_command_into_the_line() {
    walk(
        &["bash", "--norc", "--noprofile", "-i"],
        "bind 'set enable-bracketed-paste off'; source <(mosaic completions bash)",
    );
}

#[test]
fn zsh_puts_no_command_into_the_line() {
    walk(
        &["zsh", "-f", "-i"],
        "autoload -U compinit; compinit -u -D; source <(mosaic completions zsh)",
    );
}

#[test]
fn fish_puts_no_command_into_the_line() {
    walk(
        &["fish", "--no-config", "-i"],
        "mosaic completions fish | source",
    );
}
