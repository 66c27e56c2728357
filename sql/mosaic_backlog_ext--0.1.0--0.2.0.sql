-- What 0.2.0 changes in a database that 0.1.0 made. `tests/suite/upgrade.rs` compares the result
-- with a new installation.
\echo Use "alter extension mosaic_backlog_ext update" to load this file. \quit

-- In the order in which calls take them.
lock table mosaic.backlog, mosaic.backlog_dependency, mosaic.backlog_event, mosaic.backlog_claim_request
  in access exclusive mode;

-- DROP OWNED takes the extension along where whoever installed it is named.
drop event trigger mosaic_backlog_refuse_drop;

create event trigger mosaic_backlog_refuse_drop on ddl_command_start
  when tag in ('DROP EXTENSION', 'DROP OWNED')
  execute function mosaic.backlog_refuse_drop();

-- Whatever session_replication_role says.
alter event trigger mosaic_backlog_refuse_drop enable always;

comment on event trigger mosaic_backlog_refuse_drop is
  'Refuses DROP EXTENSION mosaic_backlog_ext, and DROP OWNED that would take it or rights on it, while cards exist, unless mosaic.allow_drop is on.';

comment on function mosaic.backlog_refuse_drop is
  'internal: event trigger that refuses to drop mosaic_backlog_ext, or rights on it, while cards exist. Errors: bad_transition.';

-- A claim says how many dependencies there are, where it can tell of some alone, and what was said.
drop function mosaic.backlog_claim;

create function mosaic."backlog_claim"(
	"worker" TEXT,
	"ttl" interval DEFAULT '15 minutes',
	"max_cards" INT DEFAULT 1,
	"phase" TEXT DEFAULT NULL,
	"labels" TEXT[] DEFAULT NULL,
	"offers" TEXT[] DEFAULT NULL,
	"id" TEXT DEFAULT NULL,
	"request_id" uuid DEFAULT NULL
) RETURNS TABLE (id text, title text, body text, phase text, labels text[], requires text[], priority integer, status mosaic.backlog_status, acceptance jsonb, idempotency_key text, not_before timestamptz, claim_owner text, claim_token bigint, claim_ttl_seconds integer, claimed_at timestamptz, claim_expires_at timestamptz, attempts integer, max_attempts integer, block_kind text, block_reason text, result jsonb, open_dependencies integer, created_at timestamptz, updated_at timestamptz, completed_at timestamptz, depends_on text[], dependencies jsonb, last_failure text, dependencies_total integer, notes jsonb, notes_total integer, last_release text, last_answer text)
VOLATILE SECURITY DEFINER PARALLEL UNSAFE 
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_claim_02_wrapper';

alter function mosaic.backlog_claim owner to mosaic_owner;
revoke all on function mosaic.backlog_claim from public;
grant execute on function mosaic.backlog_claim to mosaic_worker;

comment on function mosaic.backlog_claim is
  'Hands the next claimable cards to a worker: at most max_cards, highest priority first, then oldest. With id: that card, or an error that says why not. With request_id, a retry gets the same answer. Errors: invalid_argument, not_found, already_claimed, open_dependencies, bad_transition, key_conflict, claim_lost.';

-- Tokens are told to their holders, and to an operator who asks for one by name. An export has them.
create function mosaic."backlog_token"(
	"id" TEXT,
	"actor" TEXT DEFAULT NULL
) RETURNS bigint
VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_token_wrapper';

alter function mosaic.backlog_token owner to mosaic_owner;
revoke all on function mosaic.backlog_token from public;
grant execute on function mosaic.backlog_token to mosaic_operator;
revoke execute on function mosaic.backlog_export from mosaic_reader;
grant execute on function mosaic.backlog_export to mosaic_operator;

comment on function mosaic.backlog_token is
  'The token under which a card is held; the history says who asked. Errors: invalid_argument, not_found, bad_transition, unauthorized.';
comment on function mosaic.backlog_complete is
  'Marks a card done and opens the cards that waited for it alone (unblocked). A repeat with another result is claim_lost. force needs mosaic_operator. Errors: invalid_argument, not_found, claim_lost, already_claimed, open_dependencies, bad_transition, unauthorized, busy.';

-- What is said about a card, and searched for.
create index backlog_event_said on mosaic.backlog_event (card_id, kind, event_id)
  where kind operator(pg_catalog.=) any (array['noted', 'released', 'unblocked']);
