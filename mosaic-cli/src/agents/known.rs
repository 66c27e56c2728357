//! The agents that are known: how each is found, where it keeps MCP servers, and how it writes one.
//!
//! What stands here is what the documentation of each says; `docs/setup.md` names the pages.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::claude::claude_home;
use crate::environment::filled;
use crate::failure::{Code, Failure};

pub struct Agent {
    /// What flags call it.
    pub name: &'static str,
    /// What its users call it.
    pub title: &'static str,
    programs: &'static [&'static str],
    /// Its file in a repository.
    project: &'static str,
    /// What holds the servers in its files.
    pub servers: &'static str,
    pub format: Format,
    /// The file with instructions that it reads in a repository.
    pub instructions: &'static str,
    /// How a value of a server's environment names a variable of the agent's own; `None`: servers inherit them.
    reference: Option<fn(&str) -> String>,
}

/// Whose servers a file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Level {
    /// The user's, in all repositories.
    User,
    /// Those of this repository.
    Repository(PathBuf),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Toml,
}

pub const AGENTS: [Agent; 8] = [
    Agent {
        name: "claude",
        title: "Claude Code",
        programs: &["claude"],
        project: ".mcp.json",
        servers: "mcpServers",
        format: Format::Json,
        instructions: "CLAUDE.md",
        reference: None,
    },
    Agent {
        name: "codex",
        title: "Codex CLI",
        programs: &["codex"],
        project: ".codex/config.toml",
        servers: "mcp_servers",
        format: Format::Toml,
        instructions: "AGENTS.md",
        // By name alone, in a list.
        reference: Some(str::to_owned),
    },
    Agent {
        name: "gemini",
        title: "Gemini CLI",
        programs: &["gemini"],
        project: ".gemini/settings.json",
        servers: "mcpServers",
        format: Format::Json,
        instructions: "GEMINI.md",
        reference: Some(|name| format!("${name}")),
    },
    Agent {
        name: "cursor",
        title: "Cursor",
        programs: &["cursor", "cursor-agent"],
        project: ".cursor/mcp.json",
        servers: "mcpServers",
        format: Format::Json,
        instructions: "AGENTS.md",
        reference: Some(|name| format!("${{env:{name}}}")),
    },
    Agent {
        name: "copilot",
        title: "GitHub Copilot CLI",
        programs: &["copilot"],
        project: ".github/mcp.json",
        servers: "mcpServers",
        format: Format::Json,
        instructions: "AGENTS.md",
        reference: Some(|name| format!("${{{name}}}")),
    },
    Agent {
        name: "vscode",
        title: "VS Code with Copilot",
        programs: &["code"],
        project: ".vscode/mcp.json",
        servers: "servers",
        format: Format::Json,
        instructions: "AGENTS.md",
        reference: Some(|name| format!("${{env:{name}}}")),
    },
    Agent {
        name: "opencode",
        title: "opencode",
        programs: &["opencode"],
        project: "opencode.json",
        servers: "mcp",
        format: Format::Json,
        instructions: "AGENTS.md",
        reference: None,
    },
    Agent {
        name: "zed",
        title: "Zed",
        programs: &["zed", "zeditor"],
        project: ".zed/settings.json",
        servers: "context_servers",
        format: Format::Json,
        instructions: "AGENTS.md",
        reference: None,
    },
];

