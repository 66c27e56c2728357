//! A copy of the PostgreSQL under test, whose files a test may change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::folder::{self, Folder};
use crate::programs::{postgresql, run};

const EXTENSION: &str = "mosaic_backlog_ext";

pub struct Installation {
    _folder: Folder,
    bin: PathBuf,
    /// Where the extension's library is.
    libraries: PathBuf,
    /// Where its control file and its scripts are.
    scripts: PathBuf,
}

impl Installation {
    /// The folders lie to one another as they did: the programs find them so.
    #[track_caller]
    pub fn copy() -> Self {
        let folder = folder::create();
        let config = postgresql("pg_config");
        let root = config.ancestors().nth(2).expect("the folder above bin");
        let share = asked(&config, "--sharedir");
        let common = root
            .ancestors()
            .skip(1)
            .find(|above| share.starts_with(above))
            .expect("at least /");
        for part in [root, &share] {
            let target = folder.join(part.strip_prefix(common).expect("a part of it"));
            if !target.exists() {
                fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
                run(Command::new("cp").arg("-a").arg(part).arg(&target));
            }
        }
        let below = root.strip_prefix(common).expect("a part of it");
        let bin = folder.join(below).join("bin");
        let config = bin.join("pg_config");
        Self {
            libraries: asked(&config, "--pkglibdir"),
            scripts: asked(&config, "--sharedir").join("extension"),
            bin,
            _folder: folder,
        }
    }

    /// The folder of the programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    pub fn library(&self) -> PathBuf {
        self.libraries.join(format!("{EXTENSION}.so"))
    }

    /// Puts another library into its place, as an installation does: written beside, renamed over.
    #[track_caller]
    pub fn replace_library(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let (library, beside) = (self.library(), self.libraries.join("beside"));
        fs::copy(&library, &beside).expect("copy");
        fs::write(&beside, change(fs::read(&library).expect("read"))).expect("write");
        fs::rename(beside, library).expect("rename");
    }

    /// Adds the script that leads from one version to another.
    #[track_caller]
    pub fn add_script(&self, from: &str, to: &str, script: &str) {
        let name = format!("{EXTENSION}--{from}--{to}.sql");
        fs::write(self.scripts.join(name), script).expect("write");
    }

    /// Adds a version with the script that leads to it from the present one, as an installation of
    /// that version does: the control file last.
    #[track_caller]
    pub fn add_version(&self, version: &str, script: &str) {
        let present = env!("CARGO_PKG_VERSION");
        self.add_script(present, version, script);
        let control = self.scripts.join(format!("{EXTENSION}.control"));
        let text = fs::read_to_string(&control).expect("the control file");
        let newer = text.replace(
            &format!("default_version = '{present}'"),
            &format!("default_version = '{version}'"),
        );
        assert_ne!(newer, text);
        let beside = control.with_extension("new");
        fs::write(&beside, newer).expect("write");
        fs::rename(beside, control).expect("rename");
    }

    /// Takes the extension's files away.
    #[track_caller]
    pub fn remove_extension(&self) {
        for entry in fs::read_dir(&self.scripts).expect("extensions").flatten() {
            if entry.file_name().to_string_lossy().starts_with(EXTENSION) {
                fs::remove_file(entry.path()).expect("remove");
            }
        }
        fs::remove_file(self.library()).expect("remove");
    }
}

/// A folder that pg_config tells.
fn asked(config: &Path, what: &str) -> PathBuf {
    run(Command::new(config).arg(what)).trim().into()
}
