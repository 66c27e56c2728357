//! An error of the database, as clients see it.

use postgres::error::SqlState;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The stable code: the first word of DETAIL. Empty for an error of PostgreSQL itself.
    pub code: String,
    pub sqlstate: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
}

/// The codes that the extension raises, each with its SQLSTATE.
pub const CODES: [(&str, &str); 13] = [
    ("invalid_argument", "22023"),
    ("not_found", "P0002"),
    ("claim_lost", "55000"),
    ("key_conflict", "23505"),
    ("id_conflict", "23505"),
    ("cycle", "55000"),
    ("open_dependencies", "55000"),
    ("bad_transition", "55000"),
    ("already_claimed", "55000"),
    ("isolation", "0A000"),
    ("unauthorized", "42501"),
    ("read_only", "25006"),
    ("busy", "55P03"),
];

/// The codes of errors that PostgreSQL raises inside of a call; `internal` is none that a test
/// expects.
const RAISED: [(&str, &str); 8] = [
    ("busy", "40001"),
    ("busy", "40P01"),
    ("busy", "55P03"),
    ("timeout", "57014"),
    ("unauthorized", "42501"),
    ("resource", "53100"),
    ("resource", "53200"),
    ("resource", "53400"),
];

impl Refused {
    #[track_caller]
    pub fn of(error: &postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            // The connection broke: a backend that ended.
            return Self {
                code: String::new(),
                sqlstate: SqlState::CONNECTION_FAILURE.code().to_owned(),
                message: format!("the connection broke: {error}"),
                detail: String::new(),
                hint: String::new(),
            };
        };
        let detail = db.detail().unwrap_or_default().to_owned();
        let code = detail
            .split_once(": ")
            .map(|(word, _)| word)
            .filter(|word| CODES.iter().chain(&RAISED).any(|(known, _)| known == word))
            .unwrap_or_default()
            .to_owned();
        let refused = Self {
            code,
            sqlstate: db.code().code().to_owned(),
            message: db.message().to_owned(),
            detail,
            hint: db.hint().unwrap_or_default().to_owned(),
        };
        refused.assert_well_formed();
        refused
    }

    /// What holds for every error of the extension, whatever the test is about: a stable
    /// code with its SQLSTATE, a message in lower case without full stop, sentences in
    /// DETAIL and HINT, and no advice that destroys something.
    #[track_caller]
    fn assert_well_formed(&self) {
        assert!(!self.detail.contains("rust_begin_unwind"), "{self:?}");
        if self.code.is_empty() {
            return;
        }
        let pair = (self.code.as_str(), self.sqlstate.as_str());
        let is_refusal = CODES.contains(&pair);
        let is_of_postgres = RAISED.contains(&pair)
            || pair.0 == "invalid_argument" && ["22", "54"].contains(&&pair.1[..2]);
        assert!(is_refusal || is_of_postgres, "{self:?}");
        assert!(!self.message.ends_with('.'), "{self:?}");
        assert!(
            !self.message.starts_with(|c: char| c.is_uppercase()),
            "{self:?}"
        );
        let needs_hint = !is_of_postgres || !self.hint.is_empty();
        for text in std::iter::once(&self.detail).chain(needs_hint.then_some(&self.hint)) {
            assert!(text.ends_with('.'), "no sentence: {self:?}");
        }
        let advice = self.hint.to_lowercase();
        let mut words = advice.split(|c: char| !c.is_alphanumeric() && c != '_');
        assert!(
            words.all(|word| !["drop", "delete", "truncate", "rm"].contains(&word)),
            "destructive advice: {self:?}"
        );
    }
}
