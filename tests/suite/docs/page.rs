//! Reading Markdown, as far as our pages use it.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use mosaic_backlog_tests::programs;

pub struct Page {
    pub file: PathBuf,
    pub text: String,
    sections: Vec<Section>,
}

/// A heading and what follows it up to the next one.
pub struct Section {
    pub heading: String,
    pub blocks: Vec<Block>,
    pub tables: Vec<Table>,
    /// The lines outside blocks and tables.
    pub prose: String,
}

/// A fenced block.
pub struct Block {
    pub language: String,
    pub lines: Vec<String>,
    /// Where its first line stands in the file.
    pub at: usize,
}

pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// All pages of the documentation.
pub fn pages() -> Vec<Page> {
    let mut files = vec![
        programs::sources().join("README.md"),
        programs::sources().join("CHANGELOG.md"),
    ];
    collect(&programs::sources().join("docs"), &mut files);
    files.iter().map(|file| Page::read(file)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of the documentation")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "md") {
            files.push(entry);
        }
    }
}

impl Page {
    #[track_caller]
    pub fn read(file: &Path) -> Self {
        let text =
            fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self {
            sections: sections(&text),
            file: file.canonicalize().expect("a path"),
            text,
        }
    }

    pub fn name(&self) -> String {
        let sources = programs::sources().canonicalize().expect("a path");
        let path = self.file.strip_prefix(sources).unwrap_or(&self.file);
        path.display().to_string()
    }

    /// The section under a heading.
    #[track_caller]
    pub fn section(&self, heading: &str) -> &Section {
        self.sections
            .iter()
            .find(|section| section.heading == heading)
            .unwrap_or_else(|| panic!("{} has no heading {heading}", self.name()))
    }

    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The fenced blocks of a language.
    pub fn blocks(&self, language: &str) -> impl Iterator<Item = &Block> {
        self.sections
            .iter()
            .flat_map(|section| &section.blocks)
            .filter(move |block| block.language == language)
    }

    /// Where the links of the page lead.
    pub fn links(&self) -> Vec<String> {
        let prose: Vec<&str> = self.sections.iter().map(|s| s.prose.as_str()).collect();
        let cells = self
            .sections
            .iter()
            .flat_map(|s| &s.tables)
            .flat_map(|t| t.rows.iter().flatten())
            .map(String::as_str);
        let text: Vec<&str> = prose.into_iter().chain(cells).collect();
        text.join("\n")
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link.to_owned())
            .collect()
    }

    /// What links can name in this page.
    pub fn anchors(&self) -> HashSet<String> {
        self.sections
            .iter()
            .map(|section| {
                section
                    .heading
                    .to_lowercase()
                    .chars()
                    .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                    .map(|c| if c == ' ' { '-' } else { c })
                    .collect()
            })
            .collect()
    }
}

impl Section {
    /// The tables whose first column has this head.
    pub fn tables(&self, head: &str) -> impl Iterator<Item = &Table> {
        self.tables
            .iter()
            .filter(move |table| table.head[0] == head)
    }

    #[track_caller]
    pub fn table(&self, head: &str) -> &Table {
        self.tables(head)
            .next()
            .unwrap_or_else(|| panic!("no table of {head} under {}", self.heading))
    }

    /// What follows `label` in the prose, up to the full stop that ends a sentence or a paragraph.
    pub fn labelled(&self, label: &str) -> Option<String> {
        let (_, rest) = self.prose.split_once(&format!("{label}: "))?;
        let paragraph = rest.split("\n\n").next().unwrap_or(rest).replace('\n', " ");
        let end = paragraph.find(". ").unwrap_or(paragraph.len());
        Some(paragraph[..end].trim_end_matches('.').to_owned())
    }
}

impl Table {
    /// The cells of a column.
    pub fn column(&self, at: usize) -> Vec<&str> {
        self.rows.iter().map(|row| row[at].as_str()).collect()
    }
}

/// A cell without its backquotes.
pub fn plain(cell: &str) -> String {
    cell.replace('`', "")
}

/// The words of a text that stand in backquotes.
pub fn quoted(text: &str) -> Vec<String> {
    text.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn sections(text: &str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        if sections.is_empty() || heading(line).is_some() {
            sections.push(Section {
                heading: heading(line).unwrap_or_default(),
                blocks: Vec::new(),
                tables: Vec::new(),
                prose: String::new(),
            });
            if heading(line).is_some() {
                continue;
            }
        }
        let section = sections.last_mut().expect("a section");
        let (indent, text) = line.split_at(line.len() - line.trim_start().len());
        if let Some(language) = text.strip_prefix("```") {
            // In a list, the whole block is indented.
            let body = lines.by_ref().map(|(_, line)| {
                let text = line.strip_prefix(indent).unwrap_or(line);
                text.to_owned()
            });
            section.blocks.push(Block {
                language: language.to_owned(),
                lines: body.take_while(|line| line != "```").collect(),
                at: number + 2,
            });
        } else if line.starts_with('|') {
            let head = cells(line);
            lines.next();
            let mut rows = Vec::new();
            while let Some((_, row)) = lines.next_if(|(_, line)| line.starts_with('|')) {
                rows.push(cells(row));
            }
            section.tables.push(Table { head, rows });
        } else {
            section.prose.push_str(line);
            section.prose.push('\n');
        }
    }
    sections
}

fn heading(line: &str) -> Option<String> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len() && text.starts_with(' ')).then(|| text.trim().to_owned())
}

fn cells(line: &str) -> Vec<String> {
    line.trim()
        .trim_start_matches('|')
        .trim_end_matches('|')
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}
