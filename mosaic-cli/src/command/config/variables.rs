//! Our own variables: none is accepted and then ignored.

use super::setting::variables;
use crate::failure::Failure;
use crate::failure::suggest::{question, similar};
use crate::output::notes::warn;

const PREFIX: &str = "MOSAIC";
/// Of Claude Code, whose others are not ours to know.
const OF_CLAUDE: [&str; 2] = ["CLAUDE_HOME", "CLAUDE_CONFIG_DIR"];

/// What means something here beside settings.
const OTHERS: [&str; 5] = [
    "MOSAIC_COMPLETE",
    // Of the command of a run.
    "MOSAIC_CARD_ID",
    "MOSAIC_CLAIM_TOKEN",
    "MOSAIC_CARD_FILE",
    "MOSAIC_RESULT_FILE",
];

/// The variables that mean something here, without the prefix.
fn known() -> Vec<String> {
    variables()
        .chain(OTHERS.map(str::to_owned))
        .filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_owned()))
        .collect()
}

/// Other products may share the prefix, so that an unknown variable is only worth a warning, and
/// only if it looks like one of ours that is not set.
pub fn check() -> Result<(), Failure> {
    let given: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .collect();
    for (name, remark) in unused(&given) {
        warn(&format!("{name} is not used here. {remark}"));
    }
    match std::env::var_os("MOSAIC_AUTO_MIGRATE") {
        Some(value) if !["", "0", "1"].iter().any(|known| value == **known) => {
            Err(Failure::usage("MOSAIC_AUTO_MIGRATE is neither 0 nor 1")
                .hint("1 lets a call update an older extension on an external server."))
        }
        _ => Ok(()),
    }
}

/// The names that look as if they were meant for us, each with what to say about it.
fn unused(given: &[String]) -> Vec<(&str, String)> {
    let known = known();
    let ours: Vec<String> = given
        .iter()
        .filter_map(|name| Some(name.strip_prefix(PREFIX)?.to_owned()))
        .collect();
    let unset: Vec<&str> = known
        .iter()
        .filter(|known| !ours.contains(known))
        .map(String::as_str)
        .collect();
    let others = unset.iter().map(|name| format!("{PREFIX}{name}"));
    let others = others.chain(OF_CLAUDE.map(str::to_owned));
    let whole: Vec<String> = others.filter(|name| !given.contains(name)).collect();
    given
        .iter()
        .filter_map(|name| {
            let remark = match name.strip_prefix(PREFIX) {
                Some(rest) if known.iter().any(|known| known == rest) => None,
                Some(rest) => of_no_file(rest, &known).or_else(|| {
                    let near = similar(rest, unset.iter().copied()).into_iter();
                    let near: Vec<String> = near.map(|known| format!("{PREFIX}{known}")).collect();
                    question(&near.iter().map(String::as_str).collect::<Vec<_>>())
                }),
                // One letter off, or two that changed their places: more may be another product's.
                None if OF_CLAUDE.contains(&name.as_str()) => None,
                None => {
                    let near = whole.iter().map(String::as_str);
                    let near: Vec<&str> = near
                        .filter(|known| strsim::osa_distance(name, known) == 1)
                        .collect();
                    question(&near)
                }
            };
            Some((name.as_str(), remark?))
        })
        .collect()
}

/// `MOSAIC_HOME_FILE`: not every variable has such a form.
fn of_no_file(name: &str, known: &[String]) -> Option<String> {
    let without = name.strip_suffix("_FILE")?;
    known
        .iter()
        .any(|known| known == without)
        .then(|| format!("{PREFIX}{without} has no form that names a file."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn names<const N: usize>(names: [&str; N]) -> [String; N] {
        names.map(str::to_owned)
    }

    #[test]
    fn a_slip_is_seen_and_the_variables_of_others_are_not() {
        let given = names([
            "MOSAIC_AGNT",
            "MOSAIC_GATEWAY_PORT",
            "MOSAIC_TEST_PREFIX",
            "MOSAIC_CARD_ID",
            "CLAUDE_CODE_ENTRYPOINT",
            "CLAUDE_ENV_FILE",
            "DATABASE_URI",
        ]);
        assert_eq!(
            unused(&given),
            [("MOSAIC_AGNT", "Did you mean \"MOSAIC_AGENT\"?".to_owned())]
        );
    }

    #[test]
    fn a_slip_in_the_first_word_and_in_the_variables_of_claude_code_is_seen() {
        let given = names(["MOSIAC_HOME", "CLAUDE_HOEM", "CLAUDE_CONFIG_DIR"]);
        assert_eq!(
            unused(&given),
            [
                ("MOSIAC_HOME", "Did you mean \"MOSAIC_HOME\"?".to_owned()),
                ("CLAUDE_HOEM", "Did you mean \"CLAUDE_HOME\"?".to_owned()),
            ]
        );
    }

    #[test]
    fn who_has_set_the_real_one_did_not_mean_it() {
        let given = names(["MOSAIC_HOST", "MOSAIC_HOME", "MOSIAC_HOME"]);
        assert_eq!(unused(&given), []);
    }

    #[test]
    fn the_gateway_s_variables_are_known_with_the_files_that_hold_them() {
        let given = names([
            "MOSAIC_VALKEY_URL_FILE",
            "MOSAIC_PUBLIC_URL",
            "MOSAIC_DATABSE_URL",
        ]);
        assert_eq!(
            unused(&given),
            [(
                "MOSAIC_DATABSE_URL",
                "Did you mean \"MOSAIC_DATABASE_URL\"?".to_owned()
            )]
        );
    }

    #[test]
    fn a_file_of_what_has_none_is_not_passed_over() {
        let given = names(["MOSAIC_HOME_FILE", "MOSAIC_DATABASE_URL_FILE"]);
        assert_eq!(
            unused(&given),
            [(
                "MOSAIC_HOME_FILE",
                "MOSAIC_HOME has no form that names a file.".to_owned()
            )]
        );
    }

    #[test]
    fn every_variable_of_the_sources_is_known() {
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = fs::read_to_string(path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                found.extend(code.split("\"MOSAIC").skip(1).filter_map(|rest| {
                    let (name, _) = rest.split_once('"')?;
                    let is_name = name.starts_with('_')
                        && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
                    is_name.then(|| name.to_owned())
                }));
            }
        }
        assert!(found.len() > 20, "{found:?}");
        let known = known();
        let unknown: Vec<&String> = found.iter().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
