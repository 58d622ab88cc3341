//! Names that were at hand a moment ago.
use super::std;
use crate::proto::path::VirtualPath;
use core::{
    hash::{Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};
use std::{hash::DefaultHasher, time::Instant};

/// So many are remembered; it matters little if one takes the place of another.
const SLOTS: usize = 16;

/// Remembers what was at hand in this second, since clients ask for one file again and again: its size, its time, itself. To ask
/// the system as well would make each SIZE a tenth slower.
#[derive(Debug)]
pub(super) struct Lately {
    began: Instant,
    /// Of each name and the second in which it was at hand a hash. Two may have the same: then there is a wait in place once.
    known: [AtomicU64; SLOTS],
}

impl Default for Lately {
    fn default() -> Self {
        Self { began: Instant::now(), known: [const { AtomicU64::new(0) }; SLOTS] }
    }
}

impl Lately {
    /// Whether `path` is at hand, which is asked unless it is known.
    pub(super) fn was_at_hand(&self, path: &VirtualPath, is_at_hand: impl FnOnce() -> bool) -> bool {
        let mut hasher = DefaultHasher::new();
        (self.began.elapsed().as_secs(), path).hash(&mut hasher);
        let hash = hasher.finish();
        let slot = usize::try_from(hash % SLOTS as u64).ok().and_then(|slot| self.known.get(slot));
        if slot.is_some_and(|slot| slot.load(Ordering::Relaxed) == hash) {
            return true;
        }
        let found = is_at_hand();
        if let Some(slot) = slot.filter(|_| found) {
            slot.store(hash, Ordering::Relaxed);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_at_hand_is_asked_for_once_in_a_second() {
        let lately = Lately::default();
        let name = |number: usize| VirtualPath::root().join(alloc::format!("{number}").as_bytes()).unwrap();
        assert!(!lately.was_at_hand(&name(0), || false));
        assert!(lately.was_at_hand(&name(0), || true), "it was not, and is");
        // A new second may begin meanwhile.
        let known = (0..3).any(|_| lately.was_at_hand(&name(0), || true) && lately.was_at_hand(&name(0), || false));
        assert!(known);
        // What was in a second that is over counts no more, nor does what took the place of another.
        let over = Lately { began: lately.began.checked_sub(core::time::Duration::from_secs(10)).unwrap(), ..lately };
        assert!(!over.was_at_hand(&name(0), || false));
        assert!((0..100 * SLOTS).all(|number| over.was_at_hand(&name(number), || true)));
        assert!((0..SLOTS).all(|number| !over.was_at_hand(&name(number), || false)));
    }
}
