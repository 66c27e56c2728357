//! Who acts, as far as the environment says it.

/// `MOSAIC_AGENT`, else user@host.
pub fn identity() -> String {
    agent().unwrap_or_else(|| {
        let user = whoami::username().unwrap_or_else(|_| "unknown".into());
        let host = whoami::hostname().unwrap_or_else(|_| "localhost".into());
        format!("{user}@{host}")
    })
}

/// The name in `MOSAIC_AGENT`.
pub fn agent() -> Option<String> {
    std::env::var("MOSAIC_AGENT")
        .ok()
        .filter(|agent| !agent.trim().is_empty())
}