impl Agent {
    pub fn named(name: &str) -> Option<&'static Agent> {
        AGENTS.iter().find(|agent| agent.name == name)
    }

    /// Whether one of its programs is on the PATH, or its folder in the user's home.
    pub fn is_installed(&self) -> bool {
        self.programs.iter().any(|program| is_on_path(program))
            || self.folder().is_ok_and(|folder| folder.is_dir())
            || (self.name == "claude" && self.user_file().is_ok_and(|file| file.is_file()))
    }

    /// Where it keeps what is the user's.
    pub fn folder(&self) -> Result<PathBuf, Failure> {
        match self.name {
            "claude" => claude_home(),
            "codex" => named_or("CODEX_HOME", ".codex"),
            "gemini" => match filled("GEMINI_CLI_HOME") {
                Some(above) => absolute(Path::new(&above).join(".gemini")),
                None => Ok(home()?.join(".gemini")),
            },
            "cursor" => Ok(home()?.join(".cursor")),
            "copilot" => named_or("COPILOT_HOME", ".copilot"),
            "vscode" if cfg!(target_os = "macos") => {
                Ok(home()?.join("Library/Application Support/Code"))
            }
            "vscode" => Ok(config_home()?.join("Code")),
            "zed" if cfg!(target_os = "macos") => Ok(home()?.join(".config/zed")),
            name => Ok(config_home()?.join(name)),
        }
    }

    /// The file with the servers of all the user's repositories.
    pub fn user_file(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder()?;
        Ok(match self.name {
            // Beside its folder, unless that was moved.
            "claude" if is_moved(&["CLAUDE_HOME", "CLAUDE_CONFIG_DIR"]) => {
                folder.join(".claude.json")
            }
            "claude" => home()?.join(".claude.json"),
            "codex" => folder.join("config.toml"),
            "cursor" => folder.join("mcp.json"),
            "copilot" => folder.join("mcp-config.json"),
            "vscode" => folder.join("User/mcp.json"),
            "opencode" => with_comments(folder.join("opencode.json")),
            _ => folder.join("settings.json"),
        })
    }

    /// The file with the servers of one repository.
    pub fn project_file(&self, repository: &Path) -> PathBuf {
        let file = repository.join(self.project);
        match self.name {
            "opencode" => with_comments(file),
            _ => file,
        }
    }

    /// The entry of our server.
    pub fn entry(&self, level: &Level, program: &str, forwards: &[&str]) -> Value {
        let mut fields = match self.name {
            "claude" | "cursor" | "vscode" => {
                json!({"type": "stdio", "command": program, "args": ["mcp"]})
            }
            "copilot" => {
                json!({"type": "local", "command": program, "args": ["mcp"], "tools": ["*"]})
            }
            "opencode" => json!({"type": "local", "command": [program, "mcp"], "enabled": true}),
            "zed" => json!({"command": program, "args": ["mcp"], "env": {}}),
            _ => json!({"command": program, "args": ["mcp"]}),
        };
        // A file of the repository is for others too, who may have their backlog elsewhere.
        if let (Level::User, Some(reference)) = (level, self.reference)
            && !forwards.is_empty()
        {
            match self.format {
                Format::Toml => fields["env_vars"] = json!(forwards),
                Format::Json => {
                    let variables = forwards
                        .iter()
                        .map(|name| ((*name).to_owned(), json!(reference(name))));
                    fields["env"] = Value::Object(variables.collect::<Map<_, _>>());
                }
            }
        }
        fields
    }
}

/// opencode takes either name; the one that is there is meant.
fn with_comments(file: PathBuf) -> PathBuf {
    let other = file.with_extension("jsonc");
    match !file.exists() && other.exists() {
        true => other,
        false => file,
    }
}

fn is_moved(variables: &[&str]) -> bool {
    variables.iter().any(|name| filled(name).is_some())
}

fn named_or(variable: &str, folder: &str) -> Result<PathBuf, Failure> {
    match filled(variable) {
        Some(folder) => absolute(PathBuf::from(folder)),
        None => Ok(home()?.join(folder)),
    }
}

fn config_home() -> Result<PathBuf, Failure> {
    match filled("XDG_CONFIG_HOME").map(PathBuf::from) {
        Some(folder) if folder.is_absolute() => Ok(folder),
        _ => Ok(home()?.join(".config")),
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    std::path::absolute(&path)
        .map_err(|error| Failure::io(format!("cannot resolve {}", path.display()), &error))
}

fn home() -> Result<PathBuf, Failure> {
    std::env::home_dir()
        .filter(|folder| folder.is_absolute())
        .ok_or_else(|| {
            Failure::new(Code::Resource, "this user has no home folder")
                .lasts(true)
                .hint("HOME names it.")
        })
}

fn is_on_path(program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| {
        std::fs::metadata(folder.join(program))
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}
