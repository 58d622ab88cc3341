//! Giving others a turn between two megabytes of a transfer.
use super::{clock::Clock, courtesy::Respite, std};
use crate::proto::time::Instant;
use core::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// So long may the clients take that have been sent to.
const CLIENTS: Duration = Duration::from_millis(1);
/// So long more for each turn that another transfer of this process has had meanwhile. With two processors, half of that would let
/// 16 downloads alone seem a crowd; with twice as much, four programs that compute beside them are not seen.
const TRANSFER: Duration = Duration::from_micros(600);

/// What the transfers of a process know together of whoever else wants the processor. With a process for each session, the
/// transfers of the others are somebody else's.
///
/// A transfer whose client keeps up never waits, and would go on until the system takes the processor away: commands are answered
/// so much later, and 16 downloads at once are a fifth slower than if each lets the others, and the clients, go on after each
/// megabyte. But beside programs that compute, whoever does that gets little of the processor: a download beside four of them was
/// a fifth as fast. So there are no turns for a while once one took longer than can be explained by the transfers of this process.
#[derive(Debug)]
pub(super) struct Turns {
    clock: Clock,
    /// So many were given.
    given: AtomicU64,
    respite: Respite,
}

impl Turns {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, given: AtomicU64::new(0), respite: Respite::default() }
    }

    /// Lets others go on, unless they had enough of late.
    pub(super) fn give(&self) {
        let start = self.clock.now();
        if self.respite.is_over(start) {
            let before = self.given.fetch_add(1, Ordering::Relaxed) + 1;
            std::thread::yield_now();
            let meanwhile = self.given.load(Ordering::Relaxed) - before;
            self.took(start, self.clock.now(), meanwhile);
        }
    }

    /// One took so long, in which others of this process gave so many.
    fn took(&self, start: Instant, end: Instant, meanwhile: u64) {
        let transfers = TRANSFER.saturating_mul(u32::try_from(meanwhile).unwrap_or(u32::MAX));
        if end.since(start) > CLIENTS.saturating_add(transfers) {
            self.respite.begin(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_that_are_longer_than_their_own_transfers_explain_end_for_a_while() {
        let turns = Turns::new(Clock::start());
        let start = Instant::ZERO + Duration::from_secs(5);
        turns.took(start, start + CLIENTS, 0);
        let explained = start + CLIENTS + 15 * TRANSFER;
        turns.took(start, explained, 15);
        assert!(turns.respite.is_over(explained));
        let end = explained + Duration::from_nanos(1);
        turns.took(start, end, 15);
        assert!(!turns.respite.is_over(end));
        turns.took(start, Instant::NEVER, u64::from(u32::MAX));
        assert!(!turns.respite.is_over(end + Duration::from_secs(3600)), "no number is too large for it");
    }

    #[test]
    fn turns_are_counted_while_there_are_some() {
        let turns = Turns::new(Clock::start());
        turns.give();
        assert_eq!(turns.given.load(Ordering::Relaxed), 1);
        turns.respite.begin(turns.clock.now());
        turns.give();
        assert_eq!(turns.given.load(Ordering::Relaxed), 1);
    }
}
