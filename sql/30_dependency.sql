-- No foreign keys: the functions hold stronger locks on both cards than a foreign key
-- would take, no function deletes a card, and two checks an edge would halve the speed
-- of a large batch.
create table mosaic.backlog_dependency (
  card_id     text not null,
  depends_on  text not null,
  created_at  timestamptz not null,
  primary key (card_id, depends_on),
  constraint backlog_dependency_not_itself check (card_id <> depends_on)
);

create index backlog_dependency_dependents on mosaic.backlog_dependency (depends_on, card_id);

comment on table mosaic.backlog_dependency is 'The edges of the dependency graph: card_id waits until depends_on is done.';

select pg_catalog.pg_extension_config_dump('mosaic.backlog_dependency', '');
