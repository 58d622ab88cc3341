//! A session's part in the bandwidth of its user, as the server keeps it.
//!
//! **Invariant:** whatever a child asks for, or gives back: it has one promise at a time, and others wait for that one alone.
use super::super::{clock::Clock, limits::SharedBucket};
use crate::proto::time::Instant;
use alloc::sync::Arc;
use core::time::Duration;

/// What a session takes from, and what it was given last.
pub(super) struct Share {
    clock: Clock,
    bucket: Arc<SharedBucket>,
    /// So many octets, less those that came back, ...
    given: usize,
    /// ... to be moved from this moment on.
    due: Instant,
}

impl Share {
    pub(super) fn new(clock: Clock, bucket: Arc<SharedBucket>) -> Self {
        Self { clock, bucket, given: 0, due: Instant::ZERO }
    }

    /// How many of `want` octets may be moved, and how much later. A promise that has not come due is over.
    pub(super) fn take(&mut self, want: usize) -> (usize, Duration) {
        self.break_promise();
        let now = self.clock.now();
        (self.given, self.due) = match self.bucket.take(now, want.max(1)) {
            Ok(octets) => (octets, now),
            Err(turn) => (turn.octets, turn.moment),
        };
        (self.given, self.due.since(now))
    }

    /// Takes back what was not needed of what was given last.
    pub(super) fn give_back(&mut self, octets: usize) {
        let octets = octets.min(self.given);
        self.given -= octets;
        self.bucket.give_back(octets);
    }

    fn break_promise(&mut self) {
        if self.due > self.clock.now() {
            self.give_back(self.given);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.break_promise();
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::super::limits::{Flow, Limits},
        *,
    };
    use alloc::vec::Vec;
    use core::num::NonZeroU64;

    #[test]
    fn whoever_asks_and_asks_puts_others_off_for_one_promise_alone() {
        const SLOW: NonZeroU64 = NonZeroU64::MIN;
        let (clock, limits) = (Clock::start(), Limits::default());
        let bucket = limits.bucket(&"user".into(), Flow::Send, SLOW, clock.now());
        let share = || Share::new(clock, bucket.clone());
        // Promises that are kept.
        let _patient: Vec<_> = (0..20).map(|_| share()).map(|mut share| (share.take(1), share)).collect();
        let mut greedy = share();
        for _ in 0..100 {
            greedy.take(1000);
            // A new one each time is no way around it.
            share().take(1000);
            greedy.take(1000);
            // What it never had, it cannot give back.
            greedy.give_back(usize::MAX);
            greedy.give_back(usize::MAX);
            greedy.take(1000);
        }
        let (octets, wait) = share().take(1000);
        assert_eq!(octets, 1);
        assert!((Duration::from_secs(15)..=Duration::from_secs(22)).contains(&wait), "{wait:?}");
    }
}
