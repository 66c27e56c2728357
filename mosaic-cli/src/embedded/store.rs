//! The store as a whole: the warm way in, the slow way, and what `mosaic db` does with it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postgres::Client;

use super::account::Account;
use super::dial::{ADMIN, Answer, DATABASE, FIRST_DATABASE, OPERATOR, dial};
use super::home::{Home, Socket};
use super::installation::Installation;
use super::lock::Lock;
use super::step::{Action, perform};
use super::version::{Marker, Version};
use super::{process, progress, schema, setup};
use crate::extension::Migration;
use crate::failure::{Code, Failure};

/// A crash recovery may take this long.
const RECOVERY: Duration = Duration::from_secs(300);
/// A server that runs, but does not listen where it should, gets this long.
const SILENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

pub struct Store {
    pub(super) home: Home,
}

/// What `mosaic db status` tells.
pub struct Report {
    pub data: PathBuf,
    pub initialized: bool,
    pub pid: Option<u32>,
    pub accepts: bool,
    pub url: Option<String>,
    pub socket: Option<PathBuf>,
    pub server_version: Option<String>,
    pub data_major: Option<u32>,
    pub extension_version: Option<String>,
    pub data_bytes: u64,
    pub installation: Option<PathBuf>,
}

impl Store {
    pub fn locate() -> Result<Store, Failure> {
        Ok(Store {
            home: Home::locate()?,
        })
    }

    pub fn connect(&self) -> Result<Client, Failure> {
        match self.warm()? {
            Some(client) => Ok(client),
            None => self.bring_up().map(|(client, _)| client),
        }
    }

    /// Connects if everything is known to be in order.
    fn warm(&self) -> Result<Option<Client>, Failure> {
        if !Marker::of(&self.home).is_current() {
            return Ok(None);
        }
        match dial(&self.home.socket()?, OPERATOR, DATABASE) {
            Answer::Connected(client) => Ok(Some(*client)),
            Answer::Down | Answer::Waiting | Answer::Incomplete(_) => Ok(None),
            Answer::Refused(failure) => Err(failure),
        }
    }

    /// Does everything that is missing, one call at a time. No migration: another call did it all.
    fn bring_up(&self) -> Result<(Client, Option<Migration>), Failure> {
        let home = &self.home;
        let account = Account::of_server(home)?;
        account.reach(home)?;
        setup::make_folders(home, &account)?;
        let lock = Lock::acquire(home)?;
        if let Some(client) = self.warm()? {
            return Ok((client, None));
        }
        self.start_under(&lock, &account)?;
        let (client, migration) = self.complete_under(&lock)?;
        Ok((client, Some(migration)))
    }

    /// Connects after the schema turned out to lack something although it was in order once:
    /// somebody took it away, or took the server's programs away.
    pub fn repair(&self) -> Result<Client, Failure> {
        Marker::of(&self.home).remove();
        self.connect()
    }

    /// Brings the schema up and connects as the operator.
    fn complete_under(&self, _lock: &Lock) -> Result<(Client, Migration), Failure> {
        let socket = self.home.socket()?;
        let migration = schema::complete(&socket)?;
        Marker::of(&self.home)
            .set()
            .map_err(|error| super::cannot("write to", &self.home.data, &error))?;
        match dial(&socket, OPERATOR, DATABASE) {
            Answer::Connected(client) => Ok((*client, migration)),
            Answer::Incomplete(failure) | Answer::Refused(failure) => Err(failure),
            Answer::Down | Answer::Waiting => {
                Err(Failure::unreachable("the embedded server went away"))
            }
        }
    }

    /// Makes the data folder if there is none, and starts the server if it does not run.
    fn start_under(&self, lock: &Lock, account: &Account) -> Result<(), Failure> {
        let home = &self.home;
        setup::sweep(home);
        let mut installation = None;
        if home.data_major()?.is_none() {
            setup::check_free(home)?;
            let found = Installation::find(home, account)?;
            progress::say(&format!(
                "setting up the backlog's own PostgreSQL {} in {}",
                found.major,
                home.data.display()
            ));
            setup::create(home, account, lock, &found)?;
            installation = Some(found);
        }
        let socket = home.socket()?;
        if self.settled(&socket)? && self.has_our_extension() {
            return Ok(());
        }
        let found = match installation {
            Some(found) => found,
            None => Installation::find(home, account)?,
        };
        if process::server_of(&home.data).is_some() {
            // Nobody can reach it, as its socket was removed; or its files are not what we need.
            perform(Action::Stop, account, lock, &found.root, &home.data)?;
        }
        perform(Action::Start, account, lock, &found.root, &home.data)?;
        if self.settled(&socket)? {
            return Ok(());
        }
        Err(
            Failure::unreachable("the embedded server ended right after its start").detail(
                format!("Its log is in {}.", home.data.join("log").display()),
            ),
        )
    }

    /// Whether the server that answers was started from an installation that still suits us.
    fn has_our_extension(&self) -> bool {
        // A server that answers but cannot be seen runs in another container: it is not ours to judge,
        // and a second one on the same data would ruin it.
        let Some(pid) = process::server_of(&self.home.data) else {
            return true;
        };
        process::installation_of(pid)
            .and_then(|root| Installation::inspect(&root).ok())
            .and_then(|found| found.extension)
            .is_some_and(|version| version >= Version::own())
    }

