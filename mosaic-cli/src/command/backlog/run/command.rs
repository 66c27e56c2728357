//! The command of a card: what it is given, and what it leaves.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::event::Event;
use super::group::Group;
use super::plan::Plan;
use super::work::Work;
use crate::command::backlog::holding::Lease;
use crate::database::store::Record;
use crate::failure::{Failure, sentence};
use crate::output::screen::is_unsafe;

/// How much of the end of standard error is kept for the reason of a failure.
const TAIL: usize = 2000;
/// Processes that the command left behind may hold its standard error open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// More of a result is not read. It leaves room for the blanks and the escapes of JSON that is small
/// enough once it is kept.
const LONGEST_RESULT: u64 = 8 << 20;

/// What a command left in the file for its result.
pub enum Left {
    Nothing,
    Work(Work),
    /// Something that is no file to be read.
    Unread(String),
    TooLarge(String),
}

pub struct Running {
    pub group: Group,
    folder: TempDir,
    tail: Receiver<Vec<u8>>,
}

/// Whether there is such a program, before a card is claimed for it.
pub fn check(program: &OsStr) -> Result<(), Failure> {
    let is_program = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let path = Path::new(program);
    let is_there = if path.components().count() > 1 || path.is_absolute() {
        is_program(path)
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).any(|folder| is_program(&folder.join(path)))
    };
    if is_there {
        Ok(())
    } else {
        Err(Failure::usage(format!("cannot run {}", path.display()))
            .detail("There is no such program. Nothing was claimed."))
    }
}

/// Whether there is a place for the files of the cards, before one is claimed.
pub fn check_folder() -> Result<(), Failure> {
    folder().map(drop).map_err(|error| {
        let above = std::env::temp_dir();
        Failure::io(
            format!(
                "cannot make a folder for the files of a card in {}",
                above.display()
            ),
            &error,
        )
        .detail(format!("{} Nothing was claimed.", sentence(&error)))
        .hint("TMPDIR names the folder for such files.")
    })
}

/// Whoever reads the card has its token, and whoever writes the result has done the work.
fn folder() -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("mosaic-run-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
}

impl Running {
    /// Starts the command; its end is told as an event.
    pub fn start(
        plan: &Plan,
        card: &Record,
        lease: &Lease,
        events: Sender<Event>,
    ) -> Result<Self, Failure> {
        let (running, child) = Running::spawn(plan, card, lease).map_err(|error| {
            let program = Path::new(&plan.command[0]).display();
            Failure::usage(format!("cannot run {program}")).detail(format!("{error}."))
        })?;
        thread::spawn(move || wait(child, &events));
        Ok(running)
    }

    fn spawn(plan: &Plan, card: &Record, lease: &Lease) -> io::Result<(Self, Child)> {
        let folder = folder()?;
        let card_file = folder.path().join("card.json");
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&card_file)?
            .write_all(format!("{}\n", Value::Object(card.clone())).as_bytes())?;
        let group = Group::new(folder.path())?;
        let mut command = Command::new(&plan.command[0]);
        command
            .args(&plan.command[1..])
            .env("MOSAIC_CARD_ID", &lease.id)
            .env("MOSAIC_CLAIM_TOKEN", lease.token.to_string())
            .env("MOSAIC_CARD_FILE", &card_file)
            .env("MOSAIC_RESULT_FILE", result_file(&folder))
            .env("MOSAIC_AGENT", &plan.worker)
            .stdin(File::open(&card_file)?)
            .stderr(Stdio::piped())
            .process_group(group.id());
        if let Some(url) = &plan.database_url {
            command.env("DATABASE_URL", url);
        }
        if plan.json {
            command.stdout(io::stderr().as_fd().try_clone_to_owned()?);
        }
        let mut child = command.spawn()?;
        let tail = child.stderr.take().map(pass_on);
        let running = Running {
            group,
            folder,
            tail: tail.unwrap_or_else(|| mpsc::channel().1),
        };
        Ok((running, child))
    }

    /// What the command wrote as its result.
    pub fn result(&self) -> Left {
        match read(&result_file(&self.folder)) {
            Ok(left) => left,
            Err(error) if error.kind() == ErrorKind::NotFound => Left::Nothing,
            Err(error) => Left::Unread(format!("the result cannot be read: {error}")),
        }
    }

    /// The last lines of the command's standard error.
    pub fn last_words(&self) -> String {
        let bytes = self.tail.recv_timeout(LAST_WORDS).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let text: String = text
            .chars()
            .filter(|c| !is_unsafe(*c) || matches!(c, '\n' | '\t'))
            .collect();
        text.trim().to_owned()
    }
}

fn result_file(folder: &TempDir) -> PathBuf {
    folder.path().join("result.json")
}

/// Waits for nobody, and reads no more than can be kept: the command may have put anything there.
fn read(file: &Path) -> io::Result<Left> {
    if fs::symlink_metadata(file)?.is_symlink() {
        return Ok(Left::Unread("the result is a link, not a file".to_owned()));
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(file)?;
    if !file.metadata()?.is_file() {
        return Ok(Left::Unread(
            "the result is not an ordinary file".to_owned(),
        ));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST_RESULT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_RESULT {
        let refused = format!("the result was refused: it has more than {LONGEST_RESULT} bytes");
        return Ok(Left::TooLarge(refused));
    }
    Ok(Work::of(&bytes).map_or(Left::Nothing, Left::Work))
}

fn wait(mut child: Child, events: &Sender<Event>) {
    let status: ExitStatus = loop {
        if let Ok(status) = child.wait() {
            break status;
        }
    };
    let _ = events.send(Event::Exited(status));
}

/// Passes standard error on, and keeps its end.
fn pass_on(mut from: ChildStderr) -> Receiver<Vec<u8>> {
    let (sender, tail) = mpsc::channel();
    thread::spawn(move || {
        let mut kept: Vec<u8> = Vec::new();
        let mut buffer = [0; 8192];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            let _ = io::stderr().write_all(&buffer[..count]);
            kept.extend_from_slice(&buffer[..count]);
            kept.drain(..kept.len().saturating_sub(TAIL));
        }
        let _ = sender.send(kept);
    });
    tail
}
