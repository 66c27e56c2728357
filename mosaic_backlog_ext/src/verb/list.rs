//! Reading cards: one by id, many by filter, page by page in the order of claims.

use pgrx::prelude::*;

use crate::argument::{self, Statuses};
use crate::card::column::NAMES;
use crate::card::{self, CardRow, card_columns, card_table, said};
use crate::postgres::clock;
use crate::postgres::rows::{PIECE, Page, Rows, Stream, shapes};
use crate::postgres::statement::{Answer, Moment, param, session, statements};
use crate::refusal::Refusal;

shapes! {
    /// A card of a page. `cursor` continues after it, and is null on the last card of all.
    ListedRow = concat!("TABLE (", card_table!(), ", cursor text, total bigint)");
    /// A card with what its next worker is told.
    GotRow = concat!("TABLE (", card_table!(), ", last_failure text, notes jsonb, notes_total integer, \
        last_release text, last_answer text)");
}

macro_rules! filter {
    () => {
        "($2 is null or c.phase = $2) and c.labels @> $3
           and ($4 is null or c.claim_owner = $4)
           and (not $5 or (c.status = 'ready' and c.open_dependencies = 0
                and (c.not_before is null or c.not_before <= $6)))"
    };
}

/// A word may be in the card and another in a note of it; the notes are read where it lacks one.
macro_rules! searched {
    ($words:literal) => {
        concat!(
            filter!(),
            " and (mosaic.card_has_words(",
            $words,
            ", c.id, c.title, c.body)
              or (c.linked and not exists (
                select from pg_catalog.string_to_table(",
            $words,
            ", ' ') as word
                where not mosaic.card_has_words(word, c.id, c.title, c.body) and not exists (
                  select from mosaic.backlog_event e
                  where e.card_id = c.id and e.kind = 'noted'
                    and mosaic.card_has_words(word, e.detail ->> 'note', null, null)))))"
        )
    };
}

/// Each status is read in claim order from its own part of the index, and the parts are merged.
macro_rules! page {
    ($filter:expr) => {
        concat!(
            "with page as materialized (
           select c.* from (select distinct unnest($1::mosaic.backlog_status[])) as wanted(status)
             cross join lateral (
               select * from mosaic.backlog c
               where c.status = wanted.status and c.claim_order > $7 and ", $filter, "
               order by c.claim_order limit $8 + 1) c
           order by c.claim_order limit $8 + 1)
         select ", card_columns!(), ",
           case when pg_catalog.count(*) over () > $8 or pg_catalog.lead(c.id) over (order by c.claim_order) is not null
             then c.claim_order::text end,
           $9
         from page c order by c.claim_order limit $8"
        )
    };
}

macro_rules! total {
    ($filter:expr) => {
        concat!(
            "select pg_catalog.count(*) from mosaic.backlog c where c.status = any($1::mosaic.backlog_status[]) and ",
            $filter
        )
    };
}

statements! {
    PAGE(TEXTOID, TEXTOID, TEXTARRAYOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, INT8OID, INT4OID, INT8OID) = page!(filter!());
    TOTAL(TEXTOID, TEXTOID, TEXTARRAYOID, TEXTOID, BOOLOID, TIMESTAMPTZOID) = total!(filter!());
    FOUND(TEXTOID, TEXTOID, TEXTARRAYOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, INT8OID, INT4OID, INT8OID, TEXTOID) =
        page!(searched!("$10"));
    FOUND_TOTAL(TEXTOID, TEXTOID, TEXTARRAYOID, TEXTOID, BOOLOID, TIMESTAMPTZOID, TEXTOID) = total!(searched!("$7"));
    GET(TEXTOID) = concat!(
        "select ", card_columns!(), ", c.last_failure, '[]'::jsonb, 0, null::text, null::text
         from mosaic.backlog c where c.id = $1");
}

/// Where the columns of `GotRow` begin that tell what was said.
const NOTES: usize = NAMES.len() + 2;

/// What a list shows unless it is told otherwise: after a while most cards are done.
const OPEN: &str = "{ready,claimed,blocked}";

/// One card, and what was said about it.
#[pg_extern(
    schema = "mosaic",
    name = "backlog_get",
    volatile,
    parallel_unsafe,
    security_definer
)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_get_02(id: Option<String>) -> Result<Rows<GotRow>, pgrx::pg_sys::panic::ErrorReport> {
    let id = argument::id("id", id)?;
    Ok(session(|session| {
        let card = session.run(&GET, &[param(id.as_str())]);
        if card.is_empty() {
            return Err(Refusal::not_found(&id));
        }
        let Some(said) = said::read(session, &id) else {
            return Ok(Rows::new(session, &card));
        };
        let mut columns = card.columns(0);
        let values = said.values();
        for (column, value) in columns[NOTES..].iter_mut().zip(values) {
            column.value = value;
        }
        let row = card.row_of(&columns);
        Ok(Rows::new(
            session,
            &Answer::of(session, &[row], card.descriptor()),
        ))
    })?)
}

