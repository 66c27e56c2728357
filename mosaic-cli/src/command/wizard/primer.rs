//! The primer in the files that agents read in this repository.

use std::path::{Path, PathBuf};

use super::step::{Context, Item, State, without_promise};
use crate::agents::Agent;
use crate::agents::primer;
use crate::environment::from_home;
use crate::failure::Failure;
use crate::files::diff::diff;
use crate::files::ordinary;
use crate::files::replacement::resolved;
use crate::interrupt;

const STEP: &str = "primer";
const COMMON: &str = "AGENTS.md";

/// What the words of `--primer` mean.
pub fn named(
    context: &mut Context,
    words: &[String],
    agents: &[&'static Agent],
) -> Result<Vec<Item>, Failure> {
    const NONE: &str = "none";
    match words {
        [] => items(context, None, agents),
        [word] if word == NONE => Ok(Vec::new()),
        files if files.iter().any(|file| file == NONE) => {
            context
                .problems
                .push(Failure::usage("--primer: none does not go with files"));
            Ok(Vec::new())
        }
        files => items(context, Some(files), agents),
    }
}

/// `flag`: the files, from the working folder.
fn items(
    context: &mut Context,
    flag: Option<&[String]>,
    proposed: &[&'static Agent],
) -> Result<Vec<Item>, Failure> {
    if let Some(files) = flag {
        let files = files.iter().map(|file| from_home(Path::new(file)));
        let mut items = Vec::new();
        for file in files {
            match item(&file) {
                Ok(item) => items.push(item),
                Err(problem) => context.problems.push(problem),
            }
        }
        return Ok(items);
    }
    let Some(root) = context.repository.clone() else {
        return Ok(Vec::new());
    };
    let mut items: Vec<Item> = candidates(&root, proposed, context.has_hooks)
        .iter()
        .map(|file| {
            item(file).or_else(|problem| {
                let note = Some(without_promise(&problem));
                Ok(Item::new(STEP, shown(file), State::Skipped).note(note))
            })
        })
        .collect::<Result<_, Failure>>()?;
    context.choose(
        &mut items,
        false,
        "Which files of this repository should have the primer for agents?",
        |item| item.what.clone(),
        "--primer FILE puts it in.",
    )?;
    Ok(items)
}

/// What is worth proposing: the file that most agents read, and those of agents that do not.
fn candidates(root: &Path, agents: &[&'static Agent], has_hooks: bool) -> Vec<PathBuf> {
    let mut files = vec![root.join(COMMON)];
    for agent in agents {
        let file = root.join(agent.instructions);
        // The hooks print it at each start.
        let is_told = agent.name == "claude" && has_hooks;
        let text = ordinary::read_text(&file).unwrap_or_default();
        let reads_common = text.lines().any(|line| line.trim() == format!("@{COMMON}"));
        let is_new = |file: &Path| {
            let place = resolved(file).ok();
            !files.iter().any(|known| resolved(known).ok() == place)
        };
        if !is_told && !reads_common && is_new(&file) {
            files.push(file);
        }
    }
    files
}

fn item(file: &Path) -> Result<Item, Failure> {
    let preview = primer::preview(file)?;
    if let Some(folder) = preview.place.parent()
        && !folder.is_dir()
    {
        return Err(
            Failure::usage(format!("there is no folder {}", folder.display()))
                .detail("The primer was to go into a file there. Nothing was changed."),
        );
    }
    let what = shown(file);
    if preview.before.as_ref() == Some(&preview.after) {
        return Ok(Item::new(STEP, what, State::Done));
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let diff = diff(
        &preview.place.to_string_lossy(),
        &text(preview.before.as_deref().unwrap_or_default()),
        &text(&preview.after),
    );
    let place = preview.place.clone();
    let act = move || interrupt::whole(|| primer::write(&place).map(|_| ()));
    Ok(Item::planned(STEP, what, act).within(&preview.place, &diff))
}

fn shown(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str());
    format!("primer in {}", name.to_string_lossy())
}
