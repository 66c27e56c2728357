//! What can be wrong.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A card was handed out while it was held.
    TwoLeases,
    /// A lease was taken away before its end.
    LiveLeaseTaken,
    /// A token was handed out twice.
    TokenReused,
    /// A later claim has a smaller token.
    TokenWentBack,
    /// A call took effect under a token that was over.
    StaleTokenAccepted,
    /// A call was refused although its token held the card.
    HolderRefused,
    /// A card was handed out while it waited for another.
    OpenDependency,
    /// A card was handed out before its time.
    TooEarly,
    /// An acknowledged call left no trace.
    Lost,
    /// Something happened that nobody called for, or that was refused.
    Invented,
    /// A repeated call did something new.
    Repeated,
    /// A claim passed over a card that it should have handed out.
    PassedOver,
    /// A card was not handed out in the end.
    NeverHandedOut,
    /// An event that cannot follow the ones before it.
    Impossible,
    /// Events in another order than the calls were made.
    OutOfTime,
    /// The tables hold something else than the events say.
    StateDiffers,
    /// A counter of open dependencies is wrong.
    CounterWrong,
    /// A claim got a card that its answer does not tell of.
    Untold,
    /// The answer to a claim has other dependencies than the card, or more than are told at once.
    DependenciesWrong,
    /// The frontier did not know what the table has.
    Forgotten,
    /// What is stored is damaged.
    Damaged,
    /// An error that no call may meet.
    BadError,
}

#[derive(Clone, Debug)]
pub struct Violation {
    pub rule: Rule,
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Notes what is wrong.
pub fn report(found: &mut Vec<Violation>, rule: Rule, what: impl Into<String>) {
    found.push(Violation {
        rule,
        what: what.into(),
    });
}
