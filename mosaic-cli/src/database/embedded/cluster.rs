//! The cluster as a whole: the warm way in, the slow way, and what `mosaic db` does with it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postgres::Client;

use super::account::Account;
use super::connect::{ADMIN, Attempt, DATABASE, FIRST_DATABASE, OPERATOR, connect};
use super::ending::{self, Manner};
use super::guard::{self, Holder};
use super::home;
use super::home::{Home, Socket};
use super::installation::Installation;
use super::lock::Lock;
use super::step::{Action, perform};
use super::version::{Marker, Version};
use super::{process, schema, search, setup};
use crate::database::extension::Migration;
use crate::database::limit;
use crate::failure::{Code, Failure};
use crate::output::notes::say_to_people;

/// A crash recovery may take this long.
const RECOVERY: Duration = Duration::from_secs(300);
/// A server that runs, but does not listen where it should, gets this long.
const SILENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

pub struct Cluster {
    pub(super) home: Home,
}

/// What `mosaic db status` tells.
pub struct Report {
    pub data: PathBuf,
    pub initialized: bool,
    /// The server, if this call can see it.
    pub pid: Option<u32>,
    /// Who holds the data folder, if somebody does, wherever that is.
    pub holder: Option<Holder>,
    pub accepts: bool,
    /// What was found instead of an answer in time.
    pub silent: Option<Failure>,
    pub url: Option<String>,
    pub socket: Option<PathBuf>,
    pub server_version: Option<String>,
    pub data_major: Option<u32>,
    pub extension_version: Option<String>,
    pub data_bytes: u64,
    pub installation: Option<PathBuf>,
}

