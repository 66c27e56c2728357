//! The screen: what is shown, and the keys.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use super::feed::{self, Look, News};
use super::picture::{self, Shown};
use super::terminal::{self, Terminal};
use crate::Global;
use crate::failure::{Exit, Failure};
use crate::reply::Reply;
use crate::screen::Screen;

/// The screen is drawn so often: countdowns go on between two looks.
const FRAME: Duration = Duration::from_millis(250);

pub fn run(global: &Global, phase: Option<String>, interval: Duration) -> Result<Reply, Failure> {
    // What is wrong from the beginning is told as every other verb does.
    let (first, news) = feed::start(global, phase.clone(), interval)?;
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
        terminal.draw(|frame| picture::draw(frame, &shown))?;
        if let Some(signal) = terminal::asked_to_end() {
            return Ok(match signal {
                libc::SIGINT => End::Interrupt,
                signal => End::Signal(signal),
            });
        }
        if let Some(end) = key()? {
            return Ok(end);
        }
    }
}

/// Waits for a key until it is time to draw again.
fn key() -> Result<Option<End>, Failure> {
    let pressed = match event::poll(FRAME) {
        Ok(true) => event::read(),
        Ok(false) => return Ok(None),
        Err(error) => Err(error),
    };
    let key = match pressed {
        Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => key,
        Ok(_) => return Ok(None),
        // A signal came in between; it is looked at before the next key.
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(None),
        Err(error) => return Err(terminal::lost(&error)),
    };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Ok(match key.code {
        KeyCode::Char('c') if control => Some(End::Interrupt),
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(End::Key),
        _ => None,
    })
}

impl Shown {
    fn renew(&mut self, look: Look) {
        self.look = look;
        self.taken = Instant::now();
        self.lost = None;
    }
}