comment on column mosaic.backlog.linked is 'internal: whether the card ever had a dependency, or something was said about it';

create function mosaic.backlog_note(
	id TEXT,
	note TEXT,
	claim_token bigint DEFAULT NULL,
	actor TEXT DEFAULT NULL
) RETURNS TABLE (event_id bigint, card_id text, at timestamptz, kind text, actor text, login_role text, claim_token bigint, old_status mosaic.backlog_status, new_status mosaic.backlog_status, detail jsonb, cursor text)
VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_note_wrapper';

create function mosaic.card_has_words(
	words text,
	id text,
	title text,
	body text
) RETURNS boolean IMMUTABLE PARALLEL SAFE
LANGUAGE c
AS 'MODULE_PATHNAME', 'card_has_words_wrapper';

drop function mosaic.backlog_get;

create function mosaic.backlog_get(
	id TEXT
) RETURNS TABLE (id text, title text, body text, phase text, labels text[], requires text[], priority integer, status mosaic.backlog_status, acceptance jsonb, idempotency_key text, not_before timestamptz, claim_owner text, claim_token bigint, claim_ttl_seconds integer, claimed_at timestamptz, claim_expires_at timestamptz, attempts integer, max_attempts integer, block_kind text, block_reason text, result jsonb, open_dependencies integer, created_at timestamptz, updated_at timestamptz, completed_at timestamptz, depends_on text[], last_failure text, notes jsonb, notes_total integer, last_release text, last_answer text)
VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_get_02_wrapper';

drop function mosaic.backlog_list;

create function mosaic.backlog_list(
	statuses mosaic.backlog_status[] DEFAULT NULL,
	phase TEXT DEFAULT NULL,
	labels TEXT[] DEFAULT NULL,
	owner TEXT DEFAULT NULL,
	ready_only bool DEFAULT false,
	max_cards INT DEFAULT 50,
	after TEXT DEFAULT NULL,
	with_total bool DEFAULT false,
	search TEXT DEFAULT NULL
) RETURNS TABLE (id text, title text, body text, phase text, labels text[], requires text[], priority integer, status mosaic.backlog_status, acceptance jsonb, idempotency_key text, not_before timestamptz, claim_owner text, claim_token bigint, claim_ttl_seconds integer, claimed_at timestamptz, claim_expires_at timestamptz, attempts integer, max_attempts integer, block_kind text, block_reason text, result jsonb, open_dependencies integer, created_at timestamptz, updated_at timestamptz, completed_at timestamptz, depends_on text[], cursor text, total bigint)
VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_list_02_wrapper';

drop function mosaic.backlog_renew;

create function mosaic.backlog_renew(
	id TEXT,
	claim_token bigint,
	ttl interval DEFAULT NULL,
	note TEXT DEFAULT NULL
) RETURNS timestamp with time zone
VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_renew_02_wrapper';

drop function mosaic.backlog_unblock;

create function mosaic.backlog_unblock(
	id TEXT,
	answer TEXT DEFAULT NULL,
	actor TEXT DEFAULT NULL
) RETURNS TABLE (id text, title text, body text, phase text, labels text[], requires text[], priority integer, status mosaic.backlog_status, acceptance jsonb, idempotency_key text, not_before timestamptz, claim_owner text, claim_token bigint, claim_ttl_seconds integer, claimed_at timestamptz, claim_expires_at timestamptz, attempts integer, max_attempts integer, block_kind text, block_reason text, result jsonb, open_dependencies integer, created_at timestamptz, updated_at timestamptz, completed_at timestamptz, depends_on text[])
VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_unblock_02_wrapper';

comment on function mosaic.backlog_get is
  'One card, without its token, and what was said about it. Errors: invalid_argument, not_found.';
comment on function mosaic.backlog_list is
  'Cards in claim order, a page at a time; after is the cursor of the last card of the page before. Without statuses: ready, claimed and blocked. search keeps cards that have all of its words in id, title, body or notes. total is null unless asked for. Errors: invalid_argument.';
comment on function mosaic.backlog_renew is
  'Extends a lease from now on by ttl, by default the claim''s own ttl; gives the new end. note is kept as by backlog_note. Errors: invalid_argument, not_found, claim_lost.';
comment on function mosaic.backlog_unblock is
  'Makes a blocked card ready again with a fresh budget of attempts; the next claim of it is told the answer. Errors: invalid_argument, not_found, bad_transition.';
