//! Runs of pgbench.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::programs;

use crate::server::{DATABASE, Server};

/// What a run gave.
pub struct Run {
    /// Transactions a second.
    pub rate: f64,
    /// The rate in each second.
    pub seconds: Vec<f64>,
    /// Milliseconds that 99 of 100 transactions stayed below.
    pub p99: f64,
}

impl Run {
    /// The rate of the last `part` of the seconds over that of the first.
    pub fn last_over_first(&self, part: f64) -> f64 {
        let n = ((self.seconds.len() as f64 * part) as usize).max(1);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        if self.seconds.len() < 2 {
            return 1.0;
        }
        mean(&self.seconds[self.seconds.len() - n..]) / mean(&self.seconds[..n])
    }

    pub fn last(&self, part: f64) -> f64 {
        let n = ((self.seconds.len() as f64 * part) as usize).max(1);
        let from = self.seconds.len().saturating_sub(n);
        let last = &self.seconds[from..];
        last.iter().sum::<f64>() / last.len().max(1) as f64
    }
}

#[derive(Clone)]
pub struct Load<'a> {
    server: &'a Server,
    database: String,
    clients: u32,
    limit: Limit,
}

#[derive(Clone, Copy)]
enum Limit {
    Seconds(u32),
    /// Of each client.
    Transactions(u32),
}

impl<'a> Load<'a> {
    pub fn new(server: &'a Server, seconds: u32) -> Self {
        Self {
            server,
            database: DATABASE.to_owned(),
            clients: 4,
            limit: Limit::Seconds(seconds),
        }
    }

    pub fn clients(mut self, clients: u32) -> Self {
        self.clients = clients;
        self
    }

    pub fn transactions(mut self, transactions: u32) -> Self {
        self.limit = Limit::Transactions(transactions.max(1));
        self
    }

    pub fn database(mut self, database: &str) -> Self {
        database.clone_into(&mut self.database);
        self
    }

    pub fn number(&self) -> u32 {
        self.clients
    }

    /// Runs `script`; `:n` is -1 at the start of each client, for scripts that count.
    pub fn run(&self, script: &str) -> Run {
        let folder = folder::create();
        let file = folder.join("script.sql");
        fs::write(&file, script).expect("a script");
        self.run_file(file, &folder)
    }

    pub fn run_file(&self, file: PathBuf, folder: &Folder) -> Run {
        let config = self.server.cluster.config(&self.database, "postgres");
        let mut command = Command::new(programs::postgresql("pgbench"));
        command
            .current_dir(folder)
            .arg("-h")
            .arg(self.server.cluster.folder())
            .arg("-p")
            .arg(config.get_ports()[0].to_string())
            .args([
                "-U", "postgres", "-n", "-M", "prepared", "-j", "2", "-P", "1", "-l",
            ])
            .args(["-D", "n=-1", "-D"])
            .arg(format!("clients={}", self.clients))
            .arg("-c")
            .arg(self.clients.to_string());
        match self.limit {
            Limit::Seconds(seconds) => command.args(["-T", &seconds.to_string()]),
            Limit::Transactions(each) => command.args(["-t", &each.to_string()]),
        };
        let output = command
            .arg("-f")
            .arg(file)
            .arg(&self.database)
            .output()
            .expect("pgbench");
        let text = String::from_utf8_lossy(&output.stdout);
        let progress = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pgbench: {text}{progress}");
        let number = |line: &str| -> f64 {
            let word = line.split_whitespace().next();
            word.and_then(|w| w.parse().ok())
                .expect("a number of pgbench")
        };
        let rate = text
            .lines()
            .find_map(|line| line.strip_prefix("tps = "))
            .map(number)
            .expect("the rate of pgbench");
        let seconds = progress
            .lines()
            .filter(|line| line.starts_with("progress: "))
            .filter_map(|line| line.split(" s, ").nth(1))
            .map(number)
            .collect();
        Run {
            rate,
            seconds,
            p99: p99(folder),
        }
    }
}

/// From the log of each transaction: the third column is its microseconds.
fn p99(folder: &Folder) -> f64 {
    let mut times: Vec<u64> = fs::read_dir(&**folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("pgbench_log")
        })
        .flat_map(|path| {
            let log = fs::read_to_string(&path).expect("a log");
            fs::remove_file(path).expect("remove");
            log.lines()
                .filter_map(|line| line.split(' ').nth(2)?.parse().ok())
                .collect::<Vec<u64>>()
        })
        .collect();
    times.sort_unstable();
    let at = (times.len() * 99 / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or(0) as f64 / 1000.0
}

/// The middle of several values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
