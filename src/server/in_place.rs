//! Whether file systems that call themselves quick have been of late.
use super::courtesy::Respite;
use crate::proto::time::Instant;
use core::time::Duration;

/// So long nothing takes that is quick, but while a disk is waited for. Others who want the processor have it for a shorter time, also
/// where there are many (beside 16 programs that compute, on two processors, one in 100 000 pieces of work took 10 ms), and where a
/// container has used up its share of the processor, Linux mostly stops it for less than that.
const LONG: Duration = Duration::from_millis(100);
/// So many times as long nothing is done in place then: of the time, a hundredth is waited for what takes up to [`MOST`] / 100 each
/// time. (Meanwhile small files and questions take twice as much of the processor.)
const RESPITE: u32 = 100;
/// But no longer than this: the disk may be another one by then.
const MOST: Duration = Duration::from_secs(600);

/// What the sessions of an engine with few threads know together of their file systems: if one of them is slow, no other is asked in
/// place either.
///
/// A disk that has more to write than it can makes whoever goes on writing wait, and none of it can be told beforehand. Those whom
/// it meets first wait in place, and the others with them; after it all goes through the pool of threads for a while.
#[derive(Debug, Default)]
pub(super) struct InPlace {
    respite: Respite,
}

impl InPlace {
    /// Whether a file system may be asked in place.
    pub(super) fn is_quick(&self, now: Instant) -> bool {
        self.respite.is_over(now)
    }

    /// One was.
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
        let end = start + Duration::from_millis(120);
        in_place.took(start, end);
        assert!(!in_place.is_quick(end + Duration::from_millis(11_999)));
        assert!(in_place.is_quick(end + Duration::from_secs(12)));
    }

    #[test]
    fn the_longest_counts_and_that_is_ten_minutes_at_most() {
        let in_place = InPlace::default();
        let end = Instant::ZERO + Duration::from_secs(3600);
        in_place.took(Instant::ZERO, end);
        in_place.took(end, end + LONG);
        assert!(!in_place.is_quick(end + Duration::from_secs(599)));
        assert!(in_place.is_quick(end + Duration::from_secs(600)));
        in_place.took(Instant::ZERO, Instant::NEVER);
        assert!(in_place.is_quick(Instant::NEVER), "whatever the clock says");
    }
}
