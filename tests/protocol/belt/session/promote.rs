//! Times that come.

use super::super::bug::Bug;
use super::trial::Next;
use super::{Session, WINDOW, step};
use crate::real_head::frontier::addition::Addition;
use crate::real_head::frontier::head::LOOK;
use crate::real_head::frontier::heads::Set;
use crate::real_head::frontier::key::{Key, Range};

impl Session {
    /// Lets claims find the cards whose time has come. False where others take long to do that.
    pub(super) async fn promote(&self, now: Key) -> bool {
        let set = Set::Due;
        loop {
            let may_come = {
                let mut world = self.world();
                let head = world.heads.head(set).expect("the head of times");
                head.concerns(now) || head.tries(now)
            };
            if !may_come {
                return true;
            }
            let mut trial = None;
            match self.next(&mut trial, set, now, LOOK).await {
                Next::Candidates(times, _) => {
                    if self.has(Bug::TimePeeked) {
                        self.give_back(set, &times);
                        self.end_trial(trial.take());
                    }
                    step().await;
                    let mut orders = self.world().waiting_for(self.me, &times);
                    step().await;
                    if self.has(Bug::ComeNotAdded) {
                        orders.clear();
                    }
                    if self.has(Bug::TimesCut) {
                        orders.truncate(1);
                    }
                    self.world()
                        .heads
                        .add_claimable(&Addition::new(&mut orders));
                    self.world().heads.end_due(&times);
                    if self.has(Bug::TimePeeked) {
                        let last = times.last().copied().unwrap_or(Key::MIN);
                        let mut world = self.world();
                        let head = world.heads.head(set).expect("the head of times");
                        head.take(last, times.len(), &mut Vec::new());
                    }
                    self.end_trial(trial);
                }
                Next::Look(look) => {
                    step().await;
                    let to = now.saturating_add(WINDOW).max(look.range.from);
                    let window = Range {
                        from: look.range.from,
                        to: to.min(look.range.to),
                    };
                    let times = self.world().times(self.me, window);
                    step().await;
                    let found = times.len().min(LOOK);
                    let cut = times.get(LOOK).copied();
                    let rest = cut.or_else(|| (window.to != look.range.to).then_some(window.to));
                    let rest = if self.has(Bug::TimesRestSkipped) && cut.is_some() {
                        (window.to != look.range.to).then_some(window.to)
                    } else {
                        rest
                    };
                    self.end_look(set, &look, &times[..found], rest);
                }
                Next::Unknown => return false,
                Next::Nothing => return true,
            }
        }
    }
}
