//! The documentation is true: its examples run as shown, and its references are complete.

mod behaviour;
mod examples;
mod options;
mod page;
mod program;
mod reference;
mod setup;
mod states;
mod transcripts;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use mosaic_backlog_tests::programs;
use page::{Page, pages};

/// The sources of the house, as `folder/file.rs`.
fn sources(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else {
            found.push(path.to_string_lossy().into_owned());
        }
    }
}

/// In the pages for maintainers, `example.rs` and `VERB.rs` stand for others.
#[test]
fn sources_that_a_page_names_are_there() {
    let root = programs::sources();
    let mut all = Vec::new();
    for folder in ["mosaic_backlog_ext/src", "mosaic-cli/src", "tests"] {
        sources(&root.join(folder), &mut all);
    }
    let mut pages = pages();
    pages.extend(["CONTRIBUTING.md", "tests/README.md"].map(|page| Page::read(&root.join(page))));
    let mut seen = 0;
    for page in pages {
        let is_other = |c: char| !c.is_ascii_alphanumeric() && !"_/.-".contains(c);
        for name in page
            .text
            .split(is_other)
            .filter(|name| name.ends_with(".rs"))
        {
            if name.starts_with(['/', '.'])
                || name.ends_with("example.rs")
                || name.ends_with("VERB.rs")
            {
                continue;
            }
            seen += 1;
            let end = format!("/{name}");
            assert!(
                all.iter().any(|source| source.ends_with(&end)),
                "{}: there is no {name}",
                page.name()
            );
        }
    }
    assert!(seen > 20, "{seen}");
}

/// Every reference from page to page leads somewhere.
#[test]
fn links_lead_to_a_page_and_a_heading() {
    let pages = pages();
    let mut broken = Vec::new();
    for page in &pages {
        let folder = page.file.parent().expect("a folder");
        for link in page.links() {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() {
                page.file.clone()
            } else {
                folder.join(file)
            };
            let Ok(target) = target.canonicalize() else {
                broken.push(format!("{}: {link}", page.name()));
                continue;
            };
            let anchors: Option<HashSet<String>> = pages
                .iter()
                .find(|page| page.file == target)
                .map(Page::anchors);
            if !anchor.is_empty() && !anchors.is_some_and(|anchors| anchors.contains(anchor)) {
                broken.push(format!("{}: {link}", page.name()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links: {broken:#?}");
}

/// The page that lies at `path` in the sources.
#[track_caller]
fn page(path: &str) -> Page {
    Page::read(&programs::sources().join(path))
}

/// Gathers what is wrong, so that one run shows all of it.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: impl Into<String>) {
        self.0.push(fault.into());
    }

    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, documented: T, real: T) {
        if documented != real {
            self.add(format!(
                "{what}\n  documented: {documented:?}\n  real:       {real:?}"
            ));
        }
    }

    #[track_caller]
    fn none(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}
