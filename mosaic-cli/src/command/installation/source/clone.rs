//! A clone of Mosaic's repository.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use toml_edit::DocumentMut;

use super::offer::Offer;
use crate::command::installation::place::Lock;
use crate::command::installation::receipt::Receipt;
use crate::failure::{Code, Failure};

/// More would bury the rest.
const NAMED: usize = 10;
/// Of a caller that git runs itself, as in one of its hooks.
const OF_ANOTHER: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
    "GIT_PREFIX",
];

pub struct Clone(PathBuf);

impl Clone {
    pub fn open(folder: &Path, is_named: bool) -> Result<Clone, Failure> {
        let clone = Clone(folder.to_owned());
        let Ok(whole) = folder.canonicalize() else {
            let what = if is_named {
                "there is no folder"
            } else {
                "the clone is gone:"
            };
            return Err(clone
                .refused(what, "")
                .hint("Clone Mosaic again and name the clone: `mosaic update --source DIR`."));
        };
        let clone = Clone(whole);
        let top = clone.git(&["rev-parse", "--show-toplevel"]).map_err(|failure| {
            let detail = failure.detail.unwrap_or_default();
            clone
                .refused("no clone of git is in", &detail)
                .hint("`mosaic update --source DIR` names a clone; an unpacked archive is installed by its install.sh.")
        })?;
        let is_mosaic = ["install.sh", "Cargo.toml", "sql"]
            .iter()
            .all(|name| clone.0.join(name).exists());
        if Path::new(&top) != clone.0 || !is_mosaic {
            return Err(clone
                .refused("no clone of Mosaic is in", "")
                .hint("Name the top folder of a clone: `mosaic update --source DIR`."));
        }
        clone.check_clean()?;
        Ok(clone)
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// What is built is to be what the commit says.
    fn check_clean(&self) -> Result<(), Failure> {
        // Not trimmed: a line may begin with a blank.
        let changed = self.output(self.command(&["status", "--porcelain"]))?;
        let files: Vec<&str> = changed.lines().filter_map(|line| line.get(3..)).collect();
        if files.is_empty() {
            return Ok(());
        }
        let more = match files.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named = files[..files.len().min(NAMED)].join(", ");
        Err(self
            .refused(
                "there are changes in the clone",
                &format!("Changed or not committed: {named}{more}."),
            )
            .hint(format!(
                "Commit them, or put them aside: `git -C {} stash --include-untracked`.",
                self.0.display()
            )))
    }

    pub fn offer(&self, receipt: &Receipt) -> Result<Offer, Failure> {
        let upstream = self.git(&["rev-parse", "--symbolic-full-name", "@{upstream}"]);
        let upstream = upstream.map_err(|_| {
            self.refused("no branch to be updated is checked out in", "")
                .hint(format!(
                    "`git -C {} switch main`, or another branch that follows one of a remote.",
                    self.0.display()
                ))
        })?;
        self.git(&["fetch", "--quiet"]).map_err(|failure| {
            let detail = failure.detail.unwrap_or_default();
            Failure::unreachable(format!("git cannot fetch into {}", self.0.display()))
                .detail(format!("{detail} Nothing was changed."))
                .hint(format!(
                    "`git -C {} fetch` shows the same.",
                    self.0.display()
                ))
        })?;
        let head = self.git(&["rev-parse", "HEAD"])?;
        let tip = self.git(&["rev-parse", &upstream])?;
        let commit = if self.contains(&head, &tip) {
            head
        } else if self.contains(&tip, &head) {
            tip
        } else {
            return Err(self
                .refused(
                    "the clone has commits of its own, beside those of its remote:",
                    "",
                )
                .hint(format!(
                    "`git -C {} rebase`, or name another clone: `mosaic update --source DIR`.",
                    self.0.display()
                )));
        };
        let scripts = self.git(&["ls-tree", "--name-only", &commit, "sql/"])?;
        Ok(Offer {
            version: self.version(&commit)?,
            commits: receipt.commit.as_deref().and_then(|from| {
                let range = format!("{from}..{commit}");
                self.git(&["rev-list", "--count", &range])
                    .ok()?
                    .parse()
                    .ok()
            }),
            scripts: scripts
                .lines()
                .filter_map(|line| line.strip_prefix("sql/"))
                .map(str::to_owned)
                .collect(),
            commit,
        })
    }

    fn contains(&self, commit: &str, other: &str) -> bool {
        self.git(&["merge-base", "--is-ancestor", other, commit])
            .is_ok()
    }

    fn version(&self, commit: &str) -> Result<String, Failure> {
        let text = self.git(&["show", &format!("{commit}:Cargo.toml")])?;
        let version = text.parse::<DocumentMut>().ok().and_then(|document| {
            let version = document.get("workspace")?.get("package")?.get("version")?;
            Some(version.as_str()?.to_owned())
        });
        version.ok_or_else(|| self.refused("no version of Mosaic is in", ""))
    }

    /// `git pull --ff-only`, to the commit that was announced.
    pub fn bring(&self, offer: &Offer, lock: &Lock) -> Result<(), Failure> {
        let mut command = self.command(&["merge", "--quiet", "--ff-only", &offer.commit]);
        command.stdin(lock.share()?);
        self.output(command).map(drop)
    }

    /// What it prints is for people, and so is what cargo prints.
    pub fn install(&self, prefix: &Path, receipt: &Receipt, lock: &Lock) -> Result<(), Failure> {
        let script = self.0.join("install.sh");
        let cannot =
            |error: &io::Error| Failure::io(format!("cannot run {}", script.display()), error);
        let stdout = rustix::io::dup(io::stderr()).map_err(|error| cannot(&error.into()))?;
        let status = Command::new("sh")
            .arg(&script)
            .arg("--prefix")
            .arg(prefix)
            .args(&receipt.flags)
            .stdin(lock.share()?)
            .stdout(stdout)
            .status()
            .map_err(|error| cannot(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(
            Failure::new(Code::Resource, format!("{} failed", script.display()))
                .lasts(true)
                .detail(format!("What it printed says why ({status}).")),
        )
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        for name in OF_ANOTHER {
            command.env_remove(name);
        }
        command
            .arg("-C")
            .arg(&self.0)
            .args([
                "-c",
                "gc.auto=0",
                "-c",
                "maintenance.auto=false",
                "-c",
                "core.quotePath=false",
            ])
            .args(arguments)
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .stdin(Stdio::null());
        command
    }

    /// The output of git, in a line.
    fn git(&self, arguments: &[&str]) -> Result<String, Failure> {
        let text = self.output(self.command(arguments))?;
        Ok(text.trim().to_owned())
    }

    fn output(&self, mut command: Command) -> Result<String, Failure> {
        let output = command.output().map_err(|error| {
            Failure::io("cannot run git", &error).hint("Install git (Debian: git).")
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        Err(self.refused("git fails in", &said.join(" ")))
    }

    fn refused(&self, what: &str, detail: &str) -> Failure {
        let failure = Failure::new(Code::WrongState, format!("{what} {}", self.0.display()));
        failure.detail(format!("{detail} Nothing was changed.").trim_start())
    }
}
