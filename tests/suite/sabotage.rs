//! The checker finds what is wrong: each test plants a bug in one function of its own database, puts
//! load on it, and wants the bug named.

use mosaic_backlog_tests::checker::{Rule, check};
use mosaic_backlog_tests::damage;
use mosaic_backlog_tests::database::Database;
use mosaic_backlog_tests::load::{self, Plan};
use mosaic_backlog_tests::record::{Backlog, Outcome, Record};

use crate::histories::{go, run, target};

/// Replaces a function by one that may call the real one as `mosaic.real_…`.
fn plant(db: &Database, verb: &str, body: &str) {
    let mut s = db.session();
    let function = s.row(&format!(
        "select pg_get_function_arguments(oid) as arguments, pg_get_function_result(oid) as result
         from pg_proc where oid = 'mosaic.backlog_{verb}'::regproc"
    ));
    let text = |name: &str| function[name].as_str().expect(name).to_owned();
    let (arguments, result) = (text("arguments"), text("result"));
    let columns = result
        .strip_prefix("TABLE(")
        .and_then(|rest| rest.strip_suffix(')'));
    // PL/pgSQL does not take one name for an argument and for a column.
    let (result, answer) = match columns {
        Some(columns) => {
            s.run(&format!("create type mosaic.answer_{verb} as ({columns})"));
            (
                format!("setof mosaic.answer_{verb}"),
                format!("mosaic.answer_{verb}"),
            )
        }
        None => (result.clone(), result),
    };
    s.run(&format!(
        "alter function mosaic.backlog_{verb} rename to real_{verb};
         create function mosaic.backlog_{verb}({arguments}) returns {result}
           language plpgsql security definer as
           $bug$ #variable_conflict use_column
           declare chosen text; answer {answer}; begin {body} end $bug$;"
    ));
}

const CALLS: usize = 2_400;

/// A record of load on a database with a bug.
fn record(verb: &str, body: &str) -> Record {
    let db = Database::fresh();
    plant(&db, verb, body);
    run(&db, &target(&db), Plan::new(fastrand::u64(..)), CALLS)
}

#[track_caller]
fn assert_found(record: &Record, rule: Rule) {
    let found = check(record);
    let named = found.iter().filter(|violation| violation.rule == rule);
    assert!(named.count() > 0, "{rule:?} is not among {found:#?}");
}

/// Load is random, and little of it on a slow machine may not meet the bug.
const LOADS: usize = 20;

#[track_caller]
fn caught(rule: Rule, verb: &str, body: &str) {
    let is_found = |_| {
        let found = check(&record(verb, body));
        found.iter().any(|violation| violation.rule == rule)
    };
    assert!((0..LOADS).any(is_found), "{rule:?} is not found in {verb}");
}

/// What the real function answers, with all arguments passed on but those given here.
fn real(verb: &str, count: usize, instead: &[(usize, &str)]) -> String {
    let arguments: Vec<String> = (1..=count)
        .map(|place| {
            let other = instead.iter().find(|(other, _)| *other == place);
            other.map_or_else(|| format!("${place}"), |(_, value)| (*value).to_owned())
        })
        .collect();
    format!(
        "return query select * from mosaic.real_{verb}({});",
        arguments.join(", ")
    )
}

fn real_claim(instead: &[(usize, &str)]) -> String {
    real("claim", 8, instead)
}

/// A claim that chooses a card by a query of its own, where the caller asks for any one.
fn choosing(query: &str, then: &str) -> String {
    format!(
        "if $7 is null and $4 is null and $5 is null and $6 is null and $8 is null then
           perform from mosaic.backlog_reclaim(actor => $1);
           select b.id into chosen from mosaic.backlog b
             where (not_before is null or not_before <= clock_timestamp()) and {query};
           if chosen is null then return; end if;
           {then}
         else {} end if;",
        real_claim(&[])
    )
}

