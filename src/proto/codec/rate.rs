//! Bandwidth limits.
use crate::proto::time::Instant;
use core::num::NonZeroU64;

/// A token bucket: no more than `rate` octets in any second, spread evenly, never more than a quarter of a second's worth at
/// once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    rate: NonZeroU64,
    now: Instant,
}

impl TokenBucket {
    /// A bucket for `rate` octets a second.
    #[must_use]
    pub fn new(rate: NonZeroU64, now: Instant) -> Self {
        Self { rate, now }
    }

    /// Takes up to `want` octets, at least one.
    ///
    /// # Errors
    /// If there are none now: when to try again.
    pub fn take(&mut self, now: Instant, want: usize) -> Result<usize, Instant> {
        let _ = (now, want, self.rate, self.now);
        todo!("codecs")
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, unused: usize) {
        let _ = unused;
        todo!("codecs")
    }
}
