//! Giving others a turn between two megabytes of a transfer.
use super::{clock::Clock, courtesy::Pause, std};
use crate::proto::time::Instant;
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// So long may the clients take that have been sent to.
const CLIENTS: Duration = Duration::from_millis(1);
/// So long more for each turn that another transfer of this process has had meanwhile. With half of that, the processors would seem
/// crowded by 16 downloads alone; with twice as much, they do not where there are four programs beside them that compute.
const TRANSFER: Duration = Duration::from_micros(600);

/// What the transfers of a process know together of whoever else wants the processor. With a process for each session, that is
/// what this one knows.
///
/// A transfer whose client keeps up never waits, and would go on until the system takes the processor away: commands are answered
/// so much later, and 16 downloads at once are a fifth slower than if each lets the others, and the clients, go on after each
/// megabyte. But beside programs that compute, whoever does that gets little of the processor: a download beside four of them was
/// a fifth as fast. So there are no turns for a while once one took longer than can be explained by the transfers of this process.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// So many were given.
    given: AtomicU64,
    pause: Pause,
}

impl Turns {
    /// Lets others go on, unless they had enough of late.
    pub(super) fn give(&self, clock: &Clock) {
        let start = clock.now();
        if self.pause.is_over(start) {
            let before = self.given.fetch_add(1, Ordering::Relaxed) + 1;
            std::thread::yield_now();
            let meanwhile = self.given.load(Ordering::Relaxed) - before;
            self.took(start, clock.now(), meanwhile);
        }
    }

    /// One took so long, in which others of this process gave so many.
    fn took(&self, start: Instant, end: Instant, meanwhile: u64) {
        let transfers = TRANSFER.saturating_mul(u32::try_from(meanwhile).unwrap_or(u32::MAX));
        if end.since(start) > CLIENTS.saturating_add(transfers) {
            self.pause.begin(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_that_are_longer_than_their_own_transfers_explain_end_for_a_while() {
        let turns = Turns::default();
        let start = Instant::ZERO + Duration::from_secs(5);
        turns.took(start, start + CLIENTS, 0);
        let explained = start + CLIENTS + 15 * TRANSFER;
        turns.took(start, explained, 15);
        assert!(turns.pause.is_over(explained));
        let end = explained + Duration::from_nanos(1);
        turns.took(start, end, 15);
        assert!(!turns.pause.is_over(end));
        turns.took(start, Instant::NEVER, u64::MAX);
        assert!(!turns.pause.is_over(start), "no time is too long for it");
    }

    #[test]
    fn turns_are_counted_while_there_are_some() {
        let (turns, clock) = (Turns::default(), Clock::start());
        turns.give(&clock);
        assert_eq!(turns.given.load(Ordering::Relaxed), 1);
        turns.pause.begin(clock.now());
        turns.give(&clock);
        assert_eq!(turns.given.load(Ordering::Relaxed), 1);
    }
}