#[test]
fn two_winners_where_the_row_is_not_judged_again_under_its_lock() {
    let body = choosing(
        "opened order by claim_order limit 1",
        "perform pg_sleep(0.002);
         update mosaic.backlog b set status = 'claimed', claim_owner = $1,
             claim_token = nextval('mosaic.backlog_claim_token_seq'), claim_ttl_seconds = 1,
             claimed_at = clock_timestamp(), claim_expires_at = clock_timestamp() + $2
           where b.id = chosen
           returning b.id, b.claim_token, b.claimed_at, b.claim_expires_at
           into answer.id, answer.claim_token, answer.claimed_at, answer.claim_expires_at;
         insert into mosaic.backlog_event
             (event_id, card_id, at, kind, actor, login_role, claim_token, old_status, new_status, detail, horizon)
           select nextval('mosaic.backlog_event_id_seq'), b.id, b.claimed_at, 'claimed', $1, session_user,
             b.claim_token, 'ready', 'claimed', jsonb_build_object('claim_expires_at', b.claim_expires_at),
             pg_current_xact_id()
           from mosaic.backlog b where b.id = chosen;
         return next answer;",
    );
    let record = record("claim", &body);
    assert_found(&record, Rule::TwoLeases);
    // Also without the events, as the workers saw it.
    let found = check(&Record {
        backlog: Backlog::default(),
        ..record
    });
    assert!(found.iter().any(|v| v.rule == Rule::TwoLeases), "{found:?}");
}

#[test]
fn a_completion_that_does_not_look_at_the_token() {
    let current = "(select b.claim_token from mosaic.backlog b where b.id = $1 and $2 is not null)";
    // Nor at what a card that is done has for a result.
    let result = "(select case when b.status = 'done' then null else $3 end from mosaic.backlog b where b.id = $1)";
    let body = real("complete", 5, &[(2, current), (3, result)]);
    caught(Rule::StaleTokenAccepted, "complete", &body);
}

#[test]
fn a_claim_that_does_not_look_at_the_gate() {
    let take = format!(
        "update mosaic.backlog b set open_dependencies = 0 where b.id = chosen;
         {}
         update mosaic.backlog b set open_dependencies = (
             select count(*) from mosaic.backlog_dependency d join mosaic.backlog o on o.id = d.depends_on
             where d.card_id = chosen and o.status <> 'done')
           where b.id = chosen;",
        real_claim(&[(7, "chosen"), (3, "1")])
    );
    let query = "status = 'ready' order by claim_order limit 1 for update skip locked";
    caught(Rule::OpenDependency, "claim", &choosing(query, &take));
}

#[test]
fn a_completion_that_does_not_count() {
    let body = format!(
        "select b.status::text into chosen from mosaic.backlog b where b.id = $1;
         {}
         if chosen <> 'done' then
           update mosaic.backlog b set open_dependencies = open_dependencies + 1
             where b.id in (select card_id from mosaic.backlog_dependency d where d.depends_on = $1);
         end if;",
        real("complete", 5, &[])
    );
    let record = record("complete", &body);
    assert_found(&record, Rule::CounterWrong);
    assert_found(&record, Rule::NeverHandedOut);
}

#[test]
fn a_sweep_of_live_leases() {
    let body = format!(
        "update mosaic.backlog b set claim_expires_at = clock_timestamp() - interval '1 s'
           where b.id = (select o.id from mosaic.backlog o where o.status = 'claimed' and random() < 0.2
                         limit 1 for update skip locked);
         {}",
        real_claim(&[])
    );
    let record = record("claim", &body);
    assert_found(&record, Rule::LiveLeaseTaken);
    assert_found(&record, Rule::TwoLeases);
}

#[test]
fn a_token_that_is_handed_out_again() {
    let body = "for answer in select * from mosaic.real_claim($1, $2, $3, $4, $5, $6, $7, $8) loop
           if random() < 0.2 and answer.claim_token > 3 then
             answer.claim_token := answer.claim_token - 2;
             update mosaic.backlog b set claim_token = answer.claim_token where b.id = answer.id;
           end if;
           return next answer;
         end loop;";
    let record = record("claim", body);
    assert_found(&record, Rule::TokenReused);
    assert_found(&record, Rule::TokenWentBack);
}

