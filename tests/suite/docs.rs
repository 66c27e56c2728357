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

use mosaic_backlog_tests::programs;
use page::{Page, pages};

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
