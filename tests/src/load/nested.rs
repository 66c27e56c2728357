//! Claims that are made inside of triggers: of a table of the user's, in subtransactions that are
//! kept or rolled back, and of the table of cards, in the midst of another claim.

use crate::session::Session;

/// The phase whose cards take another along when they are claimed.
pub(super) const LEAD: &str = "A";
/// The phase of those that are taken along.
pub(super) const HELPER: &str = "C";
/// How the claims of an errand go: one that stays, one that is rolled back, or both in this order.
pub(super) const WAYS: [&str; 3] = ["kept", "undone", "again"];

const ERRANDS: &str = "
create table public.errand (worker text, ttl interval, nested text);
create table public.errand_lease (worker text, id text, claim_token bigint, claimed_at timestamptz,
  claim_expires_at timestamptz, dependencies jsonb, dependencies_total integer);
grant select, insert on public.errand, public.errand_lease to public;

create function public.claim_for_errand() returns trigger language plpgsql as $$
begin
  if new.nested <> 'kept' then
    begin
      perform from mosaic.backlog_claim(new.worker, new.ttl);
      raise exception using errcode = 'ZZ001';
    exception when sqlstate 'ZZ001' then null;
    end;
  end if;
  if new.nested <> 'undone' then
    begin
      insert into public.errand_lease
        select new.worker, c.id, c.claim_token, c.claimed_at, c.claim_expires_at, c.dependencies, c.dependencies_total
        from mosaic.backlog_claim(new.worker, new.ttl) c;
    exception when sqlstate 'ZZ001' then null;
    end;
  end if;
  return null;
end $$;
create trigger claim after insert on public.errand for each row execute function public.claim_for_errand();

create function public.errand(worker text, ttl text, nested text) returns setof public.errand_lease
  language plpgsql as $$
begin
  insert into public.errand values ($1, $2::interval, $3);
  return query select * from public.errand_lease l where l.worker = $1;
end $$;
";

/// What the load needs in its database. With `helpers`, a claim of a lead claims a helper; a trigger
/// on the table of cards has all claims made by statements.
#[track_caller]
pub fn prepare(admin: &mut Session, helpers: bool) {
    admin.run(ERRANDS);
    if helpers {
        admin.run(&format!(
            "create function public.claim_helper() returns trigger language plpgsql security definer as $$
             begin
               perform from mosaic.backlog_claim(new.claim_owner || '/helper', '1 second', phase => '{HELPER}');
               return null;
             end $$;
             create trigger claim_helper after update on mosaic.backlog for each row
               when (new.status = 'claimed' and old.status = 'ready' and new.phase = '{LEAD}')
               execute function public.claim_helper();"
        ));
    }
}