#[test]
fn calls_that_are_acknowledged_and_rolled_back() {
    for (verb, arguments) in [
        ("create", 13),
        ("claim", 8),
        ("renew", 3),
        ("complete", 5),
        ("block", 5),
        ("fail", 4),
        ("link", 3),
    ] {
        let body = match verb {
            "renew" => "answer := mosaic.real_renew($1, $2, $3);".to_owned(),
            _ => real(verb, arguments, &[]),
        };
        let end = if verb == "renew" {
            "return answer;"
        } else {
            "return;"
        };
        let body = format!(
            "if random() < 0.8 then {body} {end} end if;
             begin
               {body}
               raise exception using errcode = 'ZZ001';
             exception when sqlstate 'ZZ001' then
               {end}
             end;"
        );
        println!("{verb}");
        caught(Rule::Lost, verb, &body);
    }
}

#[test]
fn a_claim_that_ignores_the_priority() {
    let take = real_claim(&[(7, "chosen"), (3, "1")]);
    let query = "opened order by random() limit 1 for no key update skip locked";
    caught(Rule::PassedOver, "claim", &choosing(query, &take));
}

#[test]
fn a_claim_that_finds_nothing_although_there_is_something() {
    let body = format!("if random() < 0.95 then {} end if;", real_claim(&[]));
    caught(Rule::PassedOver, "claim", &body);
}

#[test]
fn cards_that_are_never_handed_out() {
    let take = real_claim(&[(7, "chosen"), (3, "1")]);
    let query =
        "opened and id not like '%7' order by claim_order limit 1 for no key update skip locked";
    caught(Rule::NeverHandedOut, "claim", &choosing(query, &take));
}

/// Takes what the real claim answers row by row.
fn telling(max_cards: &str, then: &str) -> String {
    let query = real_claim(&[(3, max_cards)]).replace("return query ", "");
    let query = query.trim_end_matches(';');
    format!("for answer in {query} loop {then} end loop;")
}

#[test]
fn a_claim_that_hands_out_one_card_of_a_time() {
    let take = real_claim(&[(7, "chosen"), (3, "1")]);
    let query = "(not_before is null or attempts > 0 or not exists (select from mosaic.backlog o
                    where o.not_before = b.not_before and o.id < b.id)) and opened
                 order by claim_order limit 1 for no key update skip locked";
    caught(Rule::NeverHandedOut, "claim", &choosing(query, &take));
}

#[test]
fn a_claim_that_does_not_look_at_the_time() {
    let body = format!(
        "if $7 is null and $8 is null then
           update mosaic.backlog b set not_before = null
             where b.id = (select o.id from mosaic.backlog o where o.opened and o.not_before > clock_timestamp()
                           limit 1 for update skip locked);
         end if;
         {}",
        real_claim(&[])
    );
    caught(Rule::TooEarly, "claim", &body);
}

#[test]
fn a_claim_that_finds_nothing_under_a_filter_that_is_new() {
    let body = format!(
        "if $5 is null or random() < 0.05 then {} end if;",
        real_claim(&[])
    );
    caught(Rule::PassedOver, "claim", &body);
}

#[test]
fn a_claim_that_gets_more_than_it_tells() {
    let body = telling(
        "$3 + 1",
        "exit when $3 = 0; $3 := $3 - 1; return next answer;",
    );
    caught(Rule::Untold, "claim", &body);
}

#[test]
fn a_claim_in_a_trigger_that_outlives_its_rollback() {
    let db = Database::fresh();
    let mut s = db.session();
    load::prepare(&mut s, false);
    s.run(
        "create or replace function public.claim_for_errand() returns trigger language plpgsql as $$
         begin perform from mosaic.backlog_claim(new.worker, new.ttl); return null; end $$",
    );
    let record = go(&db, &target(&db), Plan::new(fastrand::u64(..)), CALLS);
    assert_found(&record, Rule::Untold);
}

#[test]
fn a_claim_that_counts_dependencies_wrong() {
    let then =
        "answer.dependencies_total := least(answer.dependencies_total, 100); return next answer;";
    caught(Rule::DependenciesWrong, "claim", &telling("$3", then));
}

#[test]
fn a_claim_that_tells_of_all_dependencies() {
    let then = "answer.dependencies := (
          select coalesce(jsonb_agg(jsonb_build_object('id', d.depends_on)), '[]')
          from mosaic.backlog_dependency d where d.card_id = answer.id);
        return next answer;";
    caught(Rule::DependenciesWrong, "claim", &telling("$3", then));
}

