//! A bound on how much of something runs at once.
use crate::server::sync::{Condvar, Mutex, PoisonError};

/// So many may run at once; the others wait.
#[derive(Debug)]
pub(super) struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
    /// How often something ran.
    #[cfg(test)]
    pub(super) runs: core::sync::atomic::AtomicUsize,
}

impl Slots {
    /// `count` slots; 0 counts as 1, for nothing could ever run.
    pub(super) fn new(count: usize) -> Self {
        Self {
            free: Mutex::new(count.max(1)),
            freed: Condvar::new(),
            #[cfg(test)]
            runs: Default::default(),
        }
    }

    /// Waits for a slot, and does `work` in it.
    pub(super) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        drop(free);
        // Given back by a guard: also if `work` panics.
        let _taken = Taken(self);
        #[cfg(test)]
        self.runs.fetch_add(1, core::sync::atomic::Ordering::SeqCst);
        work()
    }
}

struct Taken<'a>(&'a Slots);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(all(test, shuttle))]
mod interleavings;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::std;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use std::{panic, sync::Barrier, thread};

    #[test]
    fn no_more_run_at_once_than_there_are_slots() {
        let (slots, running, most) = (Slots::new(2), AtomicUsize::new(0), AtomicUsize::new(0));
        // Both slots must be taken at the same time for this barrier to open.
        let both = Barrier::new(2);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    slots.run(|| {
                        most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        both.wait();
                        running.fetch_sub(1, Ordering::SeqCst);
                    });
                });
            }
        });
        assert_eq!(most.into_inner(), 2);
        assert_eq!(*slots.free.lock().unwrap(), 2);
    }

    #[test]
    fn a_panic_gives_its_slot_back() {
        let slots = Slots::new(0);
        let caught = panic::catch_unwind(panic::AssertUnwindSafe(|| slots.run(|| panic!("on purpose"))));
        assert!(caught.is_err());
        assert_eq!(slots.run(|| 7), 7);
    }
}
