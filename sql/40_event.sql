create sequence mosaic.backlog_event_id_seq as bigint;

-- No foreign key to cards: the history outlives them.
create table mosaic.backlog_event (
  event_id     bigint primary key,
  -- Null, as the status is, where the event is about the backlog and not about a card.
  card_id      text,
  at           timestamptz not null,
  kind         text not null,
  actor        text not null,
  login_role   text not null,
  claim_token  bigint,
  old_status   mosaic.backlog_status,
  new_status   mosaic.backlog_status,
  detail       jsonb not null default '{}',
  -- Internal: the next transaction id when event_id was drawn. Once no older transaction
  -- runs, no smaller event_id can still appear, so a reader may pass this event.
  horizon      xid8 not null
);

-- What the figures of the last hour read; the history grows in the order of time.
create index backlog_event_at on mosaic.backlog_event using brin (at) with (pages_per_range = 16, autosummarize = on);

create index backlog_event_card on mosaic.backlog_event (card_id, event_id);

-- The newest token that was handed out, with which the sequence is compared.
create index backlog_event_token on mosaic.backlog_event (claim_token) where kind = 'claimed';

-- What was said about a card. No claim, completion or renewal writes it.
create index backlog_event_said on mosaic.backlog_event (card_id, kind, event_id)
  where kind in ('noted', 'released', 'unblocked');

comment on table mosaic.backlog_event is 'Append-only history: one row a change of a card, or of the backlog as a whole.';
comment on column mosaic.backlog_event.actor is 'who did it, as the caller says';
comment on column mosaic.backlog_event.login_role is 'who did it, as the server knows';
comment on column mosaic.backlog_event.horizon is 'internal: lets a reader follow the history without a gap';
comment on sequence mosaic.backlog_event_id_seq is 'numbers of events';

select pg_catalog.pg_extension_config_dump('mosaic.backlog_event', '');
select pg_catalog.pg_extension_config_dump('mosaic.backlog_event_id_seq', '');
