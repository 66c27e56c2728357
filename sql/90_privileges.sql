-- Everything belongs to a role that cannot log in and is no superuser; the functions run as it. Nobody
-- has a right but by the grants below: neither PUBLIC, nor whom default privileges name.
do $$
declare
  member record;
  grantee text;
begin
  for member in
    select i.type, i.identity, o.owner, o.acl
    from pg_catalog.pg_depend d
    join pg_catalog.pg_extension e on e.oid operator(pg_catalog.=) d.refobjid
      and e.extname operator(pg_catalog.=) 'mosaic_backlog_ext'
    cross join lateral pg_catalog.pg_identify_object(d.classid, d.objid, 0) i
    join (
      select 'pg_catalog.pg_class'::pg_catalog.regclass as classid, oid, relowner as owner, relacl as acl from pg_catalog.pg_class
      union all select 'pg_catalog.pg_proc'::pg_catalog.regclass, oid, proowner, proacl from pg_catalog.pg_proc
      union all select 'pg_catalog.pg_type'::pg_catalog.regclass, oid, typowner, typacl from pg_catalog.pg_type
      union all select 'pg_catalog.pg_namespace'::pg_catalog.regclass, oid, nspowner, nspacl from pg_catalog.pg_namespace
    ) o on o.classid operator(pg_catalog.=) d.classid and o.oid operator(pg_catalog.=) d.objid
    where d.refclassid operator(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
      and d.deptype operator(pg_catalog.=) 'e'
      and i.type operator(pg_catalog.=) any (array['function', 'table', 'sequence', 'type', 'schema'])
      -- The types of arrays and of rows, which newer majors list too, follow what they are made of.
      and not exists (
        select from pg_catalog.pg_type t
        where d.classid operator(pg_catalog.=) 'pg_catalog.pg_type'::pg_catalog.regclass
          and t.oid operator(pg_catalog.=) d.objid
          and (t.typcategory operator(pg_catalog.=) 'A' or t.typtype operator(pg_catalog.=) 'c'))
  loop
    -- Where it is so already, sessions at work are not waited for.
    if member.owner operator(pg_catalog.<>) 'mosaic_owner'::pg_catalog.regrole then
      execute pg_catalog.format('alter %s %s owner to mosaic_owner', member.type, member.identity);
    end if;
    execute pg_catalog.format('revoke all on %s %s from public', member.type, member.identity);
    for grantee in
      select distinct r.rolname from pg_catalog.aclexplode(member.acl) a
      join pg_catalog.pg_roles r on r.oid operator(pg_catalog.=) a.grantee
      where r.rolname operator(pg_catalog.<>) 'mosaic_owner'
    loop
      execute pg_catalog.format('revoke all on %s %s from %I cascade', member.type, member.identity, grantee);
    end loop;
  end loop;
end
$$;

grant usage on schema mosaic to mosaic_reader;
grant usage on type mosaic.backlog_status to public;

-- It takes no arguments, so that being strict says nothing; like all others it is not.
alter function mosaic.backlog_doctor() called on null input;
alter function mosaic.backlog_frontier() called on null input;

grant execute on function mosaic.backlog_get, mosaic.backlog_list, mosaic.backlog_stats, mosaic.backlog_why,
  mosaic.backlog_events, mosaic.backlog_doctor, mosaic.backlog_frontier,
  mosaic.backlog_failing_workers to mosaic_reader;

grant execute on function mosaic.backlog_create, mosaic.backlog_create_many, mosaic.backlog_claim,
  mosaic.backlog_renew, mosaic.backlog_release, mosaic.backlog_fail, mosaic.backlog_complete,
  mosaic.backlog_block, mosaic.backlog_unblock, mosaic.backlog_link, mosaic.backlog_unlink,
  mosaic.backlog_reclaim, mosaic.backlog_note, mosaic.backlog_assert_held to mosaic_worker;

grant execute on function mosaic.backlog_cancel, mosaic.backlog_reopen, mosaic.backlog_update, mosaic.backlog_import,
  mosaic.backlog_export, mosaic.backlog_token, mosaic.backlog_resume_after_restore to mosaic_operator;

-- Settings that weaken a guarantee are an operator's at the least; mosaic.clock stays a superuser's.
grant set on parameter mosaic.direct_writes, mosaic.durability, mosaic.frontier_audit, mosaic.frontier_kept to mosaic_operator;

comment on function mosaic.backlog_create is
  'Creates a card. With idempotency_key, the same request again finds the card that the first made (created = false). Errors: invalid_argument, not_found, id_conflict, key_conflict, cycle.';
comment on function mosaic.backlog_create_many is
  'Creates the cards of a JSON array, all or none. The keys of each object are the arguments of backlog_create; depends_on may name cards of the same array. Errors: invalid_argument, not_found, id_conflict, key_conflict, cycle.';
comment on function mosaic.backlog_get is
  'One card, without its token, and what was said about it. Errors: invalid_argument, not_found.';
comment on function mosaic.backlog_list is
  'Cards in claim order, a page at a time; after is the cursor of the last card of the page before. Without statuses: ready, claimed and blocked. search keeps cards that have all of its words in id, title, body or notes. total is null unless asked for. Errors: invalid_argument.';
comment on function mosaic.backlog_claim is
  'Hands the next claimable cards to a worker: at most max_cards, highest priority first, then oldest. With id: that card, or an error that says why not. With request_id, a retry gets the same answer. Errors: invalid_argument, not_found, already_claimed, open_dependencies, bad_transition, key_conflict, claim_lost.';
comment on function mosaic.backlog_renew is
  'Extends a lease from now on by ttl, by default the claim''s own ttl; gives the new end. note is kept as by backlog_note. Errors: invalid_argument, not_found, claim_lost.';
comment on function mosaic.backlog_release is
  'Gives a card back without blame: the attempt is not counted. Errors: invalid_argument, not_found, claim_lost.';
comment on function mosaic.backlog_fail is
  'Gives a card back because the attempt failed; claimable again after retry_in, by default exponential with jitter. At the maximum of attempts the card is quarantined. Errors: invalid_argument, not_found, claim_lost.';
comment on function mosaic.backlog_complete is
  'Marks a card done and opens the cards that waited for it alone (unblocked). A repeat with another result is claim_lost. force needs mosaic_operator. Errors: invalid_argument, not_found, claim_lost, already_claimed, open_dependencies, bad_transition, unauthorized, busy.';
comment on function mosaic.backlog_block is
  'Takes a card out of circulation with a reason; kind is input, dependency, capability, attempts or other. Errors: invalid_argument, not_found, claim_lost, already_claimed, bad_transition.';
comment on function mosaic.backlog_unblock is
  'Makes a blocked card ready again with a fresh budget of attempts; the next claim of it is told the answer. Errors: invalid_argument, not_found, bad_transition.';
comment on function mosaic.backlog_note is
  'Keeps a note in the history of a card, in any state and whoever holds it; claims of the card are told the last ones. A claim_token must be current. Errors: invalid_argument, not_found, claim_lost.';
comment on function mosaic.card_has_words is
  'internal: whether each of the words is in the id, the title or the body of a card, whatever their case.';
comment on function mosaic.backlog_link is
  'Makes a card depend on others. Errors: invalid_argument, not_found, cycle, bad_transition.';
comment on function mosaic.backlog_unlink is
  'Removes dependencies of a card. Errors: invalid_argument, not_found, bad_transition.';
comment on function mosaic.backlog_reclaim is
  'Takes away leases that ended more than grace ago: of all cards, or of one; a live lease with force (mosaic_operator) alone. action is requeued or quarantined. Errors: invalid_argument, not_found, already_claimed, unauthorized.';
comment on function mosaic.backlog_cancel is
  'Cancels a card, with cascade also all that wait for it; a claimed card with force alone. Gives the cards touched. Errors: invalid_argument, not_found, already_claimed, bad_transition, unauthorized.';
comment on function mosaic.backlog_reopen is
  'Makes a done or cancelled card ready again; what depends on a done one is gated again. Gives the cards touched. Errors: invalid_argument, not_found, bad_transition, busy.';
comment on function mosaic.backlog_update is
  'Changes the fields that are given, in any state; clear names fields to set to null. Errors: invalid_argument, not_found.';
comment on function mosaic.backlog_frontier is
  'What audits have found that the frontier did not know, since its shared memory was made: how many there were, how many cards or ended leases had been lost, and looks or trials that did not end.';
comment on function mosaic.backlog_stats is
  'Counts of cards by state and owner, and the last hour''s throughput and waiting times, of all cards or of one phase. Errors: invalid_argument.';
comment on function mosaic.backlog_failing_workers is
  'Workers that failed at least min_cards different cards in a row, without completing one in between, in the last hour. Errors: invalid_argument.';
comment on function mosaic.backlog_doctor is
  'What is wrong with cards, links, triggers, indexes, settings and tables, and what to do; one row for each thing that was looked at, and nothing is changed. state is ok, warning, error or unknown.';
comment on function mosaic.backlog_why is
  'Why a card is not claimable, down to the open cards that it waits for in the end; no row means that it is claimable. Errors: invalid_argument, not_found.';
comment on function mosaic.backlog_events is
  'The history, oldest first; after is the cursor of the last event seen, and a reader that follows it misses none. Errors: invalid_argument.';
comment on function mosaic.backlog_token is
  'The token under which a card is held; the history says who asked. Errors: invalid_argument, not_found, bad_transition, unauthorized.';
comment on function mosaic.backlog_resume_after_restore is
  'Makes it safe to go on after a restore to an earlier moment, or on a logical replica: no token, event number or generated id that was given since comes again. Errors: invalid_argument.';
comment on function mosaic.backlog_assert_held is
  'Errors with claim_lost unless the card is held under the token, and else locks it until the caller''s transaction ends. Errors: invalid_argument, not_found, claim_lost.';
comment on function mosaic.backlog_export is
  'The whole backlog as JSON lines, on one snapshot: a header, cards in the order of their creation, dependencies, history, and an end line by which a cut copy is recognised.';
comment on function mosaic.backlog_import is
  'Takes lines of backlog_export, as JSON arrays of any size, in their order and in one transaction; the end line finishes the import, and without it the transaction cannot commit. Errors: invalid_argument, id_conflict, key_conflict, not_found, cycle, busy.';
