//! Locks, flags and threads: those of the standard library. Tests with `--cfg shuttle` have those of shuttle in their place, which
//! tries one order after another in which threads may go on.
//!
//! **Invariant:** what sessions share is guarded by what comes from here.
#![cfg_attr(
    not(all(unix, feature = "threads", feature = "smol")),
    allow(unused_imports, reason = "not everybody needs all of it")
)]

#[cfg(not(all(test, shuttle)))]
pub(super) use {
    super::std::sync::{Condvar, Mutex, MutexGuard, PoisonError},
    super::std::thread,
    core::sync::atomic::{AtomicBool, Ordering},
};
#[cfg(all(test, shuttle))]
pub(super) use {
    shuttle::{
        sync::{
            Mutex, MutexGuard, PoisonError,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    },
    simulated::Condvar,
};

#[cfg(all(test, shuttle))]
mod simulated {
    use core::time::Duration;
    use shuttle::sync::{self, LockResult, MutexGuard, PoisonError, atomic::AtomicBool, atomic::Ordering};

    /// One whose timeouts come when a test wants them to.
    #[derive(Debug, Default)]
    pub(in super::super) struct Condvar {
        condition: sync::Condvar,
        expired: AtomicBool,
    }

    impl Condvar {
        pub(in super::super) fn new() -> Self {
            Self::default()
        }

        pub(in super::super) fn notify_one(&self) {
            self.condition.notify_one();
        }

        pub(in super::super) fn notify_all(&self) {
            self.condition.notify_all();
        }

        pub(in super::super) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
            self.condition.wait(guard)
        }

        pub(in super::super) fn wait_while<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            condition: impl FnMut(&mut T) -> bool,
        ) -> LockResult<MutexGuard<'a, T>> {
            self.condition.wait_while(guard, condition)
        }

        /// Whether it has timed out is told too.
        #[cfg(feature = "threads")]
        pub(in super::super) fn wait_timeout_while<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _: Duration,
            mut condition: impl FnMut(&mut T) -> bool,
        ) -> LockResult<(MutexGuard<'a, T>, bool)> {
            let expired = || self.expired.load(Ordering::SeqCst);
            match self.condition.wait_while(guard, |state| condition(state) && !expired()) {
                Ok(guard) => Ok((guard, expired())),
                Err(error) => Err(PoisonError::new((error.into_inner(), expired()))),
            }
        }

        /// Lets whoever waits with a timeout run into it, now or later.
        #[cfg(feature = "threads")]
        pub(in super::super) fn expire(&self) {
            self.expired.store(true, Ordering::SeqCst);
            self.condition.notify_all();
        }
    }
}
