//! Where Claude Code keeps its things.

use std::path::PathBuf;

use crate::environment;
use crate::failure::{Code, Failure};

/// `CLAUDE_HOME`, else `CLAUDE_CONFIG_DIR`, else `~/.claude`.
pub fn claude_home() -> Result<PathBuf, Failure> {
    let named = ["CLAUDE_HOME", "CLAUDE_CONFIG_DIR"]
        .into_iter()
        .find_map(environment::filled)
        .map(PathBuf::from);
    let folder = match named {
        Some(folder) => folder,
        None => std::env::home_dir()
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(".claude"))
            .ok_or_else(|| {
                Failure::new(Code::Resource, "this user has no home folder")
                    .hint("CLAUDE_HOME names the folder of Claude Code.")
            })?,
    };
    std::path::absolute(&folder).map_err(|error| {
        Failure::new(
            Code::Resource,
            format!("cannot resolve the folder {}", folder.display()),
        )
        .detail(format!("{error}."))
    })
}
