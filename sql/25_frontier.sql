-- The handle of the shared memory in which the frontier lives. A sequence, because it is read
-- and written outside of transactions; it is worth nothing after a restart and is not dumped.
create sequence mosaic.backlog_frontier_seq as bigint;

-- What the frontier reads of cards that wait for their time.
create index backlog_due on mosaic.backlog (not_before)
  where opened and not_before is not null;

-- Without a WHEN, which would be read anew in each statement.
create trigger backlog_watch after insert or update on mosaic.backlog for each row
  execute function mosaic.backlog_watch();

-- Whoever writes: a replica's rows count as well.
alter table mosaic.backlog enable always trigger backlog_watch;

comment on sequence mosaic.backlog_frontier_seq is 'internal: where the shared memory of the frontier is';
comment on function mosaic.backlog_watch is
  'internal: trigger that tells the frontier which cards become claimable and which leases will end. Errors: resource.';
