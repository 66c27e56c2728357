//! A small file system in memory, which can be full.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::at_end::{As, AtEnd};
use crate::{account, folder};

const SIZE: &str = "400m";

pub struct Disk {
    folder: PathBuf,
    /// Gives the file system back when the server is gone.
    _end: AtEnd,
}

impl Disk {
    /// Why not, where that is not allowed here.
    pub fn mount() -> Result<Self, String> {
        if !account::is_root() {
            return Err("only root can mount a file system that is full".to_owned());
        }
        let folder = folder::kept();
        let output = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={SIZE},mode=755"),
                "tmpfs",
            ])
            .arg(&folder)
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if !output.status.success() {
            let _ = fs::remove_dir(&folder);
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let end = AtEnd::run(
            As::Caller,
            "for _ in $(seq 300); do [ -e \"$1/data\" ] || break; sleep 0.1; done
             umount \"$1\" || umount -l \"$1\"; rmdir \"$1\"",
            &[&folder],
        );
        Ok(Self { folder, _end: end })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Takes all the room that is left.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("a file");
        for size in [1 << 20, 4 << 10] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    pub fn free(&self) {
        let _ = fs::remove_file(self.filler());
    }
}
