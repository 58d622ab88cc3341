//! Bandwidth: of a transfer, and of all transfers of a user together.
use super::{Limits, Superior};
use crate::{
    proto::{codec::rate::TokenBucket, time::Instant},
    server::{clock::Clock, registry::lock, sync::Mutex},
};
use alloc::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};
use core::{num::NonZeroU64, time::Duration};

/// The buckets that a transfer holds, by user and direction.
pub(super) type Buckets = BTreeMap<(Arc<str>, Flow), Weak<SharedBucket>>;

/// Which way octets go, as seen by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::server) enum Flow {
    Receive,
    Send,
}

/// A token bucket of several transfers, who take turns: in one of the usual kind whoever comes first takes all there is, and
/// some would get next to nothing.
pub(in crate::server) struct SharedBucket {
    rate: NonZeroU64,
    keeper: Keeper,
}

/// Who knows what is in a bucket.
enum Keeper {
    /// It itself: the moment at which all is filled in again that was taken, or promised to those who wait.
    Even(Mutex<Instant>),
    Superior(Flow, Arc<dyn Superior>, Clock),
}

/// What was promised to a transfer that waits.
pub(in crate::server) struct Turn {
    pub(in crate::server) moment: Instant,
    pub(in crate::server) octets: usize,
}

impl Limits {
    /// The bucket that all transfers of `user` in this direction share.
    pub(in crate::server) fn bucket(&self, user: &Arc<str>, flow: Flow, rate: NonZeroU64, now: Instant) -> Arc<SharedBucket> {
        let mut buckets = lock(&self.buckets);
        buckets.retain(|_, bucket| bucket.strong_count() > 0);
        let key = (user.clone(), flow);
        if let Some(bucket) = buckets.get(&key).and_then(Weak::upgrade)
            && bucket.rate == rate
        {
            return bucket;
        }
        let keeper = match &self.superior {
            None => Keeper::Even(Mutex::new(now)),
            Some((superior, clock)) => {
                superior.bucket(user, flow, rate);
                Keeper::Superior(flow, superior.clone(), *clock)
            }
        };
        let bucket = Arc::new(SharedBucket { rate, keeper });
        buckets.insert(key, Arc::downgrade(&bucket));
        bucket
    }
}

/// So much time's worth is in a shared bucket at most.
const SAVED: Duration = Duration::from_millis(250);

impl SharedBucket {
    /// Takes up to `want` octets that nobody waits for, if there are as many as are worth sending: `want`, or 50 ms' worth if
    /// that is less; one at least. Else promises that many.
    pub(in crate::server) fn take(&self, now: Instant, want: usize) -> Result<usize, Turn> {
        let even = match &self.keeper {
            Keeper::Even(even) => even,
            Keeper::Superior(flow, superior, clock) => {
                let (octets, wait) = superior.take(*flow, want);
                // So much later than the answer, and `now` is before it was asked: whoever comes early has no promise any more.
                return if wait.is_zero() { Ok(octets) } else { Err(Turn { moment: clock.now() + wait, octets }) };
            }
        };
        let rate = u128::from(self.rate.get());
        let least = (want as u128).min((rate / 20).max(1));
        let mut even = lock(even);
        *even = (*even).max(before(now, SAVED));
        let saved = (now.since(*even).as_nanos() * rate / 1_000_000_000).min(want as u128);
        let octets = usize::try_from(saved.max(least)).expect("it is not more than is wanted");
        *even = *even + self.time_for(octets);
        if saved < least { Err(Turn { moment: *even, octets }) } else { Ok(octets) }
    }

    pub(in crate::server) fn give_back(&self, octets: usize) {
        match &self.keeper {
            Keeper::Even(even) => {
                let mut even = lock(even);
                *even = before(*even, self.time_for(octets));
            }
            Keeper::Superior(..) if octets == 0 => {}
            Keeper::Superior(flow, superior, _) => superior.give_back(*flow, octets),
        }
    }

    fn time_for(&self, octets: usize) -> Duration {
        let nanoseconds = (octets as u128 * 1_000_000_000).div_ceil(u128::from(self.rate.get()));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

pub(in crate::server) fn before(moment: Instant, time: Duration) -> Instant {
    Instant::from_elapsed(moment.since(Instant::ZERO).saturating_sub(time))
}

/// The limits that a transfer keeps: its own, and its user's.
#[derive(Default)]
pub(in crate::server) struct Rate {
    own: Option<TokenBucket>,
    shared: Option<Arc<SharedBucket>>,
    /// What it waits for in the shared bucket.
    turn: Option<Turn>,
}

impl Rate {
    pub(in crate::server) fn new(own: u64, shared: Option<Arc<SharedBucket>>, now: Instant) -> Self {
        Self { own: NonZeroU64::new(own).map(|rate| TokenBucket::new(rate, now)), shared, turn: None }
    }

    pub(in crate::server) fn is_unlimited(&self) -> bool {
        self.own.is_none() && self.shared.is_none()
    }

    /// How many of `want` octets may be moved now, at least one; those that are not must be given back.
    ///
    /// # Errors
    /// When to ask again, if none may be. Whoever asks earlier loses its turn.
    pub(in crate::server) fn take(&mut self, now: Instant, want: usize) -> Result<usize, Instant> {
        let mine = self.own.as_mut().map_or(Ok(want), |bucket| bucket.take(now, want))?;
        let Some(shared) = &self.shared else { return Ok(mine) };
        let taken = match self.turn.take() {
            Some(turn) if turn.moment <= now => {
                shared.give_back(turn.octets.saturating_sub(mine));
                Ok(turn.octets.min(mine))
            }
            early => {
                shared.give_back(early.map_or(0, |turn| turn.octets));
                shared.take(now, mine)
            }
        };
        let taken = taken.map_err(|turn| self.turn.insert(turn).moment);
        if let Some(own) = &mut self.own {
            own.give_back(mine - taken.unwrap_or(0));
        }
        taken
    }

    /// Gives back what was taken and not used.
    pub(in crate::server) fn give_back(&mut self, unused: usize) {
        if unused == 0 {
            return;
        }
        if let Some(own) = &mut self.own {
            own.give_back(unused);
        }
        if let Some(shared) = &self.shared {
            shared.give_back(unused);
        }
    }
}

impl Drop for Rate {
    fn drop(&mut self) {
        if let (Some(shared), Some(turn)) = (&self.shared, &self.turn) {
            shared.give_back(turn.octets);
        }
    }
}
