//! An installation out of a clone of its own, whose commits the tests write. The build is a copy of what is installed
//! already, with another version in it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::home::Home;
use mosaic_backlog_tests::program::{Mosaic, Outcome, program};
use mosaic_backlog_tests::programs;
use serde_json::Value;

pub const OLD: &str = env!("CARGO_PKG_VERSION");

/// Of the same length, as it stands in a program in place of the other.
pub fn newer() -> String {
    let (rest, _) = OLD.rsplit_once('.').expect("three numbers");
    format!("{rest}.9")
}

/// Copies in place of building. Files in the clone say how it goes: `wait-for` holds the name of a file that has to be
/// there first, `fails` and `does-nothing` are what they are called.
const CARGO: &str = r#"#!/bin/sh
set -eu
while [ "$1" != --target-dir ]; do shift; done
here=$(pwd)
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
if [ -e wait-for ]; then
    touch "$(cat wait-for).waits"
    while [ ! -e "$(cat wait-for)" ]; do sleep 0.01; done
fi
[ ! -e fails ] || { echo "no such crate" >&2; exit 101; }
mkdir -p "$2/installed"
cd "$2/installed"
LC_ALL=C sed "s/OLD/$version/g" 'PREFIX/bin/mosaic' >mosaic
LC_ALL=C sed "s/OLD/$version/g" 'LIBRARY' >libmosaic_backlog_ext.so
chmod 755 mosaic libmosaic_backlog_ext.so
if [ -e "$here/does-nothing" ]; then printf '#!/bin/sh\nexit 0\n' >mosaic; fi
if [ -e "$here/says-nothing" ]; then
    mv mosaic mosaic-real
    printf '#!/bin/sh\ncase $1 in --version) exit 1 ;; esac\nexec "%s/mosaic-real" "$@"\n' "$PWD" >mosaic
fi
"#;

pub struct Site {
    /// First, as its server is stopped by the program in the folder.
    pub home: Home,
    pub folder: Folder,
    tools: PathBuf,
}

impl Site {
    /// With an origin that has no more than `install.sh` needs. Nothing is installed yet.
    pub fn prepare() -> Site {
        Site::of(|origin, site| {
            for below in ["sql", "mosaic_backlog_ext"] {
                fs::create_dir_all(origin.join(below)).expect("a folder");
            }
            let sources = programs::sources();
            for file in [
                "install.sh".to_owned(),
                "mosaic_backlog_ext/mosaic_backlog_ext.control".to_owned(),
                ".gitignore".to_owned(),
                format!("sql/mosaic_backlog_ext--{OLD}.sql"),
            ] {
                fs::copy(sources.join(&file), origin.join(&file)).expect("a copy");
            }
            site.write("Cargo.toml", &manifest(OLD));
            site.git(origin, &["init", "--quiet", "--initial-branch=main"]);
        })
    }

    /// With an origin that `make` makes; what is in it then is the old version.
    pub fn of(make: impl FnOnce(&Path, &Site)) -> Site {
        let folder = folder::create();
        let tools = folder.join("tools");
        fs::create_dir(&tools).expect("a folder");
        let prefix = programs::prefix().expect("an installation");
        let library = programs::run(
            Command::new(programs::private_copy(&prefix).join("bin/pg_config")).arg("--pkglibdir"),
        );
        let library = format!("{}/mosaic_backlog_ext.so", library.trim());
        let cargo = CARGO
            .replace("OLD", &OLD.replace('.', "\\."))
            .replace("PREFIX", &prefix.to_string_lossy())
            .replace("LIBRARY", &library);
        for (name, text) in [
            ("cargo", cargo.as_str()),
            ("rustc", "#!/bin/sh\necho 'rustc 1.999.0 (none)'\n"),
        ] {
            script(&tools.join(name), text);
        }
        let home = Home::of(&folder.join("prefix/bin/mosaic"), "home");
        let site = Site {
            folder,
            home,
            tools,
        };
        make(&site.origin(), &site);
        site.commit("the old version");
        let clone = site.clone_folder();
        site.git(
            &site.folder,
            &["clone", "--quiet", "origin", &clone.to_string_lossy()],
        );
        site
    }

    /// The old version is installed.
    pub fn installed() -> Site {
        let site = Site::prepare();
        site.install(&[]);
        site
    }

    pub fn origin(&self) -> PathBuf {
        self.folder.join("origin")
    }

