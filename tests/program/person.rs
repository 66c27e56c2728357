//! A person with a home folder, some agents, and a repository.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mosaic_backlog_tests::folder::{self, Folder};
use mosaic_backlog_tests::program::{Mosaic, mosaic};

pub struct Person {
    folder: Folder,
}

/// What lies under a path: the mode and the content of a file, where a link leads to, or that it is a folder.
pub type Tree = BTreeMap<PathBuf, String>;

impl Person {
    /// With nothing in the home.
    pub fn new() -> Self {
        let person = Self {
            folder: folder::create(),
        };
        for folder in ["home", "bin", "repository/.git"] {
            fs::create_dir_all(person.folder.join(folder)).expect("a folder");
        }
        person
    }

    /// With these programs.
    pub fn with(programs: &[&str]) -> Self {
        let person = Self::new();
        for program in programs {
            let file = person.folder.join("bin").join(program);
            fs::write(&file, "#!/bin/sh\n").expect("write");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("chmod");
        }
        person
    }

    pub fn home(&self) -> PathBuf {
        self.folder.join("home")
    }

    pub fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    pub fn mosaic_home(&self) -> PathBuf {
        self.folder.join("mosaic")
    }

    /// A file of the home.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        write(&self.home().join(name), content.as_ref())
    }

    /// A file of the repository.
    pub fn commit(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        write(&self.repository().join(name), content.as_ref())
    }

    /// Calls the program within the repository. The machine's own agents take no part.
    pub fn call(&self, arguments: &[&str]) -> Mosaic {
        mosaic(arguments)
            .env("HOME", self.home())
            .env("MOSAIC_HOME", self.mosaic_home())
            .env("PATH", self.folder.join("bin"))
            .within(&self.repository())
    }

    /// Everything but an embedded server.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        collect(&self.folder, &mut tree);
        tree.retain(|path, _| !path.starts_with(self.mosaic_home().join("fleet")));
        tree
    }
}

fn write(file: &Path, content: &[u8]) -> PathBuf {
    fs::create_dir_all(file.parent().expect("a folder")).expect("its folder");
    fs::write(file, content).expect("write");
    file.to_owned()
}

fn collect(folder: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("its metadata");
        let what = if metadata.is_symlink() {
            format!("to {}", fs::read_link(&path).expect("a link").display())
        } else if metadata.is_dir() {
            "folder".to_owned()
        } else {
            let bytes = fs::read(&path).expect("its content");
            format!("{:o} {}", metadata.mode(), bytes.escape_ascii())
        };
        tree.insert(path.clone(), what);
        if metadata.is_dir() {
            collect(&path, tree);
        }
    }
}
