//! A bar on stderr for work that takes a while. Nobody but a person at a terminal sees it.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::output::notes::is_watched;

const PAUSE: Duration = Duration::from_millis(100);
const CELLS: u64 = 30;

pub struct Progress {
    what: &'static str,
    total: u64,
    /// `None`: nobody watches.
    drawn: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    pub fn new(what: &'static str) -> Self {
        Progress {
            what,
            total: 0,
            drawn: is_watched().then(Instant::now),
            is_shown: false,
        }
    }

    /// How much there is to do.
    pub fn expect(&mut self, total: u64) {
        self.total = total;
    }

    /// How much is done. The bar appears only if the work takes longer than a moment.
    pub fn reach(&mut self, done: u64) {
        let Some(drawn) = &mut self.drawn else {
            return;
        };
        if drawn.elapsed() < PAUSE {
            return;
        }
        *drawn = Instant::now();
        self.is_shown = true;
        // Nothing is lost if nobody can read it.
        let _ = write!(io::stderr(), "\r{}\x1b[K", bar(self.what, done, self.total));
    }
}

impl Drop for Progress {
    /// The line is free again for what follows.
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(what: &str, done: u64, total: u64) -> String {
    if total == 0 {
        return format!("{what} {done}");
    }
    let done = done.min(total);
    let full = (done * CELLS / total) as usize;
    let empty = CELLS as usize - full;
    format!(
        "{what} [{}{}] {:3}%  {done} of {total}",
        "#".repeat(full),
        "-".repeat(empty),
        done * 100 / total
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_grows_and_never_beyond_its_end() {
        assert_eq!(bar("import", 7, 0), "import 7");
        assert!(bar("import", 0, 10).starts_with("import [----"));
        assert!(bar("import", 5, 10).ends_with("]  50%  5 of 10"));
        assert!(bar("import", 12, 10).ends_with("#] 100%  10 of 10"));
    }
}