impl Cluster {
    pub fn locate() -> Result<Cluster, Failure> {
        // Refused at once, not only when it is needed next.
        search::named()?;
        Ok(Cluster {
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
        match connect(&self.home.socket()?, OPERATOR, DATABASE) {
            Attempt::Connected(client) => Ok(Some(*client)),
            Attempt::Down | Attempt::Waiting | Attempt::Incomplete(_) => Ok(None),
            Attempt::Refused(failure) => Err(failure),
            Attempt::Silent(failure) => Err(self.explained(failure)),
        }
    }

    /// Adds to an answer that did not come what is known about the server.
    fn explained(&self, failure: Failure) -> Failure {
        let Some(pid) = process::server_of(&self.home.data) else {
            return match guard::holder(&self.home.data) {
                Some(holder) => {
                    let detail = failure.detail.clone().unwrap_or_default();
                    failure.detail(format!("{detail} It is {}.", holder.describe()))
                }
                None => failure,
            };
        };
        let detail = failure.detail.clone().unwrap_or_default();
        let state = if process::is_stopped(pid) {
            format!("Process {pid} is held up by a signal (SIGSTOP).")
        } else {
            format!("Process {pid} is there.")
        };
        failure.detail(format!("{detail} {state}"))
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
            .map_err(|error| home::cannot("write to", &self.home.data, &error))?;
        match connect(&socket, OPERATOR, DATABASE) {
            Attempt::Connected(client) => Ok((*client, migration)),
            Attempt::Incomplete(failure) | Attempt::Refused(failure) => Err(failure),
            Attempt::Silent(failure) => Err(self.explained(failure)),
            Attempt::Down | Attempt::Waiting => {
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
            let found = search::find(home, account)?;
            say_to_people(&format!(
                "setting up the backlog's own PostgreSQL {} in {}",
                found.major,
                home.data.display()
            ));
            setup::create(home, account, lock, &found)?;
            installation = Some(found);
        }
        let socket = home.socket()?;
        if self.accepts_connections(&socket)? && self.is_guarded() && self.has_our_extension() {
            return Ok(());
        }
        let found = match installation {
            Some(found) => found,
            None => search::find(home, account)?,
        };
        if let Some(pid) = process::server_of(&home.data) {
            if !process::sees_our_files(pid) && !socket.file().exists() {
                // It listens, where others reach it.
                return Err(guard::holder(&home.data)
                    .unwrap_or_default()
                    .refusal(&home.data));
            }
            // Nobody can reach it, as its socket was removed; or its files are not what we need.
            self.stop_under(lock)?;
        }
        perform(Action::Start, account, lock, &found.root, &home.data)?;
        if self.accepts_connections(&socket)? {
            return Ok(());
        }
        Err(
            Failure::unreachable("the embedded server ended right after its start").detail(
                format!("Its log is in {}.", home.data.join("log").display()),
            ),
        )
    }

    /// Whether the server that answers holds the lock of its folder. One that an older version of
    /// this program started does not, or only one that whoever removes its file takes away, and
    /// would not keep a second one off.
    fn is_guarded(&self) -> bool {
        process::server_of(&self.home.data).is_none() || guard::is_held(&self.home.data)
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
    fn accepts_connections(&self, socket: &Socket) -> Result<bool, Failure> {
        let start = Instant::now();
        loop {
            match connect(socket, ADMIN, FIRST_DATABASE) {
                Attempt::Connected(_) => return Ok(true),
                Attempt::Incomplete(failure) | Attempt::Refused(failure) => return Err(failure),
                Attempt::Silent(failure) => return Err(self.explained(failure)),
                Attempt::Down => {
                    let running = process::server_of(&self.home.data).is_some();
                    if !running || start.elapsed() > SILENCE {
                        return Ok(false);
                    }
                }
                Attempt::Waiting if start.elapsed() > RECOVERY => {
                    return Err(Failure::new(
                        Code::Timeout,
                        "the embedded server is still starting or stopping",
                    ));
                }
                Attempt::Waiting => {}
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

    /// Stops the server, by force if nothing else helps; says how, or `None` if it did not run.
    pub fn stop(&self) -> Result<Option<Manner>, Failure> {
        if fs::symlink_metadata(&self.home.data).is_err() {
            return Ok(None);
        }
        // Refuses who may not.
        Account::of_server(&self.home)?;
        let lock = Lock::acquire_within(&self.home, limit::connect())?;
        self.stop_under(&lock)
    }

    fn stop_under(&self, _lock: &Lock) -> Result<Option<Manner>, Failure> {
        let data = &self.home.data;
        if let Some(pid) = process::server_of(data) {
            let manner = ending::end(pid, data, limit::connect())?;
            if let Ok(socket) = self.home.socket() {
                socket.clear();
            }
            return Ok(Some(manner));
        }
        if ending::kill_the_rest(data)? > 0 {
            return Ok(Some(Manner::Killed));
        }
        match guard::holder(data) {
            Some(holder) => Err(holder.out_of_reach(data)),
            None => Ok(None),
        }
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

    /// Whether a server runs on this data, as far as it shows from here.
    pub fn is_running(&self) -> bool {
        process::server_of(&self.home.data).is_some()
    }

    /// The version of the schema: of the server if it runs, else of the program that saw to it last. `None`: there is
    /// no data yet.
    pub fn schema_version(&self) -> Result<Option<String>, Failure> {
        if self.home.data_major()?.is_none() {
            return Ok(None);
        }
        if let Some(mut client) = self.connect_running()?
            && let Some(version) = schema::version(&mut client)?
        {
            return Ok(Some(version));
        }
        Ok(Marker::of(&self.home).version())
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
        match connect(&self.home.socket()?, OPERATOR, DATABASE) {
            Attempt::Connected(client) => Ok(Some(*client)),
            Attempt::Down => Ok(None),
            Attempt::Waiting => Err(Failure::unreachable(
                "the embedded server is starting or stopping",
            )),
            Attempt::Incomplete(failure) | Attempt::Refused(failure) => Err(failure),
            Attempt::Silent(failure) => Err(self.explained(failure)),
        }
    }

    /// The PostgreSQL on this machine that the store would run with.
    pub fn installed(&self) -> Result<Installation, Failure> {
        search::find_installed(&self.home, &Account::of_server(&self.home)?)
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
            holder: guard::holder(&home.data),
            accepts: false,
            silent: None,
            url: socket.as_ref().map(|socket| socket.url(OPERATOR)),
            socket: socket.as_ref().map(Socket::file),
            server_version: None,
            data_major,
            extension_version: None,
            data_bytes: size(&home.data),
            installation: pid.and_then(process::installation_of),
        };
        match socket
            .as_ref()
            .map(|socket| connect(socket, OPERATOR, DATABASE))
        {
            Some(Attempt::Connected(mut client)) => {
                report.accepts = true;
                report.extension_version = schema::version(&mut client)?;
                report.server_version = client
                    .query_one("select current_setting('server_version')", &[])?
                    .try_get(0)?;
            }
            Some(Attempt::Silent(failure)) => report.silent = Some(self.explained(failure)),
            _ => {}
        }
        if report.installation.is_none() {
            report.installation = Account::of_server(home)
                .and_then(|account| search::find_installed(home, &account))
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
