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
    super::std::{thread, thread_local},
    core::sync::atomic::{AtomicBool, Ordering},
};
#[cfg(all(test, shuttle))]
pub(super) use {
    shuttle::sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    shuttle::{thread, thread_local},
};