    /// Waits until the server accepts connections or is known not to run where it should.
    fn settled(&self, socket: &Socket) -> Result<bool, Failure> {
        let start = Instant::now();
        loop {
            match dial(socket, ADMIN, FIRST_DATABASE) {
                Answer::Connected(_) => return Ok(true),
                Answer::Incomplete(failure) | Answer::Refused(failure) => return Err(failure),
                Answer::Down => {
                    let running = process::server_of(&self.home.data).is_some();
                    if !running || start.elapsed() > SILENCE {
                        return Ok(false);
                    }
                }
                Answer::Waiting if start.elapsed() > RECOVERY => {
                    return Err(Failure::new(
                        Code::Timeout,
                        "the embedded server is still starting or stopping",
                    ));
                }
                Answer::Waiting => {}
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Runs the server; says whether it had to be started.
    pub fn start(&self) -> Result<bool, Failure> {
        let ran = process::server_of(&self.home.data).is_some();
        self.connect()?;
        Ok(!ran)
    }

    /// Stops the server; says whether it ran.
    pub fn stop(&self) -> Result<bool, Failure> {
        if fs::symlink_metadata(&self.home.data).is_err() {
            return Ok(false);
        }
        let account = Account::of_server(&self.home)?;
        let lock = Lock::acquire(&self.home)?;
        let Some(pid) = process::server_of(&self.home.data) else {
            return Ok(false);
        };
        let installation = match process::installation_of(pid) {
            Some(root) => root,
            None => Installation::find(&self.home, &account)?.root,
        };
        perform(
            Action::Stop,
            &account,
            &lock,
            &installation,
            &self.home.data,
        )?;
        Ok(true)
    }

    /// Brings the schema to the newest version that the server has files for.
    pub fn migrate(&self) -> Result<Migration, Failure> {
        let migration = match self.warm()? {
            Some(_) => None,
            None => self.bring_up()?.1,
        };
        match migration {
            Some(migration) => Ok(migration),
            None => {
                let lock = Lock::acquire(&self.home)?;
                self.complete_under(&lock).map(|(_, migration)| migration)
            }
        }
    }

    /// A URL for other clients, of a server that runs.
    pub fn url(&self, admin: bool) -> Result<String, Failure> {
        self.connect()?;
        let role = if admin { ADMIN } else { OPERATOR };
        Ok(self.home.socket()?.url(role))
    }

    /// The environment in which libpq connects to this store as the superuser.
    pub fn environment(&self) -> Result<Vec<(&'static str, OsString)>, Failure> {
        Ok(self.home.socket()?.environment(ADMIN, DATABASE))
    }

    /// The program of the PostgreSQL that runs the store.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let pid = process::server_of(&self.home.data)?;
        let program = process::installation_of(pid)?.join("bin").join(name);
        program.is_file().then_some(program)
    }

    /// Connects to a server that runs; starts none.
    pub fn connect_running(&self) -> Result<Option<Client>, Failure> {
        match dial(&self.home.socket()?, OPERATOR, DATABASE) {
            Answer::Connected(client) => Ok(Some(*client)),
            Answer::Down => Ok(None),
            Answer::Waiting => Err(Failure::unreachable(
                "the embedded server is starting or stopping",
            )),
            Answer::Incomplete(failure) | Answer::Refused(failure) => Err(failure),
        }
    }

    /// The PostgreSQL on this machine that the store would run with.
    pub fn installed(&self) -> Result<Installation, Failure> {
        Installation::find_installed(&self.home, &Account::of_server(&self.home)?)
    }

    /// Looks, and changes nothing.
    pub fn report(&self) -> Result<Report, Failure> {
        let home = &self.home;
        let data_major = home.data_major()?;
        let socket = data_major.map(|_| home.socket()).transpose()?;
        let pid = process::server_of(&home.data);
        let mut report = Report {
            data: home.data.clone(),
            initialized: data_major.is_some(),
            pid,
            accepts: false,
            url: socket.as_ref().map(|socket| socket.url(OPERATOR)),
            socket: socket.as_ref().map(Socket::file),
            server_version: None,
            data_major,
            extension_version: None,
            data_bytes: size(&home.data),
            installation: pid.and_then(process::installation_of),
        };
        if let Some(socket) = &socket
            && let Answer::Connected(mut client) = dial(socket, OPERATOR, DATABASE)
        {
            report.accepts = true;
            report.extension_version = schema::version(&mut client)?;
            report.server_version = client
                .query_one("select current_setting('server_version')", &[])?
                .try_get(0)?;
        }
        if report.installation.is_none() {
            report.installation = Account::of_server(home)
                .and_then(|account| Installation::find_installed(home, &account))
                .ok()
                .map(|found| found.root);
        }
        Ok(report)
    }
}

/// What the folder takes on the disk. Files come and go while it is counted.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return 0;
    };
    let below: u64 = if metadata.is_dir() {
        fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| size(&entry.path()))
            .sum()
    } else {
        0
    };
    metadata.blocks() * 512 + below
}