comment on function mosaic.backlog_note is
  'Keeps a note in the history of a card, in any state and whoever holds it; claims of the card are told the last ones. A claim_token must be current. Errors: invalid_argument, not_found, claim_lost.';
comment on function mosaic.card_has_words is
  'internal: whether each of the words is in the id, the title or the body of a card, whatever their case.';

-- Workers that fail one card after the other.
create function mosaic.backlog_failing_workers(
	min_cards INT DEFAULT 3
) RETURNS TABLE (worker text, cards bigint, since timestamptz, last_at timestamptz, last_card text, last_reason text)
VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_failing_workers_wrapper';

revoke all on function mosaic.backlog_failing_workers from public;
alter function mosaic.backlog_failing_workers owner to mosaic_owner;
grant execute on function mosaic.backlog_failing_workers to mosaic_reader;
comment on function mosaic.backlog_failing_workers is
  'Workers that failed at least min_cards different cards in a row, without completing one in between, in the last hour. Errors: invalid_argument.';

-- The history also tells what happened to the backlog as a whole.
alter table mosaic.backlog_event alter column card_id drop not null, alter column new_status drop not null;
comment on table mosaic.backlog_event is 'Append-only history: one row a change of a card, or of the backlog as a whole.';

-- The newest token that was handed out, with which the sequence is compared.
create index backlog_event_token on mosaic.backlog_event (claim_token) where kind operator(pg_catalog.=) 'claimed';

create function mosaic.backlog_resume_after_restore(
	last_token bigint DEFAULT NULL,
	actor TEXT DEFAULT NULL
) RETURNS TABLE (name text, before bigint, after bigint)
VOLATILE SECURITY DEFINER PARALLEL UNSAFE
SET search_path TO pg_catalog, pg_temp
LANGUAGE c
AS 'MODULE_PATHNAME', 'backlog_resume_after_restore_wrapper';

alter function mosaic.backlog_resume_after_restore owner to mosaic_owner;
revoke all on function mosaic.backlog_resume_after_restore from public;
grant execute on function mosaic.backlog_resume_after_restore to mosaic_operator;
comment on function mosaic.backlog_resume_after_restore is
  'Makes it safe to go on after a restore to an earlier moment, or on a logical replica: no token, event number or generated id that was given since comes again. Errors: invalid_argument.';

-- What audits of the frontier have found.
create function mosaic.backlog_frontier() returns table (shared boolean, audits bigint, lost bigint, last_lost_at timestamptz, last_lost text, stuck bigint, last_stuck_at timestamptz)
called on null input volatile security definer parallel unsafe
set search_path to pg_catalog, pg_temp
language c as 'MODULE_PATHNAME', 'backlog_frontier_wrapper';
alter function mosaic.backlog_frontier() owner to mosaic_owner;
revoke all on function mosaic.backlog_frontier() from public;
grant execute on function mosaic.backlog_frontier() to mosaic_reader;
grant set on parameter mosaic.direct_writes, mosaic.frontier_audit, mosaic.frontier_kept to mosaic_operator;
comment on function mosaic.backlog_frontier is
  'What audits have found that the frontier did not know, since its shared memory was made: how many there were, how many cards or ended leases had been lost, and looks or trials that did not end.';

-- Default privileges gave rights on what 0.1.0 made, and may have on what was made above. Nobody has one but
-- by the grants below.
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

grant execute on function mosaic.backlog_get, mosaic.backlog_list, mosaic.backlog_stats, mosaic.backlog_why,
  mosaic.backlog_events, mosaic.backlog_doctor, mosaic.backlog_frontier,
  mosaic.backlog_failing_workers to mosaic_reader;

grant execute on function mosaic.backlog_create, mosaic.backlog_create_many, mosaic.backlog_claim,
  mosaic.backlog_renew, mosaic.backlog_release, mosaic.backlog_fail, mosaic.backlog_complete,
  mosaic.backlog_block, mosaic.backlog_unblock, mosaic.backlog_link, mosaic.backlog_unlink,
  mosaic.backlog_reclaim, mosaic.backlog_note, mosaic.backlog_assert_held to mosaic_worker;

grant execute on function mosaic.backlog_cancel, mosaic.backlog_reopen, mosaic.backlog_update, mosaic.backlog_import,
  mosaic.backlog_export, mosaic.backlog_token, mosaic.backlog_resume_after_restore to mosaic_operator;
