-- The order in which cards were created; ties among equal priorities go to the older card.
create sequence mosaic.backlog_creation_seq as bigint;

-- Fencing tokens. Owned by no column, so that TRUNCATE ... RESTART IDENTITY leaves it alone,
-- and without a cache, so that a later claim always has the larger token.
create sequence mosaic.backlog_claim_token_seq as bigint cache 1;

create table mosaic.backlog (
  id                 text primary key,
  title              text not null,
  body               text,
  phase              text,
  labels             text[] not null default '{}',
  requires           text[] not null default '{}',
  priority           integer not null default 0,
  status             mosaic.backlog_status not null default 'ready',
  acceptance         jsonb,
  idempotency_key    text,
  not_before         timestamptz,
  claim_owner        text,
  claim_token        bigint,
  claim_ttl_seconds  integer,
  claimed_at         timestamptz,
  claim_expires_at   timestamptz,
  attempts           integer not null default 0,
  max_attempts       integer,
  block_kind         text,
  block_reason       text,
  result             jsonb,
  open_dependencies  integer not null default 0,
  created_at         timestamptz not null,
  updated_at         timestamptz not null,
  completed_at       timestamptz,

  -- Internal from here on.
  creation_seq       bigint not null default pg_catalog.nextval('mosaic.backlog_creation_seq'),
  -- Higher priority first, then older first, as one number: 21 bits of priority, 42 bits of age.
  claim_order        bigint not null generated always as
                       ((1048576 - priority::bigint) * 4398046511104 + creation_seq) stored,
  -- Ready, with no dependency open. One column, so that no other index serves what scans for it.
  opened             boolean not null generated always as
                       (status = 'ready' and open_dependencies = 0) stored,
  -- Whether it ever had a dependency, or something was said about it: else nobody looks for that,
  -- which costs more than a card.
  linked             boolean not null default false,
  -- One hash a field of the request that created the card under an idempotency key.
  creation_request   jsonb,
  -- The token under which the card became done or blocked: a retry with it is a repeat.
  settled_token      bigint,
  -- Since when the card is ready with an open gate; waiting times count from here or not_before.
  claimable_since    timestamptz not null,
  -- The reason of the last fail, for the next claimer.
  last_failure       text,

  -- PostgreSQL reads the text of every CHECK anew in each statement that writes cards. This one
  -- is short; what else must hold is checked by the trigger backlog_watch.
  constraint backlog_columns_fit_status check (mosaic.card_fits(
    status, claim_owner, claim_token, claim_ttl_seconds, claimed_at, claim_expires_at, completed_at, block_kind,
    attempts))
);

create unique index backlog_idempotency_key on mosaic.backlog (idempotency_key) where idempotency_key is not null;

-- What a claim scans: gated, blocked, claimed and finished cards are not in it.
create index backlog_claimable on mosaic.backlog (claim_order) where opened;

-- The same for claims by phase, of which there may be many.
create index backlog_claimable_phase on mosaic.backlog (phase, claim_order) where opened and phase is not null;

-- What the sweep of ended leases scans: claimed cards. Not by status, so that no other index
-- serves the sweep.
create index backlog_lease_end on mosaic.backlog (claim_expires_at) where claim_expires_at is not null;

-- What list pages through.
create index backlog_listing on mosaic.backlog (status, claim_order);

-- What the counts of finished cards read, without reading the cards.
create index backlog_finished on mosaic.backlog (status, phase) where status in ('done', 'cancelled');

comment on function mosaic.card_fits is
  'internal: whether the columns of a card fit its status: a lease iff claimed, completed_at iff done, block_kind iff blocked.';

comment on table mosaic.backlog is 'One row a card, the unit of work. Written by the functions mosaic.backlog_* alone.';
comment on column mosaic.backlog.phase is 'board grouping, free text';
comment on column mosaic.backlog.labels is 'free tags; a filter means "has all of these"';
comment on column mosaic.backlog.requires is 'capabilities that a worker must offer to be handed the card';
comment on column mosaic.backlog.priority is 'higher is sooner; -1000000 to 1000000';
comment on column mosaic.backlog.not_before is 'not claimable earlier';
comment on column mosaic.backlog.claim_owner is 'the worker that holds the lease';
comment on column mosaic.backlog.claim_token is 'fencing token: unique to a claim, grows for ever, never reused';
comment on column mosaic.backlog.claim_expires_at is 'when the lease ends, by the server''s clock';
comment on column mosaic.backlog.attempts is 'claims since creation, the last unblock or the last reopen; a release gives one back';
comment on column mosaic.backlog.max_attempts is 'null: the setting mosaic.max_attempts';
comment on column mosaic.backlog.result is 'handed over by complete, seen by the claimers of dependents';
comment on column mosaic.backlog.open_dependencies is 'dependencies that are not done';
comment on column mosaic.backlog.creation_seq is 'internal: order of creation';
comment on column mosaic.backlog.claim_order is 'internal: priority and age as one number, smallest first';
comment on column mosaic.backlog.opened is 'internal: ready, with no dependency open';
comment on column mosaic.backlog.creation_request is 'internal: fingerprint of the creating request, by field';
comment on column mosaic.backlog.linked is 'internal: whether the card ever had a dependency, or something was said about it';
comment on column mosaic.backlog.settled_token is 'internal: token under which the card became done or blocked';
comment on column mosaic.backlog.claimable_since is 'internal: since when the card is ready with an open gate';
comment on column mosaic.backlog.last_failure is 'internal: reason of the last fail';
comment on sequence mosaic.backlog_claim_token_seq is 'fencing tokens';
comment on sequence mosaic.backlog_creation_seq is 'order of creation of cards';

select pg_catalog.pg_extension_config_dump('mosaic.backlog', '');
select pg_catalog.pg_extension_config_dump('mosaic.backlog_claim_token_seq', '');
select pg_catalog.pg_extension_config_dump('mosaic.backlog_creation_seq', '');
