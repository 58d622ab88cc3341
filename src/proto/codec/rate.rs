//! Bandwidth limits.
use crate::proto::time::Instant;
use core::{num::NonZeroU64, time::Duration};

/// A token bucket: `rate` octets a second, spread evenly, however the caller's time passes.
///
/// In any stretch of `t` seconds no more than `rate * t + rate / 4` octets can be taken (`rate * t + 1` where the rate is below 4),
/// and in the first `t` seconds no more than `rate * t`: the bucket is empty at first, and holds a quarter of a second's worth.
/// Whoever asks again when told to gets the full rate.
///
/// ```
/// use core::{num::NonZeroU64, time::Duration};
/// use wharf::proto::{codec::rate::TokenBucket, time::Instant};
/// let mut bucket = TokenBucket::new(NonZeroU64::new(1000).expect("not 0"), Instant::ZERO);
/// let later = bucket.take(Instant::ZERO, 4096).expect_err("it is empty");
/// assert_eq!(later, Instant::ZERO + Duration::from_millis(50));
/// assert_eq!(bucket.take(later, 4096), Ok(50));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    rate: NonZeroU64,
    /// What is in it, in [`OCTET`]s: in so fine units that nothing is lost to rounding, at any rate.
    level: u128,
    /// When `level` was right.
    now: Instant,
}

/// One nanosecond at a rate of 1 octet a second puts in one unit, so that this many units are an octet. No level is beyond
/// `u64::MAX / 4` octets, nor what any time puts in beyond `u64::MAX * u64::MAX` units: a `u128` holds both.
const OCTET: u128 = 1_000_000_000;

impl TokenBucket {
    /// An empty bucket for `rate` octets a second.
    #[must_use]
    pub fn new(rate: NonZeroU64, now: Instant) -> Self {
        Self { rate, level: 0, now }
    }

    /// Takes up to `want` octets, at least one (none if `want` is 0). Time that runs backwards stands still.
    ///
    /// # Errors
    /// If there are fewer than are worth sending (`want`, or 50 ms' worth if that is less; one at least): when to try again.
    pub fn take(&mut self, now: Instant, want: usize) -> Result<usize, Instant> {
        self.fill(now);
        let rate = self.rate.get();
        let least = (want as u128).min(u128::from(rate / 20).max(1));
        let full = self.level / OCTET;
        if full < least {
            let missing = (least * OCTET - self.level).div_ceil(u128::from(rate));
            // Less than `least` is missing, which the rate puts in within 50 ms, or within a second for a single octet.
            return Err(self.now + Duration::from_nanos(u64::try_from(missing).unwrap_or(u64::MAX)));
        }
        let taken = usize::try_from(full).map_or(want, |full| full.min(want));
        self.level -= taken as u128 * OCTET;
        Ok(taken)
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, unused: usize) {
        self.put(unused as u128 * OCTET);
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.since(self.now);
        self.put(elapsed.as_nanos() * u128::from(self.rate.get()));
        self.now = self.now.max(now);
    }

    fn put(&mut self, units: u128) {
        let capacity = u128::from(self.rate.get() / 4).max(1) * OCTET;
        self.level = self.level.saturating_add(units).min(capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanoseconds: u64) -> Instant {
        Instant::ZERO + Duration::from_nanos(nanoseconds)
    }

    fn bucket(rate: u64) -> TokenBucket {
        TokenBucket::new(NonZeroU64::new(rate).unwrap(), at(0))
    }

    /// Asks whenever it is told to, for so many seconds.
    fn taken_promptly(rate: u64, want: usize, seconds: u64) -> (u64, u64) {
        let (mut bucket, mut now, mut taken, mut calls) = (bucket(rate), at(0), 0, 0);
        let end = at(seconds * 1_000_000_000);
        while now <= end {
            calls += 1;
            match bucket.take(now, want) {
                Ok(octets) => taken += octets as u64,
                Err(later) => {
                    assert!(later > now);
                    now = later;
                }
            }
        }
        (taken, calls)
    }

    #[test]
    fn the_rate_is_met_and_never_passed() {
        for (rate, want, seconds) in [(1, 100, 100), (3, 100, 100), (7, 1, 100), (1000, 4096, 100), (10_000_019, 131_072, 3)] {
            let (taken, calls) = taken_promptly(rate, want, seconds);
            let limit = rate * seconds;
            assert!(taken <= limit && limit - taken <= limit / 100 + 1, "{taken} of {limit}");
            // Useful chunks, not an octet each.
            let chunk = (want as u64).min(rate / 20).max(1);
            assert!(calls <= 2 * (limit / chunk + 1), "{calls} calls for {limit} octets");
        }
    }

    #[test]
    fn idle_time_saves_up_a_quarter_of_a_second() {
        let mut bucket = bucket(1000);
        assert_eq!(bucket.take(at(3_600_000_000_000), 4096), Ok(250));
        assert_eq!(bucket.take(at(3_600_000_000_000), 4096), Err(at(3_600_050_000_000)));
        assert_eq!(bucket.take(at(3_600_010_000_000), 10), Ok(10));
    }

    #[test]
    fn unused_octets_can_be_taken_again() {
        let mut bucket = bucket(1000);
        let now = at(100_000_000);
        assert_eq!(bucket.take(now, 4096), Ok(100));
        bucket.give_back(60);
        assert_eq!(bucket.take(now, 4096), Ok(60));
        bucket.give_back(usize::MAX);
        assert_eq!(bucket.take(now, 4096), Ok(250));
    }

    #[test]
    fn nothing_overflows() {
        for rate in [1, 2, u64::MAX - 1, u64::MAX] {
            let mut bucket = bucket(rate);
            for now in [at(u64::MAX), at(0), at(1), at(u64::MAX)] {
                let most = usize::try_from((rate / 4).max(1)).unwrap_or(usize::MAX);
                match bucket.take(now, usize::MAX) {
                    Ok(taken) => assert!((1..=most).contains(&taken)),
                    Err(later) => assert!(later >= now),
                }
            }
            bucket.give_back(usize::MAX);
            assert_eq!(bucket.take(at(5), 0), Ok(0));
        }
    }

    #[test]
    fn time_that_runs_backwards_gives_nothing() {
        let mut bucket = bucket(1000);
        assert_eq!(bucket.take(at(1_000_000_000), 4096), Ok(250));
        assert_eq!(bucket.take(at(0), 4096), Err(at(1_050_000_000)));
        assert_eq!(bucket.take(at(500_000_000), 4096), Err(at(1_050_000_000)));
    }
}
