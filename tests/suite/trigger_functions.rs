//! The functions of our triggers, called by something else.

use mosaic_backlog_tests::database::Database;

#[test]
fn our_trigger_functions_refuse_any_other_trigger() {
    let db = Database::fresh();
    let mut s = db.session();
    s.run(
        "create table of_mine (id text);
         create table alike (like mosaic.backlog)",
    );
    s.create("A");
    let pid = s.pid();
    let mut refusals = 0;
    for function in ["backlog_watch", "backlog_watch_hand"] {
        for table in ["of_mine", "alike", "mosaic.backlog", "mosaic.backlog_event"] {
            for (time, level, events) in [
                ("before", "row", &["insert", "update", "delete"][..]),
                ("after", "row", &["insert", "update", "delete"]),
                (
                    "before",
                    "statement",
                    &["insert", "update", "delete", "truncate"],
                ),
                (
                    "after",
                    "statement",
                    &["insert", "update", "delete", "truncate"],
                ),
            ] {
                for event in events {
                    s.run(&format!(
                        "begin; create trigger of_mine {time} {event} on {table} for each {level}
                           execute function mosaic.{function}()"
                    ));
                    let column = if table == "mosaic.backlog_event" {
                        "card_id"
                    } else {
                        "id"
                    };
                    let statement = match *event {
                        "insert" if table == "of_mine" => {
                            "insert into of_mine values ('a')".to_owned()
                        }
                        "insert" if table == "alike" => {
                            "insert into alike select * from mosaic.backlog".to_owned()
                        }
                        "insert" => "select from mosaic.backlog_create('t')".to_owned(),
                        "update" => format!("update {table} set {column} = {column}"),
                        "delete" => format!("delete from {table}"),
                        _ => format!("truncate {table}"),
                    };
                    if let Err(refused) = s.attempt_run(&statement) {
                        assert_eq!(
                            refused.sqlstate, "39P01",
                            "{function} {time} {event} on {table}: {refused:?}"
                        );
                        refusals += 1;
                    }
                    s.run("rollback");
                }
            }
        }
    }
    assert!(refusals > 60, "{refusals}");
    for call in [
        "select mosaic.backlog_watch()",
        "select mosaic.backlog_watch_hand()",
        "select mosaic.backlog_refuse_drop()",
    ] {
        let refused = s.attempt_run(call).expect_err(call);
        assert_eq!(refused.sqlstate, "39P01", "{call}: {refused:?}");
    }
    s.run("create event trigger of_mine on ddl_command_end execute function mosaic.backlog_refuse_drop()");
    let refused = s
        .attempt_run("drop table of_mine")
        .expect_err("at another time");
    assert_eq!(refused.sqlstate, "39P01", "{refused:?}");
    s.run("drop event trigger of_mine");
    assert_eq!(s.pid(), pid);
    assert_eq!(s.status("A"), "ready");
}
