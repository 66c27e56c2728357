//! A call of one function, as a value: drawn at random, shrunk, told to the model and, as SQL,
//! to the database.

use super::card::Status;
use super::{Backlog, Seconds, Time};

/// A call, and who makes it when.
#[derive(Clone, Debug)]
pub struct Step {
    /// Time passes before the call.
    pub pause: Seconds,
    /// The connection.
    pub session: usize,
    pub role: Role,
    /// The argument `actor`, where the function has one.
    pub actor: Option<&'static str>,
    pub call: Call,
}

/// What the caller may do, by SET ROLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Worker,
    Operator,
}

/// A token, described: which number that is follows from the state at the time of the call, so
/// that a sequence keeps its sense when it is shrunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    None,
    /// Of the card's last claim.
    Its,
    /// Of the claim before that.
    Former,
    /// Of another card's last claim.
    OfAnother,
    Number(i64),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewCard {
    pub title: &'static str,
    pub id: Option<String>,
    pub body: Option<&'static str>,
    pub phase: Option<&'static str>,
    pub priority: i32,
    pub depends_on: Vec<String>,
    pub labels: Vec<&'static str>,
    pub requires: Vec<&'static str>,
    pub acceptance: Option<i32>,
    pub idempotency_key: Option<&'static str>,
    pub not_before: Option<Time>,
    pub max_attempts: Option<i32>,
}

#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub statuses: Option<Vec<Status>>,
    pub phase: Option<&'static str>,
    pub labels: Vec<&'static str>,
    pub owner: Option<&'static str>,
    pub ready_only: bool,
    pub max_cards: usize,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claim {
    pub worker: &'static str,
    pub ttl: Seconds,
    pub max_cards: usize,
    pub phase: Option<&'static str>,
    pub labels: Vec<&'static str>,
    pub offers: Vec<&'static str>,
    pub id: Option<String>,
    /// Which of a few request ids.
    pub request: Option<u8>,
}

#[derive(Clone, Debug, Default)]
pub struct Update {
    pub id: String,
    pub title: Option<&'static str>,
    pub body: Option<&'static str>,
    pub phase: Option<&'static str>,
    pub priority: Option<i32>,
    pub labels: Option<Vec<&'static str>>,
    pub requires: Option<Vec<&'static str>>,
    pub acceptance: Option<i32>,
    pub not_before: Option<Time>,
    pub max_attempts: Option<i32>,
    pub clear: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub enum Call {
    Create(NewCard),
    CreateMany(Vec<NewCard>),
    Get {
        id: String,
    },
    List(Filter),
    Claim(Claim),
    Renew {
        id: String,
        token: Token,
        ttl: Option<Seconds>,
    },
    Release {
        id: String,
        token: Token,
        retry_in: Option<Seconds>,
        reason: Option<&'static str>,
    },
    Fail {
        id: String,
        token: Token,
        reason: &'static str,
        retry_in: Seconds,
    },
    Complete {
        id: String,
        token: Token,
        result: Option<i32>,
        force: bool,
    },
    Block {
        id: String,
        reason: &'static str,
        kind: &'static str,
        token: Token,
    },
    Unblock {
        id: String,
    },
    Cancel {
        id: String,
        reason: &'static str,
        cascade: bool,
        force: bool,
    },
    Reopen {
        id: String,
        reason: &'static str,
    },
    Update(Update),
    Link {
        id: String,
        depends_on: Vec<String>,
    },
    Unlink {
        id: String,
        depends_on: Vec<String>,
    },
    Reclaim {
        id: Option<String>,
        force: bool,
        grace: Seconds,
        max_cards: usize,
    },
    Stats {
        phase: Option<&'static str>,
    },
    Why {
        id: String,
    },
    AssertHeld {
        id: String,
        token: Token,
    },
}

impl Call {
    /// A step for sequences that are written out: an operator calls, after a pause.
    pub fn after(self, pause: Seconds) -> Step {
        Step {
            pause,
            session: 0,
            role: Role::Operator,
            actor: None,
            call: self,
        }
    }

    pub fn is_for_operators(&self) -> bool {
        matches!(
            self,
            Self::Cancel { .. } | Self::Reopen { .. } | Self::Update(_)
        )
    }

    /// The ids that the call names, and its token.
    fn names(&mut self) -> (Vec<&mut String>, Option<&mut Token>) {
        match self {
            Self::Create(new) => (new.names(), None),
            Self::CreateMany(new) => (new.iter_mut().flat_map(NewCard::names).collect(), None),
            Self::Claim(claim) => (claim.id.iter_mut().collect(), None),
            Self::Reclaim { id, .. } => (id.iter_mut().collect(), None),
            Self::Update(update) => (vec![&mut update.id], None),
            Self::Get { id }
            | Self::Why { id }
            | Self::Unblock { id }
            | Self::Cancel { id, .. }
            | Self::Reopen { id, .. } => (vec![id], None),
            Self::Renew { id, token, .. }
            | Self::Release { id, token, .. }
            | Self::Fail { id, token, .. }
            | Self::Complete { id, token, .. }
            | Self::Block { id, token, .. }
            | Self::AssertHeld { id, token } => (vec![id], Some(token)),
            Self::Link { id, depends_on } | Self::Unlink { id, depends_on } => {
                let mut names = vec![id];
                names.extend(depends_on);
                (names, None)
            }
            Self::List(_) | Self::Stats { .. } => (Vec::new(), None),
        }
    }

    /// Fills in what follows from the state: `?n` is the n-th card with a generated id, `!s n`
    /// the n-th card of status `s`, and a described token becomes a number.
    pub fn resolve(&mut self, backlog: &Backlog) {
        let (mut ids, token) = self.names();
        for id in &mut ids {
            let found = if let Some(number) = id.strip_prefix('?') {
                backlog.generated(number.parse().expect("a number"))
            } else if let Some((status, number)) =
                id.strip_prefix('!').and_then(|s| s.split_once(' '))
            {
                backlog.nth_of(status, number.parse().expect("a number"))
            } else {
                continue;
            };
            **id = found.unwrap_or("gone").to_owned();
        }
        if let (Some(id), Some(token)) = (ids.first(), token) {
            *token = backlog.token(id, *token);
        }
    }
}

impl NewCard {
    fn names(&mut self) -> Vec<&mut String> {
        self.id.iter_mut().chain(&mut self.depends_on).collect()
    }
}
