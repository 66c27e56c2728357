-- What each permutation begins with: no cards, tokens and ids from 1, and a clock that stands still.
create procedure fresh() language plpgsql as $$
begin
  truncate mosaic.backlog, mosaic.backlog_dependency, mosaic.backlog_event, mosaic.backlog_claim_request;
  perform setval('mosaic.backlog_claim_token_seq', 1, false);
  perform setval('mosaic.backlog_creation_seq', 1, false);
end $$;
