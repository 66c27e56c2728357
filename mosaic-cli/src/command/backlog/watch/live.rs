//! The screen: what is shown, and the keys.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use super::feed::{self, Look, News};
use super::picture;
use super::shown::Shown;
use super::terminal::{self, Input, Key, Terminal};
use crate::database::store::Address;
use crate::failure::{Exit, Failure};
use crate::output::reply::Reply;
use crate::output::screen::Screen;

/// The screen is drawn so often: countdowns go on between two looks.
const FRAME: Duration = Duration::from_millis(250);

pub fn run(address: &Address, phase: Option<String>, interval: Duration) -> Result<Reply, Failure> {
    // What is wrong from the beginning is told as every other verb does.
    let (first, news) = feed::start(address, phase.clone(), interval)?;
    let shown = Shown {
        phase,
        interval,
        colour: Screen::stdout().colour,
        look: first,
        taken: Instant::now(),
        lost: None,
    };
    let end = {
        let mut terminal = Terminal::take()?;
        show(&mut terminal, shown, &news)?
    };
    match end {
        End::Key => Ok(Reply::Written(Exit::Success)),
        End::Interrupt => Ok(Reply::Written(Exit::Interrupted)),
        End::Signal(signal) => {
            terminal::end_by(signal);
            Ok(Reply::Written(Exit::Interrupted))
        }
    }
}

enum End {
    Key,
    Interrupt,
    Signal(libc::c_int),
}

fn show(terminal: &mut Terminal, mut shown: Shown, news: &Receiver<News>) -> Result<End, Failure> {
    loop {
        loop {
            match news.try_recv() {
                Ok(News::Look(look)) => shown.renew(look),
                Ok(News::Lost(failure)) => shown.lost = Some(failure),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::internal("nothing reads the backlog any more"));
                }
            }
        }
        let drawn = terminal.draw(|frame| picture::draw(frame, &shown));
        if let Some(signal) = terminal::asked_to_end() {
            return Ok(match signal {
                libc::SIGINT => End::Interrupt,
                signal => End::Signal(signal),
            });
        }
        // A terminal that is gone cannot be drawn on either.
        let wait = if drawn.is_ok() { FRAME } else { Duration::ZERO };
        let end = key(wait)?;
        if end.is_none() {
            drawn?;
        }
        if let Some(end) = end {
            return Ok(end);
        }
    }
}

/// Waits so long for a key that ends it.
fn key(within: Duration) -> Result<Option<End>, Failure> {
    Ok(match terminal::input(within)? {
        Input::Keys(keys) => keys.into_iter().find_map(|key| match key {
            Key::Interrupt => Some(End::Interrupt),
            Key::Escape | Key::Letter('q' | 'Q') => Some(End::Key),
            Key::Letter(_) => None,
        }),
        Input::Nothing => None,
        Input::Gone => Some(End::Signal(libc::SIGHUP)),
    })
}

impl Shown {
    fn renew(&mut self, look: Look) {
        self.look = look;
        self.taken = Instant::now();
        self.lost = None;
    }
}
