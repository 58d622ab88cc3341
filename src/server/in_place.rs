//! Whether what calls itself quick has been of late.
use super::courtesy::Respite;
use crate::proto::time::Instant;
use core::time::Duration;

/// Longer than this nothing takes that is quick, but while a disk is waited for: that the system gives the processor to others for so
/// long is rare, also beside many programs that compute.
const LONG: Duration = Duration::from_millis(25);
/// So many times as long nothing is done in place then: a hundredth of the time at most is waited for what was to be quick.
const RESPITE: u32 = 100;
/// But no longer than this, since the clock also goes on while the host sleeps.
const MOST: Duration = Duration::from_secs(60);

/// What the sessions of an engine with few threads know together of the file systems that call themselves quick.
///
/// A disk that has more to write than it can makes whoever goes on writing wait, and none of it can be told beforehand. Those whom
/// it meets first wait in place, and the others with them; after it all goes through the pool of threads for a while.
#[derive(Debug, Default)]
pub(super) struct InPlace {
    respite: Respite,
}

impl InPlace {
    /// Whether anything may be done in place.
    pub(super) fn is_quick(&self, now: Instant) -> bool {
        self.respite.is_over(now)
    }

    /// Something was done in place.
    pub(super) fn took(&self, start: Instant, end: Instant) {
        let time = end.since(start);
        if time >= LONG {
            self.respite.last_until(end + time.saturating_mul(RESPITE).min(MOST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_followed_by_a_while_a_hundred_times_as_long() {
        let in_place = InPlace::default();
        let start = Instant::ZERO + Duration::from_secs(5);
        in_place.took(start, start + (LONG - Duration::from_nanos(1)));
        assert!(in_place.is_quick(start + LONG));
        let end = start + Duration::from_millis(30);
        in_place.took(start, end);
        assert!(!in_place.is_quick(end + Duration::from_millis(2999)));
        assert!(in_place.is_quick(end + Duration::from_secs(3)));
    }

    #[test]
    fn the_longest_counts_and_that_is_a_minute_at_most() {
        let in_place = InPlace::default();
        let end = Instant::ZERO + Duration::from_secs(3600);
        in_place.took(Instant::ZERO, end);
        in_place.took(end, end + LONG);
        assert!(!in_place.is_quick(end + Duration::from_secs(59)));
        assert!(in_place.is_quick(end + Duration::from_secs(60)));
        in_place.took(Instant::ZERO, Instant::NEVER);
        assert!(in_place.is_quick(Instant::NEVER), "whatever the clock says");
    }
}
