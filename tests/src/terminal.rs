//! The program on a terminal: a real pseudo-terminal, and an emulator that says what stands on the screen.

use std::io::{ErrorKind, Read, Write};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use pty_process::Size;
use pty_process::blocking::{Command, Pty};
use rustix::termios::{LocalModes, tcgetattr};

use crate::program::{Mosaic, exit_code};
use crate::wait;

pub struct Terminal {
    pty: Arc<Pty>,
    screen: Arc<Mutex<Emulator>>,
    child: Child,
    /// Ends when no program has the terminal any more.
    reader: JoinHandle<()>,
}

struct Emulator {
    parser: vt100::Parser,
    /// Everything that was written, for what a screen does not show.
    bytes: Vec<u8>,
}

fn cells(rows: u16, columns: u16) -> (NonZeroU16, NonZeroU16) {
    let cells = |count| NonZeroU16::new(count).expect("a size");
    (cells(rows), cells(columns))
}

impl Mosaic {
    /// Starts the call on a terminal of this size.
    #[track_caller]
    pub fn on_terminal(self, rows: u16, columns: u16) -> Terminal {
        let (pty, pts) = pty_process::blocking::open().expect("a pseudo-terminal");
        pty.resize(Size::new(rows, columns)).expect("a size");
        let mut command = self.into_command();
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm-256color");
        }
        let child = Command::from(command).spawn(pts).expect("the program");
        let (height, width) = cells(rows, columns);
        let screen = Arc::new(Mutex::new(Emulator {
            parser: vt100::Parser::new(height, width, 0),
            bytes: Vec::new(),
        }));
        let pty = Arc::new(pty);
        let (reader, shared) = (Arc::clone(&pty), Arc::clone(&screen));
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                // It fails when the last program has left the terminal.
                match (&*reader).read(&mut bytes) {
                    Ok(0) => return,
                    Ok(count) => {
                        let mut screen = shared.lock().expect("the screen");
                        screen.parser.process(&bytes[..count]);
                        screen.bytes.extend(&bytes[..count]);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => return,
                }
            }
        });
        Terminal {
            pty,
            screen,
            child,
            reader,
        }
    }
}

impl Terminal {
    fn emulator(&self) -> MutexGuard<'_, Emulator> {
        self.screen.lock().expect("the screen")
    }

    /// The lines of the screen.
    pub fn text(&self) -> String {
        self.emulator().parser.screen().contents()
    }

    /// The screen as it is, cell by cell.
    pub fn screen(&self) -> vt100::Screen {
        self.emulator().parser.screen().clone()
    }

    /// Everything that the program wrote.
    pub fn written(&self) -> Vec<u8> {
        self.emulator().bytes.clone()
    }

    /// Waits until the screen has this text.
    #[track_caller]
    pub fn until(&self, part: &str) -> String {
        self.until_it(part, |text| text.contains(part))
    }

    #[track_caller]
    pub fn until_it(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        wait::until(what, || Some(self.text()).filter(|text| is_so(text)))
    }

    pub fn press(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("the keys");
    }

    pub fn resize(&self, rows: u16, columns: u16) {
        let (height, width) = cells(rows, columns);
        self.emulator().parser.set_size(height, width);
        self.pty.resize(Size::new(rows, columns)).expect("a size");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether keys are shown and lines are edited, as a shell wants it.
    pub fn is_usual(&self) -> bool {
        let modes = tcgetattr(&*self.pty).expect("the modes").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Whether the program shows a screen of its own.
    pub fn is_taken(&self) -> bool {
        self.emulator().parser.screen().alternate_screen()
    }

    pub fn hides_the_cursor(&self) -> bool {
        self.emulator().parser.screen().hide_cursor()
    }

    /// Waits for the end of the program; everything that it wrote stands on the screen then.
    #[track_caller]
    pub fn exit(&mut self) -> i32 {
        let status = wait::until("the end of the program", || {
            self.child.try_wait().expect("the program")
        });
        wait::until("its last words", || self.reader.is_finished().then_some(()));
        exit_code(status)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the screen:\n{}", self.text());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
