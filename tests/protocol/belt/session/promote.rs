//! Times that come.

use super::super::bug::Bug;
use super::flight::Next;
use super::{Session, WINDOW, step};
use crate::real_head::frontier::addition::Addition;
use crate::real_head::frontier::head::SCAN;
use crate::real_head::frontier::heads::Set;
use crate::real_head::frontier::key::{Key, Range};

impl Session {
    /// Lets claims find the cards whose time has come. False where others take long to do that.
    pub(super) async fn promote(&self, now: Key) -> bool {
        let set = Set::Scheduled;
        loop {
            let may_come = {
                let mut world = self.world();
                let head = world.heads.head(set).expect("the head of times");
                head.concerns(now) || head.tries(now)
            };
            if !may_come {
                return true;
            }
            let mut flight = None;
            match self.next(&mut flight, set, now, SCAN).await {
                Next::Candidates(times, _) => {
                    if self.has(Bug::TimePeeked) {
                        self.give_back(set, &times);
                        self.end_flight(flight.take());
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
                    self.world().heads.end_scheduled(&times);
                    if self.has(Bug::TimePeeked) {
                        let last = times.last().copied().unwrap_or(Key::MIN);
                        let mut world = self.world();
                        let head = world.heads.head(set).expect("the head of times");
                        head.take(last, times.len(), &mut Vec::new());
                    }
                    self.end_flight(flight);
                }
                Next::Scan(scan) => {
                    step().await;
                    let to = now.saturating_add(WINDOW).max(scan.range.from);
                    let window = Range {
                        from: scan.range.from,
                        to: to.min(scan.range.to),
                    };
                    let times = self.world().times(self.me, window);
                    step().await;
                    let found = times.len().min(SCAN);
                    let cut = times.get(SCAN).copied();
                    let rest = cut.or_else(|| (window.to != scan.range.to).then_some(window.to));
                    let rest = if self.has(Bug::TimesRestSkipped) && cut.is_some() {
                        (window.to != scan.range.to).then_some(window.to)
                    } else {
                        rest
                    };
                    self.end_scan(set, &scan, &times[..found], rest);
                }
                Next::Unknown => return false,
                Next::Nothing => return true,
            }
        }
    }
}