#[test]
fn rows_that_an_index_does_not_have() {
    let db = Database::fresh();
    let mut s = db.session();
    damage::assert_none(&mut s);
    let index = "'mosaic.backlog_event_pkey'::regclass";
    s.run(&format!(
        "update pg_index set indisready = false, indisvalid = false where indexrelid = {index}"
    ));
    s.run(
        "insert into mosaic.backlog (id, title, created_at, updated_at, claimable_since)
           values ('a', 'a', now(), now(), now());
         insert into mosaic.backlog_event (event_id, card_id, at, kind, actor, login_role, new_status, detail, horizon)
           values (1, 'a', now(), 'created', 'a', 'a', 'ready', '{}', pg_current_xact_id())",
    );
    s.run(&format!(
        "update pg_index set indisready = true, indisvalid = true where indexrelid = {index}"
    ));
    let found = damage::find(&mut s);
    let named = found.iter().any(|what| what.contains("backlog_event_pkey"));
    assert!(named, "{found:?}");
}

#[test]
fn a_create_that_forgets_its_key() {
    caught(
        Rule::Repeated,
        "create",
        &real("create", 13, &[(10, "null")]),
    );
}

#[test]
fn a_claim_that_forgets_its_request() {
    caught(Rule::Repeated, "claim", &real_claim(&[(8, "null")]));
}

#[test]
fn a_completion_that_refuses_the_holder() {
    let body = format!(
        "if random() < 0.1 and $2 is not null then
           raise exception using errcode = '55000', message = 'no', detail = 'claim_lost: no.', hint = 'No.';
         end if;
         {}",
        real("complete", 5, &[])
    );
    caught(Rule::HolderRefused, "complete", &body);
}

#[test]
fn an_internal_error() {
    let body = format!(
        "if random() < 0.05 then raise exception using errcode = 'XX000'; end if; {}",
        real_claim(&[])
    );
    caught(Rule::BadError, "claim", &body);
}

/// What no planted bug shows is changed in the record of a run without one.
#[test]
fn records_that_contradict_themselves() {
    let db = Database::fresh();
    let sound = run(&db, &target(&db), Plan::new(fastrand::u64(..)), 500);
    let found = check(&sound);
    assert!(found.is_empty(), "{found:?}");
    let changed = |change: &dyn Fn(&mut Record)| {
        let mut record = sound.clone();
        change(&mut record);
        record
    };
    let last = |kind: &str| {
        let events = &sound.backlog.events;
        events
            .iter()
            .rposition(|event| event.kind == kind)
            .expect(kind)
    };
    let late = changed(&|record| {
        let event = record.backlog.events.remove(last("created"));
        record.backlog.events.insert(0, event);
    });
    assert_found(&late, Rule::OutOfTime);
    let twice = changed(&|record| {
        let event = record.backlog.events[last("completed")].clone();
        record.backlog.events.push(event);
    });
    assert_found(&twice, Rule::Impossible);
    let refused = changed(&|record| {
        for entry in &mut record.entries {
            if entry.call.text("title") == Some("first.1") {
                entry.outcome = Outcome::Refused {
                    code: "not_found".to_owned(),
                    sqlstate: "P0002".to_owned(),
                    message: String::new(),
                };
            }
        }
    });
    assert_found(&refused, Rule::Invented);
    let unfinished = changed(&|record| "ready".clone_into(&mut record.backlog.cards[0].status));
    assert_found(&unfinished, Rule::StateDiffers);
    let lost = changed(&|record| record.backlog.lost = 1);
    assert_found(&lost, Rule::Forgotten);
    let early = changed(&|record| {
        let at = last("claimed");
        let (before, after) = record.backlog.events.split_at_mut(at);
        let created = before.iter_mut().find(|e| e.card_id == after[0].card_id);
        let created = created.expect("an event before");
        let mut update = created.clone();
        "updated".clone_into(&mut update.kind);
        update.detail = serde_json::json!({"not_before": {"new": "2999-01-01T00:00:00Z"}});
        record.backlog.events.insert(at, update);
    });
    assert_found(&early, Rule::TooEarly);
}
