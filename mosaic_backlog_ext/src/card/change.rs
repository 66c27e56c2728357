//! What a verb writes into a card's row, said once: as the SET of an UPDATE or the VALUES of an INSERT, and as the
//! values that are written without a statement, so that the two ways cannot differ.
//!
//! A verb's changes are a macro that hands them to another one of these:
//!
//! ```ignore
//! macro_rules! claimed {
//!     ($to:ident $with:tt) => { $to! { $with status = (status claimed), claim_owner = (parameter 2), attempts = (one_more) } };
//! }
//! ```

/// Declares kept updates of cards, as `statements!` does all others: `NAME(parameter types) = "what is set and where", …;`
/// All updates of cards by verbs stand in one of these. Of any other one the frontier forgets all that it knows.
macro_rules! card_updates {
    ($($(#[$doc:meta])* $name:ident($($ty:ident),*) = $($part:expr),+;)*) => {
        thread_local! {
            $($(#[$doc])* static $name: $crate::postgres::statement::Statement = const {
                $crate::postgres::statement::Statement::new(
                    concat!("update mosaic.backlog c set ", $($part),+),
                    &[$(::pgrx::pg_sys::$ty),*],
                )
                .of_cards()
            };)*
        }
    };
}
pub(crate) use card_updates;

/// A lease ends, however: these columns are null. Followed by the verb's own changes.
macro_rules! without_lease {
    ($to:ident $with:tt $($change:tt)*) => {
        $to! {
            $with claim_owner = (null), claim_token = (null), claim_ttl_seconds = (null), claimed_at = (null),
            claim_expires_at = (null), $($change)*
        }
    };
}
pub(crate) use without_lease;

/// As the SET of an UPDATE.
macro_rules! set {
    (() $first:ident = $value:tt $(, $column:ident = $more:tt)* $(,)?) => {
        concat!(
            stringify!($first), " = ", $crate::card::change::sql! { $first $value }
            $(, ", ", stringify!($column), " = ", $crate::card::change::sql! { $column $more })*
        )
    };
}
pub(crate) use set;

/// As the columns and the VALUES of an INSERT.
macro_rules! inserted {
    (() $first:ident = $value:tt $(, $column:ident = $more:tt)* $(,)?) => {
        concat!(
            "(", stringify!($first) $(, ", ", stringify!($column))*, ") values (",
            $crate::card::change::sql! { $first $value } $(, ", ", $crate::card::change::sql! { $column $more })*, ")"
        )
    };
}
pub(crate) use inserted;

/// As column numbers with their values: of the places `$at`, of the card as it is, and of the statement's parameters.
macro_rules! values {
    (($at:expr, $card:expr, $parameters:expr) $($column:ident = $value:tt),* $(,)?) => {
        {
            let (at, card): (&$crate::card::row::Places, &$crate::card::row::Row) = (&$at, &$card);
            let _ = card;
            [$((at.$column, $crate::card::change::value! { (at, card, $parameters) $column $value })),*]
        }
    };
}
pub(crate) use values;

macro_rules! sql {
    ($column:ident (null)) => {
        "null"
    };
    ($column:ident (false)) => {
        "false"
    };
    ($column:ident (zero)) => {
        "0"
    };
    ($column:ident (unless_null $number:literal)) => {
        concat!("coalesce($", $number, ", ", stringify!($column), ")")
    };
    ($column:ident (one_more)) => {
        concat!(stringify!($column), " + 1")
    };
    ($column:ident (parameter $number:literal)) => {
        concat!("$", $number)
    };
    ($column:ident (status $status:ident)) => {
        concat!("'", stringify!($status), "'")
    };
    ($column:ident (fencing_token)) => {
        "pg_catalog.nextval('mosaic.backlog_claim_token_seq')"
    };
}
pub(crate) use sql;

macro_rules! value {
    ($with:tt $column:ident (null)) => {
        None
    };
    ($with:tt $column:ident (false)) => {
        $crate::postgres::statement::param(false)
    };
    ($with:tt $column:ident (zero)) => {
        $crate::postgres::statement::param(0)
    };
    (($at:expr, $card:expr, $parameters:expr) $column:ident (one_more)) => {
        $crate::postgres::statement::param($card.must::<i32>($at.$column) + 1)
    };
    (($at:expr, $card:expr, $parameters:expr) $column:ident (parameter $number:literal)) => {
        $parameters[$number - 1]
    };
    (($at:expr, $card:expr, $parameters:expr) $column:ident (status $status:ident)) => {
        $at.status($crate::card::change::status!($status))
    };
    ($with:tt $column:ident (fencing_token)) => {
        $crate::postgres::statement::param($crate::postgres::sequence::Sequence::Tokens.next())
    };
}
pub(crate) use value;

macro_rules! status {
    (ready) => {
        $crate::card::status::Status::Ready
    };
    (claimed) => {
        $crate::card::status::Status::Claimed
    };
    (blocked) => {
        $crate::card::status::Status::Blocked
    };
    (done) => {
        $crate::card::status::Status::Done
    };
    (cancelled) => {
        $crate::card::status::Status::Cancelled
    };
}
pub(crate) use status;
