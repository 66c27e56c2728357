-- What a claim with a request_id handed out, so that a retry gets the same answer.
create table mosaic.backlog_claim_request (
  request_id  uuid primary key,
  arguments   jsonb not null,
  card_ids    text[] not null,
  tokens      bigint[] not null,
  at          timestamptz not null
);

create index backlog_claim_request_at on mosaic.backlog_claim_request (at);

comment on table mosaic.backlog_claim_request is 'internal: answers to claims that were made with a request_id';

select pg_catalog.pg_extension_config_dump('mosaic.backlog_claim_request', '');
