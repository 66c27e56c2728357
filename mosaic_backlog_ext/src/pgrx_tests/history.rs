//! After a random run, what the tables hold follows from the history alone.

use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::pgrx_tests::*;

    const CARDS: usize = 12;
    const STEPS: usize = 2_000;

    /// The status and the claim of every card, from the history alone.
    const REBUILT: &str = "
        select s.card_id, s.new_status::text, l.actor, l.claim_token, l.claimed_at, l.ttl, l.expires_at
        from (select distinct on (card_id) card_id, new_status from backlog_event
              order by card_id, event_id desc) s
        left join (
          select distinct on (c.card_id) c.card_id, c.actor, c.claim_token, c.at as claimed_at,
            (r.detail ->> 'claim_ttl_seconds')::int as ttl,
            (r.detail ->> 'claim_expires_at')::timestamptz as expires_at
          from backlog_event c
          join backlog_event r on r.card_id = c.card_id and r.claim_token = c.claim_token
            and r.kind in ('claimed', 'renewed')
          where c.kind = 'claimed'
          order by c.card_id, c.event_id desc, r.event_id desc) l
          on l.card_id = s.card_id and s.new_status = 'claimed'";

    const STORED: &str = "
        select id, status::text, claim_owner, claim_token, claimed_at, claim_ttl_seconds, claim_expires_at
        from backlog";

    /// Attempts since the last event that set them.
    const WRONG_ATTEMPTS: &str = "
        select id from backlog c where attempts <> coalesce((
          select (detail ->> 'attempts')::int from backlog_event e
          where e.card_id = c.id and detail ? 'attempts' order by event_id desc limit 1), 0)";

    const WRONG_GATES: &str = "
        select id from backlog c where open_dependencies <> (
          select count(*) from backlog_dependency d join backlog x on x.id = d.depends_on
          where d.card_id = c.id and x.status <> 'done')";

    /// A token that was given twice, or that a later claim of the card does not exceed.
    const WRONG_TOKENS: &str = "
        select claim_token from (select claim_token,
            lag(claim_token) over (partition by card_id order by event_id) as before,
            count(*) over (partition by claim_token) as times
          from backlog_event where kind = 'claimed') t where claim_token <= before or times > 1";

    /// An event that does not start where the one before it ended.
    const GAPS: &str = "
        select event_id from (select event_id, old_status, lag(new_status) over (
            partition by card_id order by event_id) as before from backlog_event) e
        where old_status is distinct from before";

    fn step(random: &mut fastrand::Rng) -> String {
        let mut id = || format!("c{}", random.usize(..CARDS));
        let (a, b) = (id(), id());
        // The card's own token, or a stale one.
        let token = format!(
            "coalesce((select claim_token from backlog where id = '{a}'), 1) - {}",
            i32::from(random.u8(..10) == 0)
        );
        let retry = random.usize(..90);
        match random.u8(..42) {
            0..=8 => format!(
                "backlog_claim('w{retry}', '{} s', {})",
                random.u16(1..900),
                random.u8(1..4)
            ),
            9..=11 => format!("backlog_claim('w{retry}', id => '{a}')"),
            12..=14 => format!("backlog_renew('{a}', {token}, '{} s')", random.u16(1..900)),
            15 | 16 => format!("backlog_release('{a}', {token}, '{retry} s')"),
            17..=19 => format!("backlog_fail('{a}', {token}, 'why', '{retry} s')"),
            20..=23 => format!("backlog_complete('{a}', {token})"),
            24 => format!("backlog_complete('{a}', force => {})", random.bool()),
            25 | 26 => format!("backlog_block('{a}', 'why {retry}')"),
            27 => format!("backlog_block('{a}', 'why', claim_token => {token})"),
            28 | 29 => format!("backlog_unblock('{a}')"),
            30 => format!("backlog_note('{a}', 'so', {token})"),
            31 => format!(
                "backlog_cancel('{a}', 'why', {}, {})",
                random.bool(),
                random.bool()
            ),
            32..=34 => format!("backlog_reopen('{a}', 'why')"),
            35 => format!("backlog_link('{a}', '{{{b}}}')"),
            36 | 37 => format!("backlog_unlink('{a}', '{{{b}}}')"),
            38 => format!(
                "backlog_update('{a}', max_attempts => {}, priority => {retry})",
                random.u8(1..5)
            ),
            _ => format!("backlog_reclaim('{a}', force => {})", random.bool()),
        }
    }

    #[pg_test]
    fn the_history_alone_rebuilds_status_and_claim() {
        begin();
        let mut random = fastrand::Rng::with_seed(20_260_802);
        let ids: Vec<String> = (0..CARDS).map(|n| format!("c{n}")).collect();
        cards(&ids.join(" "));
        let mut seconds = 0;
        let mut done = 0;
        for n in 0..STEPS {
            seconds += random.u32(..60);
            at(&format!("{seconds} s"));
            let sql = format!("select {}", step(&mut random));
            match attempt(&sql) {
                None => done += 1,
                Some(refused) => assert_eq!(
                    refused.sqlstate,
                    sqlstate(&refused.code),
                    "{}: {sql}",
                    refused.message
                ),
            }
            if n % 100 == 0 || n + 1 == STEPS {
                for (what, wrong) in [
                    ("stored", format!("({STORED}) except ({REBUILT})")),
                    ("rebuilt", format!("({REBUILT}) except ({STORED})")),
                    ("attempts", WRONG_ATTEMPTS.to_owned()),
                    ("gates", WRONG_GATES.to_owned()),
                    ("tokens", WRONG_TOKENS.to_owned()),
                    ("gaps", GAPS.to_owned()),
                ] {
                    assert_eq!(rows(&wrong), "", "{what} after step {n}: {sql}");
                }
            }
        }
        assert!(done > STEPS / 4, "only {done} steps did something");
        // The run went everywhere.
        assert_eq!(
            rows(
                "select distinct kind from backlog_event where kind <> 'quarantined' order by kind"
            ),
            "blocked cancelled claimed completed created failed lapsed linked noted reclaimed \
             released renewed reopened unblocked unlinked updated"
        );
    }
}
