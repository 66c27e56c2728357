-- The handle of the shared memory in which the frontier lives. A sequence, because it is read
-- and written outside of transactions; it is worth nothing after a restart and is not dumped.
create sequence mosaic.backlog_frontier_seq as bigint;

-- What the frontier reads of cards that wait for their time.
create index backlog_due on mosaic.backlog (not_before)
  where opened and not_before is not null;

-- For each row that may have become claimable. What a claim and a completion set is not among
-- the columns, as the trigger would cost them more than finding the card, and there is no WHEN,
-- as its text would be read anew in each statement.
create trigger backlog_watch after insert or update of claimable_since, open_dependencies, not_before, priority,
  phase, labels, requires, max_attempts, block_kind, block_reason, creation_seq
  on mosaic.backlog for each row execute function mosaic.backlog_watch();

-- For what is changed by hand and not by a verb.
create trigger backlog_watch_hand before update on mosaic.backlog
  for each statement execute function mosaic.backlog_watch_hand();

-- Whoever writes: a replica's rows count as well.
alter table mosaic.backlog enable always trigger backlog_watch;
alter table mosaic.backlog enable always trigger backlog_watch_hand;

comment on sequence mosaic.backlog_frontier_seq is 'internal: where the shared memory of the frontier is';
comment on function mosaic.backlog_watch is
  'internal: trigger that tells the frontier which cards become claimable, and refuses what no verb writes. Errors: check_violation.';
comment on function mosaic.backlog_watch_hand is
  'internal: trigger that makes the frontier forget what it knows when cards are changed by hand. Errors: none.';