/// What the SQL of 0.1.0 calls.
#[pg_extern(sql = false)]
fn backlog_get(id: Option<String>) -> Result<Rows<CardRow>, pgrx::pg_sys::panic::ErrorReport> {
    let id = argument::id("id", id)?;
    Ok(session(|session| card::get(session, &id))?)
}

/// Cards in the order of claims, a page at a time. Without `statuses`, those that are open: ready,
/// claimed and blocked. All filters must hold; `labels` means "has all of these"; `ready_only` keeps
/// what could be claimed now; `search` keeps what has all of its words. `after` is the `cursor` of the last card
/// of the page before; it is null where nothing follows. `total` counts all that the filters keep, only with
/// `with_total`.
/// A page of large cards ends early.
#[allow(clippy::too_many_arguments)]
#[pg_extern(
    schema = "mosaic",
    name = "backlog_list",
    volatile,
    parallel_unsafe,
    security_definer
)]
#[search_path(pg_catalog, pg_temp)]
fn backlog_list_02(
    statuses: default!(Option<Statuses>, "NULL"),
    phase: default!(Option<String>, "NULL"),
    labels: default!(Option<Vec<Option<String>>>, "NULL"),
    owner: default!(Option<String>, "NULL"),
    ready_only: default!(Option<bool>, "false"),
    max_cards: default!(Option<i32>, "50"),
    after: default!(Option<String>, "NULL"),
    with_total: default!(Option<bool>, "false"),
    search: default!(Option<String>, "NULL"),
) -> Result<Stream<ListedRow>, pgrx::pg_sys::panic::ErrorReport> {
    let ready_only = ready_only.unwrap_or(false);
    // Only these can match; the parts of the index that cannot are not read.
    let possible = match (ready_only, &owner) {
        (true, _) => "{ready}",
        (false, Some(_)) => "{claimed}",
        (false, None) => OPEN,
    };
    let statuses = statuses.map_or_else(|| possible.to_owned(), |s| s.0);
    let phase = argument::optional_name("phase", phase)?;
    let labels = argument::labels("labels", labels)?;
    let owner = argument::optional_name("owner", owner)?;
    let max = argument::count("max_cards", max_cards)?;
    let after = match after {
        None => 0,
        Some(cursor) => cursor.parse::<i64>().map_err(|_| {
            Refusal::argument(
                "after is not a cursor of this list",
                "Give the cursor of the last card of the page before, unchanged.",
            )
        })?,
    };
    let search = argument::search(search)?;
    Ok(Stream::new(move |sink| {
        session(|session| {
            let (page_of, total_of) = match search {
                None => (&PAGE, &TOTAL),
                Some(_) => (&FOUND, &FOUND_TOTAL),
            };
            let search: Vec<_> = search.into_iter().map(param).collect();
            let mut parameters = vec![
                param(statuses),
                param(phase),
                param(labels),
                param(owner),
                param(ready_only),
                param(clock::now()),
            ];
            let total: Option<i64> = with_total.unwrap_or(false).then(|| {
                let parameters = [&parameters[..], &search].concat();
                session.run(total_of, &parameters).must(0, 1)
            });
            parameters.extend([param(after), param(max), param(total)]);
            parameters.extend(search);
            let mut page = Page::default();
            session.pages(page_of, &parameters, Moment::Now, PIECE, |cards| {
                page.put(sink, cards)
            });
            Ok::<_, Refusal>(())
        })
    }))
}

/// What the SQL of 0.1.0 calls.
#[allow(clippy::too_many_arguments)]
#[pg_extern(sql = false)]
fn backlog_list(
    statuses: Option<Statuses>,
    phase: Option<String>,
    labels: Option<Vec<Option<String>>>,
    owner: Option<String>,
    ready_only: Option<bool>,
    max_cards: Option<i32>,
    after: Option<String>,
    with_total: Option<bool>,
) -> Result<Stream<ListedRow>, pgrx::pg_sys::panic::ErrorReport> {
    backlog_list_02(
        statuses, phase, labels, owner, ready_only, max_cards, after, with_total, None,
    )
}
