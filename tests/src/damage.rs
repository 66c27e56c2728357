//! What PostgreSQL's amcheck finds in our tables and their indexes.

use crate::session::Session;

/// What is damaged, in a sentence each. Each row of a table has to be in each of its indexes.
#[track_caller]
pub fn find(admin: &mut Session) -> Vec<String> {
    admin.run("set client_min_messages = warning; create extension if not exists amcheck");
    let mut found = Vec::new();
    for index in names(
        admin,
        "select i.indexrelid::regclass::text as name
         from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
         where c.relnamespace = 'mosaic'::regnamespace and a.amname = 'btree'",
    ) {
        let check = format!("select public.bt_index_check('{index}', heapallindexed => true)");
        if let Err(refused) = admin.attempt(&check) {
            found.push(format!("{index}: {}", refused.message));
        }
    }
    for table in names(
        admin,
        "select oid::regclass::text as name from pg_class
         where relnamespace = 'mosaic'::regnamespace and relkind = 'r'",
    ) {
        let check = format!("select blkno, offnum, msg from public.verify_heapam('{table}')");
        match admin.attempt(&check) {
            Ok(rows) => found.extend(rows.iter().map(|row| format!("{table}: {row}"))),
            Err(refused) => found.push(format!("{table}: {}", refused.message)),
        }
    }
    found
}

/// The same, where nothing may be damaged.
#[track_caller]
pub fn assert_none(admin: &mut Session) {
    let found = find(admin);
    assert!(found.is_empty(), "{found:#?}");
}

#[track_caller]
fn names(admin: &mut Session, query: &str) -> Vec<String> {
    let names = admin.column(query);
    assert!(!names.is_empty(), "{query}");
    let names = names.iter().filter_map(|name| name.as_str());
    names.map(str::to_owned).collect()
}
