//! What arguments of tools there are.

pub struct Argument {
    pub name: &'static str,
    pub kind: Kind,
    pub about: &'static str,
    pub required: bool,
}

#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Texts,
    Integer,
    /// A claim_token, which outgrows other numbers.
    Token,
    Switch,
    Duration,
    Moment,
    Uuid,
    /// One of these words.
    Word(&'static [&'static str]),
    Statuses,
    /// Free JSON with a structure, and keys that it may well have. A text that is no JSON is refused.
    Document(&'static [Argument]),
    /// Cards with these arguments.
    Cards(&'static [Argument]),
    /// Which of these fields to empty.
    Clear(&'static [&'static str]),
    /// Every status, and not the open ones alone.
    All,
    /// Which fields of a card to answer with.
    Fields,
    /// From which character of a field to answer.
    Offset,
}

pub const STATUSES: &[&str] = &["ready", "claimed", "blocked", "done", "cancelled"];

/// Those that a list has by default.
pub const OPEN: &[&str] = &["ready", "claimed", "blocked"];

/// Fields that hold lists, which an empty list empties.
pub const LISTS: [&str; 2] = ["labels", "requires"];

/// An argument that may be left out.
pub const fn may(name: &'static str, kind: Kind, about: &'static str) -> Argument {
    Argument {
        name,
        kind,
        about,
        required: false,
    }
}

/// An argument that must be given.
pub const fn must(name: &'static str, kind: Kind, about: &'static str) -> Argument {
    Argument {
        name,
        kind,
        about,
        required: true,
    }
}
