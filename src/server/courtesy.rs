//! Giving way to whoever else wants the processor, and what is known of clients on this host.
use super::{clock::Clock, std};
use crate::proto::time::Instant;
use core::{
    sync::atomic::{AtomicI32, AtomicU64, Ordering},
    time::Duration,
};

/// Longer than that it takes if more want the processor than the client that was just answered, or if that computes for long.
const CROWDED: Duration = Duration::from_millis(1);
/// So long is a respite.
const RESPITE: Duration = Duration::from_secs(1);
/// Sessions by which those that paid may be ahead of the others, or behind: so many are enough to change what is expected.
const MEMORY: i32 = 64;

/// What the sessions of a process know together of clients on this host, and of whoever else wants the processor. With a process
/// for each session, that is what this one knows.
///
/// Where more want the processor than the client that was just answered, whoever gives way loses what is his due: 16 sessions, beside
/// a program that computes, lost 40 % of their answers, and 2 % now that this process gives way no more for a while once that is
/// seen.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    respite: Respite,
    /// Sessions of clients on this host where looks mostly paid, less those where they did not, within [`MEMORY`].
    balance: AtomicI32,
}

impl Courtesy {
    /// Lets others go on first. `false`: they had enough of late, and this did nothing.
    pub(super) fn give_way(&self, clock: &Clock) -> bool {
        let start = clock.now();
        let may = self.respite.is_over(start);
        if may {
            std::thread::yield_now();
            self.gave_way(start, clock.now());
        }
        may
    }

    /// Whether looking ahead mostly paid of late where the client is on this host: else a session of a single login, which is over
    /// before it could learn that, would look in vain all the time.
    pub(super) fn looks_pay(&self) -> bool {
        self.balance.load(Ordering::Relaxed) >= 0
    }

    /// Takes what a session has learnt. What is lost between two threads makes no difference.
    pub(super) fn learn(&self, looks_paid: bool) {
        let balance = self.balance.load(Ordering::Relaxed) + if looks_paid { 1 } else { -1 };
        self.balance.store(balance.clamp(-MEMORY, MEMORY), Ordering::Relaxed);
    }

    fn gave_way(&self, start: Instant, end: Instant) {
        if end.since(start) > CROWDED {
            self.respite.begin(end);
        }
    }
}

/// A while in which the processor is given to nobody, since others took it for too long.
#[derive(Debug, Default)]
pub(super) struct Respite {
    /// Nanoseconds of the server's clock until its end.
    until: AtomicU64,
}

impl Respite {
    pub(super) fn is_over(&self, now: Instant) -> bool {
        nanoseconds(now) >= self.until.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, now: Instant) {
        self.last_until(now + RESPITE);
    }

    /// At least until then.
    pub(super) fn last_until(&self, end: Instant) {
        self.until.fetch_max(nanoseconds(end), Ordering::Relaxed);
    }
}

pub(super) fn nanoseconds(moment: Instant) -> u64 {
    u64::try_from(moment.since(Instant::ZERO).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_takes_long_it_ends_for_a_while() {
        let courtesy = Courtesy::default();
        let start = Instant::ZERO + Duration::from_secs(5);
        assert!(courtesy.respite.is_over(start));
        courtesy.gave_way(start, start + CROWDED);
        assert!(courtesy.respite.is_over(start + CROWDED), "so long takes a client");
        let end = start + CROWDED + Duration::from_nanos(1);
        courtesy.gave_way(start, end);
        assert!(!courtesy.respite.is_over(end));
        assert!(!courtesy.respite.is_over(start + RESPITE));
        assert!(courtesy.respite.is_over(end + RESPITE));
    }

    #[test]
    fn what_sessions_learn_counts_for_those_to_come() {
        let courtesy = Courtesy::default();
        assert!(courtesy.looks_pay());
        courtesy.learn(false);
        assert!(!courtesy.looks_pay());
        // However long it was so, it is not for ever.
        (0..1000).for_each(|_| courtesy.learn(false));
        (1..MEMORY).for_each(|_| courtesy.learn(true));
        assert!(!courtesy.looks_pay());
        courtesy.learn(true);
        assert!(courtesy.looks_pay());
        (0..1000).for_each(|_| courtesy.learn(true));
        (0..MEMORY).for_each(|_| courtesy.learn(false));
        assert!(courtesy.looks_pay());
        courtesy.learn(false);
        assert!(!courtesy.looks_pay());
    }

    #[test]
    fn a_clock_that_was_at_its_end_does_no_harm() {
        let courtesy = Courtesy::default();
        courtesy.gave_way(Instant::ZERO, Instant::NEVER);
        assert!(!courtesy.respite.is_over(Instant::ZERO));
    }
}