    pub fn clone_folder(&self) -> PathBuf {
        self.folder.join("clone of it")
    }

    pub fn prefix(&self) -> PathBuf {
        self.folder.join("prefix")
    }

    pub fn mosaic(&self) -> PathBuf {
        self.prefix().join("bin/mosaic")
    }

    pub fn private(&self) -> PathBuf {
        self.prefix().join("lib/mosaic")
    }

    /// Writes a file of the origin.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.origin().join(file), text).expect("write");
    }

    pub fn remove(&self, file: &str) {
        fs::remove_file(self.origin().join(file)).expect("it is there");
    }

    /// Commits what is in the origin; its number.
    pub fn commit(&self, message: &str) -> String {
        let origin = self.origin();
        self.git(&origin, &["add", "--all"]);
        self.git(
            &origin,
            &["commit", "--quiet", "--allow-empty", "-m", message],
        );
        self.head(&origin)
    }

    /// A newer version whose extension has a function more.
    pub fn commit_newer(&self) -> String {
        let newer = newer();
        self.write("Cargo.toml", &manifest(&newer));
        let script = self
            .origin()
            .join(format!("sql/mosaic_backlog_ext--{OLD}.sql"));
        let script = fs::read_to_string(script).expect("a script");
        self.write(&format!("sql/mosaic_backlog_ext--{newer}.sql"), &script);
        self.write(
            &format!("sql/mosaic_backlog_ext--{OLD}--{newer}.sql"),
            "create function mosaic.backlog_of_the_newer() returns int language sql as 'select 9';\n",
        );
        self.commit("the newer version")
    }

    pub fn head(&self, folder: &Path) -> String {
        self.git(folder, &["rev-parse", "HEAD"])
    }

    pub fn git(&self, folder: &Path, arguments: &[&str]) -> String {
        let text = programs::run(
            Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
                .args(arguments)
                .current_dir(folder)
                .env("HOME", "/nonexistent"),
        );
        text.trim().to_owned()
    }

    fn path(&self) -> OsString {
        let usual = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.tools.clone()]
            .into_iter()
            .chain(std::env::split_paths(&usual));
        std::env::join_paths(folders).expect("a PATH")
    }

    /// The user's home folder.
    pub fn user(&self) -> PathBuf {
        self.folder.join("user")
    }

    /// Describes a call of what is installed.
    fn describe(&self, call: Mosaic) -> Mosaic {
        call.env("PATH", self.path())
            .env("HOME", self.user())
            .at(&self.home)
    }

    pub fn call(&self, arguments: &[&str]) -> Mosaic {
        self.describe(program(&self.mosaic(), arguments))
    }

    pub fn update(&self, arguments: &[&str]) -> Outcome {
        self.call(&[&["update", "--json"], arguments].concat())
            .run()
    }

    /// Starts an update in a process group of its own, which can be killed as a whole.
    pub fn begin_update(&self, arguments: &[&str]) -> Child {
        let all = [&["update", "--json"], arguments].concat();
        let mut command = self.call(&all).into_command();
        command
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().expect("the program")
    }

    /// `install.sh` of the clone.
    pub fn install(&self, arguments: &[&str]) -> Outcome {
        self.run_script(&self.clone_folder().join("install.sh"), arguments)
    }

    pub fn run_script(&self, script: &Path, arguments: &[&str]) -> Outcome {
        let prefix = self.prefix().to_string_lossy().into_owned();
        let all = [&["--prefix", &prefix], arguments].concat();
        let outcome = self.describe(program(script, &all)).run();
        assert_eq!(outcome.exit, 0, "{outcome:?}");
        outcome
    }

    pub fn backlog(&self, arguments: &[&str]) -> Value {
        self.call(&[&["backlog"], arguments, &["--json"]].concat())
            .json()
    }

    /// Of the installed program, and of the extension in the backlog.
    pub fn versions(&self) -> (String, String) {
        let document = self.call(&["--version", "--json"]).json();
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        (text("version"), text("extension_version"))
    }

    pub fn receipt(&self) -> Value {
        let text = fs::read_to_string(self.private().join("receipt.json")).expect("a receipt");
        serde_json::from_str(&text).expect("JSON")
    }
}

fn manifest(version: &str) -> String {
    format!("[workspace.package]\nversion = \"{version}\"\n")
}

pub fn script(file: &Path, text: &str) {
    fs::write(file, text).expect("write");
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("chmod");
}
