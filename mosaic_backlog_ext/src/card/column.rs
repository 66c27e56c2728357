//! The columns of a card that callers see, said once: what functions declare, what statements select, and the
//! place of each in a row.

/// Hands the columns, with their types, to the macro `$to`.
macro_rules! columns {
    ($to:ident) => {
        $crate::card::column::$to! {
            id "text", title "text", body "text", phase "text", labels "text[]", requires "text[]", priority "integer",
            status "mosaic.backlog_status", acceptance "jsonb", idempotency_key "text", not_before "timestamptz",
            claim_owner "text", claim_token "bigint", claim_ttl_seconds "integer", claimed_at "timestamptz",
            claim_expires_at "timestamptz", attempts "integer", max_attempts "integer", block_kind "text",
            block_reason "text", result "jsonb", open_dependencies "integer", created_at "timestamptz",
            updated_at "timestamptz", completed_at "timestamptz"
        }
    };
}
pub(crate) use columns;

macro_rules! declared {
    ($($name:ident $type:literal),*) => {
        concat!($(stringify!($name), " ", $type, ", ",)* "depends_on text[]")
    };
}
pub(crate) use declared;

macro_rules! selected {
    ($first:ident $_first:literal $(, $name:ident $type:literal)*) => {
        concat!("c.", stringify!($first) $(, ", c.", stringify!($name))*)
    };
}
pub(crate) use selected;

macro_rules! shown {
    ($first:ident $_first:literal $(, $name:ident $type:literal)*) => {
        concat!("c.", stringify!($first) $(, ", ", $crate::card::column::shown_one!($name))*)
    };
}
pub(crate) use shown;

macro_rules! shown_one {
    (claim_token) => {
        "null::bigint"
    };
    ($name:ident) => {
        concat!("c.", stringify!($name))
    };
}
pub(crate) use shown_one;

macro_rules! names {
    ($($name:ident $type:literal),*) => {
        [$(stringify!($name)),*]
    };
}
pub(crate) use names;

/// Their names, in their order.
pub const NAMES: [&str; 25] = columns!(names);

/// The place of a column in a row that begins with them all, from 1; what follows them there is at
/// `NAMES.len() + 1` and behind.
pub const fn place(name: &str) -> i32 {
    let mut at = 0;
    while at < NAMES.len() {
        if is_same(NAMES[at].as_bytes(), name.as_bytes()) {
            return at as i32 + 1;
        }
        at += 1;
    }
    panic!("no column of that name")
}

const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// All of them in a `RETURNS TABLE`, and the dependencies.
macro_rules! card_table {
    () => {
        $crate::card::column::columns!(declared)
    };
}
pub(crate) use card_table;

/// Those of the table among them, under the alias `c`.
macro_rules! own_columns {
    () => {
        $crate::card::column::columns!(selected)
    };
}
pub(crate) use own_columns;

/// All of them in a select list or a RETURNING. The token is its holder's, who has it from the
/// claim, and an operator's, who asks for it by name: `claim_token` is null.
macro_rules! card_columns {
    () => {
        concat!(
            $crate::card::column::columns!(shown),
            ", case when c.linked then array(select d.depends_on from mosaic.backlog_dependency d \
                where d.card_id = c.id order by d.depends_on limit 100000) else '{}' end"
        )
    };
}
pub(crate) use card_columns;
