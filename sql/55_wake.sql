-- When the last wake-up went out, in microseconds since 2000-01-01 UTC. Not dumped.
create sequence mosaic.backlog_wake_seq as bigint;

comment on sequence mosaic.backlog_wake_seq is 'internal: when waiters were last notified';
