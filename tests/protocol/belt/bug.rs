//! What somebody might get wrong, or once did.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A commit tells of its cards before they can be seen.
    AddedBeforeCommit,
    /// A commit does not tell of its cards.
    NotAdded,
    /// A commit does not tell of the times that its cards wait for.
    TimesNotAdded,
    /// A card that is given back by a commit is not told of.
    ReturnedNotAdded,
    /// Of many cards, the first few are told of.
    ManyCut,
    /// Each card is taken for the one behind it.
    WrongKey,
    /// A rollback keeps the candidates that it took.
    TakenKept,
    /// A rollback keeps the times that it took.
    TimeKept,
    /// A rollback keeps what it looked through with its own changes before its eyes.
    ExaminedKept,
    /// A rollback gives its candidates to another head.
    GivenToOther,
    /// The rollback of a savepoint forgets what the transaction around it has to undo.
    OuterUndoForgotten,
    /// The end of a session leaves its flights open.
    FlightLeftOpen,
    /// The end of a session leaves its scan open.
    ScanLeftOpen,
    /// A claim inside of a claim leaves the outer one's flight open.
    FlightOverwritten,
    /// A scan tells what its claim read before it said that it scans.
    ScanReadEarly,
    /// What a scan has no room for counts as examined.
    RestSkipped,
    /// What a scan finds is not remembered.
    FoundDropped,
    /// A scan passes over what somebody has locked.
    LockedNotSeen,
    /// A scan reads with the conditions of another claim.
    OtherFilter,
    /// A scan passes over cards that wait for a time, without asking to be told of it.
    TimesNotWatched,
    /// A time is taken away once its cards are known to claims, not before they are read.
    TimePeeked,
    /// Of each time, the first card comes.
    TimesCut,
    /// The cards whose time has come are not told of.
    ComeNotAdded,
    /// Times that a scan has no room for count as examined.
    TimesRestSkipped,
    /// A candidate that somebody has locked is dropped.
    LockedDropped,
    /// What was put aside is dropped when it is looked for again.
    AsideDropped,
    /// Candidates that are still there after a vain attempt are dropped.
    PruneDropped,
    /// All candidates are wiped out by a stray write.
    Wiped,
}

pub const EACH: [Bug; 28] = [
    Bug::AddedBeforeCommit,
    Bug::NotAdded,
    Bug::TimesNotAdded,
    Bug::ReturnedNotAdded,
    Bug::ManyCut,
    Bug::WrongKey,
    Bug::TakenKept,
    Bug::TimeKept,
    Bug::ExaminedKept,
    Bug::GivenToOther,
    Bug::OuterUndoForgotten,
    Bug::FlightLeftOpen,
    Bug::ScanLeftOpen,
    Bug::FlightOverwritten,
    Bug::ScanReadEarly,
    Bug::RestSkipped,
    Bug::FoundDropped,
    Bug::LockedNotSeen,
    Bug::OtherFilter,
    Bug::TimesNotWatched,
    Bug::TimePeeked,
    Bug::TimesCut,
    Bug::ComeNotAdded,
    Bug::TimesRestSkipped,
    Bug::LockedDropped,
    Bug::AsideDropped,
    Bug::PruneDropped,
    Bug::Wiped,
];
